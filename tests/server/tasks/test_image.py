"""The image task on tiny real graphs, without RPC: what it refuses, and what it draws."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from PIL import Image

from muserve import __version__
from muserve.bundle import ManifestError, read_bundle, write_manifest
from muserve.errors import InvalidRequestError
from muserve.v1 import image_pb2, manifest_pb2
from muserve_server.model import LocalModel
from muserve_server.tasks import noise
from muserve_server.tasks.media.png import contact_sheet, encode_png, to_pixels
from tests.bundles import HEIGHT, LATENT_SIZE, WIDTH, image_bundle
from tests.options import local_options
from tests.server.tasks.opening import opened_bundle

Request = image_pb2.GenerateImagesRequest
LABELS = ("cat", "dog", "emu")


plain = opened_bundle(image_bundle)
labelled = opened_bundle(image_bundle, "animals", labels=LABELS)


def opened(png: bytes) -> tuple[np.ndarray[Any, Any], dict[str, Any]]:
    with Image.open(io.BytesIO(png)) as image:
        image.load()
        return np.asarray(image), json.loads(image.info["muserve"])


@pytest.mark.parametrize(
    ("request_", "field", "text"),
    [
        (Request(count=0), "count", "is 0; allowed: 1 up to 256"),
        (Request(count=257), "count", "is 257; allowed: 1 up to 256"),
        (Request(count=2**32 - 1), "count", "is 4294967295"),
        (Request(labels=["cow"]), "labels[0]", "is 'cow'; allowed: cat, dog, emu"),
        (Request(labels=["cat", "Dog"]), "labels[1]", "is 'Dog'"),
        (Request(labels=["cat", "dog"], count=3), "labels", "2 labels came with count 3"),
        (Request(labels=["cat", "dog"], count=1), "labels", "2 labels came with count 1"),
        (Request(labels=["cat"] * 257), "labels", "are 257; allowed: up to 256"),
        (Request(truncation=0), "truncation", "is 0; allowed: above 0 up to 1"),
        (Request(truncation=-0.5), "truncation", "is -0.5"),
        (Request(truncation=1.001), "truncation", "is 1.001"),
        (Request(truncation=float("nan")), "truncation", "is nan"),
        (Request(truncation=float("inf")), "truncation", "is inf"),
        (Request(layout=9), "layout", "is 9; allowed: IMAGE_LAYOUT_UNSPECIFIED"),  # type: ignore[arg-type]
        (Request(first_sample=2**53), "first_sample", "is 9007199254740992; allowed: first_sample + count"),
        (Request(first_sample=2**53 - 1, count=2), "first_sample", "with count 2"),
        (Request(first_sample=2**64 - 1), "first_sample", "is 18446744073709551615"),
    ],
)
async def test_a_wrong_field_is_named(labelled: LocalModel, request_: Request, field: str, text: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        await labelled.answer(request_)
    assert [violation.field for violation in caught.value.violations] == [field]
    assert text in caught.value.violations[0].description
    assert len((await labelled.answer(Request())).images) == 1


async def test_what_a_model_does_not_have_is_refused(tmp_path: Path, plain: LocalModel) -> None:
    with pytest.raises(InvalidRequestError, match="labels: model shapes/1 has no labels; leave them out"):
        await plain.answer(Request(labels=["cat"]))
    async with await LocalModel.open(without_truncation(tmp_path / "other")) as model:
        with pytest.raises(InvalidRequestError, match="truncation: model shapes/1 takes none; leave it out"):
            await model.answer(Request(truncation=1.0))
        assert len((await model.answer(Request(count=2))).images) == 2


async def test_all_wrong_fields_are_listed_up_to_20(labelled: LocalModel) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        await labelled.answer(Request(labels=["x"] * 100, truncation=2, layout=7))  # type: ignore[arg-type]
    assert [violation.field for violation in caught.value.violations] == [f"labels[{i}]" for i in range(20)]
    assert caught.value.message.endswith("and 82 more")
    with pytest.raises(InvalidRequestError) as caught:
        await labelled.answer(Request(count=0, truncation=2, layout=7))  # type: ignore[arg-type]
    assert [violation.field for violation in caught.value.violations] == ["count", "truncation", "layout"]


async def test_too_many_pixels_are_refused_before_they_are_drawn(tmp_path: Path) -> None:
    options = local_options(max_pixels_per_call=4 * HEIGHT * WIDTH + 1)
    async with await LocalModel.open(image_bundle(tmp_path), options) as model:
        assert len((await model.answer(Request(count=4))).images) == 4
        with pytest.raises(
            InvalidRequestError, match=f"count: is 5; allowed: up to 4 images of {HEIGHT * WIDTH} pixels"
        ):
            await model.answer(Request(count=5))


async def test_the_pixels_are_those_of_the_graph(labelled: LocalModel) -> None:
    response = await labelled.answer(Request(seed=9, first_sample=5, labels=["dog", "emu", "dog"], truncation=0.5))
    session = ort.InferenceSession(labelled.bundle.folder / "graphs/generator.onnx")
    (images,) = session.run(
        None,
        {
            "latent": noise.standard_normal(9, 5, 3, LATENT_SIZE),
            "label": np.array([1, 2, 1]),
            "truncation": np.full(3, 0.5, np.float32),
        },
    )
    wanted = np.rint((np.asarray(images) + 1) * 127.5)[:, 0]
    for index, image in enumerate(response.images):
        pixels, facts = opened(image.png)
        assert np.abs(pixels.astype(int) - wanted[index]).max() <= 1  # halves may round either way
        assert (image.width, image.height) == (WIDTH, HEIGHT) == pixels.shape[::-1]
        assert image.sample == 5 + index
        assert list(image.labels) == [["dog", "emu", "dog"][index]]
        assert facts == {
            "model": "animals", "version": 1, "digest": labelled.bundle.digest, "seed": 9, "sample": 5 + index,
            "truncation": 0.5, "label": ["dog", "emu", "dog"][index], "software": f"Muserve {__version__}",
        }  # fmt: skip
    info = response.info
    assert (info.model, info.version, info.digest, info.seed) == ("animals", 1, labelled.bundle.digest, 9)
    assert info.server_version == __version__
    assert info.timings.batch_rows == 3
    assert info.timings.compute.ToNanoseconds() > 0
    assert info.timings.encode.ToNanoseconds() > 0


async def test_a_sample_can_be_made_again_alone(labelled: LocalModel) -> None:
    """Drawn labels too; its place in the set is part of its facts."""
    whole = (await labelled.answer(Request(seed=2**64 - 1, count=20))).images
    for sample in (0, 7, 19):
        again = (await labelled.answer(Request(seed=2**64 - 1, first_sample=sample, count=1))).images
        assert again[0] == whole[sample]
    assert {label for image in whole for label in image.labels} == set(LABELS)


async def test_one_label_is_for_all_and_labels_set_the_count(labelled: LocalModel) -> None:
    one = await labelled.answer(Request(labels=["emu"], count=3))
    assert [list(image.labels) for image in one.images] == [["emu"]] * 3
    two = await labelled.answer(Request(labels=["emu", "cat"]))
    assert [list(image.labels) for image in two.images] == [["emu"], ["cat"]]


async def test_without_a_seed_one_is_drawn_and_returned(plain: LocalModel) -> None:
    first, second = [await plain.answer(Request()) for _ in range(2)]
    assert first.info.seed != second.info.seed
    assert max(first.info.seed, second.info.seed) < 2**53
    assert (await plain.answer(Request(seed=first.info.seed))).images == first.images
    assert (await plain.answer(Request(seed=0))).info.seed == 0  # 0 is a seed like any other


async def test_a_contact_sheet_holds_the_same_images(labelled: LocalModel) -> None:
    request = Request(seed=4, count=5, first_sample=2)
    separate = (await labelled.answer(request)).images
    request.layout = image_pb2.IMAGE_LAYOUT_CONTACT_SHEET
    (sheet,) = (await labelled.answer(request)).images
    pixels, facts = opened(sheet.png)
    assert pixels.shape == (sheet.height, sheet.width) == (2 * HEIGHT + 2, 3 * WIDTH + 4)
    for index, image in enumerate(separate):
        top, left = index // 3 * (HEIGHT + 2), index % 3 * (WIDTH + 2)
        assert np.array_equal(pixels[top : top + HEIGHT, left : left + WIDTH], opened(image.png)[0])
    assert not pixels[HEIGHT : HEIGHT + 2].any()
    assert sheet.sample == 2
    labels = [image.labels[0] for image in separate]
    assert list(sheet.labels) == labels == facts["labels"]
    assert (facts["count"], facts["sample"]) == (5, 2)


def test_rgb_goes_through() -> None:
    images = np.random.default_rng(0).uniform(-0.1, 1.1, (3, 3, 4, 5)).astype(np.float32)
    pixels = to_pixels(images, 0, 1)
    assert pixels.shape == (3, 4, 5, 3)
    assert (pixels.min(), pixels.max()) == (0, 255)
    found, _ = opened(encode_png(pixels[0], {}))
    assert np.array_equal(found, pixels[0])
    assert contact_sheet(pixels).shape == (2 * 4 + 2, 2 * 5 + 2, 3)
    assert to_pixels(images, 1, 0).mean() == pytest.approx(255 - pixels.mean(), abs=1)  # white may be the lesser value


async def test_a_graph_that_gives_no_numbers_is_an_error(tmp_path: Path) -> None:
    folder = image_bundle(tmp_path)
    change(folder, lambda manifest: None, graph=_poison)
    async with await LocalModel.open(folder) as model:
        with pytest.raises(ValueError, match="NaN or infinity"):
            await model.answer(Request())


Change = Callable[[manifest_pb2.ModelManifest], object]


def change(folder: Path, edit: Change, *, graph: Callable[[Any], None] | None = None) -> Path:
    """Edits the manifest, and the graph, of a bundle as an exporter could have written them."""
    import onnx

    if graph:
        path = folder / "graphs/generator.onnx"
        model = onnx.load(path)
        graph(model)
        onnx.save(model, path)
    manifest = read_bundle(folder).manifest
    edit(manifest)
    write_manifest(folder, manifest, optional=frozenset())
    return folder


def _poison(model: Any) -> None:
    for node in model.graph.node:
        if node.op_type == "Tanh":
            node.op_type = "Log"  # of negative numbers too


def without_truncation(root: Path) -> Path:
    def edit(manifest: manifest_pb2.ModelManifest) -> None:
        manifest.image.truncation_input = ""
        del manifest.graphs[0].inputs[1]

    def graph(model: Any) -> None:
        import onnx

        del model.graph.input[1]
        model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones(1, np.float32), "truncation"))

    return change(image_bundle(root), edit, graph=graph)


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (lambda m: setattr(m.image, "graph", "other"), "image.graph is 'other'"),
        (lambda m: m.ClearField("image"), "image.graph is ''"),
        (lambda m: setattr(m.image, "latent_size", 17), "need the inputs"),
        (lambda m: setattr(m.image, "latent_input", "z"), "need the inputs"),
        (lambda m: setattr(m.image, "truncation_input", ""), "need the inputs"),
        (lambda m: setattr(m.image, "image_output", "x"), "must have the shape"),
        (lambda m: setattr(m.image, "channels", 2), "must have the shape"),
        (lambda m: setattr(m.image, "height", 2**31), "must have the shape"),
        (lambda m: m.image.labels.append("cat"), "labels must be unique"),
        (lambda m: m.image.ClearField("labels"), "labels must be unique, and come together with label_input"),
        (lambda m: setattr(m.image, "black", float("nan")), "must differ"),
        (lambda m: setattr(m.image, "white", float("inf")), "must differ"),
        (lambda m: setattr(m.image, "white", -1), "must differ"),
        (lambda m: setattr(m.graphs[0].outputs[0], "dtype", manifest_pb2.DATA_TYPE_UINT8), "as float32"),
    ],
)
async def test_a_manifest_that_contradicts_itself_is_refused(tmp_path: Path, edit: Change, text: str) -> None:
    folder = change(image_bundle(tmp_path, labels=LABELS), edit)
    with pytest.raises(ManifestError, match=text):
        await LocalModel.open(folder)


async def test_shapes_beyond_the_limits_are_refused(tmp_path: Path) -> None:
    folder = image_bundle(tmp_path)
    with pytest.raises(ManifestError, match="max_pixels_per_call of this server is 10"):
        await LocalModel.open(folder, local_options(max_pixels_per_call=10))

    def edit(manifest: manifest_pb2.ModelManifest) -> None:
        manifest.image.latent_size = manifest.graphs[0].inputs[0].shape[1] = 2**17

    with pytest.raises(ManifestError, match="latent_size is 131072; allowed: 1 up to 65536"):
        await LocalModel.open(change(folder, edit))
