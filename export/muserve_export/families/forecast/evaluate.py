"""Measures a forecast bundle: through the code that serves it, beside the statistical methods that people use.

Figures, by frequency and over all:
- sMAPE (Makridakis and Hibon, 2000): 200 |y - f| / (|y| + |f|), mean over steps, then over series.
- coverage: share of held-out values within the band from the 10 % to the 90 % quantile; 0.8 is right.
- weighted quantile loss: 2 Σ pinball / Σ |y|, mean over the levels 0.1 … 0.9 (Gasthaus et al., 2019).

Beside them stand SeasonalNaive, Theta, DynamicOptimizedTheta and AutoETS of statsforecast, run on the same series.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from muserve.bundle import read_bundle
from muserve.v1 import forecast_pb2, manifest_pb2
from muserve_export.errors import DataError
from muserve_export.families.forecast.config import ForecastConfig
from muserve_export.families.forecast.data import ForecastData, Series
from muserve_export.families.forecast.frequencies import FREQUENCIES, Frequency
from muserve_export.measuring import Figures, make_metric
from muserve_server.model import LocalModel
from muserve_server.tasks.forecast.windows import fill_gaps

__all__ = ["measure"]

LEVELS = tuple(round(0.1 * tenth, 1) for tenth in range(1, 10))
REFERENCE = "DynamicOptimizedTheta"
_PER_CALL = 500
_ETS = "AutoETS"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Question:
    """What is known at one origin of one series, and what came."""

    series: Series
    past: Floats
    """[step], NaN where missing."""
    came: Floats
    """[horizon], NaN where missing or after the end."""


@dataclass(frozen=True)
class Answer:
    """One method's forecasts of some questions of one frequency."""

    point: Floats
    """[question, horizon]."""
    quantiles: Floats | None
    """[question, horizon, level of LEVELS]; None for methods without."""


def measure(folder: Path, config: ForecastConfig, data: ForecastData, part: str) -> Figures:
    """Measures a bundle on the held-out part of each series.

    Args:
        folder: The bundle.
        config: What it was trained with.
        data: Series to measure against.
        part: "validation" (three origins a series; the run must have held it out) or "test" (the last horizon).

    Raises:
        DataError: Nothing can be measured.
        BundleError: The bundle cannot be opened.
    """
    if part == "validation" and config.hold_out != "validation":
        raise DataError(
            f"{folder} has learnt from the validation part; train it with --hold-out validation to choose by that"
        )
    settings = read_bundle(folder).manifest.forecast
    answers: dict[str, dict[str, Answer]] = {}
    questions: dict[str, list[Question]] = {}
    for frequency in FREQUENCIES:
        members = [series for series in data.series if series.frequency is frequency and series.is_scored]
        asked = _questions(members, part, settings)
        if asked:
            questions[frequency.name] = asked
            answers[frequency.name] = _baselines(frequency, asked, with_ets=part == "test")
    if not questions:
        raise DataError(f"no series is long enough to hold out a {part} part")
    return Figures(_metrics(questions, asyncio.run(_ask(folder, questions)), answers))


def _questions(series: Sequence[Series], part: str, settings: manifest_pb2.ForecastSettings) -> list[Question]:
    """All that can be asked of series of one frequency.

    Raises:
        DataError: The model does not know their frequency.
    """
    asked = []
    known = {entry.frequency for entry in settings.frequencies if entry.horizon_steps}
    for one in series:
        if one.frequency.number not in known:
            raise DataError(f"series {one.name!r} is {one.frequency.name}, which the bundle does not know")
        for origin in one.origins(part):
            if one.known_before(origin) < settings.min_points:
                continue
            came = np.full(one.frequency.horizon_steps, np.nan)
            future = one.values[origin : origin + len(came)]
            came[: len(future)] = future
            asked.append(Question(one, one.values[:origin], came))
    return asked


async def _ask(folder: Path, questions: Mapping[str, Sequence[Question]]) -> dict[str, Answer]:
    """Puts the questions to the bundle, through the forecast task."""
    answers = {}
    async with await LocalModel.open(folder) as model:
        settings = model.bundle.manifest.forecast
        for name, asked in questions.items():
            frequency = asked[0].series.frequency
            points, bands = [], []
            for start in range(0, len(asked), _PER_CALL):
                request = forecast_pb2.ForecastRequest(horizon=frequency.horizon_steps, frequency=frequency.number)
                request.quantiles.extend(LEVELS if settings.quantiles else ())
                newest = max(frequency.context_steps, settings.window_steps)
                for question in asked[start : start + _PER_CALL]:
                    request.series.add(values=question.past[-newest:])
                for forecast in (await model.answer(request)).forecasts:
                    points.append(np.array(forecast.point))
                    bands.append(np.array([quantile.values for quantile in forecast.quantiles]).T)
            answers[name] = Answer(np.stack(points), np.stack(bands) if settings.quantiles else None)
    return answers


