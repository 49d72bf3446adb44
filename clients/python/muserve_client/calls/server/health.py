"""grpc.health.v1.Check with its two messages of one field written by hand: a package for them would be one too many.

grpcio-health-checking would be a fourth dependency of the bare client, for a request of one text and a response of one
number.
"""

from __future__ import annotations

from muserve_client.flows import Method

__all__ = ["CHECK", "SERVING"]

SERVING = b"\x08\x01"
"""HealthCheckResponse: field 1, varint, SERVING."""


def _serialize(service: str) -> bytes:
    name = service.encode()
    return b"\x0a" + _varint(len(name)) + name if name else b""  # HealthCheckRequest: field 1, text


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


CHECK = Method("/grpc.health.v1.Health/Check", _serialize, bytes)
"""Takes the name of a service; what comes back are the bytes of the response."""
