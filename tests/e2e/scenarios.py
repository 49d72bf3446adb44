"""What the mixed load is made of. A family joins by adding one `Scenario` to SCENARIOS."""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import numpy as np
from google.protobuf.message import Message
from grpc import aio
from PIL import Image

from muserve.bundle import Bundle
from muserve.errors import FieldViolation, InvalidRequestError
from muserve.v1 import (
    answer_pb2,
    answer_pb2_grpc,
    common_pb2,
    forecast_pb2,
    forecast_pb2_grpc,
    image_pb2,
    image_pb2_grpc,
    music_pb2,
    music_pb2_grpc,
    translation_pb2,
    translation_pb2_grpc,
)
from muserve_server.tasks import Call, Handler, Task, installed_kinds, noise
from muserve_server.tasks.image.limits import ImageLimits
from muserve_server.tasks.media.png import encode_png, to_pixels
from tests.answer_bundles import KINDS, PASSAGES_READ, copy_bundle
from tests.bundles import (
    DAILY,
    LATENT_SIZE,
    LOOP_STEPS,
    MAX_HORIZON,
    MONTHLY,
    QUARTERLY,
    YEARLY,
    forecast_bundle,
    image_bundle,
    loop_bundle,
)
from tests.music_bundles import BARS, MAX_BARS, music_bundle
from tests.options import kinds_with
from tests.server.musical import midi_file, note_track
from tests.server.pictorial import image_file, scene
from tests.translation_bundles import OVERLAP, TILE_SIZE, scene_bundle

__all__ = ["SCENARIOS", "TEST_KINDS", "LoopTask", "Scenario"]

INVALID, INTERNAL = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.INTERNAL


@dataclass(frozen=True)
class Scenario:
    """One bundle, what it is asked for, and what must come back."""

    name: str
    """Also the name of the model."""
    write: Callable[[Path], Path]
    """Writes the bundle under a models folder."""
    call: Callable[[aio.Channel], Callable[..., Any]]
    """The RPC to call on a channel."""
    good: Sequence[Message]
    """Requests, with seeds where there is noise: the media of each must be the same bytes alone and in any company."""
    bad: Sequence[tuple[Message, grpc.StatusCode]]
    """Requests that must fail, each by itself, and with which code."""
    media: Callable[[Any], list[bytes]]
    """Takes what must be equal out of a response."""
    rows: Callable[[Any], int]
    """How many rows a good request puts into a run at most: a larger batch was shared."""


class LoopTask:
    """Ten steps over two graphs, in turns: what decoding loops, roll-outs and retrieval do. For tests only.

    The label "bad" makes the sixth step fail inside the graph; "endless" goes on until it is stopped.
    """

    def __init__(self, _bundle: Bundle, limits: ImageLimits) -> None:
        self._limits = limits
        self.endless = 0
        self.endless_steps = 0

    def handlers(self) -> Mapping[str, Handler]:
        return {"GenerateImages": self.generate}

    async def generate(self, request: image_pb2.GenerateImagesRequest, call: Call) -> image_pb2.GenerateImagesResponse:
        if not 1 <= request.count <= self._limits.max_samples_per_call:
            raise InvalidRequestError(violations=[FieldViolation("count", f"is {request.count}")])
        state = noise.standard_normal(request.seed, request.first_sample, request.count, LATENT_SIZE)
        if "endless" in request.labels:
            return await self._loop_forever(state, call)
        bad = "bad" in request.labels
        for step in range(LOOP_STEPS):
            if step % 2:
                outputs = await call.infer("mix", {"state": state})
            else:
                index = LOOP_STEPS if bad and step == 6 else step
                outputs = await call.infer("step", {"state": state, "index": np.full(len(state), index, np.int64)})
            state = np.ascontiguousarray(outputs["next"], dtype=np.float32)
        return await call.offload(_encode, state, request.seed)

    async def _loop_forever(self, state: Any, call: Call) -> image_pb2.GenerateImagesResponse:
        self.endless += 1
        try:
            while True:
                outputs = await call.infer("mix", {"state": state})
                state = outputs["next"]
                self.endless_steps += 1
        finally:
            self.endless -= 1


