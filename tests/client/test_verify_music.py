"""`muserve verify` of music: passes where a server is deterministic, and fails wherever it is not."""

from __future__ import annotations

import io
import itertools
import threading
from collections.abc import Callable
from typing import Any

import mido
import pytest

from muserve.v1 import common_pb2, manifest_pb2, music_pb2
from muserve_client.calls.music.probe import PROBES
from muserve_client.cli import main
from tests.client.conftest import Served
from tests.client.fakes import failed, fake_model, verified
from tests.client.musicians import notes_of, play

Spoil = Callable[[Any, Any], None]
"""Does wrong to a response, given its request."""


def settings(**fields: Any) -> manifest_pb2.MusicSettings:
    defaults: dict[str, Any] = {
        "generator": "generator",
        "accompanist": "accompanist",
        "bars": 4,
        "beats_per_bar": 4,
        "beat_unit": 4,
        "steps_per_bar": 16,
        "lowest_pitch": 24,
        "pitches": 84,
        "max_bars": 32,
        "tracks": [
            manifest_pb2.MusicTrackSettings(role="drums", drums=True),
            manifest_pb2.MusicTrackSettings(role="keys"),
        ],
    }
    return manifest_pb2.MusicSettings(**defaults | fields)


def server_of(
    spoil: Spoil = lambda _request, _response: None,
    *,
    music: manifest_pb2.MusicSettings | None = None,
    goldens: tuple[music_pb2.GenerateMusicRequest, ...] = (),
    digest: str = "d",
) -> Any:
    """A server with the model fake/1, some of whose answers are wrong."""
    manifest = manifest_pb2.ModelManifest(
        music=music or settings(),
        goldens=[manifest_pb2.GoldenRequest(name="g", generate_music=golden) for golden in goldens],
    )

    def answer(request: Any, _context: Any, _number: int) -> Any:
        response = play(request)
        spoil(request, response)
        return response

    return fake_model(common_pb2.TASK_MUSIC, manifest, answer, digest)


def test_a_real_server_is_deterministic(musician: Served, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--server", musician.target, "--rounds", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("ok      ") for line in lines[:-1])
    for name in ("band/1 default", "band/1 default accompaniment", "chords/1 default"):
        assert f"ok      {name}: 3 samples, each alone" in lines
    assert lines[-1] == "15 of 15 checks passed"


def test_both_calls_are_verified(capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = verified(server_of(), capsys)
    assert code == 0
    assert "ok      fake/1 default: 3 samples, each alone" in lines
    assert "ok      fake/1 default accompaniment: 3 samples, each alone" in lines
    assert lines[-1] == "12 of 12 checks passed"


def test_a_model_that_cannot_accompany_is_not_asked_to(capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = verified(server_of(music=settings(accompanist="")), capsys)
    assert (code, lines[-1]) == (0, "6 of 6 checks passed")


def test_goldens_are_replayed_and_given_a_seed(capsys: pytest.CaptureFixture[str]) -> None:
    numbers = itertools.count()

    def draw(request: Any, response: Any) -> None:
        if not request.HasField("seed"):
            response.pieces[0].midi += str(next(numbers)).encode()

    goldens = (music_pb2.GenerateMusicRequest(count=2, bars=3, style="rock", piano_roll=True),)
    code, lines = verified(server_of(draw, goldens=goldens, music=settings(accompanist="")), capsys)
    assert code == 0
    assert "ok      fake/1 g: 2 samples, each alone" in lines


def test_chance_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    numbers = itertools.count()

    def draw(_request: Any, response: Any) -> None:
        for piece in response.pieces:
            piece.midi += str(next(numbers)).encode()

    code, lines = verified(server_of(draw), capsys)
    assert code == 1
    assert len(failed(lines)) == 10  # of each call: again, three rounds, samples alone
    assert "FAILED  fake/1 default: again, alone: sample 0 has other bytes, 3 of 3 pieces differ" in lines
    text = "again, alone: sample 0 has other bytes, 3 of 3 accompaniments differ"
    assert f"FAILED  fake/1 default accompaniment: {text}" in lines


def test_an_influence_of_other_calls_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    lock, last_seed = threading.Lock(), [1]

    def listen(request: Any, response: Any) -> None:
        with lock:
            before, last_seed[0] = last_seed[0], request.seed
        for piece in response.pieces:
            piece.tracks[0].notes += before != request.seed

    code, lines = verified(server_of(listen), capsys)
    assert code == 1
    assert failed(lines)
    assert all("amid 16 other calls" in line for line in failed(lines)[:3])


def test_a_sample_that_depends_on_its_place_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    def count(_request: Any, response: Any) -> None:
        for index, piece in enumerate(response.pieces):
            piece.tempo_bpm += index

    code, lines = verified(server_of(count, music=settings(accompanist="")), capsys)
    assert code == 1
    assert failed(lines) == ["FAILED  fake/1 default: 3 samples, each alone: sample 1 alone has other bytes"]


def test_another_bundle_behind_the_same_name_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    code, lines = verified(server_of(digest="e"), capsys)
    assert code == 1
    assert failed(lines) == [
        f"FAILED  fake/1 {name}: answered by the listed bundle: the answer came from d, listed is e"
        for name in ("default", "default accompaniment")
    ]


@pytest.mark.parametrize(("max_bars", "bars", "expected"), [(32, 4, 5), (4, 4, 4), (1, 1, 1), (0, 0, 1)])
def test_the_small_request_goes_beyond_one_run(max_bars: int, bars: int, expected: int) -> None:
    manifest = manifest_pb2.ModelManifest(music=settings(max_bars=max_bars, bars=bars))
    assert PROBES[0].default(manifest).bars == expected


@pytest.mark.parametrize(
    ("beats", "unit", "beat_ticks"), [(4, 4, 480), (3, 4, 480), (6, 8, 240), (2, 2, 960), (2, 1, 1920)]
)
def test_the_small_tune_is_midi_in_the_metre_of_the_model(beats: int, unit: int, beat_ticks: int) -> None:
    manifest = manifest_pb2.ModelManifest(music=settings(beats_per_bar=beats, beat_unit=unit, bars=2))
    request = PROBES[1].default(manifest)
    assert list(request.roles) == [music_pb2.TrackRole(track=0, role="keys")]
    file = mido.MidiFile(file=io.BytesIO(request.midi))
    (track,) = file.tracks
    assert (file.type, file.ticks_per_beat) == (0, 480)
    assert (track[0].type, track[0].numerator, track[0].denominator) == ("time_signature", beats, unit)
    assert len(notes_of(track)) == 3 * beats
    assert all(24 <= pitch < 24 + 84 for _, pitch in notes_of(track))
    assert [event.time for event in track if event.type == "note_off"] == [beat_ticks] * 3 * beats


@pytest.mark.parametrize("kind", ["generate_music", "accompany"])
def test_other_calls_have_other_noise(kind: str) -> None:
    probe = PROBES[0 if kind == "generate_music" else 1]
    request = probe.default(manifest_pb2.ModelManifest(music=settings()))
    request.first_sample, request.piano_roll = 5, True
    others = [probe.other(request, index) for index in range(48)]
    assert {other.count for other in others} == set(range(1, 9))
    assert len({other.seed for other in others} | {request.seed}) == 49
    assert not any(other.piano_roll for other in others)
    if kind == "generate_music":
        assert all(40 <= probe.other(request, index).tempo_bpm <= 240 for index in range(1000))
    assert (request.first_sample, request.piano_roll, request.seed) == (5, True, 1)
