"""The calls about a server itself: its models, and whether it is ready."""

from __future__ import annotations

import time
from importlib.metadata import entry_points

from google.protobuf import wrappers_pb2

from muserve.configuration import nearest
from muserve.errors import DeadlineExceededError, ModelNotFoundError, MuserveError, UnavailableError
from muserve.v1 import common_pb2, model_pb2
from muserve_client.attempts import checked_timeout
from muserve_client.calls.server.health import CHECK, SERVING
from muserve_client.calls.server.result import Model, read_model
from muserve_client.fields import Fields
from muserve_client.flows import GROUP, OPTIONS, Flow, Pause, Rpc, method_of
from muserve_client.options import ClientOptions, Retries

__all__ = ["is_ready", "model", "models", "wait_until_ready"]

_SERVICE = model_pb2.DESCRIPTOR.services_by_name["ModelService"]
_LIST_MODELS = method_of(_SERVICE, "ListModels")
_GET_MODEL = method_of(_SERVICE, "GetModel")
# Failures of a health check that mean no more than "not ready": health says NOT_FOUND for a name that it doesn't know.
_NOT_READY: tuple[type[MuserveError], ...] = (UnavailableError, DeadlineExceededError, ModelNotFoundError)
_TASKS = [name.removeprefix("TASK_").lower() for name, number in common_pb2.Task.items() if number]
_MAX_CHECK_S = 5.0
_BACKOFF = Retries(max_backoff_s=1.0)


def models(
    task: str | None = None,
    *,
    timeout_s: float | None = None,
    request_id: str | None = None,
) -> Flow[list[Model]]:
    """Lists every model version of the server, including refused ones, by name and version.

    Args:
        task: Only models of one task: "image", or the name of an installed task kind; None for all.
        timeout_s: See `images`.
        request_id: See `images`.

    Raises:
        MuserveError: As `muserve.errors` lists them.
    """
    fields, request = Fields(), model_pb2.ListModelsRequest()
    name = None if task is None else _task(fields, task)
    fields.check()
    if name in _TASKS:
        request.task = common_pb2.Task.Value(f"TASK_{name.upper()}")  # type: ignore[assignment]
    response = yield Rpc(_LIST_MODELS, request, timeout_s=timeout_s, request_id=request_id)
    found = [read_model(each) for each in response.models]
    if name is None or name in _TASKS:
        return found
    # The task of a package, which the server may have or not.
    listed = [each for each in found if each.task == name]
    if not listed:
        known = dict.fromkeys([*_TASKS, *(each.task for each in found)])
        fields.refuse("task", f"is {name!r}; {nearest(name, list(known))}")
        fields.check()
    return listed


def _task(fields: Fields, task: str) -> str:
    """Takes the name of a task; refuses what is probably a misspelled one of the house before anything is sent."""
    name = fields.text("task", task)
    hint = nearest(name, _TASKS)
    if name not in {*_TASKS, *entry_points(group=GROUP).names} and hint.startswith("did you mean"):
        fields.refuse("task", f"is {name!r}; {hint}")
    return name


def model(
    name: str,
    version: int | None = None,
    *,
    timeout_s: float | None = None,
    request_id: str | None = None,
) -> Flow[Model]:
    """Returns one model version with its manifest.

    Args:
        name: Model name.
        version: Model version; None takes the newest that is ready.
        timeout_s: See `images`.
        request_id: See `images`.

    Raises:
        MuserveError: As `muserve.errors` lists them.
    """
    fields, request = Fields(), model_pb2.GetModelRequest()
    fields.fill(request, name=name, version=version)
    fields.check()
    response = yield Rpc(_GET_MODEL, request, timeout_s=timeout_s, request_id=request_id)
    return read_model(response.model, response.manifest)


def is_ready(
    model: str = "",
    *,
    timeout_s: float = 5.0,
) -> Flow[bool]:
    """Asks once whether the server accepts calls. Of several replicas, one is asked.

    Args:
        model: Ask for this model instead of the server as a whole.
        timeout_s: Seconds to wait; no answer counts as not ready.

    Raises:
        MuserveError: There is no clear answer: a proxy refuses, or it is not a Muserve server.
    """
    service = wrappers_pb2.StringValue(value=f"models/{model}" if model else "")
    try:
        response: wrappers_pb2.Int32Value = yield Rpc(CHECK, service, timeout_s=timeout_s, attempts=1)
    except _NOT_READY:
        return False
    return response.value == SERVING


def wait_until_ready(
    timeout_s: float = 60.0,
    *,
    model: str = "",
) -> Flow[None]:
    """Waits until the server accepts calls.

    Args:
        timeout_s: Maximum wait in seconds.
        model: Wait for this model instead of the server as a whole.

    Raises:
        DeadlineExceededError: It was not ready in time.
        MuserveError: See `is_ready`.
    """
    deadline, attempt = time.monotonic() + checked_timeout(timeout_s), 0
    while (remaining := deadline - time.monotonic()) > 0:
        attempt += 1
        if (yield from is_ready(model, timeout_s=min(_MAX_CHECK_S, remaining))):
            return
        yield Pause(min(_BACKOFF.backoff_s(attempt, 0.0), remaining))
    options: ClientOptions = yield OPTIONS
    what = f"model {model!r} at {options.address}" if model else options.address
    raise DeadlineExceededError(f"{what} was not ready within {timeout_s:g} s; see the server's log")
