"""The examples for other languages, by the very lines of their READMEs, against a real server."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import mido
import pytest
from PIL import Image

from muserve_server.fronts.envoy.process import missing
from tests.answer_bundles import copy_bundle
from tests.bundles import HEIGHT, WIDTH, forecast_bundle, image_bundle
from tests.music_bundles import music_bundle
from tests.server.calling import get_http
from tests.server.pictorial import image_file, read_png, scene
from tests.servers import ServerProcess, server_process, unassigned_port
from tests.translation_bundles import scene_bundle

REPOSITORY = Path(__file__).parents[2]
EXAMPLES = REPOSITORY / "clients/examples"
FRONTS = ("grpcio", "envoy")
SEED = 2**64 - 1  # a double would round it
SHEET_OF_16 = (4 * WIDTH + 3 * 2, 4 * HEIGHT + 3 * 2)

SCRIPTS = {
    "generate": ["generate"], "forecast": ["forecast"], "music": ["music"],
    "translate": ["translate", "--image=images.png", "--to=map"], "ask": ["ask", "--question=lamp"],
}  # fmt: skip


@pytest.fixture(scope="module", params=FRONTS)
def front(request: pytest.FixtureRequest) -> str:
    """Every test here runs behind both."""
    if request.param == "envoy" and missing():
        pytest.skip(missing())
    return str(request.param)


@pytest.fixture(scope="module")
def address(front: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    models = tmp_path_factory.mktemp("models")
    image_bundle(models, "shapes", labels=("round", "square"))
    forecast_bundle(models, "series")
    music_bundle(models, "band")
    scene_bundle(models, "scenes")
    copy_bundle(models)
    with server_process(models, "--front", front) as server:
        yield f"localhost:{server.grpc_port}"


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory, address: str) -> Path:
    """A copy of what the Node example needs, after its README's lines were run in it."""
    assert shutil.which("npm"), "node and npm are not installed; make test-ecosystem installs them on Debian"
    copy = tmp_path_factory.mktemp("checkout")
    ignore = shutil.ignore_patterns("node_modules", "package-lock.json", "python")
    shutil.copytree(REPOSITORY / "proto", copy / "proto", ignore=ignore)
    shutil.copytree(EXAMPLES, copy / "clients/examples", ignore=ignore)
    result = run("\n".join(snippets("node", address)), copy)
    assert result.returncode == 0, result.stdout + result.stderr
    return copy / "clients/examples/node"


def test_node_saves_a_png_by_the_lines_of_its_readme(checkout: Path) -> None:
    with Image.open(checkout / "images.png") as image:
        assert (image.format, image.size) == ("PNG", SHEET_OF_16)


def test_node_keeps_all_digits_of_a_seed(checkout: Path, address: str) -> None:
    result = node(checkout, address, "generate", "--count=1", f"--seed={SEED}", "--labels=round", "--out=one.png")
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"one.png: {WIDTH}x{HEIGHT}, shapes version 1, seed {SEED}\n"
    with Image.open(checkout / "one.png") as image:
        assert json.loads(image.text["muserve"])["seed"] == SEED  # type: ignore[attr-defined]


def test_node_reports_an_unknown_model(checkout: Path, address: str) -> None:
    result = node(checkout, address, "generate", "--model=nonesuch", "--out=never.png")
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("NOT_FOUND: ")
    assert "'nonesuch'" in result.stderr
    assert not (checkout / "never.png").exists()


def test_node_lists_the_wrong_fields(checkout: Path, address: str) -> None:
    result = node(checkout, address, "generate", "--count=1000", "--labels=triangle")
    code, *fields = result.stderr.splitlines()
    assert result.returncode == 1
    assert code.startswith("INVALID_ARGUMENT: ")
    assert [line.split(":")[0] for line in fields] == ["  count", "  labels[0]"]


@pytest.mark.parametrize("seed", ["-1", "12x", "1e3"])
def test_node_refuses_what_is_no_seed(checkout: Path, address: str, seed: str) -> None:
    result = node(checkout, address, "generate", f"--seed={seed}")
    assert result.returncode == 2
    assert f"'{seed}'" in result.stderr


def test_node_saves_a_forecast_by_the_lines_of_its_readme(checkout: Path) -> None:
    names, *rows = csv.reader((checkout / "forecast.csv").read_text().splitlines())
    assert names == ["step", "point", "q0.1", "q0.9"]
    assert [row[0] for row in rows] == [str(step) for step in range(1, 13)]
    for _, point, lower, upper in rows:
        assert 0 < float(lower) < float(point) < float(upper)


