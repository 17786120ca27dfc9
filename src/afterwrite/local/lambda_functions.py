"""The app's functions as clients of Lambda's call them: at once, or later by way of their queues."""

from __future__ import annotations

import json
import queue
import threading
import time
from typing import Any

from afterwrite.app import App, Function
from afterwrite.config import Identity
from afterwrite.core.effects import Invoke, StampedEffect
from afterwrite.core.invocations import LambdaContext
from afterwrite.errors import ServiceError
from afterwrite.forks import ending_forks
from afterwrite.local.fan_out import FanOut
from afterwrite.local.mapping_ledger import function_arn
from afterwrite.local.native import NativeServices
from afterwrite.local.steps import put_all
from afterwrite.store.environment import Environment


class LocalFunctions:
    """The functions that an app declares; a queue's consumer is none of them."""

    def __init__(
        self, app: App, environment: Environment, fan_out: FanOut, services: NativeServices, identity: Identity
    ) -> None:
        self._functions = {function.name: function for function in app.functions if function.queue is None}
        self._environment = environment
        self._fan_out = fan_out
        self._services = services
        self._identity = identity

    def check(self, name: str) -> None:
        """Raise ResourceNotFoundException as ServiceError where there is no function of that name."""
        self._found(name)

    def invoke(self, name: str, payload: Any, request_id: str) -> Any:
        """Run a function now; what it returns, as values of JSON. Raises what it raises, and ServiceError."""
        function = self._found(name)
        deadline_s = time.monotonic() + function.timeout_s
        context = LambdaContext(
            self._services,
            function_name=name,
            function_arn=function_arn(self._identity, name),
            request_id=request_id,
            remaining_ms=lambda: int((deadline_s - time.monotonic()) * 1000),
            now_ms=self._environment.now_ms,
        )
        ended: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()

        def run() -> None:
            try:
                with ending_forks():
                    result = function.handler(payload, context)
                ended.put((json.loads(json.dumps(result)), None))
            except BaseException as error:  # noqa: BLE001 - whatever the user's code raises is the answer
                ended.put((None, error))

        threading.Thread(target=run, name=f"function-{name}-invoked", daemon=True).start()
        try:
            result, error = ended.get(timeout=function.timeout_s)
        except queue.Empty:
            raise TimeoutError(f"{request_id} Task timed out after {function.timeout_s:.2f} seconds") from None
        if error is not None:
            raise error
        return result

    def invoke_later(self, name: str, payload: Any, request_id: str) -> None:
        """Send a function its request by its queue; durable on return. Raises ServiceError and StorageError."""
        self._found(name)
        # Asynchronous invocations are in no order with each other: each is a lane of its own.
        lane = f"invoke/{request_id}"
        effect = StampedEffect(f"{lane}/{name}/0", lane, self._environment.now_ms(), Invoke(name, payload))
        placements = self._fan_out.place(effect)
        self._environment.write(lambda transaction: put_all(transaction, placements))

    def _found(self, name: str) -> Function:
        function = self._functions.get(name)
        if function is None:
            arn = function_arn(self._identity, name)
            raise ServiceError("ResourceNotFoundException", f"Function not found: {arn}")
        return function
