"""What `muserve verify` asks of each task: a request, what others ask meanwhile, and each of its items alone."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

from google.protobuf.message import Message

from muserve.v1 import answer_pb2, forecast_pb2, image_pb2, manifest_pb2, music_pb2, translation_pb2
from muserve_client.asking import answer_rpc, questions_rpc
from muserve_client.composing import accompany_rpc, music_rpc
from muserve_client.core import Rpc
from muserve_client.forecasting import FORECAST
from muserve_client.image_files import write_png
from muserve_client.images import images_rpc
from muserve_client.translating import translate_rpc

__all__ = ["PROBES", "Answer", "Probe"]

Request = TypeVar("Request", bound=Message)

_SEED = 1
_OTHER_SEEDS = 1_000_003
_MOST_OTHER_ITEMS = 8
_DEFAULT_IMAGES = 4
_DEFAULT_SERIES = 3
_DEFAULT_PIECES = 3
_TEMPI_BPM = range(40, 241)
_TICKS_PER_QUARTER = 480
_CHORD = (0, 4, 7, 12, 7, 4)
_LEAST_VALUES = 48
_LEVELS = (0.1, 0.5, 0.9)
_OTHER_SIDE = 24
_MOST_SIDE = 512
_DEFAULT_ANSWERS = 3
_QUESTION = "What is a lantern?"
_TEXT = "A lantern is a portable lamp with a case of glass. It was invented by Ann Lee in 1820."


@dataclass(frozen=True)
class Answer:
    """What is compared of two answers, and what is told of them."""

    digest: str
    """Of the bundle that answered."""
    batch_rows: int
    """Rows of the largest batch."""
    items: Mapping[str, bytes]
    """What was asked for, each by what it is called: "sample 3"."""


@dataclass(frozen=True)
class Probe:
    """How the model of one task is verified, by one kind of golden request."""

    task: str
    """As in `Model.task`."""
    nouns: tuple[str, str, str]
    """What the items are called, all together and one by one, and what is compared: "images", "samples", "bytes"."""
    default: Callable[[manifest_pb2.ModelManifest], Any]
    """Makes a small request for a model without goldens; None if it takes no such requests."""
    rpc: Callable[[Any], Rpc[Answer]]
    """Sends a request."""
    settle: Callable[[Any], None]
    """Sets in a golden request what it leaves to chance."""
    other: Callable[[Any, int], Any]
    """Makes a request that shares batches with the given one, but not its content; the index tells them apart."""
    apart: Callable[[Any], Any]
    """Makes the request whose answer has one item for each that can be asked for alone."""
    alone: Callable[[Any, int], Any]
    """Makes the request for one of these items."""
    name: str = "default"
    """What the small request is called."""


def _images(request: image_pb2.GenerateImagesRequest) -> Rpc[Answer]:
    rpc = images_rpc(request)

    def read(response: image_pb2.GenerateImagesResponse) -> Answer:
        images = rpc.read(response)
        items = {f"sample {image.sample}": image.png for image in images}
        return Answer(images.info.digest, images.info.batch_rows, items)

    return Rpc(rpc.method, request, read)


def _default_images(_manifest: manifest_pb2.ModelManifest) -> image_pb2.GenerateImagesRequest:
    return image_pb2.GenerateImagesRequest(count=_DEFAULT_IMAGES, seed=_SEED)


def _seeded(request: Any) -> None:
    if not request.HasField("seed"):
        request.seed = _SEED


def _other_images(request: image_pb2.GenerateImagesRequest, index: int) -> image_pb2.GenerateImagesRequest:
    return image_pb2.GenerateImagesRequest(
        model=request.model, version=request.version, count=1 + index % _MOST_OTHER_ITEMS, seed=_OTHER_SEEDS + index
    )


def _separate_images(request: image_pb2.GenerateImagesRequest) -> image_pb2.GenerateImagesRequest:
    apart = _copy(request)
    apart.layout = image_pb2.IMAGE_LAYOUT_SEPARATE
    return apart


def _one_image(request: image_pb2.GenerateImagesRequest, index: int) -> image_pb2.GenerateImagesRequest:
    one: image_pb2.GenerateImagesRequest = _one_sample(request, index)
    if len(request.labels) > 1:
        one.labels[:] = [request.labels[index]]
    return one


def _forecasts(request: forecast_pb2.ForecastRequest) -> Rpc[Answer]:
    def read(response: forecast_pb2.ForecastResponse) -> Answer:
        # Whole messages: every bit of every number, and what is said beside them.
        items = {
            f"series {index}": forecast.SerializeToString(deterministic=True)
            for index, forecast in enumerate(response.forecasts)
        }
        return Answer(response.info.digest, response.info.timings.batch_rows, items)

    return Rpc(FORECAST, request, read)


def _default_forecasts(manifest: manifest_pb2.ModelManifest) -> forecast_pb2.ForecastRequest:
    """Makes seasonal series of the first frequency that the model was trained on; goes a step beyond its horizon."""
    settings = manifest.forecast
    trained = (entry for entry in settings.frequencies if entry.horizon_steps)
    first = next(trained, manifest_pb2.FrequencySettings(horizon_steps=1))
    request = forecast_pb2.ForecastRequest(
        frequency=first.frequency,
        horizon=max(1, min(settings.max_horizon, first.horizon_steps + 1)),
        quantiles=_LEVELS if settings.quantiles else (),
    )
    for number in range(_DEFAULT_SERIES):
        period = 7 + 5 * number
        values = [
            100 + step / 3 + 20 * math.sin(2 * math.pi * step / period)
            for step in range(max(_LEAST_VALUES, settings.min_points))
        ]
        request.series.add(id=f"season of {period}", values=values)
    return request


def _other_forecasts(request: forecast_pb2.ForecastRequest, index: int) -> forecast_pb2.ForecastRequest:
    """Makes another call of the same series, their values turned and scaled; what is missing stays missing."""
    other = _copy(request)
    del other.series[:]
    for number in range(1 + index % _MOST_OTHER_ITEMS):
        series = other.series.add()
        series.CopyFrom(request.series[number % len(request.series)])
        known = [value * (1 + index / 7) for value in series.values if not math.isnan(value)]
        turn = (index + number + 1) % max(1, len(known))
        turned = iter(known[turn:] + known[:turn])
        series.values[:] = [value if math.isnan(value) else next(turned) for value in series.values]
    return other


def _one_forecast(request: forecast_pb2.ForecastRequest, index: int) -> forecast_pb2.ForecastRequest:
    one = _copy(request)
    del one.series[:]
    one.series.add().CopyFrom(request.series[index])
    return one


def _music(request: music_pb2.GenerateMusicRequest) -> Rpc[Answer]:
    return Rpc(music_rpc(request).method, request, _pieces)


def _accompaniments(request: music_pb2.AccompanyRequest) -> Rpc[Answer]:
    return Rpc(accompany_rpc(request).method, request, _pieces)


def _pieces(response: music_pb2.GenerateMusicResponse | music_pb2.AccompanyResponse) -> Answer:
    # Whole messages: the file, the picture, and what is said beside them.
    items = {f"sample {piece.sample}": piece.SerializeToString(deterministic=True) for piece in response.pieces}
    return Answer(response.info.digest, response.info.timings.batch_rows, items)


def _default_music(manifest: manifest_pb2.ModelManifest) -> music_pb2.GenerateMusicRequest:
    """Goes a bar beyond what one run gives."""
    settings = manifest.music
    bars = max(1, min(settings.max_bars, settings.bars + 1))
    return music_pb2.GenerateMusicRequest(count=_DEFAULT_PIECES, seed=_SEED, bars=bars)


def _other_music(request: music_pb2.GenerateMusicRequest, index: int) -> music_pb2.GenerateMusicRequest:
    other = _reseeded(request, index)
    other.tempo_bpm = _TEMPI_BPM[index % len(_TEMPI_BPM)]
    return other


def _default_accompaniment(manifest: manifest_pb2.ModelManifest) -> music_pb2.AccompanyRequest | None:
    """Gives a tune that goes a bar beyond one run to the model's first track that is no drums."""
    settings = manifest.music
    role = next((track.role for track in settings.tracks if not track.drums), "")
    if not settings.accompanist or not role:
        return None
    request = music_pb2.AccompanyRequest(midi=_tune(settings), count=_DEFAULT_PIECES, seed=_SEED)
    request.roles.add(track=0, role=role)
    return request


