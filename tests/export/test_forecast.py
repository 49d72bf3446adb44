"""The forecast family: its readers, windows that see no future, the published set-up, every recipe, the figures."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from lightning_fabric import Fabric

from muserve.bundle import read_bundle
from muserve.configuration import ConfigurationError, build, read_toml
from muserve.v1 import manifest_pb2
from muserve_export.errors import DataError
from muserve_export.families import installed_families, recipe_names, recipe_path
from muserve_export.families.forecast.config import FREQUENCY_NAMES, ForecastConfig
from muserve_export.families.forecast.data import ForecastData, Series, load_data
from muserve_export.families.forecast.evaluate import (
    Answer,
    _by_series,
    _coverage,
    _quantile_loss,
    _smape,
)
from muserve_export.families.forecast.frequencies import FREQUENCIES, Frequency, frequency_named
from muserve_export.families.forecast.model import MIDDLE, GlobalForecaster
from muserve_export.families.forecast.synthetic import make_series
from muserve_export.families.forecast.windows import global_windows
from muserve_export.families.forecast_tutorial.model import NextValueForecaster
from muserve_export.families.forecast_tutorial.windows import next_value_windows
from muserve_export.measuring.evaluate import evaluate_bundle

from .conftest import Command

MONTHS = 60


@pytest.fixture(scope="session")
def sales(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's own data: four monthly series in the long form."""
    random = np.random.default_rng(0)
    times = pd.date_range("2019-01-31", periods=MONTHS, freq="ME")
    parts = []
    for index in range(4):
        season = 10 * np.sin(np.arange(MONTHS) * np.pi / 6 + index)
        values = 100 + index * 10 + np.arange(MONTHS) + season + random.normal(0, 2, MONTHS)
        parts.append(pd.DataFrame({"unique_id": f"shop {index}", "ds": times, "y": values.round(2)}))
    path = tmp_path_factory.mktemp("sales") / "sales.csv"
    pd.concat(parts).to_csv(path, index=False)
    return path


def test_m3_and_m1_have_their_official_parts() -> None:
    data = load_data(ForecastConfig())
    scored = [series for series in data.series if series.is_scored]
    assert (len(data.series), len(scored)) == (4004, 3003)
    counts = {frequency.name: sum(one.frequency is frequency for one in scored) for frequency in FREQUENCIES}
    assert {name: count for name, count in counts.items() if count} == {
        "yearly": 645, "quarterly": 756, "monthly": 1428, "other": 174,
    }  # fmt: skip
    first = scored[0]
    assert first.name == "M3-N0001"
    assert first.values[[0, 13, 14]].tolist() == [940.66, 4936.99, 5379.75]
    assert first.origins("test") == [14]
    assert len(first.training("test")) == 14


def test_what_is_held_out_is_in_no_window() -> None:
    """The held-out values are made recognisable: were one seen, it would be in a window or a target."""
    frequency = frequency_named("monthly")
    values = np.asarray(100.0 + np.arange(120) % 7, dtype=np.float64)
    for hold_out, held in (("test", 18), ("validation", 38)):
        marked = values.copy()
        marked[-held:] = 1e9
        config = build(ForecastConfig, {"hold_out": hold_out, "synthetic_series": 0, "missing_share": 0.0})
        plain, with_marks = (
            global_windows(config, ForecastData([Series("one", frequency, content)], []))
            for content in (values, marked)
        )
        assert torch.equal(plain.windows, with_marks.windows)
        assert torch.equal(plain.targets, with_marks.targets)
        shorter = ForecastData([Series("one", frequency, values[:-1])], [])
        assert len(global_windows(config, shorter).windows) < len(plain.windows)


