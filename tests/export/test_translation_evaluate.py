"""The translation family's figures: on known values, and through the code that serves."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from skimage.color import rgb2lab
from torch import nn

from muserve.bundle import read_bundle
from muserve_export.errors import DataError
from muserve_export.families import installed_families
from muserve_export.families.translation import evaluate
from muserve_export.families.translation.classes import MapClasses
from muserve_export.families.translation.config import TranslationConfig
from muserve_export.families.translation.data import load_data, read_image
from muserve_export.families.translation.metrics import (
    ColourTransfer,
    absolute_error,
    class_scores,
    confusion,
    seam_ratio,
    sharpness,
    similarity,
)
from muserve_export.measuring import bootstrap
from muserve_export.measuring.evaluate import evaluate_bundle
from tests.export.conftest import Command
from tests.export.translation_images import SKY, SUMMER, WINTER, write_seasons

RANDOM = np.random.default_rng(0)
TRANSLATION = installed_families()["translation"]
NOISE = RANDOM.integers(0, 256, (40, 50, 3), np.uint8)


def test_similarity_of_known_pictures() -> None:
    assert similarity(NOISE, NOISE) == pytest.approx(1.0)
    # Of plain pictures only the means are left: (2ab + c) / (a² + b² + c) with c = (0.01 × 255)².
    plain = [np.full((20, 20, 3), value, np.uint8) for value in (100, 150)]
    assert similarity(*plain) == pytest.approx((2 * 100 * 150 + 6.5025) / (100**2 + 150**2 + 6.5025))
    assert similarity(NOISE, 255 - NOISE) < -0.5


def test_similarity_is_that_of_its_definition() -> None:
    """One window, written out."""
    first, second = (RANDOM.integers(0, 256, (11, 11, 3), np.uint8) for _ in range(2))
    weights = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    window = np.outer(weights, weights) / weights.sum() ** 2
    expected = []
    for channel in range(3):
        x, y = first[..., channel].astype(float), second[..., channel].astype(float)
        mean_x, mean_y = (window * x).sum(), (window * y).sum()
        var_x, var_y = (window * (x - mean_x) ** 2).sum(), (window * (y - mean_y) ** 2).sum()
        both = (window * (x - mean_x) * (y - mean_y)).sum()
        c1, c2 = 2.55**2, 7.65**2
        expected.append(
            (2 * mean_x * mean_y + c1) * (2 * both + c2) / ((mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2))
        )
    assert similarity(first, second) == pytest.approx(np.mean(expected))


def test_differences_of_known_pictures() -> None:
    black, grey = np.zeros((8, 8, 3), np.uint8), np.full((8, 8, 3), 51, np.uint8)
    assert absolute_error(black, grey) == absolute_error(grey, black) == 51
    ramp = np.tile((np.arange(8) * 10).astype(np.uint8)[None, :, None], (8, 1, 3))
    assert sharpness(ramp) == 5  # 10 across, 0 down


def test_a_seam_is_seen() -> None:
    smooth = np.tile((np.arange(40) * 2).astype(np.uint8)[:, None, None], (1, 40, 3))
    smooth = (smooth + smooth.swapaxes(0, 1)).astype(np.uint8)
    assert seam_ratio(smooth, [10, 20]) == pytest.approx(1.0)
    torn = smooth.copy()
    torn[20:] += 6
    assert seam_ratio(torn, [10, 20]) == pytest.approx((2 + 8 + 2 + 2) / 4 / 2)


def test_class_scores_of_a_known_confusion() -> None:
    true = np.array([0, 0, 0, 0, 1, 1])
    found = np.array([0, 0, 0, 1, 1, 2])
    counts = confusion(found, true, 4)
    assert counts.tolist() == [[3, 1, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0], [0, 0, 0, 0]]
    accuracy, per_class, union = class_scores(counts)
    assert accuracy == pytest.approx(4 / 6)
    assert per_class == pytest.approx((3 / 4 + 1 / 2) / 2)
    assert union == pytest.approx((3 / 4 + 1 / 3) / 2)
    assert class_scores(confusion(true, true, 4)) == (1, 1, 1)


def test_the_interval_of_a_mean() -> None:
    values = np.random.default_rng(1).normal(10, 2, 400)
    low, high = bootstrap(400, lambda chosen: float(values[chosen].mean()))
    assert low < values.mean() < high
    assert high - low == pytest.approx(2 * 1.96 * 2 / np.sqrt(400), rel=0.15)


def test_colours_are_moved_to_the_other_domains_mean_and_spread() -> None:
    assert np.abs(ColourTransfer.find([NOISE], [NOISE])(NOISE).astype(int) - NOISE).max() <= 1
    parts = ColourTransfer.find([NOISE[:10], NOISE[10:]], [NOISE])  # one image or its parts
    assert np.abs(parts(NOISE).astype(int) - NOISE).max() <= 1
    dark = (60 + 20 * RANDOM.standard_normal((40, 40, 3))).clip(0, 255).astype(np.uint8)
    light = (150 + 10 * RANDOM.standard_normal((40, 40, 3))).clip(0, 255).astype(np.uint8)
    moved = ColourTransfer.find([dark], [light])(dark)
    assert rgb2lab(moved).mean((0, 1)) == pytest.approx(rgb2lab(light).mean((0, 1)), abs=1)
    assert rgb2lab(moved).std((0, 1)) == pytest.approx(rgb2lab(light).std((0, 1)), abs=1)


@pytest.fixture(scope="module")
def seasons(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_seasons(tmp_path_factory.mktemp("seasons"), training=3)


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, seasons: Path, export_command: Command) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    export_command(
        "train", "translation", "--recipe", "tiny", "--data", seasons, "--out", folder / "run", "--epochs", 1,
        "--source-domain", "summer", "--target-domain", "winter",
    )  # fmt: skip
    export_command("export", folder / "run", "--out", folder / "models")
    return folder / "models" / "translation" / "1"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compares tiles with whole pictures at 160 pixels, so that it takes a moment."""
    monkeypatch.setattr(evaluate, "LARGE", 160)


