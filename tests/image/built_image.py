"""Builds the container image and runs it, without a Docker daemon: `make image-test`. Debian, as root.

Not collected by a plain pytest run: it takes a minute or two, and the packages buildah and debootstrap. The base image
is made by debootstrap from this machine's own Debian mirror; pip in the build asks this machine's own index. Neither
lands in the image or the repository. The base stays cached under build/image.
"""

from __future__ import annotations

import base64
import json
import os
import platform
import shutil
import signal
import subprocess
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from muserve_client import Client, Images, Retries
from tests.servers import ServerLog

REPOSITORY = Path(__file__).parents[2]
CACHE = REPOSITORY / "build/image"
BASE = "localhost/muserve-base:test"
IMAGE = "localhost/muserve:test"
BUILDAH = (
    "buildah", "--storage-driver", "vfs", "--root", str(CACHE / "storage"), "--runroot", str(CACHE / "run"),
)  # fmt: skip
CA_BUNDLE = "/etc/ssl/certs/ca-certificates.crt"
DRAIN_DELAY_S = 4

pytestmark = pytest.mark.timeout(1500)


@dataclass(frozen=True)
class RunningServer:
    """The image's server, running in its container."""

    container: str
    process: subprocess.Popen[str]
    """`buildah run`; it ends with the server's exit code."""
    pid: int
    """The server itself, as this machine sees it."""
    grpc_port: int
    http_port: int
    log: list[str]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    """The built image's Docker configuration."""
    install_tools()
    if run(*BUILDAH, "images", "-q", BASE, check=False).returncode:
        make_base()
    pip_conf = tmp_path_factory.mktemp("secret") / "pip.conf"
    pip_conf.write_text(pip_settings())
    begin = time.monotonic()
    run(
        *BUILDAH, "bud", "--isolation", "chroot", "--pull-never", "--network", "host", "--format", "docker",
        "--secret", f"id=pip_conf,src={pip_conf}", "--volume", f"{CA_BUNDLE}:{CA_BUNDLE}:ro",
        "--build-arg", f"BASE_IMAGE={BASE}", "--tag", IMAGE, str(REPOSITORY),
        timeout_s=900,
    )  # fmt: skip
    print(f"\nbuilt in {time.monotonic() - begin:.0f} s; {image_size(IMAGE)}, of which base {image_size(BASE)}")
    try:
        yield json.loads(run(*BUILDAH, "inspect", "--type", "image", IMAGE).stdout)["Docker"]["config"]
    finally:
        run(*BUILDAH, "rmi", "--force", IMAGE)


@pytest.fixture(scope="module")
def container(image: dict[str, Any]) -> Iterator[str]:
    with new_container() as name:
        yield name


@pytest.fixture(scope="module")
def server(image: dict[str, Any], container: str) -> Iterator[RunningServer]:
    begin = time.monotonic()
    with started(image, container) as running:
        generate(running)
        print(f"\n{time.monotonic() - begin:.2f} s from the start of the container to the first answer")
        yield running


def test_image_says_how_it_is_run(image: dict[str, Any], container: str) -> None:
    assert image["Entrypoint"] == ["muserve-server"]
    assert image["User"] == "10001:10001"
    assert image["StopSignal"] == "SIGTERM"
    assert set(image["ExposedPorts"]) == {"8001/tcp", "8002/tcp"}
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    assert image["Labels"]["org.opencontainers.image.version"] == version
    assert in_container(container, "muserve-server", "--version").stdout.split()[-1] == version


def test_image_holds_nothing_that_the_server_does_not_need(container: str) -> None:
    script = "import importlib.util as u; print([n for n in {} if u.find_spec(n)])"
    unwanted = ["torch", "lightning_fabric", "matplotlib", "mlxtend", "onnx", "pip", "setuptools", "pytest"]
    assert in_container(container, "python", "-c", script.format(unwanted)).stdout.strip() == "[]"
    assert in_container(container, "sh", "-c", "command -v gcc cc c++ ld", check=False).stdout == ""
    assert in_container(container, "sh", "-c", "ls -d /source /wheel /root/.cache", check=False).stdout == ""
    root = mounted(container)
    print(f"\n{directory_mb(root / 'opt/muserve'):.0f} MB in /opt/muserve, bundled models and all packages")
    assert not list(root.glob("opt/muserve/**/*.ts"))