def _encode(state: Any, seed: int) -> image_pb2.GenerateImagesResponse:
    # The very bits, since 8-bit pixels would hide small differences.
    bits = np.ascontiguousarray(state).view(np.uint8).reshape(len(state), 1, 1, -1)
    response = image_pb2.GenerateImagesResponse(info=common_pb2.ResponseInfo(seed=seed))
    for pixels in to_pixels(bits.astype(np.float32), 0, 255):
        response.images.add(png=encode_png(pixels, {"seed": seed}))
    return response


def _image_task_or_loop(bundle: Bundle, limits: ImageLimits) -> Task:
    if bundle.manifest.name == "loop":
        return LoopTask(bundle, limits)
    return installed_kinds()["image"].open(bundle, limits)


TEST_KINDS = kinds_with(image=_image_task_or_loop)
"""The server's kinds, and LoopTask behind ImageService for the model named loop."""


def _generate_images(channel: aio.Channel) -> Callable[..., Any]:
    return image_pb2_grpc.ImageServiceStub(channel).GenerateImages  # type: ignore[no-any-return]


def _pngs(response: image_pb2.GenerateImagesResponse) -> list[bytes]:
    return [image.png for image in response.images]


def _rows(request: image_pb2.GenerateImagesRequest) -> int:
    return max(request.count, len(request.labels), 1)


def _request(model: str, **fields: Any) -> image_pb2.GenerateImagesRequest:
    return image_pb2.GenerateImagesRequest(model=model, **fields)


LOOP = Scenario(
    name="loop",
    write=loop_bundle,
    call=_generate_images,
    good=[_request("loop", seed=seed, count=1 + seed % 5, first_sample=seed) for seed in range(12)],
    bad=[
        (_request("loop", seed=1, count=1, labels=["bad"]), INTERNAL),
        (_request("loop", seed=2, count=3, labels=["bad"]), INTERNAL),
        (_request("loop", count=0), INVALID),
    ],
    media=_pngs,
    rows=_rows,
)

PLAIN = Scenario(
    name="plain",
    write=lambda root: image_bundle(root, "plain"),
    call=_generate_images,
    good=[_request("plain", seed=2**64 - 1 - seed, count=1 + 7 * seed) for seed in range(6)],
    bad=[(_request("plain", labels=["0"]), INVALID), (_request("plain", count=257), INVALID)],
    media=_pngs,
    rows=_rows,
)

LABELLED = Scenario(
    name="labelled",
    write=lambda root: image_bundle(root, "labelled", labels=("cat", "dog", "emu")),
    call=_generate_images,
    good=[
        _request("labelled", seed=1),
        _request("labelled", seed=1, labels=["dog"]),
        _request("labelled", seed=1, labels=["dog"], count=70, truncation=0.25),  # spans runs
        _request("labelled", seed=2, labels=["cat", "emu", "dog"], truncation=1.0),
        _request("labelled", seed=2, first_sample=2**53 - 9, count=9, layout=image_pb2.IMAGE_LAYOUT_CONTACT_SHEET),
        _request("labelled", seed=3, count=5, truncation=0.5, layout=image_pb2.IMAGE_LAYOUT_SEPARATE),
    ],
    bad=[
        (_request("labelled", labels=["cow"]), INVALID),
        (_request("labelled", truncation=float("nan")), INVALID),
        (_request("labelled", labels=["cat", "dog"], count=3), INVALID),
    ],
    media=_pngs,
    rows=_rows,
)


def _forecast(channel: aio.Channel) -> Callable[..., Any]:
    return forecast_pb2_grpc.ForecastServiceStub(channel).Forecast  # type: ignore[no-any-return]


def _numbers(response: forecast_pb2.ForecastResponse) -> list[bytes]:
    return [forecast.SerializeToString(deterministic=True) for forecast in response.forecasts]