def test_targets_are_what_the_served_code_puts_back() -> None:
    """Were a network's answer the targets, the served values would be what came."""
    from muserve_server.tasks.forecast.windows import make_windows, restore

    frequency = frequency_named("quarterly")
    values = np.exp(np.random.default_rng(1).normal(0, 0.1, 60).cumsum())
    config = build(
        ForecastConfig, {"hold_out": "test", "synthetic_series": 0, "missing_share": 0.0, "linear_share": 0.0}
    )
    made = global_windows(config, ForecastData([Series("one", frequency, values)], []))
    origin = 40
    context = np.full((1, frequency.context_steps), np.nan)
    context[0, -origin:] = values[:origin]
    served = make_windows(
        context, periods=frequency.periods, window_steps=36, horizon_steps=24, frequency=1, frequencies=7
    )
    index = next(i for i in range(len(made.windows)) if np.array_equal(made.windows[i].numpy(), served.window[0]))
    restored = restore(made.targets[index].numpy()[None, :, None], served)[0, :8, 0]
    np.testing.assert_allclose(restored, values[origin : origin + 8], rtol=1e-5)


def test_every_series_of_a_frequency_is_drawn_as_often() -> None:
    frequency = frequency_named("yearly")
    random = np.random.default_rng(0)
    long, short = (np.exp(random.normal(0, 0.1, count).cumsum()) for count in (60, 20))
    config = build(ForecastConfig, {"synthetic_series": 0, "missing_share": 0.0, "linear_share": 0.0})
    made = global_windows(config, ForecastData([Series("a", frequency, long), Series("b", frequency, short)], []))
    odds = torch.diff(made.cumulated, prepend=torch.zeros(1, dtype=torch.float64))
    ours = len(short) - 6 - frequency.least_steps
    assert odds[-ours:].sum().item() == pytest.approx(0.5, abs=0.1)


def test_long_wide_and_parquet_files_are_the_same_series(sales: Path, tmp_path: Path) -> None:
    long = load_data(build(ForecastConfig, {"data": str(sales)}))
    frame = pd.read_csv(sales)
    frame.to_parquet(tmp_path / "sales.parquet")
    frame.pivot_table(index="ds", columns="unique_id", values="y").reset_index().to_csv(
        tmp_path / "wide.csv", index=False
    )
    for path in ("sales.parquet", "wide.csv"):
        other = load_data(build(ForecastConfig, {"data": str(tmp_path / path)}))
        assert other.sha256 == long.sha256
    assert [series.frequency.name for series in long.series] == ["monthly"] * 4


