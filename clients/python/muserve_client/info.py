"""What every answer says beside its media: who made it, from which seed, and how long it took."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf import duration_pb2

from muserve.v1 import common_pb2

__all__ = ["Info", "Timings", "read_info"]


@dataclass(frozen=True)
class Timings:
    """Where the time of one call went, measured in the server."""

    queue_s: float
    """Seconds that the call's rows waited for the engine."""
    compute_s: float
    """Seconds that the engine ran batches holding the call's rows."""
    encode_s: float
    """Seconds spent on encoding and decoding media."""


@dataclass(frozen=True)
class Info:
    """Where an answer comes from. The same model, digest, seed and request give the same media, byte for byte."""

    model: str
    """Name of the model that answered."""
    version: int
    """Its version."""
    digest: str
    """SHA-256 of the bundle's manifest, 64 hex digits."""
    seed: int
    """The seed that was used: the request's own, or the one that the server drew."""
    timings: Timings
    """Where the time went."""
    batch_rows: int
    """Rows of the largest batch that held rows of this call, its own and others'."""
    request_id: str
    """Names the call in the server's log."""
    server_version: str
    """Version of the Muserve build that answered."""


def read_info(info: common_pb2.ResponseInfo) -> Info:
    """Reads the wire's form."""
    timings = info.timings
    return Info(
        model=info.model,
        version=info.version,
        digest=info.digest,
        seed=info.seed,
        timings=Timings(_seconds(timings.queue), _seconds(timings.compute), _seconds(timings.encode)),
        batch_rows=timings.batch_rows,
        request_id=info.request_id,
        server_version=info.server_version,
    )


def _seconds(duration: duration_pb2.Duration) -> float:
    return duration.seconds + duration.nanos / 1e9