def _series(count: int, seed: int, *frequencies: int, **fields: Any) -> forecast_pb2.ForecastRequest:
    """Asks for series of all lengths, above zero and not, with gaps and without; the frequencies take turns."""
    random = np.random.default_rng(seed)
    request = forecast_pb2.ForecastRequest(model="series", **{"horizon": 4} | fields)
    for index in range(count):
        values = random.normal(0, 1, random.integers(8, 120)).cumsum()
        values = 100 * np.exp(values / 10) if random.random() < 0.5 else values
        if random.random() < 0.5:
            values[2:5] = np.nan
        frequency = frequencies[index % len(frequencies)]
        request.series.add(id=f"{seed}/{index}", values=values, frequency=frequency)
    return request


FORECAST = Scenario(
    name="series",
    write=lambda root: forecast_bundle(root, "series"),
    call=_forecast,
    good=[
        _series(1, 0, MONTHLY),
        _series(1, 1, MONTHLY, horizon=12, quantiles=(0.1, 0.9)),
        _series(5, 2, QUARTERLY, point=forecast_pb2.POINT_FORECAST_MEAN, quantiles=(0.5, 0.123, 0.999)),
        _series(9, 3, YEARLY, DAILY, MONTHLY, horizon=MAX_HORIZON, quantiles=(0.2,)),
        _series(50, 4, DAILY, MONTHLY, non_negative=True),  # spans runs
        _series(3, 5, DAILY, horizon=MAX_HORIZON, point=forecast_pb2.POINT_FORECAST_MEAN),
    ],
    bad=[
        (_series(3, 6, MONTHLY, horizon=0), INVALID),
        (_series(2, 7, MONTHLY, quantiles=(0.5, 1.5)), INVALID),
        (_series(2, 8, MONTHLY, 99), INVALID),
        (forecast_pb2.ForecastRequest(model="series", horizon=1), INVALID),
    ],
    media=_numbers,
    rows=lambda request: len(request.series),
)


def _music(channel: aio.Channel) -> Callable[..., Any]:
    stub = music_pb2_grpc.MusicServiceStub(channel)

    def call(request: Message, **options: Any) -> Any:
        is_given = isinstance(request, music_pb2.AccompanyRequest)
        return (stub.Accompany if is_given else stub.GenerateMusic)(request, **options)

    return call


def _pieces(response: music_pb2.GenerateMusicResponse | music_pb2.AccompanyResponse) -> list[bytes]:
    return [piece.SerializeToString(deterministic=True) for piece in response.pieces]


