"""Music and accompaniments through both skins: what is sent, what is refused, what comes back."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest

from muserve.errors import FieldViolation
from muserve.v1 import music_pb2
from muserve_client import Accompaniment, Client, InvalidRequestError, Music, Track
from tests.client.fakes import Skin, both_skins, call, fail, fake_server
from tests.client.musicians import band, midi_file, notes_of, play


def tune(*, name: str = "Tune", program: int = 4) -> Any:
    """A file with a bar of quarters in its second track."""
    track = mido.MidiTrack([mido.MetaMessage("track_name", name=name), mido.Message("program_change", program=program)])
    for pitch in (60, 62, 64, 65):
        track.append(mido.Message("note_on", note=pitch, velocity=70))
        track.append(mido.Message("note_off", note=pitch, time=480))
    return midi_file(track)


def written(file: Any) -> bytes:
    content = io.BytesIO()
    file.save(file=content)
    return content.getvalue()


@both_skins
def test_what_is_asked_for_is_sent(skin: Skin) -> None:
    requests: list[Any] = []
    with band(requests) as server:
        call(skin, server.target, "music")
        call(
            skin,
            server.target,
            "music",
            "rock",
            tempo_bpm=np.float32(96.5),
            bars=np.int64(16),
            tracks="bass",
            density=0.5,
            count=2,
            seed=2**64 - 1,
            first_sample=7,
            piano_roll=True,
            model="band",
            version=3,
        )
    assert requests == [
        music_pb2.GenerateMusicRequest(),
        music_pb2.GenerateMusicRequest(
            style="rock", tempo_bpm=96.5, bars=16, tracks=["bass"], density=0.5, count=2, seed=2**64 - 1,
            first_sample=7, piano_roll=True, model="band", version=3,
        ),
    ]  # fmt: skip


@both_skins
def test_pieces_come_back_with_who_made_them(skin: Skin) -> None:
    with band() as server:
        music = call(
            skin, server.target, "music", "rock", bars=8, tempo_bpm=90, count=2, seed=7, first_sample=3, piano_roll=True
        )
    assert isinstance(music, Music)
    assert (music.info.model, music.info.version, music.info.seed) == ("band", 2, 7)
    assert [(piece.sample, piece.style, piece.tempo_bpm, piece.bars) for piece in music] == [
        (3, "rock", 90.0, 8),
        (4, "rock", 90.0, 8),
    ]
    assert music[0].tracks == (
        Track("Drums", "drums", 0, drums=True, notes=8, given=False),
        Track("Keys", "keys", 4, drums=False, notes=8, given=False),
        Track("Bass", "bass", 33, drums=False, notes=8, given=False),
    )
    assert music[1].piano_roll == b"\x89PNG roll 4"
    assert music[:1] == (music[0],)


@both_skins
def test_without_asking_there_is_no_piano_roll(skin: Skin) -> None:
    with band() as server:
        assert call(skin, server.target, "music")[0].piano_roll is None


@both_skins
def test_accompanying_sends_the_file_and_what_is_known_of_it(skin: Skin) -> None:
    requests: list[Any] = []
    with band(requests) as server:
        found = call(
            skin,
            server.target,
            "accompany",
            written(tune()),
            roles={1: "bass", np.int64(2): None, 3: ""},
            tracks=["drums"],
            style="rock",
            density=1,
            count=2,
            seed=5,
            first_sample=1,
            piano_roll=True,
            model="band",
            version=1,
        )
    roles = [music_pb2.TrackRole(track=1, role="bass"), music_pb2.TrackRole(track=2), music_pb2.TrackRole(track=3)]
    assert requests == [
        music_pb2.AccompanyRequest(
            midi=written(tune()), roles=roles, tracks=["drums"], style="rock", density=1, count=2, seed=5,
            first_sample=1, piano_roll=True, model="band", version=1,
        )
    ]  # fmt: skip
    assert isinstance(found, Accompaniment)
    assert [piece.sample for piece in found] == [1, 2]
    assert found.roles == {1: "bass"}
    fit = found.quantisation
    assert (fit.notes, fit.folded_notes, fit.mean_error_steps, fit.on_grid_share, fit.bars) == (4, 0, 0.125, 0.75, 1)
    assert [(track.name, track.role, track.given) for track in found[0].tracks] == [
        ("Tune", "bass", True),
        ("Drums", "drums", False),
    ]


def test_a_track_may_play_several_roles() -> None:
    def answer(request: Any, *_: Any) -> Any:
        response = play(request)
        for role in ("", "bass", "drums", "bass"):
            response.roles.add(track=1, role=role)
        response.roles.add(track=2)
        response.roles.add(track=2)
        return response

    with fake_server(answer) as server:
        assert call(Client, server.target, "accompany", written(tune())).roles == {1: "keys+bass+drums", 2: ""}


@both_skins
def test_nothing_known_of_the_file_leaves_it_to_the_server(skin: Skin) -> None:
    requests: list[Any] = []
    with band(requests) as server:
        found = call(skin, server.target, "accompany", written(tune(program=40)))
        assert found.roles == {1: ""}
        call(skin, server.target, "accompany", written(tune()), roles={})
    midis = (written(tune(program=40)), written(tune()))
    assert requests == [music_pb2.AccompanyRequest(midi=midi) for midi in midis]


def saved(folder: Path) -> Path:
    tune().save(folder / "tune.mid")
    return folder / "tune.mid"


@both_skins
@pytest.mark.parametrize(
    "form",
    [
        saved,
        lambda folder: str(saved(folder)),
        lambda _: written(tune()),
        lambda _: bytearray(written(tune())),
        lambda _: memoryview(written(tune())),
        lambda _: io.BytesIO(written(tune())),
        lambda _: tune(),
    ],
    ids=["path", "text", "bytes", "bytearray", "memoryview", "file object", "mido"],
)
def test_a_file_may_come_in_any_form(skin: Skin, tmp_path: Path, form: Callable[[Path], Any]) -> None:
    requests: list[Any] = []
    with band(requests) as server:
        call(skin, server.target, "accompany", form(tmp_path))
    assert requests[0].midi == written(tune())


def test_an_open_file_is_read(tmp_path: Path) -> None:
    with band() as server, saved(tmp_path).open("rb") as file:
        assert len(call(Client, server.target, "accompany", file)) == 1


@both_skins
def test_what_came_back_can_be_accompanied(skin: Skin) -> None:
    with band() as server:
        bass = call(skin, server.target, "music", "rock", tracks=["bass"], seed=1)
        for midi in (bass, bass[0]):
            found = call(skin, server.target, "accompany", midi, seed=2)
            assert found.roles == {1: "bass"}
            assert [track.role for track in found[0].tracks if not track.given] == ["drums", "keys"]
            assert notes_of(found[0].to_mido().tracks[1]) == notes_of(bass[0].to_mido().tracks[1])
        again = call(skin, server.target, "accompany", found[0])
    assert set(again.roles.values()) == {"drums", "keys", "bass"}


@both_skins
@pytest.mark.parametrize(
    ("arguments", "field", "words"),
    [
        ({"style": None}, "style", "None"),
        ({"style": 7}, "style", "7 (int)"),
        ({"tempo_bpm": "fast"}, "tempo_bpm", "'fast' (str); allowed: a number"),
        ({"bars": 4.5}, "bars", "4.5 (float)"),
        ({"bars": -1}, "bars", "-1"),
        ({"tracks": 7}, "tracks", "['7']"),
        ({"tracks": ["bass", None]}, "tracks[1]", "None"),
        ({"density": "busy"}, "density", "'busy'"),
        ({"count": 2**32}, "count", "2^32 - 1"),
        ({"seed": -1}, "seed", "-1"),
        ({"first_sample": None}, "first_sample", "None"),
        ({"model": None}, "model", "None"),
        ({"version": True}, "version", "bool"),
        ({"timeout_s": 0}, "timeout_s", "above 0"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_its_name(
    skin: Skin, arguments: dict[str, Any], field: str, words: str
) -> None:
    calls: list[tuple[str, tuple[bytes, ...]]] = [("music", ())]
    if field not in ("tempo_bpm", "bars"):
        calls.append(("accompany", (b"MThd",)))
    for method, given in calls:
        with pytest.raises(InvalidRequestError) as caught:  # port 1: nothing may be sent
            call(skin, "127.0.0.1:1", method, *given, **arguments)
        assert [violation.field for violation in caught.value.violations] == [field]
        assert words in caught.value.violations[0].description


def broken() -> Any:
    file = tune()
    file.type = 0
    return file


@both_skins
@pytest.mark.parametrize(
    ("midi", "words"),
    [
        (None, "of the type NoneType; allowed: a path, the bytes of a file, a binary file object"),
        (7, "of the type int"),
        (io.StringIO("MThd"), "of the type StringIO"),
        (broken(), "cannot be written by mido: type 0 file must have exactly 1 track"),
        (mido.MidiFile(tracks=[mido.MidiTrack([None])]), "cannot be written by mido"),
    ],
)
def test_what_holds_no_midi_is_refused(skin: Skin, midi: Any, words: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        call(skin, "127.0.0.1:1", "accompany", midi)
    (violation,) = caught.value.violations
    assert violation.field == "midi"
    assert words in violation.description


def test_one_of_several_pieces_must_be_chosen() -> None:
    with band() as server:
        music = call(Client, server.target, "music", count=2)
        with pytest.raises(InvalidRequestError, match=r"midi: is 2 pieces; allowed: .* a piece"):
            call(Client, server.target, "accompany", music)


def test_a_file_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nothing\.mid"):
        call(Client, "127.0.0.1:1", "accompany", tmp_path / "nothing.mid")


@pytest.mark.parametrize(
    ("roles", "field", "words"),
    [
        ({-1: "bass"}, "roles[0].track", "-1"),
        ({1: "bass", "2": "keys"}, "roles[1].track", "'2' (str)"),
        ({1: 5}, "roles[0].role", "5 (int)"),
        (["bass"], "roles", "['bass']; allowed: roles by the indexes of tracks, as in {1: 'bass'}"),
        ("bass", "roles", "'bass'"),
    ],
)
def test_roles_that_cannot_be_sent(roles: Any, field: str, words: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        call(Client, "127.0.0.1:1", "accompany", b"MThd", roles=roles)
    assert [violation.field for violation in caught.value.violations] == [field]
    assert words in caught.value.violations[0].description


def test_all_that_cannot_be_sent_is_named_at_once() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        call(Client, "127.0.0.1:1", "accompany", None, roles=7, seed=-1)
    assert {violation.field for violation in caught.value.violations} == {"midi", "roles", "seed"}


@both_skins
@pytest.mark.parametrize("method", ["music", "accompany"])
def test_what_can_be_sent_is_judged_by_the_server(skin: Skin, method: str) -> None:
    refusal = InvalidRequestError(violations=[FieldViolation("style", "is 'polka'; valid: rock")], request_id="judged")
    given = [b""] if method == "accompany" else []
    server = fake_server(lambda _, context, __: fail(context, refusal))
    with server as fake, pytest.raises(InvalidRequestError) as caught:
        call(skin, fake.target, method, *given, style="polka")
    assert caught.value.violations == refusal.violations
    assert caught.value.request_id == "judged"


def test_without_mido_files_can_still_be_accompanied() -> None:
    code = (
        "import sys; sys.modules['mido'] = None\n"
        "from muserve_client import Client\n"
        "with Client(sys.argv[1]) as client:\n"
        "    print(len(client.accompany(client.music(tracks='bass'))[0].tracks))\n"
    )
    with band() as server:
        result = subprocess.run([sys.executable, "-c", code, server.target], capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("3\n", "")
