"""One real server for the tests that only call it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from muserve.bundle import MANIFEST_FILE
from tests.bundles import image_bundle
from tests.servers import serving_in_thread

LABELS = ("circle", "square", "star/fish")


@dataclass(frozen=True)
class Served:
    """A real server."""

    target: str
    http_port: int


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with the default model shapes/1 (labels), plain/1 and plain/2 (none), and a refused broken/1."""
    models = tmp_path_factory.mktemp("models")
    image_bundle(models, "shapes", labels=LABELS)
    image_bundle(models, "plain", weights_seed=1)
    image_bundle(models, "plain", 2, weights_seed=2)
    broken = image_bundle(models, "broken")
    (broken / MANIFEST_FILE).write_text("{}")
    with serving_in_thread(models, default_models=("image=shapes",), max_message_mib=1) as server:
        yield Served(f"127.0.0.1:{server.grpc_port}", server.http_port)
