"""The models in models/, as users get them: served by one endpoint, and they draw what they are asked for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from muserve_client import Client
from muserve_export.families.digits.config import DigitsConfig
from muserve_export.families.digits.data import load_data
from muserve_export.families.digits.judge import load_judge
from tests.servers import serving_in_thread

MODELS = Path(__file__).parents[2] / "models"
TUTORIAL, BUNDLED = 1, 2


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    with serving_in_thread(MODELS) as server, Client(f"localhost:{server.grpc_port}") as client:
        yield client


def test_every_bundled_model_is_ready_and_measured(client: Client) -> None:
    models = client.models()
    assert [(model.name, model.version, model.state) for model in models] == [
        ("digits", TUTORIAL, "ready"), ("digits", BUNDLED, "ready"),
    ]  # fmt: skip
    assert [model.default for model in models] == [False, True]
    for model in models:
        manifest = client.model(model.name, model.version).manifest
        assert manifest is not None
        assert "frechet_distance" in {metric.name for metric in manifest.metrics}
        assert all(graph.batch_invariance.exact for graph in manifest.graphs)


def test_tutorial_and_bundled_are_served_by_the_same_endpoint(client: Client) -> None:
    for version in (TUTORIAL, BUNDLED):
        images = client.images(3, seed=5, version=version)
        assert images.info.version == version
        assert {(image.width, image.height) for image in images} == {(28, 28)}


def test_the_default_draws_the_digit_that_it_is_asked_for_and_not_always_the_same(client: Client) -> None:
    labels = [str(index % 10) for index in range(100)]
    images = client.images(labels=labels, seed=11)
    pixels = np.stack([np.asarray(image.to_pil()) for image in images])
    judge = load_judge(load_data(DigitsConfig()), DigitsConfig())
    seen = judge.look(pixels[:, None])[1]
    assert (seen == np.arange(100) % 10).mean() >= 0.9
    for digit in range(10):
        assert len({image.tobytes() for image in pixels[digit::10]}) == 10
        assert pixels[digit::10].std(axis=0).mean() > 5, "ten samples of a digit are nearly one picture"


def test_truncation_makes_digits_more_alike(client: Client) -> None:
    spreads = []
    for truncation in (1.0, 0.3):
        images = client.images(50, labels="3", seed=3, truncation=truncation)
        spreads.append(np.stack([np.asarray(image.to_pil()) for image in images]).std(axis=0).mean())
    assert spreads[1] < 0.8 * spreads[0]