def test_node_says_which_steps_were_rolled_out(checkout: Path, address: str) -> None:
    flags = ("--values=5,7,,6,8,7", "--frequency=quarterly", "--quantiles=", "--out=short.csv")
    direct = node(checkout, address, "forecast", *flags, "--horizon=4")
    assert direct.returncode == 0, direct.stderr
    assert direct.stdout == "short.csv: 4 steps, series version 1\n"
    assert (checkout / "short.csv").read_text().startswith("step,point\n1,")
    rolled_out = node(checkout, address, "forecast", *flags, "--horizon=5")
    assert rolled_out.stdout.endswith("steps after 4 were rolled out: their quantiles are less certain\n")


def test_node_lists_the_wrong_fields_of_a_forecast(checkout: Path, address: str) -> None:
    result = node(checkout, address, "forecast", "--values=1,,3", "--frequency=weekly", "--out=never.csv")
    code, field = result.stderr.splitlines()
    assert result.returncode == 1
    assert code.startswith("INVALID_ARGUMENT: ")
    assert field.startswith("  series[0].values: have 2 that are not missing")
    assert not (checkout / "never.csv").exists()
    word = node(checkout, address, "forecast", "--values=1,x,3", "--frequency=weekly")
    assert (word.returncode, word.stderr) == (2, "--values has 'x', which is no number\n")
    unknown = node(checkout, address, "forecast", "--values=1,2,3", "--frequency=fortnightly")
    assert unknown.returncode == 2
    assert unknown.stderr.startswith("--frequency is 'fortnightly'; allowed: yearly, quarterly, monthly, ")


def test_node_writes_and_accompanies_music_by_the_lines_of_its_readme(checkout: Path) -> None:
    bass, band = (mido.MidiFile(checkout / name) for name in ("bass.mid", "band.mid"))
    assert [track.name for track in bass.tracks] == ["", "Bass"]
    assert mido.bpm2tempo(120) in [event.tempo for event in bass if event.type == "set_tempo"]
    assert [track.name for track in band.tracks] == ["", "Bass", "Drums", "Keys"]
    assert band.tracks[1] == bass.tracks[1]
    with Image.open(checkout / "band.png") as image:
        assert image.format == "PNG"


def test_node_tells_of_music_and_keeps_all_digits_of_its_seed(checkout: Path, address: str) -> None:
    flags = ("--style=march", f"--seed={SEED}", "--tracks=bass,keys", "--out=two.mid")
    result = node(checkout, address, "music", *flags)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        "two.mid: keys, bass; 2 bars at 110 quarter notes a minute",
        f"style march, band version 1, seed {SEED}",
    ]
    accompanied = node(checkout, address, "music", "--accompany=two.mid", "--out=three.mid")
    assert accompanied.stdout.splitlines()[:3] == [
        "track 1 is heard as keys",
        "track 2 is heard as bass",
        "three.mid: drums; 2 bars at 110 quarter notes a minute",
    ]


def test_node_lists_the_wrong_fields_of_music(checkout: Path, address: str) -> None:
    result = node(checkout, address, "music", "--style=polka", "--tempo=0", "--bars=99", "--out=never.mid")
    code, *fields = result.stderr.splitlines()
    assert result.returncode == 1
    assert code.startswith("INVALID_ARGUMENT: ")
    assert sorted(line.split(":")[0] for line in fields) == ["  bars", "  style", "  tempo_bpm"]
    assert not (checkout / "never.mid").exists()
    missing = node(checkout, address, "music", "--accompany=nothing.mid")
    assert missing.returncode == 2
    assert "nothing.mid" in missing.stderr
    useless = node(checkout, address, "music", "--accompany=bass.mid", "--bars=3")
    assert useless.returncode == 2
    assert useless.stderr == "--tempo and --bars are those of the file with --accompany\n"


def test_node_translates_an_image_by_the_lines_of_its_readme(checkout: Path, address: str) -> None:
    width, height = SHEET_OF_16
    for name, columns in (("map", width), ("back", width), ("row", 3 * (width + 8) - 8)):
        assert read_png((checkout / f"{name}.png").read_bytes())[0].shape == (height, columns, 3)
    result = node(checkout, address, "translate", "--image=images.png", "--to=photo", "--out=photo.png")
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"photo.png: map to photo, {width}x{height}, scenes version 1\n"


