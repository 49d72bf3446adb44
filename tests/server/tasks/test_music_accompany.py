"""Accompaniment on tiny real graphs, without RPC: the caller's notes unchanged, and tracks that listen to them."""

from __future__ import annotations

import io
import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import mido
import numpy as np
import onnxruntime as ort
import pytest
from PIL import Image

from muserve.errors import InvalidRequestError
from muserve.v1 import music_pb2
from muserve_server.model import LocalModel
from muserve_server.tasks import noise
from muserve_server.tasks.music.events import split_chunks
from muserve_server.tasks.music.midi_reader import read_song
from tests.music_bundles import BAR_SIZE, BARS, CONSTANT_SIZE, LOWEST_PITCH, PITCHES, STEPS, music_bundle
from tests.options import local_options
from tests.server.musical import meta, midi_file, note_track, notes_of, real_files

Request = music_pb2.AccompanyRequest
BAR = 1920
MELODY = [(tick, tick + 240, 60 + tick // 480 % 7) for tick in range(0, 3 * BAR, 480)]
"""Quarters, three bars long."""
LINE = midi_file([meta("set_tempo", tempo=500_000)], note_track(*MELODY, program=0, name="Mine"))


def role_of(track: int, role: str) -> music_pb2.TrackRole:
    return music_pb2.TrackRole(track=track, role=role)


async def accompanied(model: LocalModel, midi: bytes = LINE, **fields: Any) -> music_pb2.AccompanyResponse:
    response: music_pb2.AccompanyResponse = await model.answer(Request(midi=midi, **{"seed": 1} | fields))
    return response


async def test_the_callers_track_is_unchanged_and_others_follow(band: LocalModel) -> None:
    response = await accompanied(band)
    (piece,) = response.pieces
    given, found = split_chunks(LINE, max_tracks=9), split_chunks(piece.midi, max_tracks=9)
    assert found.tracks[1].data == given.tracks[1].data
    assert found.tracks[0].data.endswith(given.tracks[0].data)
    assert [(t.name, t.role, t.program, t.drums, t.given) for t in piece.tracks] == [
        ("Mine", "keys", 0, False, True), ("Drums", "drums", 0, True, False),
        ("Bass", "bass", piece.tracks[2].program, False, False),
    ]  # fmt: skip
    song = read_song(piece.midi)
    assert [track.name for track in song.tracks] == ["Mine", "Drums", "Bass"]
    assert [track.channel for track in song.tracks] == [0, 9, 1]
    assert [len(track.notes) for track in song.tracks] == [track.notes for track in piece.tracks]
    assert (piece.bars, piece.tempo_bpm, piece.sample) == (3, 120, 0)
    file = mido.MidiFile(file=io.BytesIO(piece.midi))
    facts = json.loads(file.tracks[0][0].text.removeprefix("muserve "))
    assert (facts["model"], facts["seed"], facts["style"], facts["tempo_bpm"]) == ("band", 1, piece.style, 120)
    assert response.info.seed == 1
    assert list(response.roles) == [role_of(1, "keys")]
    quantisation = response.quantisation
    assert (quantisation.notes, quantisation.folded_notes, quantisation.bars) == (12, 0, 3)
    assert (quantisation.mean_error_steps, quantisation.on_grid_share) == (0, 1)


async def test_what_the_accompanist_hears_is_what_is_given(band: LocalModel) -> None:
    """By the graph itself: the rolls of the given track, phrase by phrase, silence after the end; tempo and style."""
    midi = midi_file([meta("set_tempo", tempo=400_000), meta("set_tempo", 2 * BAR, tempo=600_000)],
                     note_track(*MELODY, program=40))  # fmt: skip
    response = await accompanied(band, midi, roles=[role_of(1, "keys")], style="march", tracks=["bass"], first_sample=3)
    session = ort.InferenceSession(band.bundle.folder / "graphs/accompanist.onnx")
    onset = np.zeros((4, 3, STEPS, PITCHES), np.float32)
    hold = np.zeros_like(onset)
    for start, _, pitch in MELODY:
        onset[start // BAR, 1, start % BAR // 120, pitch - LOWEST_PITCH] = 1
        hold[start // BAR, 1, start % BAR // 120 + 1, pitch - LOWEST_PITCH] = 1
    starts = []
    for phrase, tempo_bpm in enumerate((150, 100)):
        bars = noise.standard_normal(1, 3, 1, BARS * BAR_SIZE, stream=noise.FIRST_FREE_STREAM + phrase)
        answer, _ = session.run(
            None,
            {
                "constant": noise.standard_normal(1, 3, 1, CONSTANT_SIZE),
                "per_bar": bars.reshape(1, BARS, BAR_SIZE),
                "style": np.array([0]),
                "tempo": np.array([tempo_bpm], np.float32),
                "density": np.array([-1], np.float32),
                "given_onset": onset[None, 2 * phrase : 2 * phrase + 2],
                "given_hold": hold[None, 2 * phrase : 2 * phrase + 2],
                "given_tracks": np.array([[0, 1, 0]], np.float32),
            },
        )
        best = np.asarray(answer)[0, :, 2]  # the bass plays one note at a time
        for bar, step in np.ndindex(BARS, STEPS):
            if best[bar, step].max() > 0.5 and (time := (2 * phrase + bar) * STEPS + step) < 3 * STEPS:
                starts.append([time * 120, int(best[bar, step].argmax()) + LOWEST_PITCH])
    bass = read_song(response.pieces[0].midi).tracks[-1]
    assert bass.notes[:, [0, 2]].tolist() == starts
    assert len(starts) > 12


async def test_the_graph_gets_only_what_is_heard(band: LocalModel) -> None:
    """The tracks with roles, silence after the file's end; and a tempo that training can have had."""
    midi = midi_file(note_track(*MELODY), note_track((0, 240, 40), channel=1), note_track((0, 240, 41), channel=2))
    request = Request(midi=midi, roles=[role_of(0, "keys"), role_of(1, "bass"), role_of(2, "")], tracks=["drums"])
    found = await band.record(request)
    assert found["0.accompanist.in.given_tracks"].tolist() == [[0, 1, 1]] * 2
    onset, hold = (found[f"0.accompanist.in.given_{name}"].reshape(4, 3, STEPS, PITCHES) for name in ("onset", "hold"))
    assert onset.sum(axis=(1, 2, 3)).tolist() == [5, 4, 4, 0]
    assert hold.sum(axis=(1, 2, 3)).tolist() == [5, 4, 4, 0]
    assert found["0.accompanist.in.tempo"].tolist() == [0, 0]
    for tempo_us, tempo_bpm in ((100_000, 240), (500_000, 120), (3_000_000, 40)):
        midi = midi_file([meta("set_tempo", tempo=tempo_us)], note_track(*MELODY))
        assert (await band.record(Request(midi=midi)))["0.accompanist.in.tempo"].tolist() == [tempo_bpm] * 2


async def test_another_input_gives_another_output(band: LocalModel) -> None:
    other = [(start, end, pitch + 2) for start, end, pitch in MELODY]
    first, again, second = [
        read_song((await accompanied(band, midi_file(note_track(*notes)), tracks=["bass"])).pieces[0].midi)
        for notes in (MELODY, MELODY, other)
    ]
    assert notes_of(first)[1] == notes_of(again)[1]
    assert notes_of(first)[1] != notes_of(second)[1]
    for song, notes in ((first, MELODY), (second, other)):
        assert {(start, pitch) for start, _, pitch in notes} <= {(n[0], n[2]) for n in notes_of(song)[1]}


async def test_samples_differ_and_can_be_made_again_alone(band: LocalModel) -> None:
    whole = (await accompanied(band, count=5)).pieces
    assert [piece.sample for piece in whole] == list(range(5))
    assert len({piece.midi for piece in whole}) == 5
    assert (await accompanied(band, first_sample=3)).pieces[0] == whole[3]
    drawn = await band.answer(Request(midi=LINE))
    assert (await accompanied(band, seed=drawn.info.seed)).pieces == drawn.pieces


async def test_roles_are_guessed_and_can_be_set(band: LocalModel) -> None:
    midi = midi_file(
        [meta("set_tempo", tempo=500_000)], note_track(*MELODY, program=33, name="Low"),
        note_track(*MELODY, channel=1, program=4, name="Piano"), note_track(*MELODY, channel=9, name="Kit"),
        note_track(*MELODY, channel=2, program=100, name="Odd"),
    )  # fmt: skip
    with_all = await accompanied(band, midi, tracks=["keys"])
    assert list(with_all.roles) == [role_of(1, "bass"), role_of(2, ""), role_of(3, "drums"), role_of(4, "")]
    asked = [role_of(4, "keys"), role_of(1, ""), role_of(2, "")]
    response = await accompanied(band, midi, roles=asked)
    assert list(response.roles) == [role_of(1, ""), role_of(2, ""), role_of(3, "drums"), role_of(4, "keys")]
    assert [(t.name, t.role, t.given) for t in response.pieces[0].tracks] == [
        ("Low", "", True), ("Piano", "", True), ("Kit", "drums", True), ("Odd", "keys", True), ("Bass", "bass", False),
    ]  # fmt: skip
    assert response.quantisation.notes == 2 * 12  # drums and the odd one


async def test_a_track_whose_role_is_asked_for_is_kept_but_not_heard(band: LocalModel) -> None:
    """Its replacement stands beside it, and does not depend on it."""
    pieces = []
    for pitch in (40, 45):
        midi = midi_file(note_track(*MELODY), note_track((0, BAR, pitch), channel=1, program=33, name="Old bass"))
        response = await accompanied(band, midi, roles=[role_of(0, "keys")], tracks=["bass"])
        assert list(response.roles) == [role_of(0, "keys"), role_of(1, "")]
        pieces.append(response.pieces[0])
    first, second = (read_song(piece.midi) for piece in pieces)
    assert [track.name for track in pieces[0].tracks] == ["", "Old bass", "Bass"]
    assert notes_of(first)[1] == [[0, BAR, 40]]
    assert notes_of(first)[2] == notes_of(second)[2]


async def test_all_that_the_file_does_not_play_is_added(band: LocalModel) -> None:
    for midi, added in (
        (midi_file(note_track(*MELODY, channel=9)), ["keys", "bass"]),
        (midi_file(note_track(*MELODY), note_track(*MELODY, channel=9)), ["bass"]),
    ):
        piece = (await accompanied(band, midi)).pieces[0]
        assert [track.role for track in piece.tracks if not track.given] == added


async def test_the_grid_is_the_files_own(band: LocalModel) -> None:
    """Another resolution, a late first note, and bars of another metre that nobody plays in: the bars stay aligned."""
    signatures = [meta("time_signature", 0, numerator=3, denominator=4), meta("time_signature", 288),
                  meta("time_signature", 288 + 384, numerator=5, denominator=8),
                  meta("time_signature", 288 + 384 + 240)]  # fmt: skip
    melody = [(288 + 96 * beat, 288 + 96 * beat + 90, 60) for beat in range(4)]
    melody += [(start + 624, end + 624, 64) for start, end, _ in melody]
    midi = midi_file(signatures, note_track(*melody, name="Mine"), ticks_per_beat=96)
    response = await accompanied(band, midi, tracks=["bass", "drums"])
    (piece,) = response.pieces
    assert (piece.bars, response.quantisation.bars, response.quantisation.notes) == (4, 4, 8)
    song = read_song(piece.midi)
    assert song.ticks_per_beat == 96
    bass = notes_of(song)[2]
    assert {(start, pitch) for start, _, pitch in melody} <= {(note[0], note[2]) for note in bass}
    for start, end, _ in bass + notes_of(song)[1]:
        assert 288 <= start < end <= 288 + 384 or 912 <= start < end <= 912 + 384
        assert (start - 288) % 24 == 0
    assert np.array_equal(song.time_signatures, read_song(midi).time_signatures)


async def test_the_distance_from_the_grid_is_reported(band: LocalModel) -> None:
    late = [(start + 30, end + 30, pitch) for start, end, pitch in MELODY[:6]] + MELODY[6:]
    late[0] = (30, 270, 20)
    response = await accompanied(band, midi_file(note_track(*late)))
    quantisation = response.quantisation
    assert quantisation.mean_error_steps == pytest.approx(0.125)
    assert (quantisation.on_grid_share, quantisation.folded_notes, quantisation.notes) == (0.5, 1, 12)
    assert notes_of(read_song(response.pieces[0].midi))[0] == [list(note) for note in late]


async def test_a_file_of_type_0_comes_back_as_type_1(band: LocalModel) -> None:
    events = [meta("set_tempo", tempo=500_000), *note_track(*MELODY, channel=3, program=2)]
    midi = midi_file([*events, *note_track(*MELODY, channel=9)], kind=0)
    response = await accompanied(band, midi)
    assert list(response.roles) == [role_of(0, "keys"), role_of(1, "drums")]
    (piece,) = response.pieces
    assert [(t.name, t.role) for t in piece.tracks] == [
        ("Channel 4", "keys"),
        ("Channel 10", "drums"),
        ("Bass", "bass"),
    ]
    file = mido.MidiFile(file=io.BytesIO(piece.midi))
    assert file.type == 1
    assert [track.name for track in file.tracks] == ["", "Channel 4", "Channel 10", "Bass"]
    other = await accompanied(band, midi, roles=[role_of(0, "bass"), role_of(1, "")])
    assert [track.role for track in other.pieces[0].tracks] == ["bass", "", "drums", "keys"]


async def test_a_track_of_several_channels_takes_one_role_for_all(band: LocalModel) -> None:
    both = note_track(*MELODY, channel=4, name="Both") + note_track(*MELODY[1:], channel=9)
    guessed = await accompanied(band, midi_file(both))
    assert list(guessed.roles) == [role_of(0, "keys"), role_of(0, "drums")]
    asked = await accompanied(band, midi_file(both), roles=[role_of(0, "bass")])
    assert list(asked.roles) == [role_of(0, "bass"), role_of(0, "bass")]


async def test_new_tracks_take_channels_of_their_own(band: LocalModel) -> None:
    tracks = [note_track(*MELODY, channel=channel) for channel in (0, 2)]
    tracks.append([(0, mido.Message("control_change", channel=1, control=7))])
    response = await accompanied(band, midi_file(*tracks), roles=[role_of(0, "keys")], tracks=["bass", "drums"])
    assert [track.channel for track in read_song(response.pieces[0].midi).tracks] == [0, 2, 9, 3]


async def test_a_file_may_be_longer_than_the_models_pieces(band: LocalModel) -> None:
    melody = [(bar * BAR, bar * BAR + 240, 50 + bar % 30) for bar in range(101)]
    response = await accompanied(band, midi_file(note_track(*melody)), tracks=["bass"])
    assert response.pieces[0].bars == 101
    bass = notes_of(read_song(response.pieces[0].midi))[1]
    assert {(start, pitch) for start, _, pitch in melody} <= {(note[0], note[2]) for note in bass}
    assert max(note[1] for note in bass) <= 101 * BAR


async def test_long_calls_are_run_in_parts_and_give_the_same(tmp_path: Path, band: LocalModel) -> None:
    melody = [(bar * BAR, bar * BAR + 240, 50 + bar % 30) for bar in range(31)]
    midi = midi_file(note_track(*melody))
    wanted = await accompanied(band, midi, count=3)
    async with await LocalModel.open(music_bundle(tmp_path / "x"), local_options(max_samples_per_call=5)) as model:
        assert (await accompanied(model, midi, count=3)).pieces == wanted.pieces


async def test_the_piano_roll_shows_the_given_tracks_in_grey(band: LocalModel) -> None:
    (piece,) = (await accompanied(band, piano_roll=True)).pieces
    with Image.open(io.BytesIO(piece.piano_roll_png)) as image:
        pixels = np.asarray(image.convert("RGB"))
        assert json.loads(image.info["muserve"])["model"] == "band"
    lanes = [tuple(pixels[row, 1].tolist()) for row in range(len(pixels))]
    colours = [colour for colour in dict.fromkeys(lanes) if colour != (255, 255, 255)]
    assert len(colours) == 3
    assert colours[0] == (120, 120, 130)


async def test_most_real_files_are_accompanied(band: LocalModel) -> None:
    accompanied_files = 0
    for path in real_files():
        midi = path.read_bytes()
        roles = [role_of(read_song(midi).tracks[0].index, "keys")]
        with suppress(InvalidRequestError):
            await accompanied(band, midi, roles=roles, tracks=["bass", "drums"])
            accompanied_files += 1
    assert accompanied_files > len(real_files()) / 2


@pytest.mark.parametrize("path", real_files(), ids=lambda path: path.stem)
async def test_real_files_are_accompanied_or_clearly_refused(band: LocalModel, path: Path) -> None:
    midi = path.read_bytes()  # noqa: ASYNC240 - small
    given = read_song(midi)
    roles = [role_of(given.tracks[0].index, "keys")]
    try:
        response = await accompanied(band, midi, roles=roles, tracks=["bass", "drums"])
    except InvalidRequestError as error:
        assert {violation.field for violation in error.violations} <= {"midi"}  # noqa: PT017
        assert "the model's metre" in str(error)  # noqa: PT017
        return
    found = read_song(response.pieces[0].midi)
    assert notes_of(found)[: len(given.tracks)] == notes_of(given)


async def test_a_piece_of_the_model_can_be_accompanied(band: LocalModel) -> None:
    made = await band.answer(music_pb2.GenerateMusicRequest(seed=2, bars=5, tracks=["keys"], tempo_bpm=97.3))
    response = await accompanied(band, made.pieces[0].midi, style="march")
    (piece,) = response.pieces
    assert piece.bars == 5
    assert piece.tempo_bpm == pytest.approx(97.3, abs=1e-3)
    assert notes_of(read_song(piece.midi))[0] == notes_of(read_song(made.pieces[0].midi))[0]
    assert response.quantisation.mean_error_steps == 0
    text = mido.MidiFile(file=io.BytesIO(piece.midi)).tracks[0][0].text
    assert json.loads(text.removeprefix("muserve "))["style"] == "march"  # the newest stands first
