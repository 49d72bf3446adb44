"""Golden requests: recorded at export and replayed before a bundle is served."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf.message import Message
from numpy.typing import NDArray

from muserve.bundle import Bundle, BundleError, BundleFileError, ManifestError, golden_request
from muserve.errors import MuserveError
from muserve.v1 import manifest_pb2
from muserve_server.engine import EngineError

__all__ = ["Tensors", "WarmUpError", "replay"]

Tensors = dict[str, NDArray[Any]]
"""By "<run>.<graph>.in.<tensor>" and "<run>.<graph>.out.<tensor>", runs counted from 0."""


class WarmUpError(BundleError):
    """A golden request gave other tensors than at export: wrong weights, or a machine with other numerics."""


async def replay(
    bundle: Bundle, golden: manifest_pb2.GoldenRequest, record: Callable[[Message], Awaitable[Tensors]]
) -> None:
    """Answers a golden request and compares the tensors of every run with the recorded ones.

    Args:
        bundle: The bundle.
        golden: One of its golden requests.
        record: Answers a request and returns its tensors.

    Raises:
        ManifestError: The golden cannot be read.
        BundleFileError: Its file cannot.
        WarmUpError: It fails, or the tensors differ by more than is allowed.
    """
    request = golden_request(golden)
    if request is None:
        raise ManifestError(f"{bundle}: golden {golden.name!r} has no request that this build knows")
    if not 0 <= golden.tolerance < math.inf:
        raise ManifestError(
            f"{bundle}: golden {golden.name!r} has the tolerance {golden.tolerance}; it must be 0 or more"
        )
    try:
        recorded = await asyncio.to_thread(_read_tensors, bundle.folder / golden.file)
    except Exception as error:  # numpy and zipfile raise whatever a broken file makes them
        raise BundleFileError(f"{bundle}: {golden.file} is not an .npz file without pickles ({error})") from error
    try:
        tensors = await record(request)
    except (MuserveError, EngineError) as error:
        raise WarmUpError(f"{bundle}: golden {golden.name!r} failed: {error}") from error
    if set(tensors) != set(recorded):
        raise WarmUpError(f"{bundle}: golden {golden.name!r} ran {sorted(tensors)}, at export {sorted(recorded)}")
    for name, tensor in recorded.items():
        difference = _max_abs_diff(tensors[name], tensor)
        if not difference <= golden.tolerance:
            raise WarmUpError(
                f"{bundle}: golden {golden.name!r}: {name} differs by {difference:.3g} from what was recorded "
                f"at export; allowed: {golden.tolerance:.3g}. Export the bundle again, or serve it elsewhere"
            )


def _read_tensors(path: Path) -> Tensors:
    with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:  # np.load itself leaves a broken file open
        return dict(file)


def _max_abs_diff(actual: NDArray[Any], recorded: NDArray[Any]) -> float:
    if actual.shape != recorded.shape or actual.dtype != recorded.dtype:
        return float("inf")
    return float(np.max(np.abs(actual.astype(np.float64) - recorded.astype(np.float64)), initial=0.0))
