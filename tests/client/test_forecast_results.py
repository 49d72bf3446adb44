"""What becomes of forecasts: tables, files, plots, notebooks."""

from __future__ import annotations

import csv
import json
import math
import sys
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pandas as pd
import pytest
from matplotlib.figure import Figure

from muserve_client import Client, Forecasts
from tests.client.conftest import Served
from tests.client.fakes import call
from tests.client.forecasters import DIRECT_STEPS

DATED = pd.Series([1.0, 2.5, 4.0], index=pd.date_range("2024-01-31", periods=3, freq="ME"), name="a, b")


def forecast(served: Served, series: Any, horizon: int = 2, **keywords: Any) -> Forecasts:
    found = call(Client, served.target, "forecast", series, horizon, **keywords)
    assert isinstance(found, Forecasts)
    return found


@pytest.fixture
def found(forecaster: Served) -> Forecasts:
    return forecast(forecaster, DATED)


# Files


def test_csv(found: Forecasts, tmp_path: Path) -> None:
    path = found.save(tmp_path / "new/x.CSV")
    assert path == tmp_path / "new/x.CSV"
    assert (
        path.read_text()
        == 'unique_id,ds,yhat,q0.1,q0.9\n"a, b",2024-04-30,5.0,4.0,6.0\n"a, b",2024-05-31,6.0,4.0,8.0\n'
    )
    pd.testing.assert_frame_equal(
        pd.read_csv(path, parse_dates=["ds"]).astype({"ds": found.to_frame()["ds"].dtype}), found.to_frame()
    )


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        (pd.date_range("2024-01-01", periods=3, freq="D"), "2024-01-04"),
        (pd.date_range("2024-01-01", periods=3, freq="D", tz="UTC"), "2024-01-04 00:00:00+00:00"),
        (pd.date_range("2024-01-01", periods=3, freq="h", tz="Asia/Kolkata"), "2024-01-01 03:00:00+05:30"),
        (pd.date_range("2024-01-01 23:00", periods=3, freq="h"), "2024-01-02 02:00:00"),
        (pd.period_range("2024-01", periods=3, freq="M"), "2024-04"),
        (pd.RangeIndex(3), "3"),
    ],
)
def test_times_in_files(forecaster: Served, tmp_path: Path, index: Any, expected: str) -> None:
    series = pd.Series([1, 2, 3], index=index)
    found = forecast(forecaster, series, 1, frequency="daily" if isinstance(index, pd.RangeIndex) else None)
    table = list(csv.reader(found.save(tmp_path / "x.csv").read_text().splitlines()))
    assert table[1][1] == expected
    assert str(json.loads(found.save(tmp_path / "x.json").read_text())["forecasts"][0]["ds"][0]) == expected


def test_json_says_who_made_it(found: Forecasts, tmp_path: Path) -> None:
    assert json.loads(found.save(tmp_path / "x.json").read_text(encoding="utf-8")) == {
        "model": "drift",
        "version": 1,
        "digest": found.info.digest,
        "point": "median",
        "forecasts": [
            {
                "unique_id": "a, b",
                "frequency": "monthly",
                "ds": ["2024-04-30", "2024-05-31"],
                "yhat": [5.0, 6.0],
                "quantiles": {"0.1": [4.0, 4.0], "0.9": [6.0, 8.0]},
                "direct_steps": 2,
                "experimental": False,
            }
        ],
    }


@pytest.mark.parametrize("index", [DATED.index, DATED.index.tz_localize("Europe/Paris"), DATED.index.to_period("M")])
def test_parquet(forecaster: Served, tmp_path: Path, index: Any) -> None:
    found = forecast(forecaster, {"a": DATED.set_axis(index), "b": DATED.set_axis(index)})
    read = pd.read_parquet(found.save(tmp_path / "x.parquet"))
    pd.testing.assert_frame_equal(read, found.to_frame())