def test_one_command_prints_the_table_of_both_directions(
    bundle: Path, seasons: Path, export_command: Command, tmp_path: Path, small: None
) -> None:
    details = tmp_path / "places.csv"
    table = export_command("evaluate", bundle, "--data", seasons, "--details", details).stdout
    for target in ("winter", "summer"):
        for figure in ("ssim to", "l1 to", "sharpness to", "cycle l1 by", "tiled against whole to", "seam gradient to"):
            assert f"| {figure} {target} |" in table
    assert "(the image itself)" in table
    assert "(colour transfer)" in table
    assert "mean iou" not in table  # these data have no classes
    rows = list(csv.DictReader(details.read_text(encoding="utf-8").splitlines()))
    assert len(rows) == 2 * 3 * 3  # directions, places, methods
    assert {row["method"] for row in rows} == {"bundle", "the image itself", "colour transfer"}


def test_figures_are_those_of_the_served_pictures(
    bundle: Path, seasons: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = {metric.name: metric for metric in evaluate_bundle(TRANSLATION, bundle, data=str(seasons))}
    assert found["tiled_against_whole_to_winter"].value > 35
    assert found["seam_gradient_to_winter"].value == pytest.approx(found["seam_gradient_to_winter"].reference, rel=0.05)
    ssim = found["ssim_to_winter"]
    beside = {other.name: other.value for other in ssim.others}
    assert beside["95 % from"] <= ssim.value <= beside["to"]

    async def perfect(model: object, pixels: np.ndarray, target: str, *, cycle: bool = False) -> tuple[object, object]:
        return answers.get(pixels.tobytes(), pixels), pixels

    data = load_data(TranslationConfig(data=str(seasons)))
    pairs = [[read_image(data.path("test", side, name)) for side in "AB"] for name in data.pairs("test")]
    answers = {one.tobytes(): other for first, second in pairs for one, other in ((first, second), (second, first))}
    monkeypatch.setattr(evaluate, "translate", perfect)
    found = {metric.name: metric for metric in evaluate_bundle(TRANSLATION, bundle, data=str(seasons))}
    for target in ("winter", "summer"):
        assert found[f"ssim_to_{target}"].value == pytest.approx(1)
        assert found[f"l1_to_{target}"].value == found[f"cycle_l1_by_{target}"].value == 0
        assert found[f"sharpness_to_{target}"].value == pytest.approx(1)
        assert found[f"ssim_to_{target}"].reference < 1


def test_classes_are_scored_on_the_side_of_the_map(bundle: Path, seasons: Path, tmp_path: Path, small: None) -> None:
    data = tmp_path / "data"
    shutil.copytree(seasons, data)
    MapClasses("B", {"sky": (SKY,), "snow": (WINTER,), "grass": (SUMMER,)}).write(data)
    found = {metric.name: metric for metric in evaluate_bundle(TRANSLATION, bundle, data=str(data))}
    names = [name for name in found if name.startswith(("pixel_accuracy", "class_accuracy", "mean_iou"))]
    assert names == ["pixel_accuracy_to_winter", "class_accuracy_to_winter", "mean_iou_to_winter"]
    for name in names:
        assert 0 <= found[name].value < 0.9
        assert [other.name for other in found[name].others] == ["colour transfer", "95 % from", "to"]


def test_without_pairs_nothing_is_measured(bundle: Path, seasons: Path, tmp_path: Path) -> None:
    shutil.copytree(seasons, tmp_path / "data")
    for path in (tmp_path / "data" / "testB").iterdir():
        path.rename(path.with_name(f"b{path.name}"))
    with pytest.raises(DataError, match="has 0 pairs in testA and testB; at least 2 are needed"):
        evaluate_bundle(TRANSLATION, bundle, data=str(tmp_path / "data"))
    with pytest.raises(DataError, match="has 0 pairs in validationA and validationB"):
        evaluate_bundle(TRANSLATION, bundle, data=str(seasons), part="validation")
    with pytest.raises(DataError, match="was not trained on the bundled data; name its data"):
        evaluate_bundle(TRANSLATION, bundle)


def test_a_bundle_without_torchscript_is_measured_but_for_its_tiles(
    bundle: Path, seasons: Path, tmp_path: Path
) -> None:
    copy = tmp_path / "translation" / "1"
    shutil.copytree(bundle, copy)
    for path in (copy / "graphs").glob("*.ts"):
        path.unlink()
    names = [metric.name for metric in evaluate_bundle(TRANSLATION, copy, data=str(seasons))]
    assert "ssim_to_winter" in names
    assert not any(name.startswith("tiled") for name in names)
    assert len(read_bundle(copy).manifest.graphs) == 2


def test_a_network_that_needs_the_whole_is_found_out(
    bundle: Path, seasons: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Normed(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return torch.tanh(nn.functional.instance_norm(image))

    monkeypatch.setattr(evaluate, "load_torchscript", lambda path: Normed())
    found = {metric.name: metric.value for metric in evaluate_bundle(TRANSLATION, bundle, data=str(seasons))}
    assert found["tiled_against_whole_to_winter"] < 35
