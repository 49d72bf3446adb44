"""The translation family: from a user's two folders to a served PNG; steps, resume, recipes."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from PIL import Image
from torch import Tensor

from muserve.bundle import read_bundle
from muserve.configuration import ConfigurationError, build, read_toml
from muserve.v1 import translation_pb2
from muserve_export.families import recipe_names, recipe_path
from muserve_export.families.translation import train as training
from muserve_export.families.translation.config import TranslationConfig
from muserve_export.families.translation.model import (
    LightGenerator,
    ResnetGenerator,
    make_discriminator,
    make_generator,
)
from muserve_export.families.translation.train import CycleLearner, ImagePool, PairedLearner, choose_learner
from muserve_export.training.run import RunFolder, read_checkpoint
from muserve_server.model import LocalModel
from tests.export.comparing import assert_same
from tests.export.conftest import Command
from tests.export.translation_images import write_seasons

TRAIN = ("train", "translation", "--recipe", "tiny", "--source-domain", "summer", "--target-domain", "winter")


@pytest.fixture(scope="module")
def seasons(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 images, 14 to learn from."""
    return write_seasons(tmp_path_factory.mktemp("seasons"))


@pytest.fixture(scope="module")
def seasons_run(tmp_path_factory: pytest.TempPathFactory, seasons: Path, export_command: Command) -> Path:
    run = tmp_path_factory.mktemp("runs") / "seasons"
    export_command(*TRAIN, "--data", seasons, "--out", run, "--epochs", 4)
    return run


@pytest.fixture(scope="module")
def seasons_bundle(tmp_path_factory: pytest.TempPathFactory, seasons_run: Path, export_command: Command) -> Path:
    models = tmp_path_factory.mktemp("models")
    export_command("export", seasons_run, "--out", models, "--name", "seasons")
    return models / "seasons" / "1"


async def test_two_folders_become_served_pngs(seasons: Path, seasons_bundle: Path) -> None:
    path = seasons / "testA" / "01.jpg"
    with Image.open(path) as image:
        size = image.size
    async with await LocalModel.open(seasons_bundle) as model:
        request = translation_pb2.TranslateImageRequest(image=path.read_bytes(), target="winter", cycle=True)
        response = await model.answer(request)
        back = await model.answer(translation_pb2.TranslateImageRequest(image=response.png, target="summer"))
    assert (response.source, response.target, back.target) == ("summer", "winter", "summer")
    for png in (response.png, response.cycle.png, back.png):
        with Image.open(io.BytesIO(png)) as translated:
            assert (translated.format, translated.mode, translated.size) == ("PNG", "RGB", size)
    assert response.png != back.png