def test_server_is_not_root(server: RunningServer) -> None:
    status = Path(f"/proc/{server.pid}/status").read_text()
    ids = {line.split()[0]: line.split()[1:] for line in status.splitlines() if line.startswith(("Uid", "Gid"))}
    assert ids == {"Uid:": ["10001"] * 4, "Gid:": ["10001"] * 4}


def test_server_answers_the_command_line_from_outside(server: RunningServer, tmp_path: Path) -> None:
    address, out = f"localhost:{server.grpc_port}", tmp_path / "sheet.png"
    muserve = REPOSITORY / ".venv/bin/muserve"
    run(str(muserve), "images", "--count", "16", "--out", str(out), "--server", address)
    with Image.open(out) as sheet:
        sheet.load()
        assert sheet.format == "PNG"
        assert sheet.width >= 4 * 6
        assert sheet.getextrema() not in ((0, 0), (255, 255))


def test_server_takes_json(server: RunningServer) -> None:
    body = json.dumps({"count": 1, "seed": "7"}).encode()
    url = f"http://127.0.0.1:{server.grpc_port}/muserve.v1.ImageService/GenerateImages"
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=30) as answer:
        content = json.load(answer)
    assert base64.b64decode(content["images"][0]["png"]) == generate(server)[0].png


def test_server_is_reached_at_every_address(server: RunningServer) -> None:
    # A socket bound to 127.0.0.1 alone would refuse 127.0.0.2.
    assert len(generate(server, host="127.0.0.2")) == 1
    assert http_status(server, "/metrics", host="127.0.0.2") == 200


def test_health_check_passes(server: RunningServer, image: dict[str, Any]) -> None:
    assert health_check(server, image) == 0


def test_server_sends_no_telemetry(server: RunningServer) -> None:
    # onnxruntime complains, once, of a home folder where it cannot keep its device id.
    assert not [line for line in server.log if "telemetry" in line.lower()]


def test_server_writes_no_file_but_what_envoy_reads(server: RunningServer) -> None:
    generate(server)
    root = mounted(server.container)
    found = {path.name for path in map(Path, run("find", str(root), "-xdev", "-uid", "10001").stdout.split())}
    (folder,) = (root / "tmp").glob("muserve-*")
    assert found == {folder.name, "envoy.json", "admin.sock"}


def test_sigterm_drains_and_ends_with_0(image: dict[str, Any]) -> None:
    with new_container() as container, started(image, container) as server:
        assert http_status(server, "/readyz") == 200
        os.kill(server.pid, signal.SIGTERM)
        wait_until(lambda: http_status(server, "/readyz") == 503)
        assert len(generate(server)) == 1  # balancers lag: calls are still answered
        assert health_check(server, image) != 0
        assert server.process.wait(30) == 0


def install_tools() -> None:
    missing = [tool for tool in ("buildah", "debootstrap") if not shutil.which(tool)]
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        pytest.fail("the image test needs root on Debian: it makes a base image by debootstrap and builds in a chroot")
    if missing:
        environ = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        run("apt-get", "-qq", "update", timeout_s=300)
        run("apt-get", "-qq", "install", "--no-install-recommends", "-y", *missing, timeout_s=600, env=environ)


def make_base() -> None:
    """Makes what stands in for python:3.11-slim-bookworm: this machine's Debian release with Python, pip and venv."""
    codename = platform.freedesktop_os_release()["VERSION_CODENAME"]
    mirrors = run(
        "apt-get", "indextargets", "--format", "$(REPO_URI)", "Created-By: Packages", f"Codename: {codename}"
    ).stdout.split()  # fmt: skip
    container = run(*BUILDAH, "from", "scratch").stdout.strip()
    try:
        root = mounted(container)
        packages = "python3,python3-venv,python3-pip,ca-certificates"
        run("debootstrap", "--variant=minbase", f"--include={packages}", codename, str(root), mirrors[0], timeout_s=600)
        for cache in ("var/cache/apt", "var/lib/apt/lists", "var/log", "root/.cache"):
            shutil.rmtree(root / cache, ignore_errors=True)
        (root / "var/log/apt").mkdir(parents=True)
        run(*BUILDAH, "commit", container, BASE, timeout_s=300)
    finally:
        run(*BUILDAH, "rm", container)


