"""The base distribution alone, in a fresh environment: it imports, calls servers, saves PNG, CSV and MIDI."""

from __future__ import annotations

import re
import subprocess
import sys
import venv
from pathlib import Path

import pytest

from tests.client.conftest import Served

ROOT = Path(__file__).parents[2]
_OFFLINE = re.compile(r"NewConnectionError|ConnectTimeoutError|NameResolutionError|ProxyError|Network is unreachable")
_CODE = """
import importlib.util, sys
import muserve_client
for heavy in ("numpy", "pandas", "matplotlib", "onnxruntime", "PIL", "torch", "grpc_health", "mido"):
    assert importlib.util.find_spec(heavy) is None, heavy + " is installed"
with muserve_client.Client(sys.argv[1]) as client:
    client.wait_until_ready()
    images = client.images(2, seed=7)
    for path in images.save("out"):
        print(path)
try:
    images[0].to_pil()
except ModuleNotFoundError as error:
    print(error)
with muserve_client.Client(sys.argv[2]) as client:
    forecasts = client.forecast({"a": [1, 2, None, 4], "b": (5, 6, 7)}, 2, frequency="monthly")
    print(forecasts.save("forecast.csv").read_text().splitlines()[-1])
    print(forecasts.save("forecast.json"))
for use in (forecasts.to_frame, forecasts.plot, lambda: forecasts.save("x.parquet")):
    try:
        use()
    except ModuleNotFoundError as error:
        print(error)
assert forecasts._repr_png_() is None
with muserve_client.Client(sys.argv[3]) as client:
    music = client.music("march", tracks="bass")
    print(client.accompany(music.save("song.mid")[0])[0].save("band.mid"))
with muserve_client.Client(sys.argv[4]) as client:
    translation = client.translate("out/shapes-7-0.png", "map", cycle=True)
    print(translation.save("map.png"), translation.cycle.save("back.png"))
for use in (translation.to_pil, translation.to_numpy):
    try:
        use()
    except ModuleNotFoundError as error:
        print(error)
try:
    music[0].to_mido()
except ModuleNotFoundError as error:
    print(error)
"""


def test_the_base_distribution_is_enough_for_a_client(
    served: Served, forecaster: Served, musician: Served, translator: Served, tmp_path: Path
) -> None:
    environment = tmp_path / "env"
    venv.create(environment, with_pip=True)
    python = environment / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    install = [str(python), "-m", "pip", "install", "--disable-pip-version-check", "-c", str(ROOT / "constraints.txt")]
    installed = subprocess.run([*install, str(ROOT / "clients/python")], capture_output=True, text=True)
    if installed.returncode and _OFFLINE.search(installed.stdout + installed.stderr):
        pytest.skip("pip cannot reach a package registry")
    assert installed.returncode == 0, installed.stderr

    def run(*command: str) -> str:
        done = subprocess.run([str(python), *command], capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        return done.stdout

    listed = {line.split("==")[0].lower() for line in run("-m", "pip", "freeze", "--all").splitlines() if "==" in line}
    assert listed <= {"grpcio", "protobuf", "googleapis-common-protos", "typing_extensions", "pip", "setuptools"}
    out = run("-c", _CODE, served.target, forecaster.target, musician.target, translator.target).splitlines()
    assert out[:2] == [str(Path("out") / f"shapes-7-{sample}.png") for sample in range(2)]
    assert (tmp_path / out[0]).read_bytes().startswith(b"\x89PNG")
    assert "pip install pillow" in out[2]
    assert out[3:5] == ["b,4,9.0,7.0,11.0", "forecast.json"]
    what = (("to_frame", "pandas"), ("plot", "matplotlib"), ("Parquet", "pyarrow"))
    assert out[5:8] == [
        f"{use} needs {name}, which is not installed: pip install 'muserve[data]'" for use, name in what
    ]
    assert out[8:10] == ["band.mid", "map.png back.png"]
    assert [line.split(":")[1] for line in out[10:12]] == [" pip install pillow", " pip install numpy pillow"]
    assert out[12:] == ["to_mido needs mido, which is not installed: pip install 'muserve[midi]'"]
    assert (tmp_path / "band.mid").read_bytes().startswith(b"MThd")
    (tmp_path / "x.csv").write_text("1\n2\n3\n")
    command = [str(python), "-m", "muserve_client", "forecast", "x.csv", "--horizon", "1"]
    refused = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert refused.returncode == 2
    assert "muserve forecast needs pandas, which is not installed: pip install 'muserve[data]'" in refused.stderr
    assert {path.name for path in python.parent.glob("muserve*")} == {"muserve"}
    assert not list(environment.rglob("muserve_server")) + list(environment.rglob("muserve_models"))
    run("-m", "muserve_client", "images", "--count", "4", "--server", served.target, "--out", "sheet.png")
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
