"""Plays the Functions host to Microsoft's own runtime, in one process and without gRPC.

Runs under Python 3.13 with requirements.txt, telemetry's packages and azure-functions-runtime, nothing else:

    python -P worker.py FOLDER

indexes the function app in FOLDER and writes what came of it as one line of JSON; then reads
lines from standard input, each a list of invocations that are to run at once, and answers each
line with one. `tests.runtime.host` is the other side.

What the platform's worker does around the runtime is done as there (Azure/azure-functions-python-worker,
workers/proxy_worker/dispatcher.py): one handler at the root logger, at INFO unless
PYTHON_ENABLE_DEBUG_LOGGING is set, each line with the invocation id that the runtime keeps in a
context variable; the app's folder last on the import path, as `func start` has it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any, TextIO

import azure_functions_runtime as runtime  # type: ignore[import-not-found,unused-ignore]

# Loggers whose lines are the platform's own, and hidden from the app's owner.
_PLATFORM = ("azure.functions", "azure_functions_runtime", "proxy_worker")


class Message:
    """A message of the host's protocol: its fields as they were given, no more."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)


class StatusResult(Message):
    """How a request ended, with the numbers of FunctionRpc.proto."""

    Failure, Success, Cancelled = range(3)


class BindingInfo(Message):
    """A binding of a function, with the numbers of FunctionRpc.proto."""

    out, inout = 1, 2
    undefined = 0


class Parameter(Message):
    """A parameter, or what it holds, a JSON or a text: ParameterBinding and TypedData in one."""

    def WhichOneof(self, group: str) -> str:  # noqa: N802 - the name that protobuf gives it
        return {"rpc_data": "data", "data": "json" if hasattr(self, "json") else "string"}[group]


_MESSAGES = (
    "FunctionLoadResponse",
    "FunctionMetadataResponse",
    "InvocationResponse",
    "ParameterBinding",
    "RpcException",
    "RpcFunctionMetadata",
    "TypedData",
    "WorkerInitResponse",
    "WorkerMetadata",
)
PROTOS = SimpleNamespace(
    StatusResult=StatusResult,
    BindingInfo=BindingInfo,
    **{name: type(name, (Message,), {}) for name in _MESSAGES},
)


class HostLog(logging.Handler):
    """What the host is told: level, logger, message and invocation, nothing else of a record."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: list[dict[str, Any]] = []

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.append(
            {
                "level": record.levelname,
                "logger": record.name,
                "category": "System" if record.name.startswith(_PLATFORM) else "User",
                "message": self.format(record),
                "invocation": runtime.invocation_id_cv.get(),
            }
        )

    def take(self) -> list[dict[str, Any]]:
        lines, self._lines = self._lines, []
        return lines


async def index(folder: str) -> dict[str, Any]:
    """Do what the host does before the first invocation; give what it learns."""
    init = Message(function_app_directory=folder, capabilities={})
    properties = {"protos": PROTOS, "host": "127.0.0.1"}
    answer = await runtime.worker_init_request(_request(worker_init_request=init, properties=properties))
    indexed = await runtime.functions_metadata_request(_request())
    functions = indexed.function_metadata_results or []
    for function in functions:
        load = Message(function_id=function.function_id, metadata=function)
        await runtime.function_load_request(_request(function_load_request=load))
    return {
        **_ending(answer.result),
        "functions": {
            function.name: [json.loads(binding) for binding in function.raw_bindings]
            for function in functions
        },
        "ids": {function.name: function.function_id for function in functions},
    }


async def invoke(invocations: Sequence[dict[str, Any]], function_ids: dict[str, str]) -> list[dict[str, Any]]:
    """Invoke functions at once; give how each ended, in the order of `invocations`."""
    answers = await asyncio.gather(
        *(
            runtime.invocation_request(_invocation(each, function_ids[each["function"]]))
            for each in invocations
        )
    )
    return [
        {
            **_ending(answer.result),
            "id": answer.invocation_id,
            "returned": getattr(answer, "return_value", None),
            "outputs": {
                output.name: json.loads(output.data.json) for output in getattr(answer, "output_data", ())
            },
        }
        for answer in answers
    ]


def _request(*, properties: dict[str, Any] | None = None, **content: Message) -> Message:
    return Message(request=Message(**content), properties=properties or {})


def _invocation(invocation: dict[str, Any], function_id: str) -> Message:
    request = Message(
        invocation_id=invocation["id"],
        function_id=function_id,
        input_data=[_message(invocation) if "message" in invocation else _timer(invocation)],
        trigger_metadata={},
        trace_context=Message(trace_parent=invocation["traceparent"], trace_state="", attributes={}),
        retry_context=Message(retry_count=0, max_retry_count=0, exception=None),
    )
    return _request(invocation_request=request)


def _message(invocation: dict[str, Any]) -> Parameter:
    """Give a queue's message as the host does: its text, which it has decoded."""
    return Parameter(name="message", data=Parameter(string=invocation["message"]))


def _timer(invocation: dict[str, Any]) -> Parameter:
    status = {"Last": "2026-03-02T11:45:00+00:00", "Next": "2026-03-02T12:00:00+00:00"}
    timer = {
        "Schedule": {"AdjustForDST": True},
        "ScheduleStatus": status,
        "IsPastDue": invocation["past_due"],
    }
    return Parameter(name="timer", data=Parameter(json=json.dumps(timer)))


def _ending(result: Any) -> dict[str, Any]:
    if result.status == StatusResult.Success:
        return {"ok": True, "error": None, "stack": None}
    return {"ok": False, "error": result.exception.message, "stack": result.exception.stack_trace}


def serve(folder: str, commands: TextIO, answers: TextIO) -> None:
    """Index, then invoke what is asked until the commands end."""
    log = HostLog()
    logging.getLogger().addHandler(log)
    debug = os.environ.get("PYTHON_ENABLE_DEBUG_LOGGING") == "1"
    logging.getLogger().setLevel(logging.DEBUG if debug else logging.INFO)
    sys.path.append(folder)
    runtime.start_threadpool_executor()

    def answer(**said: Any) -> None:
        answers.write(json.dumps(said | {"log": log.take()}) + "\n")
        answers.flush()

    with asyncio.Runner() as runner:
        indexed = runner.run(index(folder))
        answer(**indexed)
        for line in commands:
            answer(results=runner.run(invoke(json.loads(line), indexed["ids"])))
    runtime.stop_threadpool_executor()


if __name__ == "__main__":
    answers_to = os.fdopen(os.dup(1), "w", encoding="utf-8")
    # Whatever else is printed must not get between the answers.
    os.dup2(2, 1)
    serve(sys.argv[1], sys.stdin, answers_to)
