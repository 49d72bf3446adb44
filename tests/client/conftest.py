"""One real server for the tests that only call it."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from muserve.bundle import MANIFEST_FILE
from muserve.v1 import forecast_pb2
from tests.answer_bundles import copy_bundle
from tests.bundles import image_bundle
from tests.client.forecasters import drift_bundle
from tests.music_bundles import chord_bundle, music_bundle
from tests.servers import serving_in_thread
from tests.translation_bundles import invert_bundle, scene_bundle

LABELS = ("circle", "square", "star/fish")


@dataclass(frozen=True)
class Served:
    """A real server."""

    target: str
    http_port: int


def served_from(models: Path, **settings: Any) -> Iterator[Served]:
    """Serves a folder."""
    with serving_in_thread(models, **settings) as server:
        yield Served(f"127.0.0.1:{server.grpc_port}", server.http_port)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with the default model shapes/1 (labels), plain/1 and plain/2 (none), and a refused broken/1."""
    models = tmp_path_factory.mktemp("models")
    image_bundle(models, "shapes", labels=LABELS)
    image_bundle(models, "plain", weights_seed=1)
    image_bundle(models, "plain", 2, weights_seed=2)
    broken = image_bundle(models, "broken")
    (broken / MANIFEST_FILE).write_text("{}")
    yield from served_from(models, default_models=("image=shapes",), max_message_mib=1)


def served_bundles(*write: Callable[[Path], object], **settings: Any) -> Any:
    """Makes a fixture of a server of what some functions write."""

    @pytest.fixture(scope="session")
    def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
        models = tmp_path_factory.mktemp("models")
        for write_one in write:
            write_one(models)
        yield from served_from(models, **settings)

    return server


months_only = partial(drift_bundle, name="level", frequencies=(forecast_pb2.FREQUENCY_MONTHLY,), slope=0)
forecaster = served_bundles(drift_bundle, months_only, default_models=("forecast=drift",))
musician = served_bundles(music_bundle, chord_bundle, default_models=("music=band",))
translator = served_bundles(scene_bundle, invert_bundle, default_models=("translation=scenes",))
answerer = served_bundles(copy_bundle)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate for localhost, and its key."""
    folder = tmp_path_factory.mktemp("tls")
    key, pem = folder / "key.pem", folder / "cert.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    extra = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(pem)]
    subprocess.run([*command.split(), *extra], check=True, capture_output=True)
    return pem, key
