"""The translation task on tiny real graphs, without RPC: what it answers, and what it refuses."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from muserve import __version__
from muserve.bundle import ManifestError
from muserve.errors import InvalidRequestError
from muserve.v1 import manifest_pb2, translation_pb2
from muserve_server.model import LocalModel, LocalOptions, WarmUpError
from tests.bundles import add_golden, edit_manifest
from tests.options import local_options
from tests.server.holding import held_until
from tests.server.pictorial import Pixels, chunk, exif, image_file, png_header, read_png, scene
from tests.server.waiting import until
from tests.translation_bundles import OVERLAP, TILE_SIZE, invert_bundle, scene_bundle

Request = translation_pb2.TranslateImageRequest


def request(pixels: Any, target: str = "map", **fields: Any) -> Request:
    return Request(image=image_file(pixels), target=target, **fields)


async def violations(model: LocalModel, wrong: Request) -> dict[str, str]:
    with pytest.raises(InvalidRequestError) as caught:
        await model.answer(wrong)
    return {violation.field: violation.description for violation in caught.value.violations}


def whole(model: LocalModel, pixels: Pixels, role: str = "a_to_b") -> Pixels:
    """What the graph makes of an image in one piece, whose sizes must be even."""
    session = ort.InferenceSession(model.bundle.folder / f"graphs/{role}.onnx")
    image = (pixels.astype(np.float32) / 127.5 - 1).transpose(2, 0, 1)[None]
    translated = session.run(None, {"image": image})[0][0].transpose(1, 2, 0)
    clipped: Pixels = np.clip((translated + 1) * 127.5 + 0.5, 0, 255).astype(np.uint8)
    return clipped


async def test_an_image_of_one_tile_is_one_row_and_what_the_graph_gives(scenes: LocalModel) -> None:
    pixels = scene(TILE_SIZE, TILE_SIZE)
    answer = await scenes.answer(request(pixels))
    found, facts = read_png(answer.png)
    np.testing.assert_allclose(found.astype(np.int16), whole(scenes, pixels), atol=1)
    assert facts == {
        "model": "scenes", "version": 1, "digest": scenes.bundle.digest, "source": "photo", "target": "map",
        "software": f"Muserve {__version__}",
    }  # fmt: skip
    assert (answer.width, answer.height, answer.source, answer.target) == (TILE_SIZE, TILE_SIZE, "photo", "map")
    assert (answer.info.model, answer.info.seed, answer.info.timings.batch_rows) == ("scenes", 0, 1)
    assert not answer.HasField("cycle")
    assert not answer.side_by_side_png


async def test_each_direction_has_its_graph(scenes: LocalModel, negatives: LocalModel) -> None:
    pixels = scene(TILE_SIZE, TILE_SIZE)
    back = await scenes.answer(request(pixels, "photo"))
    found = read_png(back.png)[0].astype(np.int16)
    np.testing.assert_allclose(found, whole(scenes, pixels, "b_to_a"), atol=1)  # two ways to round
    assert (back.source, back.target) == ("map", "photo")
    for target in ("", "negative"):
        np.testing.assert_array_equal(read_png((await negatives.answer(request(pixels, target))).png)[0], 255 - pixels)


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (1, 50), (70, 1), (33, 31), (53, 45), (45, 53), (2, 3), (99, 34), (128, 64)]
)
async def test_every_size_comes_back_as_it_is(
    height: int, width: int, scenes: LocalModel, negatives: LocalModel
) -> None:
    pixels = scene(height, width)
    assert read_png((await scenes.answer(request(pixels))).png)[0].shape == (height, width, 3)
    np.testing.assert_array_equal(read_png((await negatives.answer(request(pixels, ""))).png)[0], 255 - pixels)


@pytest.mark.parametrize(("tile", "overlap"), [(64, 16), (64, 24)])
async def test_tiles_give_what_the_whole_image_gives_without_seams(tmp_path: Path, tile: int, overlap: int) -> None:
    size, stride = 1024, tile - overlap
    pixels = scene(size, size)
    async with await LocalModel.open(scene_bundle(tmp_path, tile_size=tile, overlap=overlap)) as model:
        found = read_png((await model.answer(request(pixels))).png)[0].astype(np.float64)
        expected = whole(model, pixels).astype(np.float64)
    assert 10 * np.log10(255**2 / np.square(found - expected).mean()) >= 50
    for axis in (0, 1):
        steps = np.abs(np.diff(found, axis=axis)).mean(axis=(1 - axis, 2))
        starts = np.arange(stride, size - tile, stride)
        at_seams = np.zeros(size - 1, dtype=bool)
        at_seams[np.concatenate([starts - 1, starts + overlap - 1, starts + overlap // 2 - 1])] = True
        assert steps[at_seams].mean() <= 1.05 * steps[~at_seams].mean()


async def test_the_same_image_gives_the_same_bytes_in_any_company(scenes: LocalModel) -> None:
    requests = [request(scene(30 + 7 * seed, 40 + 11 * seed, seed), cycle=seed % 2 == 0) for seed in range(8)]
    alone = [await scenes.answer(one) for one in requests]
    with held_until(scenes, rows=2 * sum(answer.info.timings.batch_rows for answer in alone)):
        together = await asyncio.gather(*(scenes.answer(one) for one in requests * 2))
    assert [answer.png for answer in together] == [answer.png for answer in alone] * 2
    assert [answer.cycle for answer in together] == [answer.cycle for answer in alone] * 2
    assert max(answer.info.timings.batch_rows for answer in together) == 8


async def test_the_cycle_is_the_answer_translated_back(scenes: LocalModel) -> None:
    pixels = scene(40, 50)
    answer = await scenes.answer(request(pixels, cycle=True))
    there, _ = read_png(answer.png)
    back, facts = read_png(answer.cycle.png)
    np.testing.assert_array_equal(back, read_png((await scenes.answer(request(there, "photo"))).png)[0])
    error = np.abs(back.astype(float) - pixels).mean()
    assert answer.cycle.mean_absolute_error == pytest.approx(error, abs=1e-9)
    assert error > 0
    assert (facts["source"], facts["target"], facts["cycle"]) == ("photo", "map", True)


@pytest.mark.parametrize("cycle", [False, True])
async def test_side_by_side_from_left_to_right(scenes: LocalModel, cycle: bool) -> None:
    pixels = scene(20, 33)
    answer = await scenes.answer(request(pixels, side_by_side=True, cycle=cycle))
    sheet, facts = read_png(answer.side_by_side_png)
    parts = [pixels, *(read_png(png)[0] for png in (answer.png, answer.cycle.png) if png)]
    assert sheet.shape == (20, len(parts) * 41 - 8, 3)
    for index, part in enumerate(parts):
        np.testing.assert_array_equal(sheet[:, 41 * index : 41 * index + 33], part)
    assert facts["side_by_side"] == len(parts)


async def test_transparency_is_kept(scenes: LocalModel) -> None:
    pixels = scene(50, 20)
    alpha = np.zeros((50, 20), np.uint8)
    alpha[5:30] = np.arange(20) * 10
    answer = await scenes.answer(request(np.dstack([pixels, alpha]), cycle=True, side_by_side=True))
    opaque = await scenes.answer(request(pixels))
    found, back = read_png(answer.png)[0], read_png(answer.cycle.png)[0]
    np.testing.assert_array_equal(found[..., 3], alpha)
    np.testing.assert_array_equal(back[..., 3], alpha)
    np.testing.assert_array_equal(found[..., :3], read_png(opaque.png)[0])
    seen = alpha > 0
    error = np.abs(back[..., :3].astype(float) - pixels)[seen].mean()
    assert answer.cycle.mean_absolute_error == pytest.approx(error, abs=1e-9)
    assert read_png(answer.side_by_side_png)[0].shape == (50, 3 * 28 - 8, 4)


async def test_an_upright_image_has_upright_sizes(scenes: LocalModel) -> None:
    answer = await scenes.answer(Request(image=image_file(scene(10, 44), "JPEG", exif=exif(6)), target="map"))
    assert (answer.width, answer.height) == (10, 44)
    assert read_png(answer.png)[0].shape == (44, 10, 3)


async def test_few_tiles_of_a_call_are_in_flight(tmp_path: Path) -> None:
    runs: list[int] = []
    options = local_options(on_run=lambda _bundle, _graph, rows, _seconds: runs.append(rows), max_samples_per_call=5)
    async with await LocalModel.open(scene_bundle(tmp_path), options) as model:
        await model.answer(request(scene(TILE_SIZE + 3, 9 * TILE_SIZE)))
        assert (sum(runs), max(runs)) == (2 * 14, 5)


async def test_tiles_that_run_side_by_side_give_the_same_bytes(tmp_path: Path) -> None:
    folder = scene_bundle(tmp_path)
    asked = [request(scene(TILE_SIZE + 9, size * TILE_SIZE + 5)) for size in range(1, 5)]
    answers = []
    for runs_at_once in (1, 4):
        async with await LocalModel.open(folder, LocalOptions(runs_at_once=runs_at_once)) as model:
            answers.append([answer.png for answer in await asyncio.gather(*map(model.answer, asked))])
    assert answers[0] == answers[1]


async def test_calls_beyond_the_pixels_in_work_wait(tmp_path: Path) -> None:
    size = 520  # two of them, an image and its translation, are more than what need not wait
    folder, small, large = scene_bundle(tmp_path, tile_size=256), scene(64, 64), scene(size, size)
    async with await LocalModel.open(folder, local_options(max_pixels_in_work=2 * size * size)) as model:
        gate = model._handlers[Request].__self__._gate  # type: ignore[attr-defined]
        expected = (await model.answer(request(large))).png
        async with gate.hold(1):
            calls = [asyncio.create_task(model.answer(request(large))) for _ in range(5)]
            await until(lambda: gate.waiting == 5)
            await model.answer(request(small))  # one tile need not wait
            calls[2].cancel()
            await asyncio.wait([calls[2]])
            assert gate.waiting == 4
            assert not any(call.done() for call in calls if call is not calls[2])
        answers = await asyncio.gather(*calls, return_exceptions=True)
        assert isinstance(answers.pop(2), asyncio.CancelledError)
        assert [answer.png for answer in answers] == [expected] * 4  # type: ignore[union-attr]
        assert gate.pixels == 0


async def test_what_is_wrong_is_said_by_field(scenes: LocalModel, negatives: LocalModel) -> None:
    good = scene(4, 4)
    assert await violations(scenes, Request()) == {
        "image": "is empty; allowed: a whole PNG, JPEG or WebP file",
        "target": "is not set; valid: map, photo",
    }
    assert await violations(scenes, request(good, "mapp")) == {"target": "is 'mapp'; did you mean 'map'?"}
    assert (await violations(scenes, request(good, "x" * 1000)))["target"].startswith("is 'xxx")
    text = "negatives/1 translates in one direction only; leave it out"
    assert await violations(negatives, request(good, "positive", cycle=True)) == {
        "target": "is 'positive'; valid: negative", "cycle": text,
    }  # fmt: skip
    assert await violations(negatives, request(good, "", cycle=True)) == {"cycle": text}


@pytest.mark.parametrize(
    ("image", "text"),
    [
        (b"GIF89a", "is a GIF file; allowed: PNG, JPEG or WebP"),
        (image_file(scene(60, 60), "JPEG")[:-900], "is a JPEG file that cannot be decoded: "),
        (png_header(4097, 4096) + chunk(b"IEND", b""), "is 4097 × 4096, which counts as 16,781,312 pixels; allowed: "),
        (png_header(2**31 - 1, 1) + chunk(b"IEND", b""), "is 2147483647 × 1, which counts as 68,719,476,704 pixels; "),
    ],
)
async def test_what_is_no_image_is_said_to_be_none(scenes: LocalModel, image: bytes, text: str) -> None:
    found = await violations(scenes, Request(image=image, target="map"))
    assert found.keys() == {"image"}
    assert found["image"].startswith(text)
    assert len(found["image"].encode()) <= 256
    await scenes.answer(request(scene(3, 3)))


async def test_the_limit_of_pixels_holds_for_the_picture_side_by_side_too(tmp_path: Path) -> None:
    async with await LocalModel.open(scene_bundle(tmp_path), local_options(max_pixels_per_call=50 * 60)) as model:
        await model.answer(request(scene(50, 60)))
        assert (await violations(model, request(scene(51, 60))))["image"].startswith(
            "is 60 × 51, which counts as 3,060"
        )
        assert await violations(model, request(scene(50, 60), side_by_side=True)) == {
            "side_by_side": "makes a picture of 6,400 pixels of an image of 60 × 50; allowed: up to 3,000; leave it out"
        }
        turned = Request(image=image_file(scene(70, 20), "JPEG", exif=exif(6)), target="map", side_by_side=True)
        assert (await model.answer(turned)).side_by_side_png  # of 148 × 20; as stored, 48 × 70


async def test_a_graph_that_gives_no_numbers_is_not_answered(tmp_path: Path) -> None:
    folder = edit_manifest(invert_bundle(tmp_path), lambda manifest: setattr(manifest.translation, "white", 1e-38))
    async with await LocalModel.open(folder) as model:
        session = next(iter(model._batchers.values()))._engines[0]
        session.run = lambda inputs: {"y": inputs["x"] * np.nan}  # type: ignore[method-assign]
        with pytest.raises(ValueError, match=r"graph 'invert' of negatives/1 returned NaN or infinity"):
            await model.answer(request(scene(3, 3), ""))


async def test_a_golden_is_replayed_at_load(tmp_path: Path) -> None:
    folder = scene_bundle(tmp_path)
    await add_golden(folder, request(scene(40, 20), cycle=True))
    async with await LocalModel.open(folder) as model:
        assert len(model.bundle.manifest.goldens) == 1
    edit_manifest(folder, lambda manifest: setattr(manifest.translation, "white", 2))
    with pytest.raises(WarmUpError, match=r"0\.a_to_b\.in\.image differs"):
        await LocalModel.open(folder)


Edit = Callable[[manifest_pb2.ModelManifest], object]


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (lambda m: setattr(m.translation, "tile_size", 0), "tile_size is 0; allowed: 1 and more"),
        (lambda m: setattr(m.translation, "tile_size", 5000), "tile of more than max_pixels_per_call of this server"),
        (lambda m: setattr(m.translation, "overlap", TILE_SIZE // 2), "overlap is 16; it must be less than half of 32"),
        (lambda m: setattr(m.translation, "white", -1), "black is -1.0 and white is -1.0; they must differ"),
        (lambda m: setattr(m.translation, "white", float("inf")), "white is inf"),
        (lambda m: m.translation.ClearField("directions"), "directions are 0; allowed: one or two"),
        (lambda m: m.translation.directions.add(source="a", target="b", graph="a_to_b"), "directions are 3"),
        (lambda m: setattr(m.translation.directions[0], "target", ""), "is 'photo' to ''; the two must be different"),
        (lambda m: setattr(m.translation.directions[0], "target", "photo"), "is 'photo' to 'photo'"),
        (lambda m: setattr(m.translation.directions[1], "target", "sketch"), "must be the way back of the first"),
        (lambda m: m.translation.directions[1].CopyFrom(m.translation.directions[0]), "must be the way back of the"),
        (lambda m: setattr(m.translation.directions[1], "graph", "c"), "names the graph 'c', which is not a graph of"),
        (lambda m: setattr(m.translation, "image_input", "x"), "'a_to_b' must have one input, 'x', float32"),
        (lambda m: setattr(m.translation, "image_output", "y"), "'a_to_b' must have one output, 'y'"),
        (lambda m: m.ClearField("translation"), "tile_size is 0"),
    ],
)  # fmt: skip
async def test_a_manifest_that_contradicts_itself_is_refused(tmp_path: Path, edit: Edit, text: str) -> None:
    folder = edit_manifest(scene_bundle(tmp_path), edit)
    with pytest.raises(ManifestError) as caught:
        await LocalModel.open(folder)
    assert text in str(caught.value)
    assert str(caught.value).startswith("scenes/1: ")


async def test_a_graph_of_another_tile_size_is_refused(tmp_path: Path) -> None:
    folder = edit_manifest(invert_bundle(tmp_path), lambda manifest: setattr(manifest.translation, "tile_size", 17))
    with pytest.raises(ManifestError, match=r"float32 \[-1, 3, 17, 17\] or with dynamic sizes; it has \{'x': \[-1"):
        await LocalModel.open(folder)


async def test_mutated_files_are_answered_or_refused(scenes: LocalModel) -> None:
    originals = [image_file(scene(9, 40), kind) for kind in ("PNG", "JPEG", "WEBP")]

    @settings(max_examples=60, suppress_health_check=list(HealthCheck), database=None)
    @given(st.sampled_from(originals), st.lists(st.tuples(st.integers(0, 2**16), st.integers(0, 255)), max_size=8))
    def mutate(data: bytes, edits: list[tuple[int, int]]) -> None:
        changed = bytearray(data)
        for where, value in edits:
            changed[where % len(changed)] = value
        mutated.append(bytes(changed))

    mutated: list[bytes] = []
    mutate()
    answers = await asyncio.gather(
        *(scenes.answer(Request(image=data, target="map")) for data in mutated), return_exceptions=True
    )
    wrong = [answer for answer in answers if isinstance(answer, BaseException)]
    assert {type(error) for error in wrong} <= {InvalidRequestError}
    assert 0 < len(wrong) < len(answers)
    for answer in answers:
        if not isinstance(answer, BaseException):
            with Image.open(io.BytesIO(answer.png)) as image:
                assert image.size == (answer.width, answer.height)


def test_the_bundle_of_these_tests_has_an_even_stride() -> None:
    assert (TILE_SIZE - OVERLAP) % 2 == 0, "its network has a stride of 2"
