"""`muserve verify` passes where a server is deterministic, and fails wherever it is not: images and what all share."""

from __future__ import annotations

import asyncio
import itertools
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from muserve.v1 import common_pb2, image_pb2, manifest_pb2, model_pb2
from muserve_client.cli import main
from tests.bundles import add_golden, image_bundle
from tests.client.conftest import Served
from tests.client.fakes import failed, fake_model, fake_server, verified
from tests.servers import serving_in_thread

Png = Callable[[image_pb2.GenerateImagesRequest, int], str]
"""Makes the content of one image of a request from the index of its sample."""


def test_a_real_server_is_deterministic(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    golden = image_pb2.GenerateImagesRequest(count=5, seed=3, labels=[*"abcab"], first_sample=2, truncation=0.5)
    asyncio.run(add_golden(image_bundle(tmp_path, labels=("a", "b", "c")), golden))
    with serving_in_thread(tmp_path) as server:
        assert main(["verify", "--server", f"127.0.0.1:{server.grpc_port}", "--rounds", "4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 8
    assert all(line.startswith("ok      shapes/1 one: ") for line in lines[:-1])
    assert all(re.search(r"amid 16 other calls, (in one|but in no) batch .*, round \d", line) for line in lines[2:6])
    assert lines[-2].endswith("5 samples, each alone")
    assert lines[-1] == "7 of 7 checks passed"


def test_models_without_goldens_get_a_small_request(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--server", served.target]) == 0
    out = capsys.readouterr().out
    for model in ("plain/1", "plain/2", "shapes/1"):
        assert f"{model} default: 4 samples, each alone" in out
    assert "broken" not in out


def test_one_model_can_be_asked_for(served: Served, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--server", served.target, "--model", "plain", "--version", "2"]) == 0
    out = capsys.readouterr().out
    assert "plain/2" in out
    assert "plain/1" not in out
    assert "shapes" not in out


@pytest.mark.parametrize("flags", [["--model", "nothing"], ["--model", "broken"], ["--version", "9"]])
def test_nothing_to_verify_is_a_failure(served: Served, capsys: pytest.CaptureFixture[str], flags: list[str]) -> None:
    assert main(["verify", "--server", served.target, *flags]) == 1
    assert "is ready at" in capsys.readouterr().err


def server_of(
    png: Png,
    *,
    goldens: tuple[image_pb2.GenerateImagesRequest, ...] = (),
    digest: str = "d",
    batch_rows: Callable[[int], int] = lambda _number: 1,
) -> Any:
    """A server with the model fake/1 that answers with text in place of PNG."""
    manifest = manifest_pb2.ModelManifest(
        goldens=[manifest_pb2.GoldenRequest(name="g", generate_images=golden) for golden in goldens]
    )

    def answer(request: Any, _context: Any, number: int) -> Any:
        response = image_pb2.GenerateImagesResponse()
        response.info.digest = digest
        response.info.timings.batch_rows = batch_rows(number)
        for sample in range(request.first_sample, request.first_sample + request.count):
            response.images.add(png=png(request, sample).encode(), sample=sample)
        return response

    return fake_model(common_pb2.TASK_IMAGE, manifest, answer)


def verify(server: Any, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    code, lines = verified(server, capsys)
    return code, failed(lines)


def test_the_fake_itself_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(server_of(lambda request, sample: f"{request.seed} {sample}"), capsys) == (0, [])


@pytest.mark.parametrize(
    ("batch_rows", "text"),
    [(lambda number: number, r"in one batch of \d+ rows"), (lambda _: 4, "but in no batch with them")],
)
def test_it_says_whether_the_others_shared_a_batch(
    batch_rows: Callable[[int], int], text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with server_of(lambda request, sample: f"{request.seed} {sample}", batch_rows=batch_rows) as fake:
        assert main(["verify", "--server", fake.target, "--rounds", "2"]) == 0
    crowds = [line for line in capsys.readouterr().out.splitlines() if "amid" in line]
    assert len(crowds) == 2
    for number, line in enumerate(crowds, 1):
        assert re.search(rf"^ok      fake/1 default: amid 16 other calls, {text}, round {number}$", line)


def test_chance_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    numbers = itertools.count()
    code, failed = verify(server_of(lambda *_: str(next(numbers))), capsys)
    assert code == 1
    assert len(failed) == 5  # again, three rounds, samples alone
    assert "FAILED  fake/1 default: again, alone: sample 0 has other bytes, 4 of 4 images differ" in failed


def test_an_influence_of_other_calls_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    lock, last_seed = threading.Lock(), [1]

    def png(request: image_pb2.GenerateImagesRequest, sample: int) -> str:
        with lock:
            before, last_seed[0] = last_seed[0], request.seed
            return f"{request.seed} {sample} {before == request.seed}"

    code, failed = verify(server_of(png), capsys)
    assert code == 1
    assert failed
    assert all("amid 16 other calls" in line for line in failed[:3])


def test_a_sample_that_depends_on_its_place_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    # Wrong: the noise of a sample comes from its position in the call.
    goldens = (image_pb2.GenerateImagesRequest(count=3, seed=8),)
    code, failed = verify(
        server_of(lambda request, sample: str(sample - request.first_sample), goldens=goldens), capsys
    )
    assert code == 1
    assert failed == ["FAILED  fake/1 g: 3 samples, each alone: sample 1 alone has other bytes"]


def test_another_bundle_behind_the_same_name_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    code, failed = verify(server_of(lambda request, sample: f"{request.seed} {sample}", digest="e"), capsys)
    assert code == 1
    assert failed == ["FAILED  fake/1 default: answered by the listed bundle: the answer came from e, listed is d"]


def test_a_golden_without_a_seed_is_given_one(capsys: pytest.CaptureFixture[str]) -> None:
    numbers = itertools.count(10**9)
    goldens = (image_pb2.GenerateImagesRequest(count=2),)
    server = server_of(lambda request, sample: f"{request.seed or next(numbers)} {sample}", goldens=goldens)
    assert verify(server, capsys) == (0, [])


def test_a_task_that_this_client_cannot_check_is_no_pass(capsys: pytest.CaptureFixture[str]) -> None:
    newer = model_pb2.Model(
        name="zebras", version=1, task=common_pb2.TASK_UNSPECIFIED, state=model_pb2.MODEL_STATE_READY, digest="d"
    )

    def answer(request: Any, _context: Any, _number: int) -> Any:
        if isinstance(request, model_pb2.ListModelsRequest):
            return model_pb2.ListModelsResponse(models=[newer])
        return model_pb2.GetModelResponse(model=newer)

    code, failed = verify(fake_server(answer), capsys)
    assert code == 1
    assert "no check for the task 'unspecified'" in failed[0]