def test_a_bundle_says_what_it_needs_to_and_was_proven(seasons_bundle: Path) -> None:
    manifest = read_bundle(seasons_bundle).manifest
    settings = manifest.translation
    assert [(one.source, one.target, one.graph) for one in settings.directions] == [
        ("summer", "winter", "a_to_b"),
        ("winter", "summer", "b_to_a"),
    ]
    assert (settings.tile_size, settings.overlap, settings.black, settings.white) == (64, 16, -1.0, 1.0)
    assert [graph.role for graph in manifest.graphs] == ["a_to_b", "b_to_a"]
    for graph in manifest.graphs:
        assert list(graph.inputs[0].shape) == list(graph.outputs[0].shape) == [-1, 3, 64, 64]
        assert 0 < graph.parity.onnx_max_abs_diff <= graph.parity.tolerance == 1e-4
    assert [golden.name for golden in manifest.goldens] == ["there-and-back"]
    assert manifest.licence == "LicenseRef-owner"
    assert manifest.training_data[0].split == "7 in trainA, 7 in trainB, 3 in testA, 3 in testB"
    card = (seasons_bundle / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "![to-winter.png](samples/to-winter.png)" in card
    with Image.open(seasons_bundle / "samples" / "to-winter.png") as sheet:
        assert sheet.size == (3 * (4 * 130 + 6) - 8, 128)  # 3 places of 4 pictures in one row


def test_the_directions_are_not_mixed_up(seasons_run: Path, seasons_bundle: Path) -> None:
    checkpoint = read_checkpoint(seasons_run)
    config = build(TranslationConfig, RunFolder(seasons_run).values())
    image = torch.rand(1, 3, 64, 64) * 2 - 1
    for role in ("a_to_b", "b_to_a"):
        generator = make_generator(config)
        generator.load_state_dict(checkpoint[f"{role}_average"])
        script = training_script(seasons_bundle / "graphs" / f"{role}.ts")
        with torch.no_grad():
            assert torch.allclose(script(image), generator(image), atol=1e-5)


def training_script(path: Path) -> Any:
    from muserve_export.bundling.graphs import load_torchscript

    return load_torchscript(path)


def test_a_run_leaves_sheets_of_both_ways_there_and_back(seasons_run: Path) -> None:
    with Image.open(seasons_run / "samples" / "epoch-0004.png") as sheet:
        assert sheet.size == (7 * 32, 6 * 32)


def test_an_interrupted_run_resumes_exactly(
    tmp_path: Path, seasons: Path, seasons_run: Path, export_command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole_step = CycleLearner.step

    def step(self: CycleLearner, batch: tuple[Tensor, ...], step: int, steps: int) -> Mapping[str, Tensor]:
        if step == 10:  # in the third of four epochs of four steps; the pools are full, and the rates fall
            raise KeyboardInterrupt
        return whole_step(self, batch, step, steps)

    with monkeypatch.context() as patch:
        patch.setattr(training.CycleLearner, "step", step)
        arguments = (*TRAIN, "--data", seasons, "--out", tmp_path / "run", "--epochs", 4)
        assert "--resume" in export_command(*arguments, check=False).stderr
    assert read_checkpoint(tmp_path / "run")["step"] == 8
    export_command("train", "translation", "--resume", "--out", tmp_path / "run")
    one, other = read_checkpoint(tmp_path / "run"), read_checkpoint(seasons_run)
    assert len(one["a_to_b_pool"]["images"]) == 4
    assert one.keys() == other.keys()
    for name in one.keys() - {"seconds"}:
        assert_same(one[name], other[name])


@pytest.mark.parametrize("recipe", recipe_names("translation"))
def test_every_recipe_takes_a_real_step(recipe: str) -> None:
    values = read_toml(recipe_path("translation", recipe))
    # On a part of the image: the paper's networks take 57 billion multiplications for a whole one.
    config = build(TranslationConfig, values, {"device": "cpu", "crop_size": min(64, values["crop_size"])})
    fabric = Fabric(accelerator="cpu", devices=1, precision=config.precision)  # type: ignore[arg-type]
    learner = choose_learner(fabric, config)
    before = {
        f"{name}.{key}": value.clone()
        for name, module in learner.modules().items()
        for key, value in module.named_parameters()
    }
    shape = (config.batch_size, 3, config.crop_size, config.crop_size)
    losses = learner.step((torch.rand(shape) * 2 - 1, torch.rand(shape) * 2 - 1), 1, 100)
    assert all(np.isfinite(loss.item()) for loss in losses.values())
    published = config.architecture == "resnet"
    for name, module in learner.modules().items():
        for key, value in module.named_parameters():
            # A bias before an instance norm changes nothing, so it learns nothing but rounding errors.
            if not (key.endswith("bias") and (published or "discriminator" in name)):
                assert not torch.equal(before[f"{name}.{key}"], value), f"{name}.{key} did not learn"


def test_the_paper_is_the_published_set_up() -> None:
    config = build(TranslationConfig, read_toml(recipe_path("translation", "paper")))
    generator, discriminator = make_generator(config), make_discriminator(config)
    assert isinstance(generator, ResnetGenerator)
    assert sum(weight.numel() for weight in generator.parameters()) == 11_378_179  # as the authors' code prints it
    assert sum(weight.numel() for weight in discriminator.parameters()) == 2_764_737
    assert discriminator(torch.zeros(1, 3, 256, 256)).shape == (1, 1, 30, 30)
    weights = torch.cat([part.flatten() for name, part in generator.named_parameters() if name.endswith("weight")])
    assert weights.std().item() == pytest.approx(0.02, rel=0.01)
    assert (config.learning_rate, config.discriminator_learning_rate, config.beta1) == (2e-4, 2e-4, 0.5)
    assert (config.cycle_weight, config.identity_weight, config.identity_share, config.pool_size) == (10, 0.5, 1, 50)
    assert (config.load_size, config.crop_size, config.flip, config.batch_size) == (286, 256, True, 1)
    assert (config.epochs, config.decay_from, config.ema_decay) == (200, 0.5, 0)


def test_the_baseline_has_the_bundled_generators() -> None:
    bundled, paired = (
        build(TranslationConfig, read_toml(recipe_path("translation", name))) for name in ("bundled", "paired")
    )
    shapes = [[tuple(one.shape) for one in make_generator(config).parameters()] for config in (bundled, paired)]
    assert shapes[0] == shapes[1]
    assert (bundled.source_domain, bundled.target_domain, bundled.flip) == ("satellite", "map", False)
    # Two of them, in ONNX and beside it, in a bundle of less than 12 MB.
    assert sum(weight.numel() for weight in make_generator(bundled).parameters()) < 1_400_000


def test_a_pixel_depends_on_those_around_it_alone() -> None:
    torch.manual_seed(0)
    generator = LightGenerator(channels=4, blocks=3).eval()
    with torch.no_grad():
        for block in generator.body:
            block.get_parameter("scale").fill_(1.0)
    radius = generator.radius
    assert radius == 1 + 3 + 4 + 8 + 4 + 3 + 3 + 1
    size, middle = 4 * radius, 2 * radius
    reached = torch.zeros(size, size)
    for row in range(middle, middle + 4):  # the four phases of two halvings
        image = torch.rand(1, 3, size, size, requires_grad=True)
        generator(image)[0, :, row, row].sum().backward()
        assert image.grad is not None
        touched = image.grad[0].abs().amax(0) > 0
        rows = touched.any(1).nonzero().flatten()
        assert row - radius <= rows.min() <= rows.max() <= row + radius
        reached[touched] = 1
    assert reached.any(1).sum() > radius  # and they do look around


def test_a_tile_gives_what_the_whole_gives_inside_its_border() -> None:
    torch.manual_seed(0)
    generator = LightGenerator(channels=4, blocks=2).eval()
    image, radius = torch.rand(1, 3, 160, 160), generator.radius
    with torch.no_grad():
        whole, tile = generator(image), generator(image[..., 32:128, 16:112])
    inside = slice(radius, 96 - radius)
    assert torch.allclose(tile[..., inside, inside], whole[..., 32:128, 16:112][..., inside, inside], atol=1e-5)


def test_the_published_norm_sees_the_whole_tile() -> None:
    """Why the bundled generator has another one."""
    torch.manual_seed(0)
    generator = ResnetGenerator(channels=4, blocks=0).eval()
    image = torch.rand(1, 3, 160, 160)
    image[..., 128:] = -1
    with torch.no_grad():
        whole, tile = generator(image), generator(image[..., :96, :96])
    assert not torch.allclose(tile[..., 40:56, 40:56], whole[..., 40:56, 40:56], atol=1e-3)


def test_a_pool_gives_new_images_until_it_is_full_and_then_old_ones_too() -> None:
    torch.manual_seed(0)
    pool = ImagePool(4)
    images = torch.arange(200.0).view(100, 2, 1, 1, 1)
    given = torch.cat([pool.exchange(batch) for batch in images]).flatten()
    assert torch.equal(given[:4], images.flatten()[:4])
    old = (given[4:] != images.flatten()[4:]).float().mean().item()
    assert 0.35 < old < 0.65
    again = ImagePool(4)
    again.load_state_dict(pool.state_dict())
    assert torch.equal(again.state_dict()["images"], pool.state_dict()["images"])
    none = ImagePool(0)
    assert torch.equal(none.exchange(images[0]), images[0])
    assert none.state_dict() == {}


def learner(**values: Any) -> CycleLearner:
    tiny = read_toml(recipe_path("translation", "tiny"))
    made = choose_learner(Fabric(accelerator="cpu", devices=1), build(TranslationConfig, tiny, values))
    assert isinstance(made, CycleLearner)
    return made


def rates(of: CycleLearner | PairedLearner) -> set[float]:
    return {group["lr"] for name, one in of.optimizers().items() if "pool" not in name for group in one.param_groups}


def test_learning_rates_stay_and_then_fall_to_nothing() -> None:
    subject = learner(learning_rate=1.0, discriminator_learning_rate=1.0)
    found = {}
    for step in (1, 50, 51, 76, 100):
        subject._set_learning_rates(step, 100)
        found[step] = next(iter(rates(subject)))
    assert found == pytest.approx({1: 1.0, 50: 1.0, 51: 1.0, 76: 0.5, 100: 0.02})


def test_identity_counts_at_the_beginning_alone() -> None:
    subject = learner(identity_share=0.5)
    batch = (torch.rand(2, 3, 32, 32), torch.rand(2, 3, 32, 32))
    found = [subject.step(batch, step, 4)["identity_loss"].item() > 0 for step in (1, 2, 3, 4)]
    assert found == [True, True, False, False]


def test_the_paired_baseline_learns_pairs() -> None:
    tiny = read_toml(recipe_path("translation", "tiny"))
    config = build(TranslationConfig, tiny, {"architecture": "paired", "learning_rate": 0.01, "decay_from": 1.0})
    subject = choose_learner(Fabric(accelerator="cpu", devices=1), config)
    first = torch.rand(4, 3, 32, 32) * 2 - 1
    losses = [subject.step((first, -first), step, 60)["a_to_b_loss"].item() for step in range(1, 61)]
    assert losses[-1] < 0.7 * losses[0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"crop_size": 30}, "crop_size is 30; generators halve an image twice, so it must be a multiple of 4"),
        ({"tile_size": 62, "overlap": 8}, "tile_size is 62"),
        ({"tile_size": 64, "overlap": 32}, "overlap is 32; it must be less than half of tile_size, 64"),
        ({"load_size": 64, "crop_size": 128}, "load_size is 64; it must be 0 or at least crop_size, 128"),
        ({"source_domain": "map", "target_domain": "map"}, "they must be two different names"),
        ({"source_domain": ""}, "they must be two different names"),
    ],
)
def test_values_of_no_use_are_explained(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        build(TranslationConfig, values)
