"""Each line with curl of README and docs/http.md, typed into a shell, against the bundled models behind Envoy."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import mido
import pytest
from PIL import Image

from muserve_server.fronts.envoy.process import missing
from muserve_server.settings import read_settings
from tests.repo.snippets import PLACEHOLDER_SERVER, REPOSITORY, blocks, commands, write_own_melody
from tests.servers import server_process

DOCUMENT = "docs/http.md"
LINES = {
    name: [line for block in blocks(name) if block.language == "sh" for line in commands(block.text)]
    for name in ("README.md", DOCUMENT)
}
CURL = list(dict.fromkeys(line for lines in LINES.values() for line in lines if "curl " in line))
PICTURES = {"digit.png": (28, 28), "digits.png": (298, 298), "map.png": (256, 256)}
MUSIC = {"song.mid": {"Drums", "Keys", "Guitar", "Bass", "Strings"}, "band.mid": {"Drums", "Bass"}}
FIELDS = {
    "models": "models", "models/digits": "manifest", "ModelService/GetModel": "manifest",
    "forecasts:forecast": "forecasts", "answers:ask": "answers", "questions:generate": "pairs",
    "Health/Check": "status", "GRPCInferenceService/ServerReady": "ready",
}  # fmt: skip

MISSING = missing() or next((f"{it} is not installed" for it in ("curl", "jq", "bash") if not shutil.which(it)), "")

pytestmark = pytest.mark.skipif(bool(MISSING), reason=MISSING)


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    with server_process(REPOSITORY / "models", "--front", "envoy") as server:
        yield f"localhost:{server.grpc_port}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_own_melody(tmp_path / "melody.mid")
    example = tmp_path / "clients/examples/satellite.jpg"
    example.parent.mkdir(parents=True)
    shutil.copy(REPOSITORY / example.relative_to(tmp_path), example)
    return tmp_path


def typed(line: str, address: str, folder: Path) -> str:
    """What a line prints."""
    assert PLACEHOLDER_SERVER in line
    command = ["bash", "-eo", "pipefail", "-c", line.replace(PLACEHOLDER_SERVER, address)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("line", CURL)
def test_a_line_does_what_it_shows(line: str, address: str, folder: Path) -> None:
    printed = typed(line, address, folder)
    saved = re.search(r"> (\S+)$", line)
    if saved is None:
        (path,) = re.findall(
            rf"{PLACEHOLDER_SERVER}/(?:v1|muserve\.v1\.|grpc\.health\.v1\.|inference\.)/?([^ ?']+)", line
        )
        assert json.loads(printed)[FIELDS[path]]
    elif saved[1] in PICTURES:
        with Image.open(folder / saved[1]) as picture:
            assert (picture.format, picture.size) == ("PNG", PICTURES[saved[1]])
            assert "muserve" in picture.text  # type: ignore[attr-defined]
    else:
        song = mido.MidiFile(folder / saved[1])
        assert MUSIC[saved[1]] <= {track.name for track in song.tracks}
        assert sum(message.type == "note_on" for track in song.tracks for message in track) > 50


def test_readme_and_document_say_the_same() -> None:
    assert [line for line in LINES["README.md"] if "curl " in line and line not in LINES[DOCUMENT]] == []


def test_the_error_is_as_it_is_shown(address: str, folder: Path) -> None:
    (shown,) = (json.loads(block.text) for block in blocks(DOCUMENT) if block.language == "json")
    line = f"""curl -s {PLACEHOLDER_SERVER}/v1/images:generate --json '{{"count": 1000}}'"""
    answered = json.loads(typed(line, address, folder))
    for error in (shown, answered):
        assert re.fullmatch(r"[0-9a-f]{12}-\d+", error["details"][-1].pop("request_id"))
    assert answered == shown


@pytest.mark.parametrize(
    ("status", "flags"),
    [
        (400, """/v1/images:generate --json '{"cuont": 1}'"""),
        (400, """/v1/images:generate --json '{"count": 1, "count": 1}'"""),
        (400, """/v1/images:generate --json '{"layout": "IMAGE_LAYOUT_SHEET"}'"""),
        (400, """/v1/images:generate --json '{"count": 1'"""),
        (400, """/v1/images:generate?count=1 --json '{}'"""),
        (400, """/v1/images:translate --json '{"image": "#"}'"""),
        (400, """/v1/models?nonesuch=1"""),
        (400, """/v1/models?task=NONESUCH"""),
        (403, """/v1/models -H 'origin: http://elsewhere.example'"""),
        (403, """/v1/models -H 'host: elsewhere.example'"""),
        (404, """/v1/nonesuch"""),
        (404, """/v1/images:generate"""),
        (404, """/v1/models -X PUT"""),
        (404, """/v1/models/nonesuch"""),
        (404, """/v1/images:generate --json '{"model": "nonesuch"}'"""),
        (413, """/v1/images:generate -H 'content-type: application/json' --data-binary @large"""),
        (415, """/v1/images:generate -d '{}'"""),
        (504, """/v1/images:generate -H 'grpc-timeout: 1n' --json '{}'"""),
    ],
)
def test_an_error_has_its_status_and_is_json(status: int, flags: str, address: str, folder: Path) -> None:
    (folder / "large").write_bytes(b" " * (2 * 32 * 2**20 + 1))
    code = {400: 3, 403: 7, 404: 5, 413: 8, 415: 3, 504: 4}[status]
    table = re.findall(r"^\| (\d{3}) \| (\d+) ", (REPOSITORY / DOCUMENT).read_text(encoding="utf-8"), re.MULTILINE)
    assert (str(status), str(code)) in table
    place, _, rest = flags.partition(" ")
    out = typed(f"curl -s -w '\\n%{{http_code}}' {shlex.quote(PLACEHOLDER_SERVER + place)} {rest}", address, folder)
    body, _, given = out.rpartition("\n")
    error = json.loads(body)
    assert (int(given), error["code"]) == (status, code)
    assert error["message"]


def test_the_servers_of_the_document_can_be_started() -> None:
    lines = [line for line in LINES[DOCUMENT] if "curl " not in line]
    assert len(lines) == 1
    for line in lines:
        program, *words = shlex.split(line)
        assert program == "muserve-server"
        assert read_settings(words).cors_origins == ("https://app.example.org",)
