"""ModelInfer over a real server: raw and typed tensors, outputs, batches that both APIs share, and how calls end."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
from google.rpc import error_details_pb2, status_pb2
from numpy.typing import NDArray

from muserve.errors import (
    STATUS_DETAILS_KEY,
    DeadlineExceededError,
    InvalidRequestError,
    MessageTooLargeError,
    QueueFullError,
)
from muserve.inference import infer_pb2
from muserve.v1 import image_pb2, image_pb2_grpc, manifest_pb2
from muserve_server.model import LocalOptions
from tests.answer_bundles import copy_bundle
from tests.bundles import HEIGHT, LATENT_SIZE, WIDTH, image_bundle
from tests.music_bundles import music_bundle
from tests.options import local_options
from tests.server.calling import failure_of, metric, serving_as
from tests.server.holding import held_until, served_model
from tests.server.services.inferring import Inference, raw_request, tensors_of, typed_request
from tests.server.waiting import DEADLINES_S, until

running = partial(serving_as, Inference)
Tensors = dict[str, NDArray[Any]]
NAME = "shapes"


def tensors(rows: int, *, seed: int = 0) -> Tensors:
    random = np.random.default_rng(seed)
    return {
        "latent": random.standard_normal((rows, LATENT_SIZE)).astype(np.float32),
        "truncation": np.full(rows, 0.5, np.float32),
        "label": random.integers(0, 2, rows),
    }


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Inference]:
    image_bundle(tmp_path, labels=("cat", "dog"))
    async with running(tmp_path) as made:
        yield made


async def images(server: Inference, request: infer_pb2.ModelInferRequest) -> NDArray[Any]:
    return tensors_of(await server.ModelInfer(request))["image"]


async def test_raw_tensors_are_answered_raw_and_typed_ones_typed(server: Inference) -> None:
    raw = await server.ModelInfer(raw_request(NAME, tensors(3), id="mine"))
    typed = await server.ModelInfer(typed_request(NAME, tensors(3), id="mine"))
    assert len(raw.raw_output_contents) == 1
    assert not raw.outputs[0].HasField("contents")
    assert not typed.raw_output_contents
    for response in (raw, typed):
        assert (response.model_name, response.model_version, response.id) == (NAME, "1", "mine")
        (output,) = response.outputs
        assert (output.name, output.datatype, list(output.shape)) == ("image", "FP32", [3, 1, HEIGHT, WIDTH])
    np.testing.assert_array_equal(tensors_of(raw)["image"], tensors_of(typed)["image"], strict=True)


async def test_the_response_says_where_the_time_went_and_which_bundle_answered(server: Inference) -> None:
    response = await server.ModelInfer(raw_request(NAME, tensors(3)))
    assert response.parameters["digest"].string_param == served_model(server.server, NAME).bundle.digest
    assert response.parameters["batch_rows"].int64_param == 3
    assert response.parameters["compute_us"].int64_param > 0
    assert response.parameters["queue_us"].WhichOneof("parameter_choice") == "int64_param"
    method = "/inference.GRPCInferenceService/ModelInfer"
    assert (
        metric(server.server, "muserve_request_seconds_count", method=method, model=NAME, version="1", code="OK") == 1
    )


async def test_many_typed_numbers_are_read_and_written_beside_the_event_loop(server: Inference) -> None:
    given = tensors(250)
    answered = await images(server, typed_request(NAME, given))
    np.testing.assert_array_equal(answered, await images(server, raw_request(NAME, given)), strict=True)


async def test_inputs_may_come_in_any_order(server: Inference) -> None:
    given = tensors(2)
    turned = dict(reversed(given.items()))
    expected = await images(server, raw_request(NAME, given))
    for make in (raw_request, typed_request):
        np.testing.assert_array_equal(await images(server, make(NAME, turned)), expected)


async def test_outputs_come_as_asked_for(tmp_path: Path) -> None:
    copy_bundle(tmp_path)
    async with running(tmp_path) as server:
        given = {"question": np.full((1, 8), 5), "passage": np.full((1, 20), 5)}
        everything = tensors_of(await server.ModelInfer(raw_request("copies.reader", given)))
        assert list(everything) == [
            spec.name for spec in served_model(server.server, "copies").bundle.manifest.graphs[0].outputs
        ]
        for make in (raw_request, typed_request):
            asked = tensors_of(await server.ModelInfer(make("copies.reader", given, ["start", "answerable"])))
            assert list(asked) == ["start", "answerable"]
            for name, tensor in asked.items():
                np.testing.assert_array_equal(tensor, everything[name], strict=True)


async def test_more_rows_than_a_run_holds_are_split_and_joined(tmp_path: Path) -> None:
    image_bundle(tmp_path, labels=("cat", "dog"))
    async with running(tmp_path, max_batch_rows=4) as server:
        given = tensors(11)
        together = await images(server, raw_request(NAME, given))
        assert served_model(server.server, NAME).batcher("generator").stats.runs.keys() == {4, 3}
        for row in range(11):
            alone = await images(server, raw_request(NAME, {name: part[row : row + 1] for name, part in given.items()}))
            np.testing.assert_array_equal(alone[0], together[row])


async def test_batches_form_across_both_apis(tmp_path: Path) -> None:
    image_bundle(tmp_path, labels=("cat", "dog"))
    runs: list[int] = []
    options = local_options(on_run=lambda _bundle, _graph, rows, _seconds: runs.append(rows))
    async with running(tmp_path, options=options) as server:
        stub = image_pb2_grpc.ImageServiceStub(server.channel)
        request = image_pb2.GenerateImagesRequest(count=3, seed=7)
        alone = await stub.GenerateImages(request), await images(server, raw_request(NAME, tensors(2)))
        runs.clear()
        model = served_model(server.server, NAME)
        with held_until(model, rows=6):  # while one row runs, the others gather
            first = asyncio.ensure_future(server.ModelInfer(raw_request(NAME, tensors(1))))
            await until(lambda: model.batcher("generator")._running)
            both = await asyncio.gather(stub.GenerateImages(request), images(server, raw_request(NAME, tensors(2))))
            await first
        assert runs == [1, 5]
        assert both[0].info.timings.batch_rows == 5
        assert [image.png for image in both[0].images] == [image.png for image in alone[0].images]
        np.testing.assert_array_equal(both[1], alone[1])


async def test_nan_is_a_number_like_any_other(server: Inference) -> None:
    given = tensors(2)
    given["latent"][0, 3] = np.nan
    answered = await images(server, raw_request(NAME, given))
    assert np.isnan(answered[0]).all()
    assert np.isfinite(answered[1]).all()


async def test_a_row_that_the_graph_refuses_is_its_callers_fault_alone(
    server: Inference, caplog: pytest.LogCaptureFixture
) -> None:
    wrong = tensors(2)
    wrong["label"][1] = 99
    model = served_model(server.server, NAME)
    with caplog.at_level(logging.WARNING), held_until(model, rows=4):
        first = asyncio.ensure_future(server.ModelInfer(raw_request(NAME, tensors(1))))
        await until(lambda: model.batcher("generator")._running)
        error, answered = await asyncio.gather(
            failure_of(server.ModelInfer(raw_request(NAME, wrong))), images(server, raw_request(NAME, tensors(1)))
        )
        await first
    assert isinstance(error, InvalidRequestError)
    assert error.message.startswith("graph 'shapes' cannot run on these inputs: ")
    assert "idx=99" in error.message
    np.testing.assert_array_equal(answered, await images(server, raw_request(NAME, tensors(1))))
    (record,) = [record for record in caplog.records if record.message == "graph failed on a caller's tensors"]
    assert (record.__dict__["model"], record.__dict__["request_id"]) == (NAME, error.request_id)
    assert served_model(server.server, NAME).batcher("generator").stats.failed.count == 1


async def test_whatever_the_indices_the_server_goes_on(tmp_path: Path) -> None:
    """Numbers that no tokenizer and no planner would send: the graph answers, or refuses them."""
    image_bundle(tmp_path, labels=("cat", "dog"))
    copy_bundle(tmp_path)
    music_bundle(tmp_path)
    async with running(tmp_path) as server:
        for name in ("shapes", "copies", "band"):
            manifest = served_model(server.server, name).bundle.manifest
            for graph in manifest.graphs:
                for number in (-(2**63), -1, 10**6, 2**63 - 1):
                    given = {
                        spec.name: np.full([1, *(size if size > 0 else 40 for size in spec.shape[1:])], number)
                        if spec.dtype == manifest_pb2.DATA_TYPE_INT64
                        else np.zeros([1, *(size if size > 0 else 40 for size in spec.shape[1:])], np.float32)
                        for spec in graph.inputs
                    }
                    call = server.ModelInfer(raw_request(f"{name}.{graph.role}", given))
                    assert await call.code() in (grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT)


async def test_a_full_queue_says_when_to_try_again(tmp_path: Path) -> None:
    image_bundle(tmp_path, labels=("cat", "dog"))
    small = {"max_queue_rows": 8, "max_samples_per_call": 8, "max_series_per_call": 8}
    async with running(tmp_path, **small) as server:
        model = served_model(server.server, NAME)
        with held_until(model, math.inf):
            waiting = [asyncio.ensure_future(server.ModelInfer(raw_request(NAME, tensors(1))))]
            await until(lambda: model.batcher("generator")._running)
            waiting.append(asyncio.ensure_future(server.ModelInfer(raw_request(NAME, tensors(6)))))
            await until(lambda: model.batcher("generator").queued_rows == 6)
            call = server.ModelInfer(raw_request(NAME, tensors(3)))
            error = await failure_of(call)
        assert isinstance(error, QueueFullError)
        status = status_pb2.Status.FromString(dict(await call.trailing_metadata())[STATUS_DETAILS_KEY])
        assert any(detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for detail in status.details)
        assert error.retry_after_s > 0
        await asyncio.gather(*waiting)
        assert model.batcher("generator").stats.failed.count == 1


async def test_a_deadline_ends_the_wait(server: Inference) -> None:
    model = served_model(server.server, NAME)
    with held_until(model, math.inf):
        for timeout in DEADLINES_S:
            error = await failure_of(server.ModelInfer(raw_request(NAME, tensors(1)), timeout=timeout))
            assert isinstance(error, DeadlineExceededError)
            if model.batcher("generator")._running:
                break  # it had reached the engine when its deadline passed
        await until(lambda: model.batcher("generator").stats.failed.count)
    await until(lambda: metric(server.server, "muserve_calls_in_progress") == 0)
    assert (await images(server, raw_request(NAME, tensors(1)))).shape == (1, 1, HEIGHT, WIDTH)


async def test_the_parameter_timeout_ends_the_wait_for_a_run(server: Inference) -> None:
    model = served_model(server.server, NAME)
    hurried = raw_request(NAME, tensors(1))
    hurried.parameters["timeout"].int64_param = 1
    with held_until(model, rows=3):
        first = asyncio.ensure_future(server.ModelInfer(raw_request(NAME, tensors(1))))
        await until(lambda: model.batcher("generator")._running)
        late = asyncio.ensure_future(failure_of(server.ModelInfer(hurried)))
        patient = raw_request(NAME, tensors(1))
        patient.parameters["timeout"].int64_param = 10**9
        assert (await images(server, patient)).shape == (1, 1, HEIGHT, WIDTH)
        error = await late
    assert isinstance(error, DeadlineExceededError)
    assert error.message == "the deadline passed while the request was queued"
    await first


async def test_a_cancelled_call_leaves_the_queue(server: Inference) -> None:
    model = served_model(server.server, NAME)
    with held_until(model, math.inf):
        first = asyncio.ensure_future(server.ModelInfer(raw_request(NAME, tensors(1))))
        await until(lambda: model.batcher("generator")._running)
        call = server.ModelInfer(raw_request(NAME, tensors(2)))
        await until(lambda: model.batcher("generator").queued_rows == 2)
        call.cancel()
        await until(lambda: model.batcher("generator").queued_rows == 0)
    await first


async def test_parameters_that_change_nothing_are_passed_over(server: Inference) -> None:
    request = raw_request(NAME, tensors(1), ["image"])
    request.parameters["priority"].uint64_param = 1
    request.parameters["temperature"].double_param = 0.5
    request.inputs[0].parameters["binary_data_size"].int64_param = 4
    request.outputs[0].parameters["binary_data"].bool_param = True
    np.testing.assert_array_equal(await images(server, request), await images(server, raw_request(NAME, tensors(1))))


async def test_the_size_of_what_free_dimensions_give_is_known_only_afterwards(tmp_path: Path) -> None:
    copy_bundle(tmp_path)
    async with running(tmp_path, max_message_mib=1, options=LocalOptions()) as server:
        given = {"question": np.full((60, 1), 5), "passage": np.full((60, 2000), 5)}
        error = await failure_of(server.ModelInfer(raw_request("copies.reader", given)))
        assert isinstance(error, MessageTooLargeError)
        assert "max_message_mib" in error.message
        narrow = await server.ModelInfer(raw_request("copies.reader", given, ["answerable"]))
        assert tensors_of(narrow)["answerable"].shape == (60,)