def pip_settings() -> str:
    """This machine's own index as a pip.conf, less what lies on its disk and the build cannot see."""
    listed = run(str(REPOSITORY / ".venv/bin/python"), "-m", "pip", "config", "list").stdout
    lines = ["[global]"]
    for line in listed.splitlines():
        key, _, value = line.partition("=")
        option, text = key.rpartition(".")[2], value.strip("'\"")
        if option in {"index-url", "extra-index-url"}:
            text = " ".join(url for url in text.split() if url.startswith("http"))
        if text and option in {"index-url", "extra-index-url", "trusted-host", "proxy", "default-timeout"}:
            lines.append(f"{option} = {text}")
    return "\n".join(lines) + "\n"


@contextmanager
def new_container() -> Iterator[str]:
    name = run(*BUILDAH, "from", "--pull-never", IMAGE).stdout.strip()
    try:
        yield name
    finally:
        run(*BUILDAH, "rm", name)


@contextmanager
def started(image: dict[str, Any], container: str) -> Iterator[RunningServer]:
    """The image's entry point, as its user and in its environment; on free ports, since this machine's are shared."""
    environ = {"GRPC_PORT": "0", "HTTP_PORT": "0", "DRAIN_DELAY_S": str(DRAIN_DELAY_S)}
    flags = [part for name, value in environ.items() for part in ("--env", f"MUSERVE_CONFIG_{name}={value}")]
    command = [*BUILDAH, "run", "--isolation", "chroot", *flags, container, "--", *image["Entrypoint"]]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    log = ServerLog(process)
    pid = 0
    try:
        ports = log.ports()
        pid = server_pid(process.pid)
        yield RunningServer(container, process, pid, *ports, log.lines)
    finally:
        if process.poll() is None:
            os.kill(pid or process.pid, signal.SIGKILL)
        process.wait(30)
        log.close()


def server_pid(ancestor: int) -> int:
    """Finds the server among the descendants of `buildah run`: a Python that runs muserve-server; 0 if not there."""
    for child in Path(f"/proc/{ancestor}/task").glob("*/children"):
        for pid in map(int, child.read_text().split()):
            command = Path(f"/proc/{pid}/cmdline").read_text().split("\0")
            if "python" in command[0] and command[1].endswith("/muserve-server"):
                return pid
            if found := server_pid(pid):
                return found
    return 0


def generate(server: RunningServer, host: str = "127.0.0.1") -> Images:
    with Client(f"{host}:{server.grpc_port}", timeout_s=30, retries=Retries(attempts=1)) as client:
        return client.images(count=1, seed=7)


def http_status(server: RunningServer, path: str, host: str = "127.0.0.1") -> int:
    try:
        with urllib.request.urlopen(f"http://{host}:{server.http_port}{path}", timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def health_check(server: RunningServer, image: dict[str, Any]) -> int:
    """Runs the image's own health check and returns its exit code."""
    kind, *command = image["Healthcheck"]["Test"]
    assert kind == "CMD"
    port = f"MUSERVE_CONFIG_HTTP_PORT={server.http_port}"
    return run(
        *BUILDAH, "run", "--isolation", "chroot", "--env", port, server.container, "--", *command, check=False
    ).returncode  # fmt: skip


def in_container(container: str, *command: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    return run(*BUILDAH, "run", "--isolation", "chroot", container, "--", *command, check=check)


def mounted(container: str) -> Path:
    """The container's file system; it is unmounted with the container."""
    return Path(run(*BUILDAH, "mount", container).stdout.strip())


def image_size(name: str) -> str:
    return run(*BUILDAH, "images", "--format", "{{.Size}}", name).stdout.strip()


def directory_mb(folder: Path) -> float:
    return sum(path.lstat().st_size for path in folder.rglob("*")) / 1e6


def wait_until(condition: Any, timeout_s: float = 20) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, f"not so after {timeout_s} s"
        time.sleep(0.05)


def run(
    *command: str, check: bool = True, timeout_s: float = 120, env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    result = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, env=env, check=False)
    if check:
        assert result.returncode == 0, f"{' '.join(command)}\n{result.stdout[-4000:]}\n{result.stderr[-4000:]}"
    return result
