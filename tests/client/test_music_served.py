"""Music from a real server: the same pieces through both skins, readable by mido, accompanied without a note lost."""

from __future__ import annotations

import asyncio
import io
from typing import Any

import mido
import pytest
from PIL import Image

from muserve_client import AsyncClient, Client, InvalidRequestError, Music, Piece, __version__
from tests.client.conftest import Served
from tests.client.fakes import Skin, both_skins, call
from tests.music_bundles import BARS, MAX_BARS, ROLES, STYLES


def midis(music: Music) -> list[bytes]:
    return [piece.midi for piece in music]


def notes(piece: Piece, name: str) -> list[tuple[int, int, int]]:
    """Tick, pitch and velocity of each note of a track."""
    (track,) = (track for track in piece.to_mido().tracks if track.name == name)
    tick, found = 0, []
    for event in track:
        tick += event.time
        if event.type == "note_on" and event.velocity:
            found.append((tick, event.note, event.velocity))
    return found


@both_skins
def test_pieces_say_who_made_them(skin: Skin, musician: Served) -> None:
    music = call(
        skin, musician.target, "music", "march", tempo_bpm=96.5, count=2, seed=2**64 - 1, piano_roll=True,
        request_id="my-call",
    )  # fmt: skip
    info = music.info
    assert (info.model, info.version, info.seed, info.request_id) == ("band", 1, 2**64 - 1, "my-call")
    assert info.server_version == __version__
    assert info.timings.compute_s > 0
    for sample, piece in enumerate(music):
        assert (piece.sample, piece.style, piece.tempo_bpm, piece.bars) == (sample, "march", 96.5, BARS)
        assert [track.role for track in piece.tracks] == [*ROLES]
        assert [track.drums for track in piece.tracks] == [True, False, False]
        assert (piece.facts["seed"], piece.facts["sample"], piece.facts["style"]) == (2**64 - 1, sample, "march")
        assert piece.facts["digest"] == info.digest
        with Image.open(io.BytesIO(piece._repr_png_() or b"")) as image:
            assert image.format == "PNG"


@both_skins
def test_the_drawn_seed_makes_the_same_pieces_again(skin: Skin, musician: Served) -> None:
    first = call(skin, musician.target, "music", count=3)
    assert midis(call(skin, musician.target, "music", count=3, seed=first.info.seed)) == midis(first)
    assert midis(call(skin, musician.target, "music", count=3, seed=first.info.seed + 1)) != midis(first)
    alone = call(skin, musician.target, "music", seed=first.info.seed, first_sample=2)
    assert midis(alone) == midis(first)[2:]


def test_both_skins_get_the_same_bytes(musician: Served) -> None:
    pieces = [call(skin, musician.target, "music", count=4, seed=5) for skin in (Client, AsyncClient)]
    assert pieces[0].pieces == pieces[1].pieces
    bands = [call(skin, musician.target, "accompany", pieces[0][1], seed=6) for skin in (Client, AsyncClient)]
    assert bands[0].pieces == bands[1].pieces


def test_what_is_chosen_is_in_the_file(musician: Served) -> None:
    piece = call(Client, musician.target, "music", "bossanova", bars=MAX_BARS, tempo_bpm=60, tracks=["bass"], seed=1)[0]
    assert [(track.name, track.program, track.drums) for track in piece.tracks] == [("Bass", 38, False)]
    assert piece.tracks[0].notes == len(notes(piece, "Bass")) > 0
    file = piece.to_mido()
    assert isinstance(file, mido.MidiFile)
    assert file.length == pytest.approx(MAX_BARS * 4)  # at 60 a quarter is a second
    usual = call(Client, musician.target, "music", "bossanova", seed=1)[0]
    assert usual.tempo_bpm == STYLES["bossanova"]
    sparse, busy = (call(Client, musician.target, "music", "march", density=x, seed=1)[0] for x in (0, 1))
    assert sum(track.notes for track in sparse.tracks) < sum(track.notes for track in busy.tracks)


@both_skins
def test_a_models_own_pieces_can_be_accompanied(skin: Skin, musician: Served) -> None:
    bass = call(skin, musician.target, "music", "march", tracks="bass", bars=3, seed=1)
    band = call(skin, musician.target, "accompany", bass, style="bossanova", count=2, seed=2, piano_roll=True)
    assert band.roles == {1: "bass"}
    assert band.quantisation.bars == 3
    assert band.quantisation.notes == bass[0].tracks[0].notes
    assert (band.quantisation.mean_error_steps, band.quantisation.on_grid_share) == (0.0, 1.0)
    for piece in band:
        assert [(track.role, track.given) for track in piece.tracks] == [
            ("bass", True),
            ("drums", False),
            ("keys", False),
        ]
        assert notes(piece, "Bass") == notes(bass[0], "Bass")
        assert (piece.piano_roll or b"").startswith(b"\x89PNG")
        assert piece.facts["seed"] == 2
    assert band[0].midi != band[1].midi
    other = call(skin, musician.target, "accompany", bass, roles={1: "keys"}, tracks=["bass"], seed=2)
    assert other.roles == {1: "keys"}
    assert [track.role for track in other[0].tracks] == ["keys", "bass"]


@both_skins
def test_what_is_wrong_is_said_by_field(skin: Skin, musician: Served) -> None:
    wrong: dict[str, Any] = {"tempo_bpm": 0, "bars": MAX_BARS + 1, "count": 0, "tracks": ["bass", "tuba"], "density": 2}
    with pytest.raises(InvalidRequestError) as caught:
        call(skin, musician.target, "music", "polka", **wrong)
    assert {violation.field for violation in caught.value.violations} == {
        "style", "tempo_bpm", "bars", "count", "tracks[1]", "density",
    }  # fmt: skip
    with pytest.raises(InvalidRequestError, match="midi: "):
        call(skin, musician.target, "accompany", b"RIFF")
    bass = call(skin, musician.target, "music", tracks="bass")
    with pytest.raises(InvalidRequestError, match=r"roles\[0\]\.role: is 'bas'; did you mean 'bass'\?"):
        call(skin, musician.target, "accompany", bass, roles={1: "bas"})
    with pytest.raises(InvalidRequestError, match="has no accompanist"):
        call(skin, musician.target, "accompany", bass, model="chords")


def test_a_model_without_styles_takes_none(musician: Served) -> None:
    piece = call(Client, musician.target, "music", model="chords", seed=1)[0]
    assert (piece.style, piece.tempo_bpm, piece.bars) == ("", 120.0, 1)
    with pytest.raises(InvalidRequestError, match="style"):
        call(Client, musician.target, "music", "march", model="chords")


async def test_tasks_share_a_client(musician: Served) -> None:
    async with AsyncClient(musician.target) as client:
        expected = {seed: midis(await client.music(count=3, seed=seed)) for seed in range(4)}
        answers = await asyncio.gather(*(client.music(count=3, seed=i % 4) for i in range(24)))
        assert all(midis(answer) == expected[i % 4] for i, answer in enumerate(answers))
