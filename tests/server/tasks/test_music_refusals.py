"""What the music task refuses: each wrong field is named, and so is what contradicts itself in a manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from unittest.mock import patch

import mido
import numpy as np
import onnx
import pytest

from muserve.bundle import ManifestError, read_bundle, write_manifest
from muserve.configuration import nearest
from muserve.errors import InvalidRequestError
from muserve.v1 import manifest_pb2, music_pb2
from muserve_server.model import LocalModel, LocalOptions
from muserve_server.tasks.music.events import split_chunks
from tests.bundles import edit_manifest
from tests.music_bundles import chord_bundle, music_bundle
from tests.options import local_options, short_answers
from tests.server.musical import meta, midi_file, note_track

Request = music_pb2.GenerateMusicRequest
Accompany = music_pb2.AccompanyRequest
BAR = 1920
MELODY = [(tick, tick + 240, 60) for tick in range(0, 2 * BAR, 480)]
LINE = midi_file(note_track(*MELODY))
NAN, INFINITE = float("nan"), float("inf")


def role_of(track: int, role: str) -> music_pb2.TrackRole:
    return music_pb2.TrackRole(track=track, role=role)


async def violations(model: LocalModel, request: Any) -> dict[str, str]:
    with pytest.raises(InvalidRequestError) as caught:
        await model.answer(request)
    return {violation.field: violation.description for violation in caught.value.violations}


@pytest.mark.parametrize(
    ("fields", "field", "text"),
    [
        ({"count": 0}, "count", "is 0; allowed: 1 up to 256"),
        ({"count": 257}, "count", "is 257; allowed: 1 up to 256"),
        ({"style": "bosanova"}, "style", "is 'bosanova'; did you mean 'bossanova'?"),
        ({"style": "qqq"}, "style", "is 'qqq'; valid: bossanova, march, waltzing"),
        ({"tempo_bpm": 39.9}, "tempo_bpm", "is 39.9; allowed: 40 up to 240"),
        ({"tempo_bpm": 240.5}, "tempo_bpm", "is 240.5; allowed: 40 up to 240"),
        ({"tempo_bpm": 0}, "tempo_bpm", "is 0; allowed"),
        ({"tempo_bpm": NAN}, "tempo_bpm", "is nan; allowed"),
        ({"tempo_bpm": INFINITE}, "tempo_bpm", "is inf; allowed"),
        ({"tempo_bpm": -120}, "tempo_bpm", "is -120; allowed"),
        ({"bars": 0}, "bars", "is 0; allowed by band/1: 1 up to 9"),
        ({"bars": 10}, "bars", "is 10; allowed by band/1: 1 up to 9"),
        ({"bars": 2**32 - 1}, "bars", "is 4294967295; allowed"),
        ({"tracks": ["bas"]}, "tracks[0]", "is 'bas'; did you mean 'bass'?"),
        ({"tracks": ["bass", "flute"]}, "tracks[1]", "is 'flute'; valid: bass, drums, keys"),
        ({"tracks": ["bass", "keys", "bass"]}, "tracks[2]", "is 'bass' again; name each role once"),
        ({"tracks": [""]}, "tracks[0]", "is ''; valid"),
        ({"density": 1.01}, "density", "is 1.01; allowed: 0 up to 1"),
        ({"density": -0.01}, "density", "is -0.01; allowed: 0 up to 1"),
        ({"density": NAN}, "density", "is nan; allowed: 0 up to 1"),
        ({"first_sample": 2**53}, "first_sample", "is 9007199254740992; allowed: first_sample + count at most 2^53"),
        ({"first_sample": 2**53 - 1, "count": 2}, "first_sample", "with count 2"),
        ({"first_sample": 2**64 - 1}, "first_sample", "is 18446744073709551615"),
    ],
)
async def test_a_wrong_field_is_named(band: LocalModel, fields: dict[str, Any], field: str, text: str) -> None:
    found = await violations(band, Request(**fields))
    assert list(found) == [field]
    assert text in found[field]
    if field not in ("tempo_bpm", "bars"):
        assert await violations(band, Accompany(midi=LINE, **fields)) == found
    assert len((await band.answer(Request())).pieces) == 1


async def test_all_wrong_fields_are_listed(band: LocalModel) -> None:
    wrong = Request(count=0, style="x", tempo_bpm=1, bars=99, tracks=["x", "y"], density=2, first_sample=2**60)
    assert list(await violations(band, wrong)) == [
        "count", "first_sample", "style", "tempo_bpm", "bars", "tracks[0]", "tracks[1]", "density",
    ]  # fmt: skip
    many = await violations(band, Request(tracks=["x"] * 100))
    assert len(many) == 20


async def test_what_a_model_does_not_have_is_refused(chords: LocalModel) -> None:
    found = await violations(chords, Request(style="march", density=0.5, tracks=["keys", "drums"]))
    assert found == {
        "style": "model chords/1 has no styles; leave it out",
        "tracks[1]": "is 'drums'; valid: keys",
        "density": "model chords/1 has no density input; leave it out",
    }
    found = await violations(chords, Accompany(midi=LINE))
    assert found == {"model": "chords/1 has no accompanist; choose another model, or call GenerateMusic"}


async def test_too_many_bars_are_refused_before_they_are_written(tmp_path: Path) -> None:
    async with await LocalModel.open(music_bundle(tmp_path), local_options(max_bars_per_call=20)) as model:
        assert len((await model.answer(Request(count=2, bars=9))).pieces) == 2
        found = await violations(model, Request(count=3, bars=9))
        assert found == {"count": "is 3; allowed: up to 2 pieces of 9 bars a call"}
        long = midi_file(note_track((0, 240, 60), (20 * BAR, 20 * BAR + 240, 60)))
        text = f"has more than 20 bars, up to its last note at tick {20 * BAR + 180}"
        assert await violations(model, Accompany(midi=long)) == {"midi": text}
        found = await violations(model, Accompany(midi=midi_file(note_track((0, 5 * BAR, 60))), count=4))
        assert found == {"count": "is 4; allowed: up to 3 pieces of 5 bars a call"}


async def test_too_many_pixels_are_refused_before_they_are_drawn(tmp_path: Path) -> None:
    async with await LocalModel.open(music_bundle(tmp_path), local_options(max_pixels_per_call=400_000)) as model:
        assert len((await model.answer(Request(count=2, piano_roll=True))).pieces) == 2
        found = await violations(model, Request(count=3, piano_roll=True))
        assert found == {"piano_roll": "would be 3 pictures of 477 × 280 pixels; allowed: up to 2 a call"}
        found = await violations(model, Accompany(midi=LINE, count=3, piano_roll=True))
        assert found == {"piano_roll": "would be 3 pictures of 477 × 280 pixels; allowed: up to 2 a call"}
        assert len((await model.answer(Request(count=200))).pieces) == 200


async def test_names_that_an_answer_repeats_count_too(tmp_path: Path) -> None:
    async with await LocalModel.open(music_bundle(tmp_path), LocalOptions(limits=short_answers(1000))) as model:
        many = [event for channel in range(8) for event in note_track(*MELODY, channel=channel)]
        midi = midi_file([meta("track_name", name="n" * 1000), *many])
        assert len(midi) < 4000
        found = await violations(model, Accompany(midi=midi, count=2, tracks=["drums"]))
        assert found == {
            "count": f"is 2; the file of {len(midi) + 8 * 1000} bytes fits 0 times into an answer of 8000 bytes"
        }


async def test_answers_larger_than_a_message_are_refused(tmp_path: Path) -> None:
    async with await LocalModel.open(music_bundle(tmp_path), LocalOptions(limits=short_answers(1000))) as model:
        text = meta("text", text="x" * 3900)
        found = await violations(model, Accompany(midi=midi_file([text], note_track(*MELODY)), count=2))
        assert "fits 1 times into an answer of 8000 bytes" in found["count"]
        await model.answer(Accompany(midi=midi_file([text], note_track(*MELODY))))


async def test_thousands_of_wrong_names_are_not_compared_with_right_ones(band: LocalModel) -> None:
    """That would hold up all other callers: a hundred thousand names took a third of a second."""
    with patch("muserve_server.tasks.music.planning.nearest", wraps=nearest) as compared:
        assert len(await violations(band, Request(tracks=["x"] * 100_000))) == 20
    assert compared.call_count == 20
    with patch("muserve_server.tasks.music.listening.nearest", wraps=nearest) as compared:
        roles = [role_of(0, "x")] * 1000
        assert len(await violations(band, Accompany(midi=LINE, roles=roles))) == 20
    assert compared.call_count == 20


async def test_a_picture_or_file_of_which_none_fits_is_refused_by_its_own_name(tmp_path: Path) -> None:
    options = local_options(max_pixels_per_call=1000, max_bars_per_call=21)
    async with await LocalModel.open(music_bundle(tmp_path), options) as model:
        found = await violations(model, Request(piano_roll=True))
        assert found == {
            "piano_roll": "would be 1 pictures of 477 × 280 pixels; allowed: 1000 pixels a call; leave it out"
        }
        midi = midi_file(note_track((0, 240, 60), (20 * BAR, 20 * BAR + 240, 60)))
        found = await violations(model, Accompany(midi=midi))
        assert found == {"midi": "has 21 bars, in whole phrases 22; allowed: up to 21 a call"}


async def test_a_file_of_type_0_whose_channels_rest_longer_than_a_track_can_count_is_refused(band: LocalModel) -> None:
    """Its own numbers fit, since other channels play between; split into tracks they would not."""
    rest = 2**28 - 1
    controls = [(rest * index, mido.Message("control_change", channel=1, control=7)) for index in (1, 2, 3)]
    midi = midi_file([*note_track((0, 240, 60)), *controls], kind=0)
    found = await violations(band, Accompany(midi=midi, roles=[role_of(0, "keys")]))
    assert found == {"midi": f"lasts {3 * rest} ticks; allowed: up to {rest}"}


@pytest.mark.parametrize(
    ("midi", "text"),
    [
        (b"", "the file is empty"),
        (b"\x89PNG\r\n\x1a\n", "is not a MIDI file: a MIDI file begins with MThd"),
        (LINE[:40], "is truncated in track 0"),
        (LINE[:8] + b"\0\2" + LINE[10:], "is of type 2"),
        (LINE[:12] + b"\xe7\x28" + LINE[14:], "counts time in SMPTE frames"),
        (LINE[:10] + b"\x03\xe8" + LINE[12:], "has 1000 tracks; allowed: 1 up to 256"),
        (midi_file([meta("set_tempo", tempo=0)], note_track(*MELODY)), "has a tempo of 000000 microseconds at tick 0"),
        (midi_file([meta("text", text="la")]), "has no notes"),
        (midi_file(note_track(*MELODY), ticks_per_beat=3),
         "has 3 ticks per quarter note; the model's steps need 1.33333 times as many"),
        (midi_file([meta("time_signature", numerator=3, denominator=4)], note_track(*MELODY)),
         "has notes outside 4/4, the model's metre, in the bars 1, 2, 3"),
        (midi_file([meta("time_signature", numerator=2, denominator=4)], note_track(*MELODY * 9)),
         "has notes outside 4/4, the model's metre, in the bars 1, 2, 3, 4"),
        (midi_file([meta("time_signature", BAR + 960)], note_track(*MELODY)),
         "has notes outside 4/4, the model's metre, in the bars 2"),
        (midi_file([meta("time_signature", numerator=1, denominator=16)], note_track(*MELODY)),
         "in the bars 1, 5, 9, 13, 17, 21, 25, 29"),
        (midi_file([meta("time_signature", numerator=1, denominator=16)], note_track(*MELODY, (BAR * 2, 4000, 60))),
         "29, …"),
        (midi_file(*[note_track(*MELODY, channel=channel) for channel in range(15)]),
         "leaves 1 of the 15 channels free, and 2 tracks with pitches are to be added; ask for fewer tracks"),
        (midi_file(*[note_track((0, 2**28 - 1, 60)), note_track((0, 1, 60))] , ticks_per_beat=32767),
         "lasts 268558332 ticks; allowed: up to 268435455"),
    ],
)  # fmt: skip
async def test_a_file_that_cannot_be_accompanied_is_refused(band: LocalModel, midi: bytes, text: str) -> None:
    found = await violations(
        band, Accompany(midi=midi, roles=[], tracks=["keys", "bass"] if midi.count(b"MTrk") > 9 else [])
    )
    assert list(found) == ["midi"]
    assert text in found["midi"]
    assert len((await band.answer(Accompany(midi=LINE))).pieces) == 1


async def test_too_many_events_are_refused(tmp_path: Path) -> None:
    async with await LocalModel.open(music_bundle(tmp_path), local_options(max_midi_events=17)) as model:
        await model.answer(Accompany(midi=LINE))
        found = await violations(model, Accompany(midi=midi_file(note_track(*MELODY, (0, 1, 50)))))
        assert found == {"midi": "has more than 17 events; cut it, or leave out controllers"}


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({"roles": [role_of(1, "keys"), role_of(2, "bass")]}, {"roles[1].track": "is 2; tracks with notes are 1, 3"}),
        ({"roles": [role_of(0, "keys")]}, {"roles[0].track": "is 0; tracks with notes are 1, 3"}),
        ({"roles": [role_of(1, "key")]}, {"roles[0].role": "is 'key'; did you mean 'keys'?"}),
        ({"roles": [role_of(1, "keys"), role_of(1, "")]}, {"roles[1].track": "is 1 again; name each track once"}),
        ({"roles": [role_of(9, ""), role_of(1, "x")]},
         {"roles[0].track": "is 9; tracks with notes are 1, 3", "roles[1].role": "is 'x'; valid: bass, drums, keys"}),
        ({"roles": [role_of(1, ""), role_of(3, "")]},
         {"roles": "leave no notes to accompany; name the roles of the tracks with notes: 1, 3"}),
        ({"roles": [role_of(1, "bass"), role_of(3, "bass")], "tracks": ["bass"]},
         {"roles": "leave no notes to accompany; name the roles of the tracks with notes: 1, 3"}),
        ({"roles": [role_of(1, "drums"), role_of(3, "")]},
         {"roles": "leave no notes within the model's pitch range"}),
        ({"tracks": ["flute", "keys", "keys"]},
         {"tracks[0]": "is 'flute'; valid: bass, drums, keys", "tracks[2]": "is 'keys' again; name each role once"}),
    ],
)  # fmt: skip
async def test_wrong_roles_and_tracks_are_named(
    band: LocalModel, fields: dict[str, Any], wanted: dict[str, str]
) -> None:
    low = [(start, end, 30) for start, end, _ in MELODY]
    midi = midi_file([], note_track(*low, program=33), [], note_track(*MELODY, channel=1, program=4))
    assert await violations(band, Accompany(midi=midi, **fields)) == wanted


async def test_a_file_that_plays_all_roles_must_be_told_what_to_add(band: LocalModel) -> None:
    midi = midi_file(*[note_track(*MELODY, channel=channel) for channel in (0, 1, 9)])
    roles = [role_of(0, "keys"), role_of(1, "bass")]
    found = await violations(band, Accompany(midi=midi, roles=roles))
    assert found == {"tracks": "are all played by the file; name those to add, or give roles"}
    response = await band.answer(Accompany(midi=midi, roles=roles, tracks=["keys"]))
    assert [role.role for role in response.roles] == ["", "bass", "drums"]


async def test_a_graph_that_gives_no_numbers_is_an_error(tmp_path: Path) -> None:
    folder = music_bundle(tmp_path)
    path = folder / "graphs/generator.onnx"
    model = onnx.load(path)
    for node in model.graph.node:
        if node.op_type == "Sigmoid" and node.output[0] == "hold":
            node.op_type = "Log"  # of negative numbers too
    onnx.save(model, path)
    write_manifest(folder, read_bundle(folder).manifest, optional=frozenset())
    async with await LocalModel.open(folder) as opened:
        with pytest.raises(ValueError, match="graph 'generator' of band/1 returned NaN or infinity in 'hold'"):
            await opened.answer(Request())
        assert (await opened.answer(Accompany(midi=LINE))).pieces


def add_pitched_tracks(manifest: manifest_pb2.ModelManifest) -> None:
    for index in range(15):
        manifest.music.tracks.add(role=f"more {index}", velocity=1, off_beat_velocity=1)


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (lambda m: m.ClearField("music"), "music.bars, beats_per_bar, steps_per_bar and pitches must be at least 1"),
        (lambda m: setattr(m.music, "bars", 0), "must be at least 1"),
        (lambda m: setattr(m.music, "beats_per_bar", 0), "must be at least 1"),
        (lambda m: setattr(m.music, "beat_unit", 3), "the metre 4/3 is none; the note value is one of"),
        (lambda m: setattr(m.music, "beats_per_bar", 1000), "the metre 1000/4 is none"),
        (lambda m: setattr(m.music, "lowest_pitch", 81), "the highest pitch is 128; MIDI has 0 up to 127"),
        (lambda m: setattr(m.music, "lowest_pitch", 2**32 - 1), "MIDI has 0 up to 127"),
        (lambda m: setattr(m.music, "steps_per_bar", 2**20), "a roll is"),
        (lambda m: setattr(m.music, "max_bars", 0), "music.max_bars is 0, in phrases of 2; allowed: 1 up to"),
        (lambda m: setattr(m.music, "max_bars", 8193), "music.max_bars is 8193, in phrases of 2"),
        (
            lambda m: m.music.MergeFrom(manifest_pb2.MusicSettings(beats_per_bar=127, beat_unit=1, max_bars=8192)),
            "music.max_bars is 8192, more than a MIDI file can count",
        ),
        (lambda m: setattr(m.music.tracks[1], "role", "bass"), "music.tracks are .* names of their own"),
        (lambda m: setattr(m.music.tracks[1], "role", ""), "music.tracks are .* names of their own"),
        (lambda m: m.music.ClearField("tracks"), "music has 0 tracks, 0 of them pitched"),
        (add_pitched_tracks, "music has 18 tracks, 17 of them pitched; allowed: 1 and more, up to 15 of them pitched"),
        (lambda m: setattr(m.music.tracks[1], "program", 128), "track 'keys' has the program 128; MIDI has up to 127"),
        (lambda m: setattr(m.music.tracks[1], "velocity", 0), "track 'keys' must have velocities of 1 up to 127"),
        (lambda m: setattr(m.music.tracks[2], "off_beat_velocity", 128), "track 'bass' must have velocities"),
        (lambda m: setattr(m.music.styles[1], "name", "march"), "music.styles are .* names of their own"),
        (lambda m: m.music.ClearField("styles"), "music.styles and style_input come together"),
        (lambda m: setattr(m.music, "style_input", ""), "music.styles and style_input come together"),
        (lambda m: setattr(m.music.styles[0], "tempo_bpm", 0), "style 'march' has the tempo 0; allowed: 40 up to 240"),
        (lambda m: setattr(m.music.styles[0], "tempo_bpm", NAN), "style 'march' has the tempo nan"),
        (
            lambda m: m.music.styles[0].programs.append(1),
            "style 'march' must have a program, up to 127, for each track",
        ),
        (lambda m: m.music.styles[0].programs.__setitem__(1, 128), "style 'march' must have a program"),
        (lambda m: setattr(m.music, "generator", "x"), "music.generator is 'x', which is not a graph of the bundle"),
        (
            lambda m: setattr(m.music, "accompanist", "x"),
            "music.accompanist is 'x', which is not a graph of the bundle",
        ),
        (lambda m: setattr(m.music, "accompanist", "generator"), "need the inputs .* of graph 'generator'"),
        (lambda m: setattr(m.music, "generator", "accompanist"), "need the inputs .* of graph 'accompanist'"),
        (lambda m: setattr(m.music, "constant_latent_size", 9), "need the inputs"),
        (lambda m: setattr(m.music, "constant_latent_size", 0), "the latent input 'constant' has the shape"),
        (lambda m: setattr(m.music, "constant_latent_size", 2**17), "the latent input 'constant' has the shape"),
        (lambda m: setattr(m.music, "bar_latents_input", ""), "the latent input '' has the shape"),
        (lambda m: setattr(m.music, "tempo_input", ""), "need the inputs"),
        (lambda m: setattr(m.music, "density_input", "busy"), "need the inputs"),
        (lambda m: setattr(m.music, "bars", 1), "need the inputs"),
        (lambda m: setattr(m.music, "onset_output", ""), "need the outputs"),
        (lambda m: setattr(m.music, "hold_output", ""), "need the outputs"),
        (lambda m: setattr(m.music, "hold_output", "onset"), "need the outputs"),
        (lambda m: setattr(m.graphs[0].outputs[0], "dtype", manifest_pb2.DATA_TYPE_BOOL), "need the outputs"),
        (lambda m: setattr(m.music, "onset_threshold", NAN), "onset_threshold and hold_threshold must be finite"),
        (lambda m: setattr(m.music, "hold_threshold", INFINITE), "onset_threshold and hold_threshold must be finite"),
    ],
)
async def test_a_manifest_that_contradicts_itself_is_refused(tmp_path: Path, edit: Any, text: str) -> None:
    folder = edit_manifest(music_bundle(tmp_path), edit)
    with pytest.raises(ManifestError, match=text):
        await LocalModel.open(folder)


async def test_a_model_without_any_noise_is_refused(tmp_path: Path) -> None:
    def edit(manifest: manifest_pb2.ModelManifest) -> None:
        manifest.music.constant_latent_input, manifest.music.constant_latent_size = "", 0

    with pytest.raises(ManifestError, match="name no latent input, so all pieces would be one"):
        await LocalModel.open(edit_manifest(chord_bundle(tmp_path), edit))


async def test_a_model_longer_than_the_server_allows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match=r"max_bars is 9, in phrases of 2; .* max_bars_per_call of this server, 9"):
        await LocalModel.open(music_bundle(tmp_path), local_options(max_bars_per_call=9))


async def test_mutated_files_are_answered_or_refused(band: LocalModel) -> None:
    """The whole way, on what is left of a file after random changes."""
    random = np.random.default_rng(0)
    midi = midi_file([meta("set_tempo", tempo=500_000), meta("time_signature")], note_track(*MELODY, program=4))
    answered = 0
    for _ in range(150):
        changed = bytearray(midi)
        for _ in range(random.integers(1, 4)):
            changed[random.integers(len(changed))] = random.integers(256)
        try:
            response = await band.answer(Accompany(midi=bytes(changed), seed=1))
        except InvalidRequestError:
            continue
        assert split_chunks(response.pieces[0].midi, max_tracks=9).type == 1
        answered += 1
    assert 10 < answered < 140