def test_an_ending_that_means_nothing_is_refused(found: Forecasts, tmp_path: Path) -> None:
    for name in ("x.xlsx", "x"):
        with pytest.raises(ValueError, match=r"allowed: \.csv, \.json, \.parquet"):
            found.save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("missing", "ways"),
    [
        ("pandas", [lambda found, _: found.to_frame(), lambda found, path: found.save(path / "x.parquet")]),
        ("pyarrow", [lambda found, path: found.save(path / "x.parquet")]),
        ("matplotlib", [lambda found, _: found.plot()]),
    ],
)
def test_without_a_package_it_says_what_to_install(
    forecaster: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missing: str, ways: list[Any]
) -> None:
    found = forecast(forecaster, [1, 2, 3], frequency="daily")
    for name in [name for name in sys.modules if name.split(".")[0] == missing]:
        monkeypatch.delitem(sys.modules, name)
    for name in ("frames", "moments", "periods", "plots"):  # what imports them
        monkeypatch.delitem(sys.modules, f"muserve_client.calls.forecast.{name}", raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    for way in ways:
        with pytest.raises(ModuleNotFoundError, match=rf"needs {missing}, .*: pip install 'muserve\[data\]'"):
            way(found, tmp_path)
    assert (found._repr_png_() is None) == (missing == "matplotlib")
    assert found.save(tmp_path / "x.csv").read_text().startswith("unique_id,ds,yhat")
    assert found.save(tmp_path / "x.json").exists()


# Plots


def panels(figure: Figure) -> list[str]:
    return [axes.get_title() for axes in figure.axes]


def labels(figure: Figure) -> list[str]:
    (legend,) = figure.legends
    return [text.get_text() for text in legend.get_texts()]


def test_a_plot_has_history_forecast_and_bands(forecaster: Served, tmp_path: Path) -> None:
    index = pd.date_range("2014-01-31", periods=100, freq="ME")
    series = pd.Series([math.sin(step / 2) * 5 + step / 9 for step in range(100)], index=index, name="cost $5$")
    found = forecast(forecaster, series, DIRECT_STEPS + 2, quantiles=[0.05, 0.1, 0.5, 0.9, 0.95, 0.99])
    figure = found.plot()
    assert isinstance(figure, Figure)
    (axes,) = figure.axes
    lines: list[Any] = list(axes.lines)
    history, *_, point, joint, rolled_out = lines
    assert len(history.get_xdata()) == 48
    assert list(point.get_xdata()) == found[0].ds
    assert list(joint.get_xdata()) == [history.get_xdata()[-1], found[0].ds[0]]
    assert list(history.get_ydata()) == pytest.approx(series.iloc[-48:].tolist())
    assert list(point.get_ydata()) == list(found[0].point)
    assert len(axes.collections) == 2  # the bands
    assert labels(figure) == [
        "history",
        "90 % interval",
        "80 % interval",
        "quantile 0.99",
        "median forecast",
        "rolled out from here on",
    ]
    assert rolled_out.get_xdata()[0] == found[0].ds[DIRECT_STEPS - 1]
    figure.savefig(tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
    short: Any = found.plot(history_steps=5).axes[0].lines[0]
    assert len(short.get_xdata()) == 5


def test_several_series_are_a_grid_of_at_most_twelve(forecaster: Served) -> None:
    many = forecast(forecaster, {f"s{number}": [1, 2, number] for number in range(15)}, frequency="daily")
    figure = many.plot()
    assert panels(figure) == [f"s{number}" for number in range(12)]
    assert figure.get_suptitle() == "the first 12 of 15 series"
    two = forecast(forecaster, {"a": [1, 2, 3], "x" * 50: [4, 5, 6]}, frequency="daily", point="mean").plot()
    assert panels(two) == ["a", "x" * 39 + "…"]
    assert two.get_suptitle() == ""
    assert labels(two) == ["history", "80 % interval", "mean forecast"]


@pytest.mark.parametrize(
    ("series", "keywords"),
    [
        ([1, 2, math.nan, 4, None], {"horizon": 1}),
        ([math.nan] * 3 + [1, None, 2, None, 3], {"quantiles": ()}),
        (DATED.to_period("M"), {}),
        (DATED.tz_localize("America/New_York"), {}),
        (pd.Series(range(30), index=pd.date_range("2024-03-30", periods=30, freq="h", tz="Europe/Berlin")), {}),
        (pd.Series([1, 2, 3], index=[2001, 2002, 2003]), {}),
    ],
)
def test_everything_can_be_drawn(forecaster: Served, series: Any, keywords: dict[str, Any]) -> None:
    frequency = None if isinstance(series, pd.Series) and series.index.dtype.kind != "i" else "yearly"
    found = forecast(forecaster, series, **({"frequency": frequency, "horizon": 3} | keywords))
    assert found._repr_png_().startswith(b"\x89PNG")  # type: ignore[union-attr]


def test_plots_leave_nothing_open(found: Forecasts) -> None:
    found.plot()
    assert plt.get_fignums() == []
