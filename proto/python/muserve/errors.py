"""The errors of the contract: one tree, and with it one table, error ↔ gRPC code + ErrorInfo reason.

The server raises these and writes them to the wire with `to_status`; the SDK reads them back with `from_status`.

    MuserveError
    ├── InvalidRequestError      INVALID_ARGUMENT     INVALID_REQUEST       fields that are wrong, and how
    ├── ModelNotFoundError       NOT_FOUND            MODEL_NOT_FOUND
    ├── ModelRefusedError        FAILED_PRECONDITION  MODEL_REFUSED         the bundle did not pass verification
    ├── QueueFullError           RESOURCE_EXHAUSTED   QUEUE_FULL            retry_after_s
    ├── MessageTooLargeError     RESOURCE_EXHAUSTED   MESSAGE_TOO_LARGE
    ├── DeadlineExceededError    DEADLINE_EXCEEDED    DEADLINE_EXCEEDED
    ├── CancelledCallError       CANCELLED            CANCELLED
    ├── UnavailableError         UNAVAILABLE          UNAVAILABLE           not reachable, loading or draining
    ├── UnimplementedError       UNIMPLEMENTED        UNIMPLEMENTED         the server is older than the client
    ├── PermissionDeniedError    PERMISSION_DENIED    PERMISSION_DENIED     also UNAUTHENTICATED: from a proxy
    └── InternalError            INTERNAL             INTERNAL              every code that the table does not name
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

__all__ = [
    "ERRORS",
    "MAX_FIELD_VIOLATIONS",
    "STATUS_DETAILS_KEY",
    "CancelledCallError",
    "DeadlineExceededError",
    "FieldViolation",
    "InternalError",
    "InvalidRequestError",
    "MessageTooLargeError",
    "ModelNotFoundError",
    "ModelRefusedError",
    "MuserveError",
    "PermissionDeniedError",
    "QueueFullError",
    "UnavailableError",
    "UnimplementedError",
    "from_status",
    "to_status",
]

DOMAIN = "muserve.v1"
STATUS_DETAILS_KEY = "grpc-status-details-bin"
MAX_FIELD_VIOLATIONS = 20
# Errors travel in headers, of which gRPC's peers take 8 KiB. A caller's own text, repeated to him, may be any length.
MAX_MESSAGE_BYTES = 1024
MAX_DESCRIPTION_BYTES = 256
MAX_VIOLATIONS_BYTES = 2560


@dataclass(frozen=True)
class FieldViolation:
    """One wrong field of a request."""

    field: str
    """Path of the field: "labels[3]"."""
    description: str
    """What came, what is allowed, how to fix it."""


class MuserveError(Exception):
    """An error of the contract. Its class gives the gRPC code and the reason; its text is for people.

    Attributes:
        request_id: The id of the failed call in the server's log; empty if the call never reached a server.
    """

    code: grpc.StatusCode = grpc.StatusCode.INTERNAL
    reason: str = "INTERNAL"

    def __init_subclass__(cls, *, code: grpc.StatusCode | None = None, reason: str = "", **kwargs: object) -> None:
        """Takes the gRPC code and the reason of a class; without them it has those of its base."""
        super().__init_subclass__(**kwargs)
        cls.code = code or cls.code
        cls.reason = reason or cls.reason

    def __init__(self, message: str, *, request_id: str = "") -> None:
        self.message = _shortened(message, MAX_MESSAGE_BYTES)
        super().__init__(self.message)
        self.request_id = request_id


class InvalidRequestError(MuserveError, code=grpc.StatusCode.INVALID_ARGUMENT, reason="INVALID_REQUEST"):
    """The request is invalid.

    Attributes:
        violations: The wrong fields, at most 20.
    """

    def __init__(self, message: str = "", *, violations: Sequence[FieldViolation] = (), request_id: str = "") -> None:
        self.violations = _fitting(violations)
        text = message or "; ".join(f"{violation.field}: {violation.description}" for violation in self.violations)
        if len(violations) > len(self.violations) and not message:
            text = _shortened(text, MAX_MESSAGE_BYTES - 32) + f"; and {len(violations) - len(self.violations)} more"
        super().__init__(text, request_id=request_id)


class ModelNotFoundError(MuserveError, code=grpc.StatusCode.NOT_FOUND, reason="MODEL_NOT_FOUND"):
    """No such model or version is served here."""


class ModelRefusedError(MuserveError, code=grpc.StatusCode.FAILED_PRECONDITION, reason="MODEL_REFUSED"):
    """The model version is in the repository, but its bundle did not pass verification."""


class QueueFullError(MuserveError, code=grpc.StatusCode.RESOURCE_EXHAUSTED, reason="QUEUE_FULL"):
    """The graph's queue is full.

    Attributes:
        retry_after_s: When to try again, in seconds.
    """

    def __init__(self, message: str, *, retry_after_s: float = 0.0, request_id: str = "") -> None:
        super().__init__(message, request_id=request_id)
        self.retry_after_s = retry_after_s


class MessageTooLargeError(MuserveError, code=grpc.StatusCode.RESOURCE_EXHAUSTED, reason="MESSAGE_TOO_LARGE"):
    """The request or its answer is larger than the message limit."""


class DeadlineExceededError(MuserveError, code=grpc.StatusCode.DEADLINE_EXCEEDED, reason="DEADLINE_EXCEEDED"):
    """The deadline passed before the answer was ready."""


class CancelledCallError(MuserveError, code=grpc.StatusCode.CANCELLED, reason="CANCELLED"):
    """The call was cancelled."""


class UnavailableError(MuserveError, code=grpc.StatusCode.UNAVAILABLE, reason="UNAVAILABLE"):
    """No server could be reached, or it is loading or draining. Trying again is always safe.

    Attributes:
        retry_after_s: When to try again, in seconds; 0 where the server did not say.
    """

    def __init__(self, message: str, *, retry_after_s: float = 0.0, request_id: str = "") -> None:
        super().__init__(message, request_id=request_id)
        self.retry_after_s = retry_after_s


class UnimplementedError(MuserveError, code=grpc.StatusCode.UNIMPLEMENTED, reason="UNIMPLEMENTED"):
    """The server does not know the method: it is older than the client, or not a Muserve server."""


class PermissionDeniedError(MuserveError, code=grpc.StatusCode.PERMISSION_DENIED, reason="PERMISSION_DENIED"):
    """A proxy in front of the server refused the caller."""


class InternalError(MuserveError, code=grpc.StatusCode.INTERNAL, reason="INTERNAL"):
    """The server failed in a way that the caller cannot fix; the request id finds it in the server's log."""


