"""Settings from the environment and the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from afterwrite import DeclarationError, config


def test_given_values_win_over_the_environment_and_that_over_the_defaults() -> None:
    environ = {"AFTERWRITE_DATA": "elsewhere", "AFTERWRITE_LISTEN": "127.0.0.1:1", "AWS_REGION": "eu-west-1"}
    given = config.load(data=Path("here"), listen="localhost:0", environ=environ)
    assert (given.data, given.host, given.port) == (Path("here"), "localhost", 0)
    from_environment = config.load(environ=environ)
    assert (from_environment.data, from_environment.port) == (Path("elsewhere"), 1)
    assert from_environment.identity.region == "eu-west-1"
    assert config.load(environ={}).port == 4566


def test_an_ipv6_loopback_address_is_taken_with_brackets() -> None:
    assert config.load(listen="[::1]:80", environ={}).host == "::1"


@pytest.mark.parametrize("listen", ["127.0.0.1", "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:70000"])
def test_an_address_that_is_none_is_refused(listen: str) -> None:
    with pytest.raises(DeclarationError, match="HOST:PORT"):
        config.load(listen=listen, environ={})


@pytest.mark.parametrize("listen", ["0.0.0.0:80", "192.168.1.2:80", "[::]:80", "example.com:80"])
def test_listening_beyond_the_machine_is_refused(listen: str) -> None:
    with pytest.raises(DeclarationError, match="loopback"):
        config.load(listen=listen, environ={})


def test_how_streams_are_sharded_comes_from_the_environment() -> None:
    environ = {"AFTERWRITE_STREAM_SHARDS": "4", "AFTERWRITE_SHARD_ROLLOVER_S": "0"}
    settings = config.load(environ=environ)
    assert (settings.stream_shards, settings.shard_rollover_s) == (4, 0)
    defaults = config.load(environ={})
    assert (defaults.stream_shards, defaults.shard_rollover_s) == (1, 14_400)


@pytest.mark.parametrize("count", ["0", "-1", "many", "1001", "1.5"])
def test_a_number_of_shards_that_cannot_be_is_refused(count: str) -> None:
    with pytest.raises(DeclarationError, match="AFTERWRITE_STREAM_SHARDS"):
        config.load(environ={"AFTERWRITE_STREAM_SHARDS": count})


def test_with_credentials_it_may_listen_beyond_the_machine(tmp_path: Path) -> None:
    file = tmp_path / "keys.json"
    file.write_text('{"AKID": "secret"}')
    settings = config.load(listen="0.0.0.0:80", credentials=file, environ={})
    assert (settings.host, settings.credentials) == ("0.0.0.0", {"AKID": "secret"})
    assert "secret" not in repr(settings)
    assert config.load(environ={"AFTERWRITE_CREDENTIALS": str(file)}).credentials == {"AKID": "secret"}


def test_credentials_may_be_profiles(tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    file.write_text(
        "[default]\naws_access_key_id = A1\naws_secret_access_key = s/+%(x)1\n"
        "[other]\naws_access_key_id=A2\naws_secret_access_key=s2\naws_session_token=t\n[empty]\nregion=x\n"
    )
    assert config.read_credentials(file) == {"A1": "s/+%(x)1", "A2": "s2"}


@pytest.mark.parametrize(
    "text",
    ["", "{", "{}", '{"AKID": 1}', '{"AKID": ""}', "no profile", "[default]\naws_access_key_id = A1\n", "\xff"],
)
def test_a_file_without_credentials_is_refused_and_not_quoted(tmp_path: Path, text: str) -> None:
    file = tmp_path / "keys"
    file.write_text(text, "latin-1")
    with pytest.raises(DeclarationError, match="credentials") as refused:
        config.read_credentials(file)
    assert "A1" not in str(refused.value)


def test_two_secrets_of_one_key_are_refused(tmp_path: Path) -> None:
    file = tmp_path / "credentials"
    profile = "[{0}]\naws_access_key_id = A1\naws_secret_access_key = {0}\n"
    file.write_text(profile.format("one") + profile.format("two"))
    with pytest.raises(DeclarationError, match="two secrets"):
        config.read_credentials(file)


def test_credentials_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(DeclarationError, match="nowhere"):
        config.load(credentials=tmp_path / "nowhere", environ={})