def _baselines(frequency: Frequency, asked: Sequence[Question], *, with_ets: bool) -> dict[str, Answer]:
    """Forecasts the same questions with statsforecast."""
    from statsforecast import StatsForecast  # slow to import, and only wanted here
    from statsforecast.models import AutoETS, DynamicOptimizedTheta, Naive, SeasonalNaive, Theta

    period = frequency.periods[0] if frequency.periods else 1
    models = [SeasonalNaive(period), Theta(period), DynamicOptimizedTheta(period)] + [AutoETS(period)] * with_ets
    parts = []
    for index, question in enumerate(asked):
        filled = fill_gaps(question.past[None])[0][0]
        parts.append(pd.DataFrame({"unique_id": index, "ds": np.arange(len(filled)), "y": filled}))
    forecaster = StatsForecast(models, freq=1, n_jobs=1, fallback_model=Naive())
    levels = [20, 40, 60, 80]
    table = forecaster.forecast(df=pd.concat(parts), h=frequency.horizon_steps, level=levels).sort_values(
        ["unique_id", "ds"]
    )
    shape = (len(asked), frequency.horizon_steps)
    answers = {}
    for model in models:
        name = str(model)
        columns = [f"{name}-lo-{level}" for level in reversed(levels)], [f"{name}-hi-{level}" for level in levels]
        bands = [table[column].to_numpy() for column in (*columns[0], name, *columns[1])] if name == _ETS else []
        answers[name] = Answer(
            table[name].to_numpy().reshape(shape),
            np.stack([band.reshape(shape) for band in bands], axis=-1) if bands else None,
        )
    return answers


def _metrics(
    questions: Mapping[str, Sequence[Question]],
    ours: Mapping[str, Answer],
    baselines: Mapping[str, Mapping[str, Answer]],
) -> list[manifest_pb2.Metric]:
    came = {name: np.stack([question.came for question in asked]) for name, asked in questions.items()}
    methods: dict[str, Mapping[str, Answer]] = {"": ours}
    for method in next(iter(baselines.values())):
        methods[method] = {name: answers[method] for name, answers in baselines.items()}
    errors = {
        method: {name: _smape(came[name], answers[name].point) for name in came} for method, answers in methods.items()
    }
    unit = "%, mean over series; lower is better"
    metrics = [
        _metric(f"smape_{name}", {method: _by_series([found[name]]) for method, found in errors.items()}, unit)
        for name in came
    ]
    by_series = {method: _by_series(list(found.values())) for method, found in errors.items()}
    by_points = {
        method: float(np.nanmean(np.concatenate([error.ravel() for error in found.values()])))
        for method, found in errors.items()
    }
    metrics.append(_metric("smape_all", by_series, unit))
    metrics.append(_metric("smape_all_by_points", by_points, "%, mean over points; lower is better"))
    banded = {
        method: answers
        for method, answers in methods.items()
        if all(one.quantiles is not None for one in answers.values())
    }
    if "" in banded:
        for name in came:
            found = {method: _coverage(came[name], answers[name]) for method, answers in banded.items()}
            metrics.append(_metric(f"coverage_80_{name}", found, "share of values in the 80 % band; 0.8 is right"))
        for names in [[name] for name in came] + [list(came)]:
            losses = {method: _quantile_loss(came, answers, names) for method, answers in banded.items()}
            of = names[0] if len(names) == 1 else "all"
            metrics.append(
                _metric(f"weighted_quantile_loss_{of}", losses, "mean over the levels 0.1 … 0.9; lower is better")
            )
    return [metric for metric in metrics if np.isfinite(metric.value)]  # no loss of series that are all zero


def _by_series(errors: Sequence[Floats]) -> float:
    """Mean over each series' known steps, then over the series."""
    return float(np.mean(np.concatenate([np.nanmean(error, axis=1) for error in errors])))


def _smape(came: Floats, point: Floats) -> Floats:
    """In percent, [question, horizon]; NaN where nothing is known. Two zeros agree."""
    size = np.abs(came) + np.abs(point)
    return 200 * np.abs(came - point) / np.where(size > 0, size, 1.0)


def _coverage(came: Floats, answer: Answer) -> float:
    if answer.quantiles is None:
        return float("nan")
    known = ~np.isnan(came)
    inside = (came >= answer.quantiles[..., 0]) & (came <= answer.quantiles[..., -1])
    return float(inside[known].mean())


def _quantile_loss(came: Mapping[str, Floats], answers: Mapping[str, Answer], names: Sequence[str]) -> float:
    """Of all values of some frequencies together: large values weigh more."""
    levels = np.array(LEVELS)
    lost, size = np.zeros(len(levels)), 0.0
    for name in names:
        quantiles = answers[name].quantiles
        if quantiles is None:
            return float("nan")
        error = came[name][..., None] - quantiles
        lost += 2 * np.nansum(np.maximum(levels * error, (levels - 1) * error), axis=(0, 1))
        size += float(np.nansum(np.abs(came[name])))
    return float(np.mean(lost)) / size if size else float("nan")


def _metric(name: str, values: Mapping[str, float], unit: str) -> manifest_pb2.Metric:
    """Ours, beside the reference and the others."""
    others = sorted((method for method in values if method), key=lambda method: method != REFERENCE)
    return make_metric(name, values[""], unit, {method: values[method] for method in others})