def test_a_gap_in_time_is_a_missing_value(sales: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(sales)
    frame.drop(index=5).to_csv(tmp_path / "gap.csv", index=False)
    series = load_data(build(ForecastConfig, {"data": str(tmp_path / "gap.csv")})).series[0]
    assert len(series.values) == MONTHS
    assert np.flatnonzero(np.isnan(series.values)).tolist() == [5]


def test_files_are_read_as_people_write_them(sales: Path, tmp_path: Path) -> None:
    """Shuffled, with semicolons, months as whole numbers, days first, every tenth step, and an index in Parquet."""
    frame = pd.read_csv(sales)
    plain = [series.values for series in load_data(build(ForecastConfig, {"data": str(sales)})).series]
    times = pd.to_datetime(frame["ds"])
    frame.sample(frac=1.0, random_state=0).to_csv(tmp_path / "shuffled.csv", index=False)
    frame.to_csv(tmp_path / "semicolons.csv", index=False, sep=";", decimal=",")
    frame.assign(ds=times.dt.strftime("%Y%m").astype(int)).to_csv(tmp_path / "months.csv", index=False)
    frame.assign(ds=times.dt.strftime("%d.%m.%Y")).to_csv(tmp_path / "dots.csv", index=False)
    frame.set_index("unique_id").to_parquet(tmp_path / "indexed.parquet")
    frame.assign(ds=np.tile(np.arange(0, 10 * MONTHS, 10), 4)).to_csv(tmp_path / "tenths.csv", index=False)
    for name in ("shuffled.csv", "semicolons.csv", "months.csv", "dots.csv", "indexed.parquet", "tenths.csv"):
        config = build(ForecastConfig, {"data": str(tmp_path / name), "frequency": "monthly"})
        series = {one.name: one for one in load_data(config).series}
        for index, values in enumerate(plain):
            assert np.array_equal(series[f"shop {index}"].values, values), name
            assert series[f"shop {index}"].frequency.name == "monthly"


def test_names_stay_as_they_stand_and_series_of_one_value_are_left_out(sales: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(sales)
    frame = frame.assign(unique_id=frame["unique_id"].replace({"shop 0": "NA", "shop 1": "007"}))
    new = pd.DataFrame({"unique_id": ["new"], "ds": ["2023-12-31"], "y": [1.0]})
    pd.concat([frame, new]).to_csv(tmp_path / "names.csv", index=False)
    data = load_data(build(ForecastConfig, {"data": str(tmp_path / "names.csv")}))
    assert {series.name for series in data.series} == {"NA", "007", "shop 2", "shop 3"}
    assert "1 with fewer than 3 values left out" in data.sources[0].split


def test_a_file_has_one_frequency(sales: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(sales)
    every_third = frame["unique_id"].ne("shop 3") | (frame.index % 3 == 0)
    frame[every_third].to_csv(tmp_path / "mixed.csv", index=False)
    data = load_data(build(ForecastConfig, {"data": str(tmp_path / "mixed.csv")}))
    assert {series.frequency.name for series in data.series} == {"monthly"}
    assert np.isnan(data.series[3].values).sum() > 30


def test_all_of_a_users_daily_series_is_learnt_from() -> None:
    frequency = frequency_named("daily")
    values = 100 + 10 * np.random.default_rng(0).standard_normal(600)
    config = build(ForecastConfig, {"data": "own.csv", "missing_share": 0.0})
    made = global_windows(config, ForecastData([Series("one", frequency, values)], []))
    assert len(made.windows) == 600 - frequency.horizon_steps - frequency.least_steps


def test_an_origin_after_a_long_gap_is_not_asked_about() -> None:
    values = np.arange(300.0)
    values[120:281] = np.nan
    series = Series("one", frequency_named("monthly"), values)
    assert series.known_before(282) == 1
    assert series.origins("test") == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        ("", "cannot be read"),
        ("unique_id,ds,y\n", "has no rows"),
        ("y\n1\n2\n", "has the columns"),
        ("unique_id,ds,y\na,2020-01-31,1\na,2020-02-29,2\n", "no series has 3 values"),
        (
            "ds,a\n2020-01-31,1\n2020-02-29,2\n2020-03-31,2\n",
            "the longest, 'a', has 3 values; monthly series need more",
        ),
        ("unique_id,ds,y\na,2020-01-31,1\na,2020-02-29,x\n", "series 'a'"),
        ("unique_id,ds,y\na,2020-01-31,1\na,2020-03-31,2\na,2020-01-31,2\n", "series 'a' has 2020-01-31 twice"),
        ("unique_id,ds,y\na,yesterday,1\na,today,2\n", "series 'a'"),
        ("unique_id,ds,y\na,2020-01-31,inf\na,2020-02-29,2\n", "infinite"),
        ("unique_id,ds,y\na,1,1\na,1.5,2\na,3,2\n", "has 1.5 as a time"),
        ("unique_id,ds,y\na,2020-01-31,1\na,2020-02-10,2\na,2021-01-31,2\n", "tell no frequency"),
        ("unique_id,ds,y\na,,1\na,2020-01-31,2\n", "empty times"),
    ],
)
def test_a_file_of_no_use_is_explained(tmp_path: Path, content: str | None, message: str) -> None:
    path = tmp_path / "sales.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=message) as caught:
        load_data(build(ForecastConfig, {"data": str(path)}))
    assert "sales.csv" in str(caught.value)


def test_settings_that_contradict_each_other_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="spreads are 2"):
        build(ForecastConfig, {"spreads": [1.0, 1.0]})
    with pytest.raises(ConfigurationError, match="'sine'"):
        build(ForecastConfig, {"data": "sine"})


@pytest.mark.parametrize(
    "frequency", [entry for entry in FREQUENCIES if entry.experimental], ids=lambda entry: entry.name
)
def test_made_series_are_positive_and_repeatable(frequency: Frequency) -> None:
    made = make_series(frequency, 3, seed=1)
    again = make_series(frequency, 2, seed=1)
    assert all(np.array_equal(one, other) for one, other in zip(made, again, strict=False))
    assert all((one > 0).all() and np.isfinite(one).all() for one in made)


