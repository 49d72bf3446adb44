"""One table, written and read: every error and every gRPC code."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from hypothesis import given
from hypothesis import strategies as st

from muserve import errors
from muserve.errors import (
    ERRORS,
    CancelledCallError,
    DeadlineExceededError,
    FieldViolation,
    InternalError,
    InvalidRequestError,
    MessageTooLargeError,
    ModelNotFoundError,
    ModelRefusedError,
    MuserveError,
    PermissionDeniedError,
    QueueFullError,
    UnavailableError,
    UnimplementedError,
    from_status,
    to_status,
)

Code = grpc.StatusCode
BARE = {
    Code.CANCELLED: CancelledCallError,
    Code.UNKNOWN: InternalError,
    Code.INVALID_ARGUMENT: InvalidRequestError,
    Code.DEADLINE_EXCEEDED: DeadlineExceededError,
    Code.NOT_FOUND: ModelNotFoundError,
    Code.ALREADY_EXISTS: InternalError,
    Code.PERMISSION_DENIED: PermissionDeniedError,
    Code.RESOURCE_EXHAUSTED: QueueFullError,
    Code.FAILED_PRECONDITION: ModelRefusedError,
    Code.ABORTED: InternalError,
    Code.OUT_OF_RANGE: InvalidRequestError,
    Code.UNIMPLEMENTED: UnimplementedError,
    Code.INTERNAL: InternalError,
    Code.UNAVAILABLE: UnavailableError,
    Code.DATA_LOSS: InternalError,
    Code.UNAUTHENTICATED: PermissionDeniedError,
}
"""What each code stands for where a foreign server gives no reason."""


def back(error: MuserveError) -> MuserveError:
    """Writes an error and reads it again."""
    status = to_status(error)
    return from_status(error.code, status.message, status.SerializeToString())


def test_all_16_codes_are_walked() -> None:
    assert set(BARE) == set(Code) - {Code.OK}
    assert len(BARE) == 16


@pytest.mark.parametrize("code", BARE, ids=lambda code: code.name)
def test_a_bare_code_is_an_error_of_the_table(code: grpc.StatusCode) -> None:
    error = from_status(code, "why")
    assert type(error) is BARE[code]
    assert str(error) == error.message == "why"
    assert error.request_id == ""


@pytest.mark.parametrize("code", BARE, ids=lambda code: code.name)
@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_the_code_outweighs_a_reason_that_is_not_its_own(code: grpc.StatusCode, kind: type[MuserveError]) -> None:
    error = from_status(code, "why", to_status(kind("why")).SerializeToString())
    assert type(error) is (kind if kind.code is code else BARE[code])


@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_can_be_written_and_read(kind: type[MuserveError]) -> None:
    error = kind("what came", request_id="the-id")
    status = to_status(error)
    assert status.code == kind.code.value[0]
    assert status.message == "what came"
    read = back(error)
    assert type(read) is kind
    assert vars(read) == vars(error)


def test_the_table_is_the_tree() -> None:
    assert set(ERRORS) == set(MuserveError.__subclasses__())
    assert {kind.__name__ for kind in ERRORS} | {"MuserveError"} == {name for name in errors.__all__ if "Error" in name}
    assert len({(kind.code, kind.reason) for kind in ERRORS}) == len(ERRORS)
    drawn = errors.__doc__ or ""
    for kind in ERRORS:
        line = next(line for line in drawn.splitlines() if f" {kind.__name__} " in line)
        assert line.split()[2:4] == [kind.code.name, kind.reason]


def test_violations_are_carried() -> None:
    error = InvalidRequestError(violations=[FieldViolation("seed", "is -1"), FieldViolation("labels[3]", "is 'x'")])
    assert str(error) == "seed: is -1; labels[3]: is 'x'"
    read = back(error)
    assert isinstance(read, InvalidRequestError)
    assert read.violations == error.violations
    assert str(read) == str(error)


def test_at_most_20_violations_are_carried_and_the_rest_counted() -> None:
    error = InvalidRequestError(violations=[FieldViolation(f"f[{i}]", "x") for i in range(30)])
    assert len(error.violations) == 20
    assert str(error).endswith("f[19]: x; and 10 more")


@given(st.text(max_size=5000), st.lists(st.tuples(st.text(max_size=300), st.text(max_size=3000)), max_size=40))
def test_every_error_fits_into_headers(message: str, fields: list[tuple[str, str]]) -> None:
    # gRPC's peers take 8 KiB of headers; the details travel as base64, and the message beside them percent-encoded.
    error = InvalidRequestError(message, violations=[FieldViolation(*field) for field in fields])
    status = to_status(error)
    assert len(status.SerializeToString()) < 5600
    read = back(error)
    assert isinstance(read, InvalidRequestError)
    assert read.violations == error.violations
    assert read.message == error.message


@pytest.mark.parametrize("text", ["\ud800", "a\udcffb", "\udcff" * 5000])
def test_names_that_are_no_unicode_can_still_be_told(text: str) -> None:
    error = InvalidRequestError(text, violations=[FieldViolation("f", text)])
    assert str(back(error)) == str(error)


@pytest.mark.parametrize("kind", [QueueFullError, UnavailableError])
@given(seconds=st.floats(0, 1e6))
def test_retry_after_is_carried(kind: type[QueueFullError | UnavailableError], seconds: float) -> None:
    read = back(kind("not now", retry_after_s=seconds))
    assert isinstance(read, kind)
    assert read.retry_after_s == pytest.approx(seconds, abs=1e-6)


@pytest.mark.parametrize(("seconds", "expected"), [(-5, 0.0), (10**15, 10.0**15)])
def test_a_foreign_retry_delay_of_any_size_can_be_read(seconds: int, expected: float) -> None:
    status = status_pb2.Status()
    status.details.add().Pack(error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=seconds)))
    read = from_status(Code.RESOURCE_EXHAUSTED, "full", status.SerializeToString())
    assert isinstance(read, QueueFullError)
    assert read.retry_after_s == expected


@pytest.mark.parametrize(
    "message", ["CLIENT: Sent message larger than max (9 vs. 4)", "Received message larger than max"]
)
def test_grpcs_own_message_limit_is_known_by_its_words(message: str) -> None:
    assert type(from_status(Code.RESOURCE_EXHAUSTED, message)) is MessageTooLargeError
    full = to_status(QueueFullError(message)).SerializeToString()
    assert type(from_status(Code.RESOURCE_EXHAUSTED, message, full)) is QueueFullError  # a reason outweighs words


def test_reasons_of_other_domains_mean_nothing() -> None:
    status = status_pb2.Status()
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason="MESSAGE_TOO_LARGE", domain="example.com"))
    assert type(from_status(Code.RESOURCE_EXHAUSTED, "x", status.SerializeToString())) is QueueFullError


def broken_details() -> list[Any]:
    info = any_pb2.Any()
    info.Pack(error_details_pb2.ErrorInfo())
    info.value = b"\xff"
    return [
        b"\xff\xff\xff",
        b"not a status",
        status_pb2.Status(details=[info]).SerializeToString(),
        status_pb2.Status(details=[any_pb2.Any(type_url="example.com/unknown", value=b"x")]).SerializeToString(),
    ]


@pytest.mark.parametrize("details", broken_details())
def test_details_that_cannot_be_read_do_not_hide_the_error(details: bytes) -> None:
    error = from_status(Code.NOT_FOUND, "gone", details)
    assert type(error) is ModelNotFoundError
    assert str(error) == "gone"


@given(st.binary(max_size=200))
def test_details_may_be_anything(details: bytes) -> None:
    assert type(from_status(Code.UNAVAILABLE, "x", details)) is UnavailableError
