"""The command `muserve`, in this process and as users start it."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from muserve.errors import UnavailableError
from muserve_client import Image, __version__
from muserve_client.cli import main
from tests.bundles import HEIGHT, WIDTH
from tests.client.conftest import LABELS, Served
from tests.client.fakes import empty, fail, fake_server


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MUSERVE_SERVER", served.target)


def run(text: str) -> int:
    try:
        return main(shlex.split(text))
    except SystemExit as error:
        return int(error.code or 0)


def facts(path: Path) -> dict[str, object]:
    return Image(path.read_bytes(), 0, 0, 0).facts


def size(path: Path) -> tuple[int, int]:
    png = path.read_bytes()
    return int.from_bytes(png[16:20], "big"), int.from_bytes(png[20:24], "big")


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_one_image_is_one_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("images --count 1 --seed 5 --label circle --out a/x.png") == 0
    assert size(tmp_path / "a/x.png") == (WIDTH, HEIGHT)
    out = capsys.readouterr().out
    assert "saved a/x.png" in out
    assert "model shapes, version 1, seed 5" in out


def test_several_images_in_one_file_are_a_sheet(tmp_path: Path) -> None:
    assert run("images --count 4 --out x.png") == 0
    assert size(tmp_path / "x.png") == (2 * WIDTH + 2, 2 * HEIGHT + 2)
    assert run(f"images --labels {LABELS[0]},{LABELS[1]} --label {LABELS[1]} --out y.png") == 0
    assert facts(tmp_path / "y.png")["labels"] == [LABELS[0], LABELS[1], LABELS[1]]


@pytest.mark.parametrize("out", ["out", "out/", "'out/{model}-{seed}-{sample}.png'"])
def test_several_images_in_a_folder_are_separate(tmp_path: Path, out: str) -> None:
    assert run(f"images --count 2 --seed 3 --first-sample 7 --truncation 0.5 --out {out}") == 0
    assert names(tmp_path / "out") == ["shapes-3-7.png", "shapes-3-8.png"]
    assert facts(tmp_path / "out/shapes-3-8.png")["truncation"] == 0.5


def test_the_layout_can_be_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("images --count 4 --seed 3 --sheet --out out") == 0
    assert names(tmp_path / "out") == ["shapes-3-0.png"]
    assert run("images --count 4 --separate --out x.png") == 2
    assert "--separate needs more than the one file x.png" in capsys.readouterr().err
    assert run("images --separate --sheet") == 2


def test_without_out_the_file_is_called_after_the_seed(tmp_path: Path) -> None:
    assert run("images --count 3 --seed 9 --model plain --version 1") == 0
    assert names(tmp_path) == ["plain-9.png"]
    assert facts(tmp_path / "plain-9.png")["version"] == 1


@pytest.mark.parametrize(
    "flags",
    [
        "--count 3 --out x.png",
        "--out x.png --label star/fish --truncation 0.7 --first-sample 4",
        "--count 2 --sheet --out x.png",
    ],
)
def test_the_printed_command_makes_the_same_again(
    tmp_path: Path, served: Served, capsys: pytest.CaptureFixture[str], flags: str
) -> None:
    assert run(f"images --server {served.target} {flags}") == 0
    first = (tmp_path / "x.png").read_bytes()
    (tmp_path / "x.png").unlink()
    again = capsys.readouterr().out.split("again: muserve ")[1]
    assert f"--server {served.target}" in again
    assert run(again) == 0
    assert (tmp_path / "x.png").read_bytes() == first


def test_models_are_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["NAME", "VERSION", "TASK", "STATE", "DEFAULT", "DIGEST", "DESCRIPTION"]
    assert lines[1].split() == ["broken", "1", "unspecified", "refused"]
    name, version, task, state, default, digest, *description = lines[4].split()
    assert (name, version, task, state, default) == ("shapes", "1", "image", "ready", "yes")
    assert len(digest) == 12
    assert description
    assert lines[5].startswith("broken/1 refused: ")
    assert "manifest.json" in lines[5]


def test_models_are_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("models --json --task image") == 0
    models = json.loads(capsys.readouterr().out)
    assert [model["name"] for model in models] == ["plain", "plain", "shapes"]
    assert len(models[0]["digest"]) == 64


def test_no_models(capsys: pytest.CaptureFixture[str]) -> None:
    with fake_server(lambda request, *_: empty(request)) as server:
        assert run(f"models --server {server.target}") == 0
    assert "no models" in capsys.readouterr().out


def failure(capsys: pytest.CaptureFixture[str], text: str, code: int) -> str:
    assert run(text) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return captured.err


def test_nobody_there(capsys: pytest.CaptureFixture[str]) -> None:
    text = failure(capsys, "models --server localhost:1", 1)
    assert text.startswith("muserve: error: localhost:1 does not answer")
    assert "muserve-server" in text
    assert "--server HOST:PORT" in text


def test_a_server_that_is_there_is_not_said_to_be_missing(capsys: pytest.CaptureFixture[str]) -> None:
    with fake_server(lambda _, context, __: fail(context, UnavailableError("loading", request_id="x"))) as server:
        assert "muserve-server" not in failure(capsys, f"models --server {server.target} --timeout-s 0.2", 1)


def test_refusals_of_the_server(capsys: pytest.CaptureFixture[str]) -> None:
    text = failure(capsys, "images --count 0", 1)
    assert text.startswith("muserve: error: count: is 0; allowed: 1 up to 256 (request ")
    assert "labels[0]" in failure(capsys, "images --label cube", 1)
    assert "seed" in failure(capsys, "images --seed -1", 1)
    assert "valid: " in failure(capsys, "models --task paintings", 1)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("images --sed 3", "unknown argument '--sed'; did you mean '--seed'?"),
        ("images --cou=3", "unknown argument '--cou'; did you mean '--count'?"),
        ("models --count 3", "unknown argument '--count'; valid: "),
        ("models digits", "unknown argument 'digits'"),
        ("imags", "images"),
        ("", "COMMAND"),
        ("images --count many", "invalid int value: 'many'"),
        ("models --timeout-s 0", "timeout_s is 0"),
        ("models --server http://x", "target is 'http://x'"),
        ("models --metadata token", "--metadata is 'token'; it must be KEY=VALUE"),
        ("models --tls-cert x.pem", "--tls-cert and --tls-key belong together"),
        ("models --tls-ca nothing.pem", "nothing.pem: cannot be read"),
        ("images --out '{lable}.png'", "'lable'; allowed: index"),
    ],
)
def test_wrong_use(capsys: pytest.CaptureFixture[str], text: str, words: str) -> None:
    assert words in failure(capsys, text, 2)


def test_a_folder_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert "muserve: error: " in failure(capsys, "images --out file/x.png", 1)


def test_metadata_and_tls_flags_reach_the_server(capsys: pytest.CaptureFixture[str]) -> None:
    with fake_server(lambda request, *_: empty(request)) as server:
        assert run(f"models --server {server.target} --metadata authorization='Bearer a=b'") == 0
        assert server.metadata[0]["authorization"] == "Bearer a=b"
        assert "does not answer" in failure_text(capsys, f"models --server {server.target} --tls --timeout-s 60")
    assert server.calls == 1


def test_certificates_of_ones_own(certificate: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    pem, key = certificate
    credentials = grpc.ssl_server_credentials(
        [(key.read_bytes(), pem.read_bytes())], root_certificates=pem.read_bytes(), require_client_auth=True
    )
    with fake_server(lambda request, *_: empty(request), credentials=credentials) as server:
        target = server.target.replace("127.0.0.1", "localhost")
        assert run(f"models --server {target} --tls-ca {pem} --tls-cert {pem} --tls-key {key}") == 0
        assert "does not answer" in failure_text(capsys, f"models --server {target} --tls-ca {pem}")
    assert server.calls == 1


def failure_text(capsys: pytest.CaptureFixture[str], text: str) -> str:
    capsys.readouterr()
    assert run(text) == 1
    return capsys.readouterr().err


@pytest.mark.parametrize("text", ["--help", "images --help", "models --help", "verify --help", "forecast --help"])
def test_help(capsys: pytest.CaptureFixture[str], text: str) -> None:
    assert run(text) == 0
    assert "usage: muserve" in capsys.readouterr().out


@pytest.mark.parametrize(
    "command", [[sys.executable, "-m", "muserve_client"], [str(Path(sys.executable).parent / "muserve")]]
)
def test_as_a_process(served: Served, tmp_path: Path, command: list[str]) -> None:
    def start(*flags: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, *flags], capture_output=True, text=True, cwd=tmp_path)

    assert start("--version").stdout == f"muserve {__version__}\n"
    done = start("images", "--count", "16", "--out", "digits.png")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "digits.png").read_bytes().startswith(b"\x89PNG")
    failed = start("images", "--server", "localhost:1")
    assert failed.returncode == 1
    assert failed.stderr.startswith("muserve: error: localhost:1 does not answer")
    assert start("images", "--sed", "1").returncode == 2


def test_the_environment_names_the_server(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MUSERVE_SERVER", "localhost:1")
    assert run("models") == 1
    assert run(f"models --server {served.target}") == 0
    assert os.environ["MUSERVE_SERVER"] == "localhost:1"