def _tune(settings: manifest_pb2.MusicSettings) -> bytes:
    """Writes a MIDI file of type 0 with a note a beat, up and down a chord."""
    beats = settings.beats_per_bar or 4
    unit = max(1, settings.beat_unit).bit_length() - 1  # files hold its logarithm to base 2
    beat = (4 * _TICKS_PER_QUARTER) >> unit
    lowest = settings.lowest_pitch + settings.pitches // 3
    track = bytes([0, 0xFF, 0x58, 4, beats, unit, 24, 8])
    for number in range(beats * (settings.bars + 1)):
        pitch = min(127, lowest + _CHORD[number % len(_CHORD)])
        length = bytes([0x80 | beat >> 7, beat & 0x7F])  # a number of two 7-bit digits
        track += bytes([0, 0x90, pitch, 90]) + length + bytes([0x80, pitch, 0])
    track += bytes([0, 0xFF, 0x2F, 0])
    header = struct.pack(">4sIHHH", b"MThd", 6, 0, 1, _TICKS_PER_QUARTER)
    return header + struct.pack(">4sI", b"MTrk", len(track)) + track


def _translations(request: translation_pb2.TranslateImageRequest) -> Rpc[Answer]:
    def read(response: translation_pb2.TranslateImageResponse) -> Answer:
        # All but the timings: every file, and what is said beside it.
        content = translation_pb2.TranslateImageResponse()
        content.CopyFrom(response)
        content.ClearField("info")
        items = {"the image": content.SerializeToString(deterministic=True)}
        return Answer(response.info.digest, response.info.timings.batch_rows, items)

    return Rpc(translate_rpc(request).method, request, read)


