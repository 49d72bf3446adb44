"""What every result says beside its media: the model, the seed, and how long it took."""

from __future__ import annotations

from dataclasses import dataclass

from google.protobuf import duration_pb2

from muserve.v1 import common_pb2

__all__ = ["Info", "Timings", "read_info"]


@dataclass(frozen=True)
class Timings:
    """Time spent on one call, measured in the server."""

    queue_s: float
    """Seconds that the call's rows waited for the engine."""
    compute_s: float
    """Seconds that the engine ran batches with the call's rows."""
    encode_s: float
    """Seconds spent on encoding and decoding media."""


@dataclass(frozen=True)
class Info:
    """Where a result comes from. The same digest, seed and request give the same media, byte for byte."""

    model: str
    """Model name."""
    version: int
    """Model version."""
    digest: str
    """SHA-256 of the bundle's manifest, 64 hex digits."""
    seed: int
    """The seed used: the request's, or one drawn by the server."""
    timings: Timings
    """Time spent."""
    batch_rows: int
    """Rows of the largest batch with rows of this call, those of other calls included."""
    request_id: str
    """The call's name in the server's log."""
    server_version: str
    """Version of the server."""


def read_info(info: common_pb2.ResponseInfo) -> Info:
    """Reads the message."""
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
