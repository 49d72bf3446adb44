"""MusicService over a real server: which model answers, how calls fail, and what health says of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from muserve.errors import DeadlineExceededError, InvalidRequestError, MessageTooLargeError, ModelNotFoundError
from muserve.v1 import common_pb2, image_pb2, image_pb2_grpc, model_pb2, model_pb2_grpc, music_pb2, music_pb2_grpc
from muserve_server.app import Server, StartUpError
from muserve_server.model import LocalModel
from muserve_server.tasks.music.midi_reader import read_song
from tests.bundles import add_golden, image_bundle
from tests.music_bundles import MAX_BARS, chord_bundle, music_bundle
from tests.server.calling import failure_of, metric, serving_as
from tests.server.musical import meta, midi_file, note_track, notes_of
from tests.servers import serving

GENERATE, ACCOMPANY = "/muserve.v1.MusicService/GenerateMusic", "/muserve.v1.MusicService/Accompany"
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
MELODY = [(tick, tick + 240, 60) for tick in range(0, 3840, 480)]
LINE = midi_file(note_track(*MELODY))
Generate = music_pb2.GenerateMusicRequest
Accompany = music_pb2.AccompanyRequest


class Running:
    """A server and its stubs."""

    def __init__(self, server: Server, channel: Any) -> None:
        self.server = server
        self.music = music_pb2_grpc.MusicServiceStub(channel)
        self.images = image_pb2_grpc.ImageServiceStub(channel)
        self.models = model_pb2_grpc.ModelServiceStub(channel)
        self._health = health_pb2_grpc.HealthStub(channel)

    async def health(self, name: str) -> Any:
        return (await self._health.Check(health_pb2.HealthCheckRequest(service=name))).status

    async def still_answers(self) -> None:
        assert len((await self.music.GenerateMusic(Generate())).pieces) == 1
        assert len((await self.music.Accompany(Accompany(midi=LINE))).pieces) == 1


running = partial(serving_as, Running)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    music_bundle(tmp_path)
    music_bundle(tmp_path, version=2)
    image_bundle(tmp_path)
    async with running(tmp_path) as started:
        yield started


async def test_the_answers_are_those_of_the_model(server: Running, tmp_path: Path) -> None:
    requests = (
        (server.music.GenerateMusic, Generate(seed=1, count=3, bars=5, piano_roll=True), GENERATE),
        (server.music.Accompany, Accompany(seed=1, count=3, midi=LINE, piano_roll=True), ACCOMPANY),
    )
    async with await LocalModel.open(tmp_path / "band" / "2") as model:
        for method, request, name in requests:
            answer = await method(request, metadata=[("x-request-id", "mine")])
            assert answer.pieces == (await model.answer(request)).pieces
            info = answer.info
            assert (info.model, info.version, info.request_id, info.seed) == ("band", 2, "mine", 1)
            assert info.digest == model.bundle.digest
            assert metric(server.server, "muserve_request_seconds_count", method=name, code="OK", model="band") == 1
    assert metric(server.server, "muserve_batch_rows_sum", model="band", graph="generator") == 9
    assert metric(server.server, "muserve_batch_rows_sum", model="band", graph="accompanist") == 3


async def test_the_only_model_answers_and_its_newest_version(server: Running) -> None:
    for fields, version in (({}, 2), ({"model": "band"}, 2), ({"version": 1}, 1)):
        for info in (
            (await server.music.GenerateMusic(Generate(**fields))).info,
            (await server.music.Accompany(Accompany(midi=LINE, **fields))).info,
        ):
            assert (info.model, info.version) == ("band", version)
    listed = await server.models.ListModels(model_pb2.ListModelsRequest(task=common_pb2.TASK_MUSIC))
    assert [(model.name, model.version, model.default) for model in listed.models] == [
        ("band", 1, False), ("band", 2, True),
    ]  # fmt: skip


async def test_models_of_another_task_are_not_found(server: Running) -> None:
    error = await failure_of(server.music.GenerateMusic(Generate(model="shapes")))
    assert isinstance(error, ModelNotFoundError)
    assert error.message == "model 'shapes' is not a model of the task music; available: band"
    error = await failure_of(server.images.GenerateImages(image_pb2.GenerateImagesRequest(model="band")))
    assert isinstance(error, ModelNotFoundError)
    for fields in ({"model": "nope"}, {"version": 9}, {"version": 0}):
        assert isinstance(await failure_of(server.music.Accompany(Accompany(midi=LINE, **fields))), ModelNotFoundError)
    await server.still_answers()


async def test_of_two_models_the_settings_choose(tmp_path: Path) -> None:
    music_bundle(tmp_path)
    chord_bundle(tmp_path)
    with pytest.raises(StartUpError, match="--default-models music=band"):
        async with serving(tmp_path):
            pass
    async with running(tmp_path, default_models=("music=band",)) as server:
        assert (await server.music.GenerateMusic(Generate())).info.model == "band"
        assert (await server.music.GenerateMusic(Generate(model="chords"))).info.model == "chords"
        error = await failure_of(server.music.Accompany(Accompany(midi=LINE, model="chords")))
        assert isinstance(error, InvalidRequestError)
        assert error.message == "model: chords/1 has no accompanist; choose another model, or call GenerateMusic"


async def test_health_is_that_of_the_task(tmp_path: Path) -> None:
    image_bundle(tmp_path / "images")
    music_bundle(tmp_path / "music")
    async with running(tmp_path / "images") as server:
        assert await server.health("muserve.v1.MusicService") == NOT_SERVING
        error = await failure_of(server.music.GenerateMusic(Generate()))
        assert isinstance(error, ModelNotFoundError)
    async with running(tmp_path / "music") as server:
        for name in ("", "muserve.v1.MusicService", "models/band"):
            assert await server.health(name) == SERVING
        assert await server.health("muserve.v1.ImageService") == NOT_SERVING


async def test_each_wrong_field_comes_back_as_a_violation(server: Running) -> None:
    error = await failure_of(server.music.GenerateMusic(Generate(count=0, style="marsch", tempo_bpm=10)))
    assert isinstance(error, InvalidRequestError)
    assert [violation.field for violation in error.violations] == ["count", "style", "tempo_bpm"]
    assert error.violations[1].description == "is 'marsch'; did you mean 'march'?"
    for midi, text in (
        (b"", "midi: the file is empty"),
        (b"not MIDI", "midi: is not a MIDI file: a MIDI file begins with MThd"),
        (LINE[:-4], "midi: is truncated in track 0: its header names 83 bytes, it has 79"),
    ):
        error = await failure_of(server.music.Accompany(Accompany(midi=midi)))
        assert isinstance(error, InvalidRequestError)
        assert error.message == text
    await server.still_answers()


@pytest.mark.parametrize("name", ["x" * 100_000, "\N{GRINNING FACE}" * 10_000, "a\nb"])
async def test_a_long_or_odd_name_is_no_harm(server: Running, name: str) -> None:
    for call in (
        server.music.GenerateMusic(Generate(style=name, tracks=[name] * 30)),
        server.music.Accompany(Accompany(midi=LINE, roles=[music_pb2.TrackRole(track=0, role=name)] * 30)),
    ):
        error = await failure_of(call)
        assert isinstance(error, InvalidRequestError)
        assert 1 < len(error.violations) <= 20
    midi = midi_file([meta("track_name", name=name.encode().decode("latin-1")), *note_track(*MELODY)])
    piece = (await server.music.Accompany(Accompany(midi=midi, piano_roll=True))).pieces[0]
    assert piece.tracks[0].name == name
    await server.still_answers()


async def test_the_limits_are_those_of_the_settings(tmp_path: Path) -> None:
    music_bundle(tmp_path)
    async with running(tmp_path, max_samples_per_call=3, max_midi_events=20, max_bars_per_call=20) as server:
        await server.music.GenerateMusic(Generate(count=3))
        busy = midi_file(note_track(*[(tick, tick + 1, 60) for tick in range(20)]))
        for call, text in (
            (server.music.GenerateMusic(Generate(count=4)), "count: is 4; allowed: 1 up to 3"),
            (server.music.GenerateMusic(Generate(count=3, bars=8)),
             "count: is 3; allowed: up to 2 pieces of 8 bars a call"),
            (server.music.Accompany(Accompany(midi=busy)),
             "midi: has more than 20 events; cut it, or leave out controllers"),
        ):  # fmt: skip
            error = await failure_of(call)
            assert isinstance(error, InvalidRequestError)
            assert error.message == text
        await server.still_answers()


async def test_the_largest_calls_are_answered(tmp_path: Path) -> None:
    """More rows than the queue holds, alone and two at a time."""
    music_bundle(tmp_path)
    async with running(tmp_path, max_queue_rows=512, max_series_per_call=512) as server:
        asked = Generate(count=256, bars=MAX_BARS, seed=1)
        first, second = await asyncio.gather(*(server.music.GenerateMusic(asked) for _ in range(2)))
        assert len(first.pieces) == 256
        assert first.pieces == second.pieces
        alone = await server.music.GenerateMusic(Generate(bars=MAX_BARS, seed=1, first_sample=255))
        assert alone.pieces[0] == first.pieces[255]


async def test_an_answer_larger_than_a_message_is_refused(tmp_path: Path) -> None:
    music_bundle(tmp_path)
    async with running(tmp_path, max_message_mib=1) as server:
        error = await failure_of(server.music.GenerateMusic(Generate(count=256, bars=MAX_BARS, density=1)))
        assert isinstance(error, MessageTooLargeError)
        text = meta("text", text="x" * 600_000)
        error = await failure_of(
            server.music.Accompany(Accompany(midi=midi_file([text, *note_track(*MELODY)]), count=2))
        )
        assert isinstance(error, InvalidRequestError)
        assert "fits 1 times into an answer of 1048576 bytes" in error.message
        await server.still_answers()


async def test_a_deadline_ends_a_long_call(server: Running) -> None:
    error = await failure_of(server.music.GenerateMusic(Generate(count=256, bars=MAX_BARS), timeout=0.001))
    assert isinstance(error, DeadlineExceededError)
    await server.still_answers()


async def test_calls_together_give_the_same_as_alone(server: Running) -> None:
    requests: list[tuple[Any, Any]] = [
        (server.music.GenerateMusic, Generate(seed=seed, bars=1 + seed)) for seed in range(9)
    ]
    requests += [(server.music.Accompany, Accompany(seed=seed, midi=LINE, count=1 + seed)) for seed in range(5)]
    alone = [(await method(request)).pieces for method, request in requests]
    together = await asyncio.gather(*(method(request) for method, request in requests))
    assert [answer.pieces for answer in together] == alone


async def test_goldens_of_both_graphs_are_replayed(tmp_path: Path) -> None:
    folder = music_bundle(tmp_path)
    await add_golden(folder, Generate(seed=3, bars=3, style="march"))
    async with running(tmp_path) as server:
        await server.still_answers()
    folder = music_bundle(tmp_path, version=2)
    await add_golden(folder, Accompany(seed=3, midi=LINE))
    async with running(tmp_path) as server:
        answer = await server.music.Accompany(Accompany(seed=3, midi=LINE))
        assert answer.info.version == 2
        assert notes_of(read_song(answer.pieces[0].midi))[0] == [list(note) for note in MELODY]
