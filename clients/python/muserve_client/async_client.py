"""The asyncio client: a thin skin over the core, with the same methods as `Client`."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any, Self, TypeVar

import grpc
from grpc import aio

from muserve.errors import CancelledCallError
from muserve_client.asking import answer_request, answer_rpc, questions_request, questions_rpc
from muserve_client.composing import accompany_request, accompany_rpc, music_request, music_rpc
from muserve_client.core import CLOSED, Attempts, Method, Rpc
from muserve_client.forecasting import forecast_job
from muserve_client.forecasts import Forecasts
from muserve_client.health import NOT_READY, health_rpc, never_ready, waits
from muserve_client.images import Images, image_request, images_rpc
from muserve_client.models import Model, get_model_rpc, list_models_rpc
from muserve_client.music import Accompaniment, Music
from muserve_client.options import DEFAULT_TARGET, ClientOptions, Retries
from muserve_client.questions import Answers, Questions
from muserve_client.series import Columns
from muserve_client.translating import translate_request, translate_rpc
from muserve_client.translation import Translation

__all__ = ["AsyncClient"]

Answer = TypeVar("Answer")


class AsyncClient:
    """Calls a Muserve server from asyncio: `Client`, awaited.

    It connects at its first call and belongs to the event loop that makes it: use one client a loop.

    async with AsyncClient("localhost:8001") as client:
        (await client.images(count=16, seed=7)).save("digits/")
    """

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        timeout_s: float = 60.0,
        retries: Retries = Retries(),  # noqa: B008 - frozen
        tls: bool = False,
        credentials: grpc.ChannelCredentials | None = None,
        metadata: Mapping[str, str | bytes] | Iterable[tuple[str, str | bytes]] = (),
        max_message_mib: int = 32,
        channel_options: Iterable[tuple[str, Any]] = (),
    ) -> None:
        """Checks and stores what it is given, as `Client` does; opens nothing."""
        self._options = ClientOptions.of(
            target,
            timeout_s=timeout_s,
            retries=retries,
            tls=tls,
            credentials=credentials,
            metadata=metadata,
            max_message_mib=max_message_mib,
            channel_options=channel_options,
        )
        self._closed = False
        self._channel: aio.Channel | None = None
        self._callables: dict[str, aio.UnaryUnaryMultiCallable] = {}

    async def images(
        self,
        count: int | None = None,
        *,
        labels: str | Sequence[str] = (),
        seed: int | None = None,
        first_sample: int = 0,
        truncation: float | None = None,
        sheet: bool = False,
        model: str = "",
        version: int | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Images:
        """Draws images; see `Client.images`."""
        request = image_request(
            count=count,
            labels=labels,
            seed=seed,
            first_sample=first_sample,
            truncation=truncation,
            sheet=sheet,
            model=model,
            version=version,
        )
        return await self._call(images_rpc(request), timeout_s, request_id)

    async def forecast(
        self,
        series: Any,
        horizon: int,
        *,
        frequency: str | None = None,
        quantiles: Sequence[float] = (0.1, 0.9),
        non_negative: bool = False,
        point: str = "median",
        id_column: str = "unique_id",
        time_column: str = "ds",
        value_column: str = "y",
        model: str = "",
        version: int | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Forecasts:
        """Continues series; see `Client.forecast`. Daily means every day of the week."""
        job = forecast_job(
            series,
            horizon,
            frequency=frequency,
            quantiles=quantiles,
            non_negative=non_negative,
            point=point,
            columns=Columns(id_column, time_column, value_column),
            model=model,
            version=version,
            max_message_mib=self._options.max_message_mib,
        )
        for rpc in job.calls():
            job.take(await self._call(rpc, timeout_s, request_id))
        return job.result()

    async def music(
        self,
        style: str = "",
        *,
        tempo_bpm: float | None = None,
        bars: int | None = None,
        tracks: str | Sequence[str] = (),
        density: float | None = None,
        count: int | None = None,
        seed: int | None = None,
        first_sample: int = 0,
        piano_roll: bool = False,
        model: str = "",
        version: int | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Music:
        """Writes music, as MIDI files; see `Client.music`."""
        request = music_request(
            style=style,
            tempo_bpm=tempo_bpm,
            bars=bars,
            tracks=tracks,
            density=density,
            count=count,
            seed=seed,
            first_sample=first_sample,
            piano_roll=piano_roll,
            model=model,
            version=version,
        )
        return await self._call(music_rpc(request), timeout_s, request_id)

    async def accompany(
        self,
        midi: Any,
        *,
        roles: Mapping[int, str | None] | None = None,
        tracks: str | Sequence[str] = (),
        style: str = "",
        density: float | None = None,
        count: int | None = None,
        seed: int | None = None,
        first_sample: int = 0,
        piano_roll: bool = False,
        model: str = "",
        version: int | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Accompaniment:
        """Adds tracks to a piece of one's own; see `Client.accompany`."""
        request = accompany_request(
            midi,
            roles=roles,
            tracks=tracks,
            style=style,
            density=density,
            count=count,
            seed=seed,
            first_sample=first_sample,
            piano_roll=piano_roll,
            model=model,
            version=version,
        )
        return await self._call(accompany_rpc(request), timeout_s, request_id)

    async def translate(
        self,
        image: Any,
        target: str = "",
        *,
        cycle: bool = False,
        side_by_side: bool = False,
        model: str = "",
        version: int | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Translation:
        """Shows an image as another domain would; see `Client.translate`."""
        # An array is encoded, which takes a while.
        request = await asyncio.to_thread(
            translate_request, image, target, cycle=cycle, side_by_side=side_by_side, model=model, version=version
        )
        return await self._call(translate_rpc(request), timeout_s, request_id)

    async def ask(
        self,
        question: str,
        context: str | None = None,
        *,
        count: int | None = None,
        seed: int | None = None,
        first_sample: int = 0,
        max_tokens: int | None = None,
        model: str = "",
        version: int | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Answers:
        """Answers a question; see `Client.ask`."""
        request = answer_request(
            question,
            context,
            count=count,
            seed=seed,
            first_sample=first_sample,
            max_tokens=max_tokens,
            model=model,
            version=version,
        )
        return await self._call(answer_rpc(request), timeout_s, request_id)

    async def questions(
        self,
        context: str,
        *,
        count: int | None = None,
        seed: int | None = None,
        model: str = "",
        version: int | None = None,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Questions:
        """Asks about a text; see `Client.questions`."""
        request = questions_request(context, count=count, seed=seed, model=model, version=version)
        return await self._call(questions_rpc(request), timeout_s, request_id)

    async def models(
        self, task: str | None = None, *, timeout_s: float | None = None, request_id: str | None = None
    ) -> list[Model]:
        """Lists models; see `Client.models`."""
        return await self._call(list_models_rpc(task), timeout_s, request_id)

    async def model(
        self,
        name: str,
        version: int | None = None,
        *,
        timeout_s: float | None = None,
        request_id: str | None = None,
    ) -> Model:
        """Gets one model version with its manifest; see `Client.model`."""
        return await self._call(get_model_rpc(name, version), timeout_s, request_id)

    async def is_ready(self, model: str = "", *, timeout_s: float = 5.0) -> bool:
        """Asks once whether the server takes calls; see `Client.is_ready`."""
        try:
            return await self._call(health_rpc(model), timeout_s, None, attempts=1)
        except NOT_READY:
            return False

    async def wait_until_ready(self, timeout_s: float = 60.0, *, model: str = "") -> None:
        """Waits until the server takes calls; see `Client.wait_until_ready`."""
        for check_s, pause_s in waits(timeout_s):
            if await self.is_ready(model, timeout_s=check_s):
                return
            await self._pause(pause_s)
        raise never_ready(self._options.address, model, timeout_s)

    async def close(self) -> None:
        """Ends the connection and the calls on it. Closing again does nothing."""
        self._closed = True
        if self._channel is not None:
            await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _call(
        self, rpc: Rpc[Answer], timeout_s: float | None, request_id: str | None, *, attempts: int | None = None
    ) -> Answer:
        """Sends a call, again where that is safe, and reads its answer."""
        call = Attempts(self._options, timeout_s=timeout_s, request_id=request_id, most=attempts)
        send = self._callable(rpc.method)
        while True:
            try:
                return rpc.answer(await send(rpc.request, timeout=call.remaining_s(), metadata=call.metadata))
            except grpc.RpcError as error:
                failure = call.translate(error)
                pause = call.pause_s(failure)
                if pause is None:
                    raise rpc.explain(failure) from error
            except asyncio.CancelledError as error:
                # gRPC raises this too when the channel is closed under a call, though nobody cancelled the task.
                task = asyncio.current_task()
                if self._closed and task is not None and not task.cancelling():
                    raise CancelledCallError(CLOSED) from error
                raise
            await self._pause(pause)

    def _callable(self, method: Method) -> aio.UnaryUnaryMultiCallable:
        if self._closed:
            raise RuntimeError(CLOSED)
        if self._channel is None:
            self._channel = self._open()
        if method.path not in self._callables:
            self._callables[method.path] = self._channel.unary_unary(method.path, method.serialize)
        return self._callables[method.path]

    def _open(self) -> aio.Channel:
        credentials, arguments = self._options.channel_credentials(), self._options.channel_arguments()
        if credentials is None:
            return aio.insecure_channel(self._options.target, arguments)
        return aio.secure_channel(self._options.target, credentials, arguments)

    async def _pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if self._closed:
            raise CancelledCallError(CLOSED)