def test_node_lists_the_wrong_fields_of_a_translation(checkout: Path, address: str) -> None:
    result = node(checkout, address, "translate", "--image=translate.mjs", "--to=mapp", "--out=never.png")
    code, *fields = result.stderr.splitlines()
    assert (result.returncode, result.stdout) == (1, "")
    assert code.startswith("INVALID_ARGUMENT: ")
    assert [line.split(":")[0] for line in fields] == ["  target", "  image"]
    assert not (checkout / "never.png").exists()
    for flag, text in (("--image=nothing.png", "nothing.png"), ("--to=map", "--image is not set")):
        refused = node(checkout, address, "translate", flag)
        assert refused.returncode == 2
        assert text in refused.stderr


def test_node_answers_and_asks(checkout: Path, address: str) -> None:
    result = node(checkout, address, "ask", "--question=What is gRPC?", f"--seed={SEED}")
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines() == [
        "gRPC: gRPC is a way to call a server.",
        f"[gRPC, copies version 1, seed {SEED}]",
    ]
    (checkout / "notes.txt").write_text("A lamp is on.\n\nA brush.", encoding="utf-8")
    asked = node(checkout, address, "ask", "--about=notes.txt", "--seed=1")
    assert asked.stdout.splitlines() == ["A lamp is on.", "  A lamp is on.", "[copies version 1, seed 1]"]
    from_text = node(checkout, address, "ask", "--question=lamp", "--context=notes.txt", "--seed=1")
    assert from_text.stdout.splitlines()[0] == "A lamp is on."
    unknown = node(checkout, address, "ask", "--question=nodejs", "--seed=1")
    assert unknown.stdout.startswith("I don't know.\nNearest: Node.js")


def test_node_refuses_what_cannot_be_asked(checkout: Path, address: str) -> None:
    for flags, text in (
        ((), "give --question"),
        (("--question=a", "--count=x"), "--count"),
        (("--about=no.txt",), "no.txt"),
    ):
        result = node(checkout, address, "ask", *flags)
        assert result.returncode == 2
        assert text in result.stderr
    result = node(checkout, address, "ask", "--question=a", "--count=1000")
    assert (result.returncode, result.stderr.splitlines()[1].split(":")[0]) == (1, "  count")


@pytest.mark.parametrize("script", SCRIPTS)
def test_node_reports_a_server_that_is_not_there(checkout: Path, script: str) -> None:
    result = node(checkout, "localhost:1", *SCRIPTS[script])
    assert result.returncode == 1
    assert result.stderr.startswith("UNAVAILABLE: ")


@pytest.mark.parametrize("script", SCRIPTS)
def test_node_ends_at_its_deadline(checkout: Path, address: str, script: str) -> None:
    result = node(checkout, address, *SCRIPTS[script], "--timeout-s=0")
    assert result.returncode == 1
    assert result.stderr.startswith("DEADLINE_EXCEEDED: ")


def test_buf_curl_lists_the_models_and_saves_a_png(tmp_path: Path, address: str) -> None:
    listing, generating, *_ = snippets("buf-curl", address)
    result = run(listing, tmp_path)
    assert result.returncode == 0, result.stderr
    models = json.loads(result.stdout)["models"]
    assert [(model["name"], model["state"], model["default"]) for model in models] == [
        ("band", "MODEL_STATE_READY", True),
        ("copies", "MODEL_STATE_READY", True), ("scenes", "MODEL_STATE_READY", True),
        ("series", "MODEL_STATE_READY", True), ("shapes", "MODEL_STATE_READY", True),
    ]  # fmt: skip
    result = run(generating, tmp_path)
    assert result.returncode == 0, result.stderr
    with Image.open(tmp_path / "image.png") as image:
        assert (image.format, image.size) == ("PNG", (WIDTH, HEIGHT))


def test_buf_curl_shows_a_forecast(tmp_path: Path, address: str) -> None:
    result = run(snippets("buf-curl", address)[2], tmp_path)
    assert result.returncode == 0, result.stderr
    (forecast,) = json.loads(result.stdout)["forecasts"]
    assert (forecast["frequency"], forecast["directSteps"]) == ("FREQUENCY_QUARTERLY", 3)
    lower, upper = forecast["quantiles"]
    assert (lower["level"], upper["level"]) == (0.1, 0.9)
    for low, point, high in zip(lower["values"], forecast["point"], upper["values"], strict=True):
        assert low < point < high


