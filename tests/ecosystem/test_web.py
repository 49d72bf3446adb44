"""gRPC-Web as pages and programs use it: clients/examples/web by its README's lines, from Node and from Chromium."""

from __future__ import annotations

import base64
import io
import re
import shlex
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from PIL import Image

from muserve_server.fronts.envoy.process import missing
from muserve_server.settings import read_settings
from tests.bundles import HEIGHT, WIDTH, image_bundle
from tests.repo.snippets import REPOSITORY, blocks
from tests.server.calling import get_http
from tests.servers import ServerProcess, server_process

README = "clients/examples/web/README.md"
CALLS = re.compile(r"^muserve_request_seconds_count\{[^}]*GenerateImages[^}]*\} (\S+)$", re.MULTILINE)

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())


class Quiet(SimpleHTTPRequestHandler):
    """Serves files and logs nothing."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Logs nothing."""


@contextmanager
def pages(folder: Path) -> Iterator[str]:
    """The origin of a web server for a folder."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://localhost:{server.server_port}"
        server.shutdown()
        thread.join()


def lines(number: int) -> list[str]:
    return blocks(README)[number].text.splitlines()


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the example, built by its README's first lines."""
    assert shutil.which("npm"), "node and npm are not installed; make test-ecosystem installs them on Debian"
    copy = tmp_path_factory.mktemp("checkout")
    ignore = shutil.ignore_patterns("node_modules", "package-lock.json", "python", "*.binpb", "page.js")
    shutil.copytree(REPOSITORY / "proto", copy / "proto", ignore=ignore)
    shutil.copytree(REPOSITORY / "clients/examples/web", copy / "clients/examples/web", ignore=ignore)
    script = "\n".join(lines(0))
    built = subprocess.run(
        ["sh", "-e", "-c", script], cwd=copy, capture_output=True, text=True, timeout=200, check=False
    )
    assert built.returncode == 0, built.stdout + built.stderr
    return copy / "clients/examples/web"


@pytest.fixture(scope="module")
def origin(example: Path) -> Iterator[str]:
    with pages(example) as it:
        yield it


@pytest.fixture(scope="module")
def server(origin: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    models = tmp_path_factory.mktemp("models")
    image_bundle(models, "shapes", labels=("round", "square"))
    start, serve = (shlex.split(line) for line in lines(2))
    assert start[0] == "muserve-server"
    (published,) = read_settings(start[1:]).cors_origins
    assert published.endswith(f":{serve[-1]}")
    with server_process(models, *(word.replace(published, origin) for word in start[1:])) as it:
        yield it


def chromium(url: str, folder: Path) -> str:
    """The page as it is once its scripts have nothing left to wait for."""
    assert shutil.which("chromium"), "chromium is not installed; make test-ecosystem installs it on Debian"
    command = [
        "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        f"--user-data-dir={folder / 'profile'}", "--virtual-time-budget=100000", "--dump-dom", url,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def calls(server: ServerProcess) -> int:
    return int(sum(map(float, CALLS.findall(get_http(server.http_port, "/metrics")[1]))))


def node(example: Path, server: ServerProcess) -> subprocess.CompletedProcess[str]:
    """The README's call from Node."""
    (line,) = lines(1)
    command = shlex.split(line.replace("localhost:8001", f"localhost:{server.grpc_port}"))
    return subprocess.run(command, cwd=example, capture_output=True, text=True, timeout=200, check=False)


def test_node_saves_an_image_by_the_line_of_the_readme(example: Path, server: ServerProcess) -> None:
    done = node(example, server)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"image.png: {WIDTH}x{HEIGHT}, shapes version 1, seed 7\n"
    with Image.open(example / "image.png") as image:
        assert (image.format, image.size) == ("PNG", (WIDTH, HEIGHT))


def test_node_reports_an_error_of_the_server(example: Path, server: ServerProcess) -> None:
    script = (example / "generate.mjs").read_text().replace("count: 1,", "count: 1000,")
    (example / "many.mjs").write_text(script)
    command = ["node", "many.mjs", f"--server=http://localhost:{server.grpc_port}"]
    done = subprocess.run(command, cwd=example, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 1
    assert done.stderr == "[invalid_argument] count: is 1000; allowed: 1 up to 256\n"


def test_a_page_of_an_allowed_origin_shows_the_same_image(
    example: Path, origin: str, server: ServerProcess, tmp_path: Path
) -> None:
    page = chromium(f"{origin}/?server=http://localhost:{server.grpc_port}&seed=7", tmp_path)
    assert "<figcaption>shapes version 1, seed 7</figcaption>" in page
    (encoded,) = re.findall(r'src="data:image/png;base64,([^"]+)"', page)
    shown = base64.b64decode(encoded, validate=True)
    with Image.open(io.BytesIO(shown)) as image:
        assert (image.format, image.size) == ("PNG", (WIDTH, HEIGHT))
    assert node(example, server).returncode == 0
    assert shown == (example / "image.png").read_bytes()


def test_a_page_of_another_origin_is_refused_before_anything_is_done(
    example: Path, origin: str, server: ServerProcess, tmp_path: Path
) -> None:
    before = calls(server)
    with pages(example) as foreign:
        assert foreign != origin
        page = chromium(f"{foreign}/?server=http://localhost:{server.grpc_port}", tmp_path)
    assert re.search(r"<figcaption>\[\w+\] Failed to fetch</figcaption>", page)
    assert "data:image" not in page
    assert calls(server) == before