def test_the_tutorial_is_the_published_set_up() -> None:
    config = build(ForecastConfig, read_toml(recipe_path("forecast", "tutorial")))
    learner, _ = installed_families()["forecast"].learner(Fabric(accelerator="cpu"), config, load_data(config))
    network = learner.modules()["forecaster"].module
    assert isinstance(network, NextValueForecaster)
    assert (network.lstm.input_size, network.lstm.hidden_size, network.lstm.num_layers) == (1, 50, 2)
    assert (network.head.in_features, network.head.out_features) == (50, 1)
    windows = next_value_windows(config, load_data(config))
    assert windows.windows.shape == (990, 10, 1)
    assert windows.windows[0, :, 0].numpy() == pytest.approx(np.sin(np.arange(0, 1, 0.1)), abs=1e-6)
    assert windows.targets[0].item() == pytest.approx(np.sin(1.0), abs=1e-6)
    assert (config.batch_size, config.epochs, config.learning_rate) == (990, 100, 1e-3)
    assert (config.weight_decay, config.clip_norm, config.warm_up_share, config.final_learning_rate_share) == (
        0,
        0,
        0,
        1,
    )


@pytest.mark.parametrize("recipe", recipe_names("forecast"))
def test_every_recipe_takes_a_real_step(recipe: str) -> None:
    config = build(ForecastConfig, read_toml(recipe_path("forecast", recipe)), {"synthetic_series": 1})
    frequency = frequency_named("monthly")
    values = np.exp(np.random.default_rng(0).normal(0, 0.1, 90).cumsum())
    data = load_data(config) if config.data else ForecastData([Series("one", frequency, values)], [])
    fabric = Fabric(accelerator="cpu", devices=1)
    learner, windows = installed_families()["forecast"].learner(fabric, config, data)
    before = [weight.clone() for weight in learner.modules()["forecaster"].parameters()]
    torch.manual_seed(0)
    losses = learner.step(windows.batch(torch.arange(min(32, len(windows)))), 50, 100)
    assert all(np.isfinite(loss.item()) for loss in losses.values())
    assert all(
        not torch.equal(old, new) for old, new in zip(before, learner.modules()["forecaster"].parameters(), strict=True)
    )
    sheet = learner.sheet()
    assert sheet is not None
    assert sheet.ndim == 3


def test_quantiles_never_cross_and_a_forecast_is_the_members_mean() -> None:
    config = build(ForecastConfig, {"members": 2, "hidden_size": 8, "layers": 1})
    network = GlobalForecaster(config).eval()
    window, facts = torch.randn(5, 36, 4), torch.randn(5, 14)
    with torch.no_grad():
        found = network(window, facts)
        alone = [member(window, facts) for member in network.members]
        apart = network(window, facts, apart=True)
    assert (torch.diff(found, dim=2) > 0).all()
    torch.testing.assert_close(found, (alone[0] + alone[1]) / 2)
    torch.testing.assert_close(apart, torch.cat([alone[0][:3], alone[1][3:]]))
    assert found[..., MIDDLE].shape == (5, 24)