def _default_translation(manifest: manifest_pb2.ModelManifest) -> translation_pb2.TranslateImageRequest:
    """Makes an image that goes a pixel beyond one tile; there and back, where the model can."""
    settings = manifest.translation
    side = max(1, min(settings.tile_size, _MOST_SIDE))
    target = settings.directions[0].target if settings.directions else ""
    return translation_pb2.TranslateImageRequest(
        image=_pattern(side + 1, side, _SEED), target=target, cycle=len(settings.directions) > 1
    )


def _other_translation(
    request: translation_pb2.TranslateImageRequest, index: int
) -> translation_pb2.TranslateImageRequest:
    """Makes another call with an image of our own, of a size of its own."""
    image = _pattern(_OTHER_SIDE + index % _MOST_OTHER_ITEMS, _OTHER_SIDE, _OTHER_SEEDS + index)
    return translation_pb2.TranslateImageRequest(
        model=request.model, version=request.version, image=image, target=request.target
    )


def _answers(request: answer_pb2.AnswerQuestionRequest) -> Rpc[Answer]:
    def read(response: answer_pb2.AnswerQuestionResponse) -> Answer:
        items = {f"sample {each.sample}": each.SerializeToString(deterministic=True) for each in response.answers}
        # That there is no answer is an answer too.
        items = items or {"no answer": str(response.answerable).encode()}
        return Answer(response.info.digest, response.info.timings.batch_rows, items)

    return Rpc(answer_rpc(request).method, request, read)


def _default_question(_manifest: manifest_pb2.ModelManifest) -> answer_pb2.AnswerQuestionRequest:
    return answer_pb2.AnswerQuestionRequest(question=_QUESTION, context=_TEXT, count=_DEFAULT_ANSWERS, seed=_SEED)


def _other_question(request: answer_pb2.AnswerQuestionRequest, index: int) -> answer_pb2.AnswerQuestionRequest:
    return answer_pb2.AnswerQuestionRequest(
        model=request.model,
        version=request.version,
        question=f"Who made lamp {index}?",
        context=f"Lamp {index} was made by Ann Lee in {1800 + index % 200}. {_TEXT}",
        count=1 + index % _MOST_OTHER_ITEMS,
        seed=_OTHER_SEEDS + index,
    )


