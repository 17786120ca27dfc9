"""Whatever a request says, it is answered, and never with a 5xx; then the engine serves, and its store is whole."""

from __future__ import annotations

import http.client
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from pathlib import Path
from random import Random

import pytest

from afterwrite.config import Identity
from afterwrite.store.operations import Operations
from afterwrite.store.verification import verify
from bounds import BOUND_S
from engine_process import EngineUnderTest
from fuzz.budget import TIMEOUT_S, sources
from fuzz.mutation import changed_bytes, encoded, mutated
from fuzz.seeds import DYNAMODB, TABLE, Seed, prepare, refused_seeds, seeds

REQUESTS_BETWEEN_PREPARATIONS = 100
CALLERS = 3


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[EngineUnderTest]:
    with EngineUnderTest(None, tmp_path / "data") as engine:
        yield engine


def test_every_operation_has_a_seed_that_is_served(engine: EngineUnderTest) -> None:
    served = seeds(engine)
    for service, operation, body in served:
        engine.call(operation, body, service=service)
    assert {operation for service, operation, _ in served if service == DYNAMODB} == set(Operations(Identity()).names())
    for service, operation, body in refused_seeds():
        status, answer = engine.exchange(operation, body, service=service)
        assert (status, "ResourceNotFoundException" in answer["__type"]) == (400, True), operation


class Caller:
    """One connection that sends mutated requests and counts the statuses of their answers.

    `failures` are told in their order: after the first one no caller is answered any more.
    """

    def __init__(self, number: int, engine: EngineUnderTest, found: Sequence[Seed], failures: list[str]) -> None:
        self.number = number
        self._failures = failures
        self.statuses: Counter[int] = Counter()
        self._engine = engine
        self._found = found
        self._corpus = [body for _, _, body in found]
        self._connection = http.client.HTTPConnection(engine.address, timeout=BOUND_S)

    def run(self) -> None:
        """Send requests for a time; fail with the request that is not answered as it should be."""
        for count, (name, source) in enumerate(sources(0.5, caller=self.number)):
            if count % REQUESTS_BETWEEN_PREPARATIONS == 0:
                prepare(self._engine)
            service, operation, body = source.choice(self._found)
            target = f"{service}.{operation}"
            if source.random() < 0.02:
                target = changed_target(source, target)
            content = encoded(source, mutated(source, body, self._corpus))
            try:
                self._connection.request("POST", "/", content, {"X-Amz-Target": target})
                response = self._connection.getresponse()
                answer = json.loads(response.read() or b"{}")
                assert response.status < 500, answer
                assert response.status == 200 or answer["__type"], answer
            except (OSError, http.client.HTTPException, ValueError, AssertionError) as error:
                self._failures.append(f"case {name}: {target} {content[:3000]!r}: {error!r}")
                raise AssertionError(f"{self._failures[0]}\n{self._engine.abort()}") from error
            self.statuses[response.status] += 1
        self._connection.close()


@pytest.mark.timeout(TIMEOUT_S)
def test_mutated_requests_are_answered_and_harm_nothing(engine: EngineUnderTest) -> None:
    found = [*seeds(engine), *refused_seeds()]
    failures: list[str] = []
    callers = [Caller(number, engine, found, failures) for number in range(CALLERS)]
    with ThreadPoolExecutor(CALLERS) as pool:
        done, _ = wait([pool.submit(caller.run) for caller in callers], return_when=FIRST_EXCEPTION)
        for each in done:
            each.result()
    statuses = sum((caller.statuses for caller in callers), Counter[int]())
    print(f"{sum(statuses.values())} requests: {dict(statuses)}")
    # Both what is still valid and what is not was among them.
    assert statuses[200] and statuses[400]
    prepare(engine)
    key = {"pk": {"S": "served"}, "sk": {"N": "0"}}
    engine.call("PutItem", {"TableName": TABLE, "Item": key})
    assert engine.call("GetItem", {"TableName": TABLE, "Key": key}) == {"Item": key}
    assert engine.stop() == 0
    assert "Traceback" not in engine.log.read_text()
    verified = verify(engine.data / "store")
    assert verified.damage == verified.figures == []


def changed_target(source: Random, target: str) -> str:
    """The target with some characters changed, but such as a header may hold."""
    changed = changed_bytes(source, target.encode())[:200]
    return "".join(character for character in changed.decode("latin-1") if character.isprintable())
