"""Models and health of a real server, through both skins."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from muserve.v1 import common_pb2, model_pb2
from muserve_client import Client, DeadlineExceededError, InvalidRequestError, ModelNotFoundError, UnimplementedError
from tests.bundles import image_bundle
from tests.client.conftest import LABELS, Served
from tests.client.fakes import Skin, both_skins, call, empty, fake_server
from tests.servers import serving_in_thread, unassigned_port


@both_skins
def test_all_models_are_listed_the_refused_ones_too(skin: Skin, served: Served) -> None:
    models = call(skin, served.target, "models")
    assert [(m.name, m.version, m.state, m.default) for m in models] == [
        ("broken", 1, "refused", False),
        ("plain", 1, "ready", False),
        ("plain", 2, "ready", False),
        ("shapes", 1, "ready", True),
    ]
    assert "manifest.json" in models[0].reason
    assert models[0].task == "unspecified"
    assert models[3].task == "image"
    assert len(models[3].digest) == 64
    assert models[3].description
    assert all(model.manifest is None for model in models)


@both_skins
def test_models_of_one_task(skin: Skin, served: Served) -> None:
    assert {model.name for model in call(skin, served.target, "models", "image")} == {"plain", "shapes"}
    assert call(skin, served.target, "models", "music") == []


@both_skins
@pytest.mark.parametrize(("task", "words"), [("imgae", "did you mean 'image'"), (1, "1 (int)")])
def test_an_unknown_task_is_refused_with_the_nearest(skin: Skin, task: object, words: str) -> None:
    with pytest.raises(InvalidRequestError, match="task") as caught:
        call(skin, "127.0.0.1:1", "models", task)
    assert words in str(caught.value)


@both_skins
def test_a_model_comes_with_its_manifest(skin: Skin, served: Served) -> None:
    model = call(skin, served.target, "model", "plain")
    assert (model.name, model.version) == ("plain", 2)
    model = call(skin, served.target, "model", "shapes", 1)
    assert tuple(model.manifest.image.labels) == LABELS
    assert hash(model) == hash(next(m for m in call(skin, served.target, "models") if m.name == "shapes"))


@both_skins
def test_an_unknown_model_is_not_found(skin: Skin, served: Served) -> None:
    with pytest.raises(ModelNotFoundError, match="shapes"):
        call(skin, served.target, "model", "shape")
    with pytest.raises(InvalidRequestError, match="version"):
        call(skin, served.target, "model", "shapes", -1)


def test_tasks_and_states_of_a_newer_server_have_names() -> None:
    newer = model_pb2.ListModelsResponse(models=[model_pb2.Model(name="new")])
    newer.models[0].MergeFromString(b"\x18\x63\x20\x63")  # task 99, state 99
    with fake_server(lambda *_: newer) as server:
        model = call(Client, server.target, "models")[0]
    assert (model.task, model.state) == ("unknown-99", "unknown-99")
    assert 99 not in common_pb2.Task.values()


@both_skins
def test_health(skin: Skin, served: Served) -> None:
    assert call(skin, served.target, "is_ready") is True
    assert call(skin, served.target, "is_ready", "shapes") is True
    assert call(skin, served.target, "is_ready", "s" * 300) is False
    assert call(skin, served.target, "is_ready", "broken") is False
    assert call(skin, "127.0.0.1:1", "is_ready") is False
    call(skin, served.target, "wait_until_ready", model="shapes")


@both_skins
def test_a_server_without_models_is_not_ready(skin: Skin, tmp_path: Path) -> None:
    with serving_in_thread(tmp_path) as server:
        assert call(skin, f"127.0.0.1:{server.grpc_port}", "is_ready") is False


@both_skins
def test_a_server_that_knows_no_health_is_not_called_unready(skin: Skin) -> None:
    with fake_server(lambda request, *_: empty(request)) as server, pytest.raises(UnimplementedError):
        call(skin, server.target, "is_ready")


@both_skins
def test_waiting_ends_in_time(skin: Skin) -> None:
    started = time.monotonic()
    with pytest.raises(DeadlineExceededError, match=r"127\.0\.0\.1:1 was not ready within 0\.3 s"):
        call(skin, "127.0.0.1:1", "wait_until_ready", 0.3)
    assert time.monotonic() - started >= 0.3


@both_skins
def test_waiting_sees_a_server_that_starts_later(skin: Skin, tmp_path: Path) -> None:
    image_bundle(tmp_path)
    port = unassigned_port()
    waited: list[bool] = []

    def wait() -> None:
        call(skin, f"127.0.0.1:{port}", "wait_until_ready", 90)
        waited.append(True)

    thread = threading.Thread(target=wait)
    thread.start()
    with serving_in_thread(tmp_path, grpc_port=port):
        thread.join()
    assert waited == [True]
