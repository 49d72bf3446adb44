"""gRPC's framing of messages and statuses in HTTP, as its protocol says: doc/PROTOCOL-HTTP2.md of grpc/grpc."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import quote

from muserve.errors import (
    STATUS_DETAILS_KEY,
    InvalidRequestError,
    MessageTooLargeError,
    MuserveError,
    UnimplementedError,
    to_status,
)

__all__ = [
    "ENCODINGS",
    "CallerGoneError",
    "Receive",
    "framed",
    "read_message",
    "read_messages",
    "status_headers",
    "timeout_s",
]

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
"""ASGI's: the next part of a request."""

ENCODINGS = b"identity,gzip,deflate"
_WINDOW_BITS = {b"gzip": 16 + zlib.MAX_WBITS, b"deflate": zlib.MAX_WBITS}
_PREFIX = struct.Struct(">BI")  # whether it is compressed, and its length
_SECONDS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_PRINTABLE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")


class CallerGoneError(Exception):
    """The caller has gone before the answer was made."""


async def read_message(receive: Receive, encoding: bytes, max_bytes: int) -> bytes:
    """Reads the one message of a request.

    Args:
        receive: ASGI's.
        encoding: What compressed messages are compressed with.
        max_bytes: Size of the largest message.

    Raises:
        InvalidRequestError: There is none, or more than one, or it is cut off.
        MessageTooLargeError: It is larger than allowed.
        UnimplementedError: It is compressed with something else.
        CallerGoneError: The caller has gone.
    """
    first = None
    async for message in read_messages(receive, encoding, max_bytes):
        if first is not None:
            raise InvalidRequestError("the request has several messages; this method takes one")
        first = message
    if first is None:
        raise InvalidRequestError("the request has no message; this method takes one")
    return first


async def read_messages(receive: Receive, encoding: bytes, max_bytes: int) -> AsyncIterator[bytes]:
    """Reads the messages of a request as they come; see `read_message`."""
    buffer = bytearray()  # grows in place: a message that comes byte by byte is not copied for each
    while True:
        part = await receive()
        if part["type"] == "http.disconnect":
            raise CallerGoneError
        buffer += part.get("body", b"")
        while len(buffer) >= _PREFIX.size:
            compressed, size = _PREFIX.unpack_from(buffer)
            if size > max_bytes:
                raise _too_large(size, max_bytes)
            end = _PREFIX.size + size
            if len(buffer) < end:
                break
            message = bytes(memoryview(buffer)[_PREFIX.size : end])
            del buffer[:end]
            yield _decompressed(message, encoding, max_bytes) if compressed else message
        if not part.get("more_body"):
            if buffer:
                raise InvalidRequestError("the request ends inside a message")
            return


def framed(message: bytes) -> bytes:
    """Returns a message as it is sent."""
    return _PREFIX.pack(0, len(message)) + message


def status_headers(error: MuserveError) -> list[tuple[bytes, bytes]]:
    """Returns how a call ended, as its trailers say it."""
    details = base64.b64encode(to_status(error).SerializeToString()).rstrip(b"=")
    return [
        (b"grpc-status", str(error.code.value[0]).encode()),
        (b"grpc-message", quote(error.message, safe=_PRINTABLE).encode()),
        (STATUS_DETAILS_KEY.encode(), details),
    ]


def timeout_s(header: bytes | None) -> float | None:
    """Reads the header grpc-timeout.

    Raises:
        InvalidRequestError: It is not a number of at most eight digits and a unit.
    """
    if header is None:
        return None
    digits, unit = header[:-1], header[-1:]
    if not digits.isdigit() or len(digits) > 8 or unit not in _SECONDS:
        text = header[:32].decode("latin-1")
        raise InvalidRequestError(f"grpc-timeout is {text!r}; allowed: up to eight digits and one of H, M, S, m, u, n")
    return int(digits) * _SECONDS[unit]


def _decompressed(message: bytes, encoding: bytes, max_bytes: int) -> bytes:
    if encoding not in _WINDOW_BITS:
        text = encoding[:32].decode("latin-1")
        raise UnimplementedError(f"grpc-encoding is {text!r}; allowed: {ENCODINGS.decode()}")
    decompressor = zlib.decompressobj(_WINDOW_BITS[encoding])
    try:
        plain = decompressor.decompress(message, max_bytes + 1)
    except zlib.error as error:
        raise InvalidRequestError(f"the message cannot be decompressed ({error})") from error
    if len(plain) > max_bytes:
        raise _too_large(len(plain), max_bytes)
    if not decompressor.eof:
        raise InvalidRequestError("the message cannot be decompressed (it is cut off)")
    return plain


def _too_large(size: int, max_bytes: int) -> MessageTooLargeError:
    return MessageTooLargeError(
        f"the request has {size} bytes or more; this server takes at most {max_bytes} (its setting max_message_mib)"
    )
