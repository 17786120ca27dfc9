"""Whatever a request says, it is answered, and never with a 5xx; then the engine serves, and its store is whole."""

from __future__ import annotations

import http.client
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from afterwrite.config import Identity
from afterwrite.store.operations import Operations
from afterwrite.store.verification import verify
from engine_process import EngineProcess
from fuzz.budget import TIMEOUT_S, sources
from fuzz.mutation import changed_bytes, encoded, mutated
from fuzz.seeds import DYNAMODB, TABLE, prepare, refused_seeds, seeds

ANSWER_S_MAX = 20
REQUESTS_BETWEEN_PREPARATIONS = 100


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[EngineProcess]:
    with EngineProcess(None, tmp_path / "data") as engine:
        yield engine


def test_every_operation_has_a_seed_that_is_served(engine: EngineProcess) -> None:
    served = seeds(engine)
    for service, operation, body in served:
        engine.call(operation, body, service=service)
    assert {operation for service, operation, _ in served if service == DYNAMODB} == set(Operations(Identity()).names())
    for service, operation, body in refused_seeds():
        status, answer = engine.exchange(operation, body, service=service)
        assert (status, "ResourceNotFoundException" in answer["__type"]) == (400, True), operation


@pytest.mark.timeout(TIMEOUT_S)
def test_mutated_requests_are_answered_and_harm_nothing(engine: EngineProcess) -> None:
    found = [*seeds(engine), *refused_seeds()]
    corpus = [body for _, _, body in found]
    statuses: Counter[int] = Counter()
    connection = http.client.HTTPConnection(engine.address, timeout=ANSWER_S_MAX)
    for number, (name, source) in enumerate(sources(0.5)):
        if number % REQUESTS_BETWEEN_PREPARATIONS == 0:
            prepare(engine)
        service, operation, body = source.choice(found)
        target = f"{service}.{operation}"
        if source.random() < 0.02:
            target = changed_target(source, target)
        content = encoded(source, mutated(source, body, corpus))
        what = f"case {name}: {target} {content[:3000]!r}"
        try:
            connection.request("POST", "/", content, {"X-Amz-Target": target})
            response = connection.getresponse()
            answer = json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise AssertionError(f"{what}: {error!r}\n{engine.log.read_text()[-3000:]}") from error
        statuses[response.status] += 1
        assert response.status < 500, f"{what}: {answer}\n{engine.log.read_text()[-3000:]}"
        assert response.status == 200 or answer["__type"], f"{what}: {answer}"
    connection.close()
    print(f"{sum(statuses.values())} requests: {dict(statuses)}")
    # Both what is still valid and what is not was among them.
    assert statuses[200] and statuses[400]
    prepare(engine)
    key = {"pk": {"S": "served"}, "sk": {"N": "0"}}
    engine.call("PutItem", {"TableName": TABLE, "Item": key})
    assert engine.call("GetItem", {"TableName": TABLE, "Key": key}) == {"Item": key}
    assert engine.stop() == 0
    assert "Traceback" not in engine.log.read_text()
    assert verify(engine.data / "store").damage == []


def changed_target(source: Random, target: str) -> str:
    """The target with some characters changed, but such as a header may hold."""
    changed = changed_bytes(source, target.encode())[:200]
    return "".join(character for character in changed.decode("latin-1") if character.isprintable())