ERRORS: tuple[type[MuserveError], ...] = (
    InvalidRequestError,
    ModelNotFoundError,
    ModelRefusedError,
    QueueFullError,
    MessageTooLargeError,
    DeadlineExceededError,
    CancelledCallError,
    UnavailableError,
    UnimplementedError,
    PermissionDeniedError,
    InternalError,
)
"""The table. The first error of a code also stands for that code where no reason is given."""

_SAME_MEANING = {
    grpc.StatusCode.UNAUTHENTICATED: PermissionDeniedError,
    grpc.StatusCode.OUT_OF_RANGE: InvalidRequestError,
}


def _shortened(text: str, max_bytes: int) -> str:
    encoded = text.encode(errors="replace")
    if len(encoded) <= max_bytes:
        return encoded.decode()  # not the text itself: names of files may hold surrogates, which no message can carry
    return encoded[: max_bytes - 3].decode(errors="ignore") + "…"


def _fitting(violations: Sequence[FieldViolation]) -> tuple[FieldViolation, ...]:
    """Returns the first violations, shortened: at most 20, and no more than fit into an error's headers."""
    fitting: list[FieldViolation] = []
    room = MAX_VIOLATIONS_BYTES
    for violation in violations[:MAX_FIELD_VIOLATIONS]:
        short = FieldViolation(violation.field, _shortened(violation.description, MAX_DESCRIPTION_BYTES))
        room -= len(short.field.encode()) + len(short.description.encode())
        if room < 0:
            break
        fitting.append(short)
    return tuple(fitting)


def to_status(error: MuserveError) -> status_pb2.Status:
    """Writes an error as google.rpc.Status: ErrorInfo always, the other details where they apply."""
    status = status_pb2.Status(code=error.code.value[0], message=error.message)
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN))
    if isinstance(error, InvalidRequestError) and error.violations:
        bad_request = error_details_pb2.BadRequest()
        for violation in error.violations:
            bad_request.field_violations.add(field=violation.field, description=violation.description)
        status.details.add().Pack(bad_request)
    if isinstance(error, QueueFullError) or (isinstance(error, UnavailableError) and error.retry_after_s):
        delay = duration_pb2.Duration()
        delay.FromTimedelta(timedelta(seconds=error.retry_after_s))
        status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=delay))
    if error.request_id:
        status.details.add().Pack(error_details_pb2.RequestInfo(request_id=error.request_id))
    return status


def from_status(code: grpc.StatusCode, message: str, details: bytes | None = None) -> MuserveError:
    """Reads an error from what a call ended with.

    Args:
        code: The gRPC code. Any of the 16 that are not OK.
        message: The status message.
        details: The value of the trailing metadata key `STATUS_DETAILS_KEY`, if there was one.

    Returns:
        The error of the table that carries the code and, where one is given, the reason.
    """
    parsed = _read_details(details or b"")
    kind = _kind(code, parsed.reason, message)
    if kind is InvalidRequestError:
        return InvalidRequestError(message, violations=parsed.violations, request_id=parsed.request_id)
    if issubclass(kind, QueueFullError | UnavailableError):
        return kind(message, retry_after_s=parsed.retry_after_s, request_id=parsed.request_id)
    return kind(message, request_id=parsed.request_id)


@dataclass
class _Details:
    """The parsed details of a status."""

    reason: str = ""
    request_id: str = ""
    retry_after_s: float = 0.0
    violations: Sequence[FieldViolation] = ()


def _read_details(content: bytes) -> _Details:
    """Parses the details; unreadable ones, such as a proxy's, are ignored: the code and the message still count."""
    parsed, status = _Details(), status_pb2.Status()
    with contextlib.suppress(DecodeError):
        status.MergeFromString(content)
        for detail in status.details:
            _read_detail(detail, parsed)
    return parsed


def _read_detail(detail: any_pb2.Any, parsed: _Details) -> None:
    info, bad_request = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
    retry, request = error_details_pb2.RetryInfo(), error_details_pb2.RequestInfo()
    if detail.Unpack(info) and info.domain == DOMAIN:
        parsed.reason = info.reason
    elif detail.Unpack(bad_request):
        parsed.violations = [FieldViolation(item.field, item.description) for item in bad_request.field_violations]
    elif detail.Unpack(retry):
        # Not ToTimedelta: it refuses durations that a foreign server may well send.
        parsed.retry_after_s = max(0.0, retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9)
    elif detail.Unpack(request):
        parsed.request_id = request.request_id


def _kind(code: grpc.StatusCode, reason: str, message: str) -> type[MuserveError]:
    candidates = [kind for kind in ERRORS if kind.code is code]
    for kind in candidates:
        if kind.reason == reason:
            return kind
    if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "message" in message and "larger than max" in message:
        return MessageTooLargeError  # gRPC itself refuses these and gives no reason
    return candidates[0] if candidates else _SAME_MEANING.get(code, InternalError)
