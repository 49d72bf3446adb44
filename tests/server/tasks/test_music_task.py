"""Pieces from nothing, on tiny real graphs without RPC: what the graph gives is what the file holds."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import mido
import numpy as np
import onnxruntime as ort
import pytest
from PIL import Image

from muserve import __version__
from muserve.v1 import music_pb2
from muserve_server.model import LocalModel
from muserve_server.tasks import noise
from muserve_server.tasks.music.midi_reader import read_song
from muserve_server.tasks.music.rolls import to_notes
from tests.bundles import edit_manifest
from tests.music_bundles import BAR_SIZE, BARS, CONSTANT_SIZE, MAX_BARS, PROGRAMS, ROLES, STEPS, STYLES, music_bundle
from tests.options import local_options
from tests.server.holding import held_until
from tests.server.musical import notes_of

Request = music_pb2.GenerateMusicRequest
STEP = 120
BAR = STEPS * STEP


def opened(midi: bytes) -> mido.MidiFile:
    return mido.MidiFile(file=io.BytesIO(midi))


def facts_of(piece: music_pb2.MusicPiece) -> dict[str, Any]:
    text = opened(piece.midi).tracks[0][0].text
    assert text.startswith("muserve ")
    facts: dict[str, Any] = json.loads(text.removeprefix("muserve "))
    return facts


async def midi_of(model: LocalModel, **fields: Any) -> list[bytes]:
    return [piece.midi for piece in (await model.answer(Request(**fields))).pieces]


async def test_the_notes_are_those_of_the_graph(band: LocalModel) -> None:
    """Seed, sample and phrase give the noise; style, tempo and density go in as asked."""
    response = await band.answer(
        Request(seed=9, first_sample=5, count=2, bars=5, style="march", tempo_bpm=93, density=0.75)
    )
    session = ort.InferenceSession(band.bundle.folder / "graphs/generator.onnx")
    settings = band.bundle.manifest.music
    for index, piece in enumerate(response.pieces):
        onsets, holds = [], []
        for phrase in range(3):
            bars = noise.standard_normal(9, 5 + index, 1, BARS * BAR_SIZE, stream=noise.FIRST_FREE_STREAM + phrase)
            onset, hold = session.run(
                None,
                {
                    "constant": noise.standard_normal(9, 5 + index, 1, CONSTANT_SIZE),
                    "per_bar": bars.reshape(1, BARS, BAR_SIZE),
                    "style": np.array([0]),
                    "tempo": np.array([93], np.float32),
                    "density": np.array([0.75], np.float32),
                },
            )
            onsets.append(np.asarray(onset)[0])
            holds.append(np.asarray(hold)[0])
        wanted = to_notes(np.concatenate(onsets)[:5], np.concatenate(holds)[:5], settings)
        song = read_song(piece.midi)
        for track, notes in zip(song.tracks, wanted, strict=True):
            notes[:, :2] *= STEP
            assert np.array_equal(track.notes, notes)
            assert len(notes) > 10
        assert song.end_tick == 5 * BAR
        assert piece.sample == 5 + index
    info = response.info
    assert (info.model, info.version, info.digest, info.seed) == ("band", 1, band.bundle.digest, 9)
    assert info.timings.batch_rows == 6
    assert info.timings.compute.ToNanoseconds() > 0
    assert info.timings.encode.ToNanoseconds() > 0


async def test_a_piece_says_what_it_is(band: LocalModel) -> None:
    (piece,) = (await band.answer(Request(seed=3, style="bossanova", tempo_bpm=97.3, first_sample=4))).pieces
    file = opened(piece.midi)
    assert file.type == 1
    assert file.ticks_per_beat == 480
    assert [track.name for track in file.tracks] == ["", "Drums", "Keys", "Bass"]
    assert [track[1].program for track in file.tracks[1:]] == [0, *PROGRAMS["bossanova"][1:]]
    assert [track[1].channel for track in file.tracks[1:]] == [9, 0, 1]
    assert [message.type for message in file.tracks[0]] == ["text", "set_tempo", "time_signature", "end_of_track"]
    assert file.tracks[0][1].tempo == round(60e6 / 97.3)
    assert (file.tracks[0][2].numerator, file.tracks[0][2].denominator) == (4, 4)
    assert [sum(message.time for message in track) for track in file.tracks] == [BARS * BAR] * 4
    assert facts_of(piece) == {
        "model": "band", "version": 1, "digest": band.bundle.digest, "seed": 3, "sample": 4, "style": "bossanova",
        "tempo_bpm": 97.3, "software": f"Muserve {__version__}",
    }  # fmt: skip
    assert (piece.sample, piece.style, piece.tempo_bpm, piece.bars) == (4, "bossanova", 97.3, BARS)
    assert [(t.name, t.role, t.program, t.drums, t.given) for t in piece.tracks] == [
        ("Drums", "drums", 0, True, False), ("Keys", "keys", 24, False, False), ("Bass", "bass", 38, False, False),
    ]  # fmt: skip
    assert [track.notes for track in piece.tracks] == [len(track.notes) for track in read_song(piece.midi).tracks]
    assert not piece.piano_roll_png


@pytest.mark.parametrize("tempo_bpm", [40, 97.3, 119.999, 240])
async def test_the_tempo_is_written_exactly(band: LocalModel, tempo_bpm: float) -> None:
    (piece,) = (await band.answer(Request(tempo_bpm=tempo_bpm))).pieces
    assert opened(piece.midi).tracks[0][1].tempo == round(60e6 / tempo_bpm)
    assert piece.tempo_bpm == tempo_bpm
    assert facts_of(piece)["tempo_bpm"] == tempo_bpm


async def test_a_piece_can_be_made_again_alone(band: LocalModel) -> None:
    """Its drawn style too, and in any length of the same number of bars."""
    whole = (await band.answer(Request(seed=2**64 - 1, count=20, bars=3))).pieces
    for sample in (0, 7, 19):
        again = (await band.answer(Request(seed=2**64 - 1, first_sample=sample, count=1, bars=3))).pieces
        assert again[0] == whole[sample]
    assert {piece.style for piece in whole} == set(STYLES)
    assert len({piece.midi for piece in whole}) == 20
    for piece in whole:
        assert piece.tempo_bpm == STYLES[piece.style]


async def test_the_bytes_do_not_depend_on_the_batch(band: LocalModel) -> None:
    requests = [Request(seed=seed, count=1 + seed % 3, bars=1 + seed, piano_roll=True) for seed in range(9)]
    alone = [await band.answer(request) for request in requests]
    with held_until(band, rows=sum(answer.info.timings.batch_rows for answer in alone)):
        together = await asyncio.gather(*(band.answer(request) for request in requests))
    assert [answer.pieces for answer in together] == [answer.pieces for answer in alone]
    assert max(answer.info.timings.batch_rows for answer in together) > 6


async def test_without_a_seed_one_is_drawn_and_returned(band: LocalModel) -> None:
    first, second = [await band.answer(Request()) for _ in range(2)]
    assert first.info.seed != second.info.seed
    assert max(first.info.seed, second.info.seed) < 2**53
    assert (await band.answer(Request(seed=first.info.seed))).pieces == first.pieces


async def test_a_longer_piece_begins_with_the_same_bars(band: LocalModel) -> None:
    pieces = [read_song((await midi_of(band, seed=5, style="march", bars=bars))[0]) for bars in range(1, MAX_BARS + 1)]
    longest = notes_of(pieces[-1])
    for bars, song in enumerate(pieces, 1):
        end = bars * BAR
        assert song.end_tick == end
        for short, long in zip(notes_of(song), longest, strict=True):
            assert [note[0::2] for note in short] == [note[0::2] for note in long if note[0] < end]
            assert all(found[1] == min(note[1], end) for found, note in zip(short, long, strict=False))
    bars_of = [[note[0] % BAR for note in longest[1] if note[0] // BAR == bar] for bar in range(MAX_BARS)]
    assert len({tuple(starts) for starts in bars_of}) == MAX_BARS  # every bar its own


async def test_only_the_asked_tracks_are_written_as_they_would_be(band: LocalModel) -> None:
    whole = (await band.answer(Request(seed=1, style="march"))).pieces[0]
    some = (await band.answer(Request(seed=1, style="march", tracks=["bass", "drums"]))).pieces[0]
    assert [track.role for track in some.tracks] == ["drums", "bass"]
    assert [track.name for track in opened(some.midi).tracks] == ["", "Drums", "Bass"]
    assert notes_of(read_song(some.midi)) == notes_of(read_song(whole.midi))[::2]
    assert [track.channel for track in read_song(some.midi).tracks] == [9, 0]


async def test_each_condition_changes_the_notes(band: LocalModel) -> None:
    plain = {"seed": 4, "style": "march", "tempo_bpm": 100.0}
    base = notes_of(read_song((await midi_of(band, **plain))[0]))
    for change in ({"seed": 5}, {"style": "waltzing"}, {"tempo_bpm": 200.0}, {"density": 0.5}, {"first_sample": 1}):
        assert notes_of(read_song((await midi_of(band, **plain | change))[0])) != base, change

    async def count(density: float) -> int:
        (piece,) = (await band.answer(Request(seed=4, style="march", density=density))).pieces
        return sum(track.notes for track in piece.tracks)

    counts = [await count(density) for density in (0.0, 0.5, 1.0)]
    assert counts == sorted(set(counts))


async def test_the_density_is_among_the_facts(band: LocalModel) -> None:
    assert facts_of((await band.answer(Request(density=0.25))).pieces[0])["density"] == 0.25
    assert facts_of((await band.answer(Request(density=0))).pieces[0])["density"] == 0
    assert "density" not in facts_of((await band.answer(Request())).pieces[0])


async def test_a_call_is_run_in_parts_and_gives_the_same(tmp_path: Path, band: LocalModel) -> None:
    """Parts end inside pieces too; the runs of one part never are more rows than the queue takes."""
    wanted = (await band.answer(Request(seed=6, count=5, bars=9, piano_roll=True))).pieces
    options = local_options(max_samples_per_call=7)
    async with await LocalModel.open(music_bundle(tmp_path / "other"), options) as model:
        found = await model.answer(Request(seed=6, count=5, bars=9, piano_roll=True))
    assert found.pieces == wanted
    assert found.info.timings.batch_rows == 7


async def test_a_piano_roll_comes_with_the_piece(band: LocalModel) -> None:
    (piece,) = (await band.answer(Request(seed=1, piano_roll=True, bars=3))).pieces
    with Image.open(io.BytesIO(piece.piano_roll_png)) as image:
        image.load()
        assert json.loads(image.info["muserve"]) == facts_of(piece)
        assert image.width > 3 * 100
    again = (await band.answer(Request(seed=1, piano_roll=True, bars=3))).pieces[0]
    assert again.piano_roll_png == piece.piano_roll_png
    assert (await midi_of(band, seed=1, bars=3)) == [piece.midi]


async def test_a_model_may_have_one_latent_and_onsets_alone(chords: LocalModel) -> None:
    """The tutorial's: one chord of 88 pitches a bar, as long as the bar."""
    (piece,) = (await chords.answer(Request(seed=1, bars=4))).pieces
    assert facts_of(piece) == {
        "model": "chords", "version": 1, "digest": chords.bundle.digest, "seed": 1, "sample": 0, "tempo_bpm": 120,
        "software": f"Muserve {__version__}",
    }  # fmt: skip
    assert (piece.style, piece.tempo_bpm, piece.bars) == ("", 120, 4)
    (track,) = read_song(piece.midi).tracks
    assert (track.name, track.program, track.channel) == ("Piano", 0, 0)
    assert set(map(tuple, (track.notes[:, :2] % 1920).tolist())) == {(0, 0)}
    assert set((track.notes[:, 1] - track.notes[:, 0]).tolist()) == {1920}
    session = ort.InferenceSession(chords.bundle.folder / "graphs/generator.onnx")
    (onset,) = session.run(None, {"latent": noise.standard_normal(1, 0, 1, 100)})
    chord = 21 + np.flatnonzero(np.asarray(onset)[0, 0, 0, 0] > 0)
    assert track.notes[track.notes[:, 0] == 0, 2].tolist() == chord.tolist()
    assert piece.bars * len(chord) == len(track.notes)  # without latents of its own each bar is the same
    assert (await chords.answer(Request())).pieces[0].bars == 1


async def test_a_track_that_plays_nothing_is_there(tmp_path: Path) -> None:
    folder = edit_manifest(music_bundle(tmp_path), lambda manifest: setattr(manifest.music, "onset_threshold", 2.0))
    async with await LocalModel.open(folder) as model:
        (piece,) = (await model.answer(Request(seed=1, piano_roll=True))).pieces
    assert [(track.role, track.notes) for track in piece.tracks] == [(role, 0) for role in ROLES]
    assert [track.name for track in opened(piece.midi).tracks] == ["", "Drums", "Keys", "Bass"]
    assert piece.piano_roll_png


async def test_a_track_without_a_name_is_named_by_its_role(tmp_path: Path) -> None:
    def edit(manifest: Any) -> None:
        manifest.music.tracks[1].name = ""

    async with await LocalModel.open(edit_manifest(music_bundle(tmp_path), edit)) as model:
        assert [track.name for track in (await model.answer(Request())).pieces[0].tracks] == ["Drums", "keys", "Bass"]
