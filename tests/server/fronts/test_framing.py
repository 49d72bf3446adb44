"""gRPC's framing in HTTP: whatever parts a request comes in, its messages are those that were sent."""

from __future__ import annotations

import base64
import gzip
import zlib
from collections.abc import Callable
from urllib.parse import unquote_to_bytes

import grpc
import pytest
from google.rpc import status_pb2
from hypothesis import given
from hypothesis import strategies as st

from muserve.errors import (
    FieldViolation,
    InvalidRequestError,
    MessageTooLargeError,
    MuserveError,
    QueueFullError,
    UnimplementedError,
    from_status,
)
from muserve_server.fronts.envoy.framing import (
    CallerGoneError,
    framed,
    read_message,
    read_messages,
    status_headers,
    timeout_s,
)
from tests.server.fronts.asgi_calls import Caller, parts_of

MAX_BYTES = 1000
COMPRESSIONS: dict[bytes, Callable[[bytes], bytes]] = {b"gzip": gzip.compress, b"deflate": zlib.compress}


def packed(content: bytes) -> bytes:
    """Frames what is compressed."""
    return b"\1" + framed(content)[1:]


def cut(content: bytes, places: list[int]) -> Caller:
    """Sends content cut at these places."""
    ends = [*sorted(place % (len(content) + 1) for place in places), len(content)]
    starts = [0, *ends[:-1]]
    return Caller("/", parts_of(*(content[start:end] for start, end in zip(starts, ends, strict=True))))


@given(
    messages=st.lists(st.tuples(st.binary(max_size=200), st.booleans()), max_size=5),
    places=st.lists(st.integers(0, 10_000), max_size=8),
    encoding=st.sampled_from(sorted(COMPRESSIONS)),
)
async def test_messages_are_those_that_were_sent_however_they_are_cut(
    messages: list[tuple[bytes, bool]], places: list[int], encoding: bytes
) -> None:
    compress = COMPRESSIONS[encoding]
    content = b"".join(packed(compress(message)) if small else framed(message) for message, small in messages)
    read = cut(content, places).messages(read_messages, encoding, MAX_BYTES)
    assert [message async for message in read] == [message for message, _ in messages]


@given(message=st.binary(max_size=50), keep=st.integers(0, 60), places=st.lists(st.integers(0, 100), max_size=3))
async def test_a_message_that_is_cut_off_is_an_error(message: bytes, keep: int, places: list[int]) -> None:
    content = framed(message)
    kept = content[: keep % len(content)]
    reason = "ends inside a message" if kept else "has no message"
    with pytest.raises(InvalidRequestError, match=reason):
        await read_message(cut(kept, places).receive, b"", MAX_BYTES)


async def test_one_message_is_one_and_not_several() -> None:
    assert await read_message(cut(framed(b"a"), [3]).receive, b"", MAX_BYTES) == b"a"
    assert await read_message(cut(framed(b""), []).receive, b"", MAX_BYTES) == b""
    with pytest.raises(InvalidRequestError, match="several messages"):
        await read_message(cut(framed(b"a") + framed(b"b"), []).receive, b"", MAX_BYTES)


async def test_the_largest_message_is_taken_and_a_larger_one_is_not() -> None:
    largest, larger = b"x" * MAX_BYTES, b"x" * (MAX_BYTES + 1)
    for content in (framed(largest), packed(gzip.compress(largest))):
        assert await read_message(cut(content, []).receive, b"gzip", MAX_BYTES) == largest
    bomb = packed(gzip.compress(bytes(10_000_000)))[: MAX_BYTES + 5]
    for content in (framed(larger), framed(larger)[:5], packed(gzip.compress(larger)), bomb):
        with pytest.raises(MessageTooLargeError, match=r"takes at most 1000 .*max_message_mib"):
            await read_message(cut(content, []).receive, b"gzip", MAX_BYTES)


@pytest.mark.parametrize(
    ("content", "encoding", "error", "text"),
    [
        (packed(b"no gzip"), b"gzip", InvalidRequestError, "cannot be decompressed"),
        (packed(gzip.compress(b"whole", mtime=0)[:-4]), b"gzip", InvalidRequestError, "cut off"),
        (packed(b""), b"gzip", InvalidRequestError, "cut off"),
        (packed(b"x"), b"snappy", UnimplementedError, "'snappy'; allowed: identity,gzip,deflate"),
        (packed(b"x"), b"", UnimplementedError, "allowed: identity,gzip,deflate"),
        (packed(b"x"), b"identity", UnimplementedError, "allowed: identity,gzip,deflate"),
    ],
)
async def test_what_cannot_be_decompressed_says_so(
    content: bytes, encoding: bytes, error: type[MuserveError], text: str
) -> None:
    with pytest.raises(error, match=text):
        await read_message(cut(content, []).receive, encoding, MAX_BYTES)


async def test_a_caller_who_goes_while_he_sends_is_gone() -> None:
    caller = Caller("/", [{"type": "http.request", "body": framed(b"abc")[:6], "more_body": True}])
    caller.gone.set()
    with pytest.raises(CallerGoneError):
        await read_message(caller.receive, b"", MAX_BYTES)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        (b"2H", 7200.0),
        (b"3M", 180.0),
        (b"99999999S", 99_999_999.0),
        (b"250m", 0.25),
        (b"5u", 5e-6),
        (b"7n", 7e-9),
        (b"0S", 0.0),
    ],
)
def test_timeouts_have_a_unit(header: bytes | None, seconds: float | None) -> None:
    assert timeout_s(header) == (seconds if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize("header", [b"", b"S", b"5", b"-1S", b"1.5S", b"123456789S", b"5x", b"5 S", b"\xb2S", b"+5S"])
def test_other_timeouts_are_errors(header: bytes) -> None:
    with pytest.raises(InvalidRequestError, match=r"grpc-timeout is .* allowed: up to eight digits"):
        timeout_s(header)


@given(message=st.text(max_size=300), seconds=st.integers(0, 1000))
def test_a_status_is_read_back_as_it_was(message: str, seconds: int) -> None:
    error = QueueFullError(message, retry_after_s=float(seconds), request_id="abc")
    headers = dict(status_headers(error))
    encoded = headers[b"grpc-message"]
    assert all(0x20 <= byte <= 0x7E for byte in encoded)
    details = headers[b"grpc-status-details-bin"]
    assert not details.endswith(b"=")
    content = base64.b64decode(details + b"=" * (-len(details) % 4))
    assert unquote_to_bytes(encoded).decode() == error.message == status_pb2.Status.FromString(content).message
    assert headers[b"grpc-status"] == b"8"
    read = from_status(grpc.StatusCode.RESOURCE_EXHAUSTED, error.message, content)
    assert isinstance(read, QueueFullError)
    assert (read.retry_after_s, read.request_id) == (seconds, "abc")


def test_the_largest_status_fits_into_the_headers_that_peers_take() -> None:
    violations = [FieldViolation("f" * 40, "ü" * 5000)] * 100
    headers = status_headers(InvalidRequestError(violations=violations, request_id="y" * 128))
    assert sum(len(name) + len(value) + 32 for name, value in headers) < 8192
