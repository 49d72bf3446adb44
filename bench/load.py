"""Load from h2load (nghttp2), which is written in C, so that the generator of the load takes little of the machine."""

from __future__ import annotations

import os
import re
import resource
import shutil
import struct
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from muserve.v1 import image_pb2, music_pb2, translation_pb2

__all__ = ["Load", "Request", "find_h2load", "h2load"]

Request = image_pb2.GenerateImagesRequest | music_pb2.GenerateMusicRequest | translation_pb2.TranslateImageRequest
_METHODS = {
    image_pb2.GenerateImagesRequest: "muserve.v1.ImageService/GenerateImages",
    music_pb2.GenerateMusicRequest: "muserve.v1.MusicService/GenerateMusic",
    translation_pb2.TranslateImageRequest: "muserve.v1.ImageTranslationService/TranslateImage",
}


@dataclass(frozen=True)
class Load:
    """What one run of h2load saw."""

    calls: int
    seconds: float
    bytes_per_call: float
    p50_ms: float
    p99_ms: float
    cpu_s: float
    """CPU time of h2load itself."""

    @property
    def calls_per_s(self) -> float:
        """Calls a second."""
        return self.calls / self.seconds


def find_h2load() -> str:
    """Returns the program, installing it where that needs nobody's leave."""
    if not shutil.which("h2load") and shutil.which("apt-get") and os.geteuid() == 0:
        install = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", "nghttp2-client"]
        subprocess.run(["apt-get", "update", "-qq"], check=True, stdout=subprocess.DEVNULL)
        subprocess.run(install, check=True, stdout=subprocess.DEVNULL)
    found = shutil.which("h2load")
    if not found:
        sys.exit("bench: h2load is missing; install nghttp2 (Debian: apt-get install nghttp2-client)")
    return found


def h2load(port: int, request: Request, *, calls: int, connections: int, streams: int) -> Load:
    """Sends the same call again and again, with connections * streams in flight.

    Raises:
        RuntimeError: Calls were lost. Failed calls look like good ones here: gRPC's status is in a trailer.
    """
    message = request.SerializeToString()
    with tempfile.TemporaryDirectory() as folder:
        body, log = Path(folder, "body"), Path(folder, "log")
        body.write_bytes(struct.pack(">BI", 0, len(message)) + message)
        command = [
            find_h2load(), "-n", str(calls), "-c", str(connections), "-m", str(streams), "-d", str(body),
            "--log-file", str(log), "-H", "content-type: application/grpc", "-H", "te: trailers",
            f"http://127.0.0.1:{port}/{_METHODS[type(request)]}",
        ]  # fmt: skip
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120).stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        micros = sorted(int(line.split("\t")[2]) for line in log.read_text().splitlines())
    done = re.search(rf"requests: {calls} total, {calls} started, {calls} done, {calls} succeeded", said)
    seconds = re.search(r"finished in ([\d.]+)(us|ms|s)", said)
    data = re.search(r"\((\d+)\) data", said)
    if not (done and seconds and data and len(micros) == calls):
        raise RuntimeError(f"h2load lost calls:\n{said}")
    return Load(
        calls=calls,
        seconds=float(seconds[1]) * {"us": 1e-6, "ms": 1e-3, "s": 1.0}[seconds[2]],
        bytes_per_call=int(data[1]) / calls,
        p50_ms=micros[calls // 2] / 1e3,
        p99_ms=micros[calls * 99 // 100] / 1e3,
        cpu_s=after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
    )