def _phrases(request: music_pb2.GenerateMusicRequest | music_pb2.AccompanyRequest) -> int:
    bars = _TUNE_BARS if isinstance(request, music_pb2.AccompanyRequest) else request.bars or BARS
    return max(request.count, 1) * -(-bars // BARS)


def _compose(**fields: Any) -> music_pb2.GenerateMusicRequest:
    return music_pb2.GenerateMusicRequest(model="band", **fields)


def _accompany(midi: bytes, **fields: Any) -> music_pb2.AccompanyRequest:
    return music_pb2.AccompanyRequest(model="band", midi=midi, **fields)


_TUNE_BARS = 5
_TUNE = midi_file(note_track(*((480 * beat, 480 * beat + 400, 60 + beat) for beat in range(4 * _TUNE_BARS)), program=1))

MUSIC = Scenario(
    name="band",
    write=lambda root: music_bundle(root, "band"),
    call=_music,
    good=[
        _compose(seed=1),
        _compose(seed=2**64 - 1, style="march", tempo_bpm=96.5, count=3, bars=5, density=0.9),
        _compose(seed=2, count=12, bars=MAX_BARS, piano_roll=True),  # spans runs
        _compose(seed=2, first_sample=2**53 - 9, count=9, tracks=["bass"]),
        _accompany(_TUNE, seed=3),
        _accompany(_TUNE, seed=3, style="bossanova", tracks=["drums"], count=7, piano_roll=True),
    ],
    bad=[
        (_compose(style="polka"), INVALID),
        (_compose(bars=MAX_BARS + 1), INVALID),
        (_accompany(_TUNE[:-9]), INVALID),
        (_accompany(_TUNE, tracks=["tuba"]), INVALID),
    ],
    media=_pieces,
    rows=_phrases,
)


def _translate(channel: aio.Channel) -> Callable[..., Any]:
    return translation_pb2_grpc.ImageTranslationServiceStub(channel).TranslateImage  # type: ignore[no-any-return]


def _files(response: translation_pb2.TranslateImageResponse) -> list[bytes]:
    back = response.cycle.SerializeToString(deterministic=True)
    return [png for png in (response.png, response.side_by_side_png, back) if png]


def _tiles_of_a_run(request: translation_pb2.TranslateImageRequest) -> int:
    with Image.open(io.BytesIO(request.image)) as image:
        return min(8, math.prod(1 + -(-max(0, side - TILE_SIZE) // (TILE_SIZE - OVERLAP)) for side in image.size))


def _picture(height: int, width: int, target: str, kind: str = "PNG", **fields: Any) -> Any:
    image = image_file(scene(height, width, seed=height), kind)
    return translation_pb2.TranslateImageRequest(model="scenes", image=image, target=target, **fields)


TRANSLATION = Scenario(
    name="scenes",
    write=lambda root: scene_bundle(root, "scenes"),
    call=_translate,
    good=[
        _picture(TILE_SIZE, TILE_SIZE, "map"),
        _picture(1, 1, "photo"),
        _picture(40, 30, "map", "WEBP", cycle=True),
        _picture(33, 75, "photo", "JPEG", side_by_side=True),
        _picture(90, 110, "map", cycle=True, side_by_side=True),  # spans runs
    ],
    bad=[
        (_picture(5, 5, "sketch"), INVALID),
        (_picture(5, 5, "map", "GIF"), INVALID),
        (_picture(1, 600_000, "map"), INVALID),
    ],
    media=_files,
    rows=_tiles_of_a_run,
)


def _answers(channel: aio.Channel) -> Callable[..., Any]:
    stub = answer_pb2_grpc.AnswerServiceStub(channel)

    def call(request: Message, **options: Any) -> Any:
        is_question = isinstance(request, answer_pb2.AnswerQuestionRequest)
        return (stub.AnswerQuestion if is_question else stub.GenerateQuestions)(request, **options)

    return call


def _texts(response: answer_pb2.AnswerQuestionResponse | answer_pb2.GenerateQuestionsResponse) -> list[bytes]:
    items: Any = response.pairs if isinstance(response, answer_pb2.GenerateQuestionsResponse) else response.answers
    return [item.SerializeToString(deterministic=True) for item in items]


def _ask(question: str, **fields: Any) -> answer_pb2.AnswerQuestionRequest:
    return answer_pb2.AnswerQuestionRequest(model="copies", question=question, **{"seed": 1} | fields)


def _question_rows(request: answer_pb2.AnswerQuestionRequest | answer_pb2.GenerateQuestionsRequest) -> int:
    is_question = isinstance(request, answer_pb2.AnswerQuestionRequest)
    return max(request.count, PASSAGES_READ) if is_question else len(KINDS) * 8


_LINES = "\n\n".join(["A lamp is on.", "Ann Lee was its inventor.", "The server is on.", "A hand."] * 5)

ANSWERS = Scenario(
    name="copies",
    write=lambda root: copy_bundle(root, "copies"),
    call=_answers,
    good=[
        _ask("What is a lantern?"),
        _ask("lantren", count=20, seed=2**64 - 1),  # spans runs
        _ask("Node", count=9, first_sample=2**53 - 9),
        _ask("inventor", context=_LINES, count=3, max_tokens=4),
        answer_pb2.GenerateQuestionsRequest(model="copies", context=_LINES, count=9, seed=3),
    ],
    bad=[
        (_ask(""), INVALID),
        (_ask("lamp", count=257), INVALID),
        (_ask("lamp", max_tokens=1000), INVALID),
        (answer_pb2.GenerateQuestionsRequest(model="copies"), INVALID),
    ],
    media=_texts,
    rows=_question_rows,
)

SCENARIOS: tuple[Scenario, ...] = (LOOP, PLAIN, LABELLED, FORECAST, MUSIC, TRANSLATION, ANSWERS)