def _asked(request: answer_pb2.GenerateQuestionsRequest) -> Rpc[Answer]:
    def read(response: answer_pb2.GenerateQuestionsResponse) -> Answer:
        items = {
            f"question {index}": pair.SerializeToString(deterministic=True) for index, pair in enumerate(response.pairs)
        }
        items = items or {"no question": str(response.rejected).encode()}
        return Answer(response.info.digest, response.info.timings.batch_rows, items)

    return Rpc(questions_rpc(request).method, request, read)


def _default_asking(manifest: manifest_pb2.ModelManifest) -> answer_pb2.GenerateQuestionsRequest | None:
    if not manifest.answer.kinds:
        return None
    return answer_pb2.GenerateQuestionsRequest(context=_TEXT, count=_DEFAULT_ANSWERS, seed=_SEED)


def _other_asking(request: answer_pb2.GenerateQuestionsRequest, index: int) -> answer_pb2.GenerateQuestionsRequest:
    return answer_pb2.GenerateQuestionsRequest(
        model=request.model,
        version=request.version,
        context=f"Lamp {index} was made by Ann Lee in {1800 + index % 200}.",
        count=1 + index % _MOST_OTHER_ITEMS,
        seed=_OTHER_SEEDS + index,
    )


def _pattern(width: int, height: int, seed: int) -> bytes:
    """Draws waves of colour that no other seed draws."""
    pixels = bytes(
        int(127.5 + 127 * math.sin((x * (3 + channel) + y * (5 - channel) + seed % 997 * (channel + 1)) / 9))
        for y in range(height)
        for x in range(width)
        for channel in range(3)
    )
    return write_png(pixels, width=width, height=height, channels=3)


def _reseeded(request: Request, index: int) -> Request:
    """Makes another call of the same kind, of one up to eight samples."""
    other: Any = _copy(request)
    other.count, other.seed, other.first_sample = 1 + index % _MOST_OTHER_ITEMS, _OTHER_SEEDS + index, 0
    other.piano_roll = False
    return other  # type: ignore[no-any-return]


def _one_sample(request: Any, index: int) -> Any:
    one = _copy(request)
    one.first_sample, one.count = request.first_sample + index, 1
    return one


def _copy(request: Request) -> Request:
    copied = type(request)()
    copied.CopyFrom(request)
    return copied


PROBES: Mapping[str, Probe] = MappingProxyType(
    {
        "generate_images": Probe(
            task="image",
            nouns=("images", "samples", "bytes"),
            default=_default_images,
            rpc=_images,
            settle=_seeded,
            other=_other_images,
            apart=_separate_images,
            alone=_one_image,
        ),
        "forecast": Probe(
            task="forecast",
            nouns=("series", "series", "numbers"),
            default=_default_forecasts,
            rpc=_forecasts,
            settle=lambda _request: None,
            other=_other_forecasts,
            apart=_copy,
            alone=_one_forecast,
        ),
        "generate_music": Probe(
            task="music",
            nouns=("pieces", "samples", "bytes"),
            default=_default_music,
            rpc=_music,
            settle=_seeded,
            other=_other_music,
            apart=_copy,
            alone=_one_sample,
        ),
        "accompany": Probe(
            task="music",
            nouns=("accompaniments", "samples", "bytes"),
            name="default accompaniment",
            default=_default_accompaniment,
            rpc=_accompaniments,
            settle=_seeded,
            other=_reseeded,
            apart=_copy,
            alone=_one_sample,
        ),
        "translate_image": Probe(
            task="translation",
            nouns=("translations", "images", "bytes"),
            default=_default_translation,
            rpc=_translations,
            settle=lambda _request: None,
            other=_other_translation,
            apart=_copy,
            alone=lambda request, _index: _copy(request),
        ),
        "answer_question": Probe(
            task="answer",
            nouns=("answers", "samples", "bytes"),
            default=_default_question,
            rpc=_answers,
            settle=_seeded,
            other=_other_question,
            apart=_copy,
            alone=_one_sample,
        ),
        "generate_questions": Probe(
            task="answer",
            nouns=("questions", "sets", "bytes"),
            name="default questions",
            default=_default_asking,
            rpc=_asked,
            settle=_seeded,
            other=_other_asking,
            apart=_copy,
            alone=lambda request, _index: _copy(request),
        ),
    }
)
"""By the kind of golden request, as `GoldenRequest.request` names it."""
