"""Callers who begin calls and never end them: others are served meanwhile, and probes are answered."""

from __future__ import annotations

import asyncio
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from hpack import Encoder
from hyperframe.frame import DataFrame, Frame, HeadersFrame, RstStreamFrame, SettingsFrame

from muserve.v1 import image_pb2, image_pb2_grpc
from tests.bundles import image_bundle
from tests.server.calling import channel_to
from tests.server.waiting import until
from tests.servers import server_process

FRONTS = ("grpcio", "envoy")
CALLS = 6000
MAX_STREAMS = 1024
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS = [
    (":method", "POST"),
    (":scheme", "http"),
    (":authority", "localhost"),
    (":path", "/muserve.v1.ImageService/GenerateImages"),
    ("content-type", "application/grpc"),
    ("te", "trailers"),
]


class HalfSent:
    """One connection whose calls have headers and three bytes of a message."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.refused = 0
        self.ended = 0
        self.closed = False
        self._reader = reader
        self._writer = writer
        self._reading = asyncio.create_task(self._read())

    async def begin(self, calls: int) -> None:
        """Begins calls, whatever the server says."""
        encoder = Encoder()
        self._writer.write(PREFACE + SettingsFrame(0).serialize())
        with suppress(ConnectionError):  # a server may also close the connection of such a caller
            for number in range(calls):
                stream = 2 * number + 1
                headers = HeadersFrame(stream, encoder.encode(HEADERS), flags=["END_HEADERS"])
                self._writer.write(headers.serialize() + DataFrame(stream, b"\0\0\0").serialize())
                await self._writer.drain()

    async def close(self) -> None:
        self._reading.cancel()
        self._writer.close()

    async def _read(self) -> None:
        try:
            while True:
                head = await self._reader.readexactly(9)
                frame, length = Frame.parse_frame_header(memoryview(head))
                await self._reader.readexactly(length)
                self.refused += isinstance(frame, RstStreamFrame)
                self.ended += "END_STREAM" in frame.flags
        except (asyncio.IncompleteReadError, ConnectionError):
            self.closed = True


@asynccontextmanager
async def half_sent(port: int, calls: int) -> AsyncIterator[HalfSent]:
    connection = HalfSent(*await asyncio.open_connection("127.0.0.1", port))
    try:
        await connection.begin(calls)
        yield connection
    finally:
        await connection.close()


@pytest.mark.parametrize("front", FRONTS)
async def test_one_connection_of_half_sent_calls_locks_nobody_out(tmp_path: Path, front: str) -> None:
    image_bundle(tmp_path)
    flags = ("--front", front, "--drain-delay-s", "0", "--grace-s", "0")
    with server_process(tmp_path, *flags) as server:
        async with (
            half_sent(server.grpc_port, CALLS) as hanging,
            channel_to(server.grpc_port, **{"grpc.use_local_subchannel_pool": 1}) as channel,
        ):
            await until(lambda: hanging.closed or hanging.refused == CALLS - MAX_STREAMS)
            for _ in range(20):
                health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=60)
                assert health.status == health_pb2.HealthCheckResponse.SERVING
                stub = image_pb2_grpc.ImageServiceStub(channel)
                response = await stub.GenerateImages(image_pb2.GenerateImagesRequest(), timeout=60)
                assert response.images
            assert await asyncio.to_thread(is_ready, server.http_port)
            assert hanging.closed or hanging.refused == CALLS - MAX_STREAMS  # the others hang all the while


async def test_behind_envoy_a_request_that_does_not_arrive_is_ended(tmp_path: Path) -> None:
    image_bundle(tmp_path)
    flags = ("--front", "envoy", "--receive-timeout-s", "0.5", "--drain-delay-s", "0")
    with server_process(tmp_path, *flags) as server:
        async with half_sent(server.grpc_port, 50) as hanging:
            await until(lambda: hanging.ended == 50)


def is_ready(http_port: int) -> bool:
    with urllib.request.urlopen(f"http://127.0.0.1:{http_port}/readyz", timeout=60) as answer:
        return bool(answer.status == 200)