def test_buf_curl_saves_music(tmp_path: Path, address: str) -> None:
    result = run(snippets("buf-curl", address)[3], tmp_path)
    assert result.returncode == 0, result.stderr
    song = mido.MidiFile(tmp_path / "song.mid")
    assert [track.name for track in song.tracks] == ["", "Drums", "Keys", "Bass"]
    assert round(song.length) == 16


def test_buf_curl_translates_an_image(tmp_path: Path, address: str) -> None:
    (tmp_path / "image.png").write_bytes(image_file(scene(20, 300)))
    result = run(snippets("buf-curl", address)[4], tmp_path)
    assert result.returncode == 0, result.stderr
    assert read_png((tmp_path / "map.png").read_bytes())[0].shape == (20, 300, 3)


def test_buf_curl_reports_an_unknown_model(tmp_path: Path, address: str) -> None:
    generating = snippets("buf-curl", address)[1].split("|")[0].replace('{"count": 1}', '{"model": "nonesuch"}')
    result = run(generating, tmp_path)
    assert result.returncode != 0
    error = json.loads(result.stderr)
    assert error["code"] == "not_found"
    assert "'nonesuch'" in error["message"]


def snippets(example: str, address: str) -> list[str]:
    """The shell blocks of an example's README, pointed at the test's server."""
    text = (EXAMPLES / example / "README.md").read_text(encoding="utf-8")
    blocks: list[str] = re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    return [point_at(address, block) for block in blocks]


def point_at(address: str, block: str) -> str:
    block = block.replace("localhost:8001", address)
    return re.sub(r"(node \w+\.mjs)", rf"\1 --server {address}", block)


def node(folder: Path, server: str, script: str, *flags: str) -> subprocess.CompletedProcess[str]:
    command = ["node", f"{script}.mjs", f"--server={server}", *flags]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=200, check=False)


def run(script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    path = f"{sysconfig.get_path('scripts')}:{os.environ['PATH']}"  # buf lies beside this Python
    return subprocess.run(
        ["sh", "-e", "-c", script], cwd=folder, capture_output=True, text=True, timeout=200, check=False,
        env={**os.environ, "PATH": path},
    )  # fmt: skip


_LOAD = """
import { connect, load, within } from "./muserve.mjs";
const { ImageService } = await load("muserve/v1/image.proto");
const client = connect(ImageService, process.argv[2]);
const ends = {};
let going = true;
process.stdin.on("end", () => (going = false)).resume();
const call = () =>
  new Promise((done) =>
    client.GenerateImages({ seed: "1" }, within(200), (error) => {
      const end = error ? `${error.code} ${error.details}` : "answered";
      ends[end] = (ends[end] ?? 0) + 1;
      done();
    }),
  );
await Promise.all(Array.from({ length: 8 }, async () => { while (going) await call(); }));
client.close();
console.log(JSON.stringify(ends));
"""


def test_node_notices_no_restart_of_one_of_two_replicas(checkout: Path, front: str, tmp_path: Path) -> None:
    image_bundle(tmp_path, "shapes")
    (checkout / "load.mjs").write_text(_LOAD, encoding="utf-8")
    with ExitStack() as stack:

        def start(port: int) -> ServerProcess:
            flags = ("--front", front, "--grpc-port", str(port), "--drain-delay-s", "1")
            return stack.enter_context(server_process(tmp_path, *flags))

        replicas = [start(unassigned_port()) for _ in range(2)]
        target = "ipv4:" + ",".join(f"127.0.0.1:{replica.grpc_port}" for replica in replicas)
        command = ["node", "load.mjs", target]
        load = stack.enter_context(
            subprocess.Popen(command, cwd=checkout, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        )
        stack.callback(load.kill)
        for number, replica in enumerate(replicas):
            until_answered(replicas, 50)
            replica.terminate()
            assert replica.wait() == 0
            replicas[number] = start(replica.grpc_port)
        until_answered(replicas, 50)
        ends = json.loads(load.communicate(timeout=200)[0])
    assert set(ends) == {"answered"}


def until_answered(servers: Sequence[ServerProcess], calls: int) -> None:
    """Returns once each has answered some calls; the test's own timeout ends a vain wait."""
    pattern = r'^muserve_request_seconds_count\{[^}]*code="OK"[^}]*\} (\S+)$'
    for server in servers:
        answered = 0.0
        while answered < calls:
            answered = sum(map(float, re.findall(pattern, get_http(server.http_port, "/metrics")[1], re.MULTILINE)))