def test_figures_are_those_of_their_definitions() -> None:
    came = np.array([[100.0, 200.0, np.nan]])
    point = np.array([[110.0, 200.0, 5.0]])
    assert np.nanmean(_smape(came, point)) == pytest.approx(200 * 10 / 210 / 2)
    assert _smape(np.zeros((1, 1)), np.zeros((1, 1))) == 0
    quantiles = np.repeat(point[..., None], 9, axis=2)
    quantiles[..., 0] -= 15
    answer = Answer(point, quantiles)
    assert _coverage(came, answer) == 1.0
    assert _coverage(came + 16, answer) == 0.0
    # A series with one known step weighs as much as one with two: a mean over series, not over steps.
    two = np.concatenate([came, [[100.0, np.nan, np.nan]]])
    guess = np.concatenate([point, [[300.0, 0.0, 0.0]]])
    assert _by_series([_smape(two, guess)]) == pytest.approx((200 * 10 / 210 / 2 + 100) / 2)
    exact = Answer(came, np.repeat(np.nan_to_num(came)[..., None], 9, axis=2))
    assert _quantile_loss({"monthly": came}, {"monthly": exact}, ["monthly"]) == 0
    off = Answer(came, np.repeat(np.nan_to_num(came)[..., None], 9, axis=2) + 30)
    # An overshoot of 30 at level q costs 2 (1 - q) 30 at each of 2 steps, over a sum of 300.
    assert _quantile_loss({"monthly": came}, {"monthly": off}, ["monthly"]) == pytest.approx(
        np.mean([0.2 * (1 - q / 10) * 2 for q in range(1, 10)])
    )


def test_first_weights_of_another_run_spoil_a_validation(sales: Path, tmp_path: Path, export_command: Command) -> None:
    run = tmp_path / "run"
    export_command("train", "forecast", "--recipe", "tiny", "--data", sales, "--out", run, "--epochs", "1")
    refused = export_command(
        "train", "forecast", "--recipe", "tiny", "--data", sales, "--out", tmp_path / "next", "--init-from", run,
        "--hold-out", "validation", check=False,
    )  # fmt: skip
    assert "may have learnt the validation part" in refused.stdout + refused.stderr


def test_own_sales_go_from_a_file_to_a_bundle_with_figures(
    sales: Path, tmp_path: Path, export_command: Command
) -> None:
    run, models = tmp_path / "run", tmp_path / "models"
    export_command("train", "forecast", "--recipe", "tiny", "--data", sales, "--out", run)
    export_command("export", run, "--out", models, "--name", "sales")
    manifest = read_bundle(models / "sales" / "1").manifest
    assert manifest.licence == "LicenseRef-owner"
    assert manifest.training["data"] == "sales.csv"
    known = [entry.frequency for entry in manifest.forecast.frequencies if entry.horizon_steps]
    assert known == [frequency_named("monthly").number]
    assert len(manifest.forecast.frequencies) == len(FREQUENCY_NAMES)
    assert (models / "sales" / "1" / "samples" / "forecasts.png").stat().st_size > 10_000
    refused = export_command("evaluate", models / "sales" / "1", check=False)
    assert "--data" in refused.stdout + refused.stderr
    table = export_command("evaluate", models / "sales" / "1", "--data", sales).stdout
    assert "smape monthly" in table
    assert "DynamicOptimizedTheta" in table
    assert "AutoETS" in table


def test_validation_is_only_for_runs_that_held_it_out(sales: Path, tmp_path: Path, export_command: Command) -> None:
    run, models = tmp_path / "run", tmp_path / "models"
    for version, part in enumerate(("test", "validation"), start=1):
        folder = run / part
        export_command("train", "forecast", "--recipe", "tiny", "--data", sales, "--out", folder, "--hold-out", part)
        export_command("export", folder, "--out", models, "--name", "sales")
        bundle = models / "sales" / str(version)
        if part == "test":
            with pytest.raises(DataError, match="has learnt from the validation part"):
                evaluate_bundle(installed_families()["forecast"], bundle, data=str(sales), part="validation")
        else:
            metrics = evaluate_bundle(installed_families()["forecast"], bundle, data=str(sales), part="validation")
            assert {metric.name for metric in metrics} >= {"smape_all", "coverage_80_monthly"}


def test_the_tutorial_is_served_step_by_step(tmp_path: Path, export_command: Command) -> None:
    run, models = tmp_path / "run", tmp_path / "models"
    export_command("train", "forecast", "--recipe", "tutorial", "--epochs", "2", "--out", run)
    export_command("export", run, "--out", models, "--name", "sine")
    manifest = read_bundle(models / "sine" / "1").manifest
    assert manifest.forecast.scaling == manifest_pb2.FORECAST_SCALING_NONE
    assert [golden.name for golden in manifest.goldens] == ["mixed", "rolled_out"]
