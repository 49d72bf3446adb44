"""Draws forecasts: each series' newest values, its forecast, and bands between quantiles. Needs matplotlib alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from muserve_client.calls.forecast.axes import Periods, Times
from muserve_client.calls.forecast.forecast import Forecast

__all__ = ["MAX_PANELS", "draw"]

MAX_PANELS = 12
_PANELS_A_ROW = 3
_ENTRY_INCHES = 1.7  # of the legend
_MIN_HISTORY = 48
_HISTORY_PER_STEP = 4
_MAX_TITLE = 40
_HISTORY, _FORECAST = "#4d4d4d", "#0b6fb8"
_WIDEST_ALPHA, _NARROWEST_ALPHA = 0.18, 0.35


def draw(forecasts: Sequence[Forecast], *, point: str, history_steps: int | None = None) -> Figure:
    """Draws the first 12 forecasts, one panel each; says so if there are more.

    Args:
        forecasts: All of them.
        point: What the point forecasts are: "median" or "mean".
        history_steps: How many of each series' newest values; None takes four times the horizon, and at least 48.
    """
    shown = forecasts[:MAX_PANELS]
    columns = min(_PANELS_A_ROW, math.ceil(math.sqrt(len(shown)))) or 1
    rows = math.ceil(len(shown) / columns) or 1
    size = (9.0, 4.5) if len(shown) == 1 else (4.6 * columns, 2.9 * rows + 0.6)
    figure = Figure(figsize=size, dpi=120, layout="constrained")
    for place, forecast in enumerate(shown, start=1):
        _panel(figure.add_subplot(rows, columns, place), forecast, point, history_steps)
    entries = (zip(*axes.get_legend_handles_labels(), strict=True) for axes in figure.axes)
    named = {label: line for panel in entries for line, label in panel}
    ncols = int(size[0] / _ENTRY_INCHES)
    figure.legend(named.values(), named, loc="outside lower center", ncols=ncols, frameon=False, fontsize="small")
    if len(forecasts) > len(shown):
        figure.suptitle(f"the first {len(shown)} of {len(forecasts)} series")
    return figure


def _panel(axes: Axes, forecast: Forecast, point: str, history_steps: int | None) -> None:
    steps = max(_MIN_HISTORY, _HISTORY_PER_STEP * len(forecast.point)) if history_steps is None else history_steps
    history = forecast.history
    first = max(0, len(history.positions) - max(1, steps))
    past, values = _places(history.positions[first:], forecast), list(history.message.values[first:])
    axes.plot(past, values, color=_HISTORY, linewidth=1.2, marker="." if _has_lone(values) else None, label="history")
    # Lines and bands start from the last value, where there is one, so that the eye sees one line.
    is_joined = not math.isnan(values[-1])
    coming = _places(forecast.positions, forecast)
    places, start = ([past[-1], *coming], values[-1:]) if is_joined else (coming, [])
    _draw_quantiles(axes, places, {level: [*start, *line] for level, line in forecast.quantiles.items()})
    mark = "o" if len(coming) == 1 else None
    axes.plot(coming, forecast.point, color=_FORECAST, linewidth=1.6, marker=mark, label=f"{point} forecast")
    axes.plot(places[:2], [*start, *forecast.point][:2], color=_FORECAST, linewidth=1.6)
    if forecast.is_rolled_out:
        end = coming[forecast.direct_steps - 1]
        axes.axvline(end, color=_FORECAST, linewidth=0.9, linestyle="--", label="rolled out from here on")
    _dress(axes, forecast)


def _draw_quantiles(axes: Axes, places: Sequence[Any], quantiles: Mapping[float, Sequence[float]]) -> None:
    for low, high, alpha in _bands(sorted(quantiles)):
        look: dict[str, Any] = {"color": _FORECAST, "alpha": alpha, "label": f"{100 * (high - low):.4g} % interval"}
        if len(places) == 1:
            axes.vlines(places, quantiles[low], quantiles[high], linewidth=8, **look)
        else:
            axes.fill_between(places, quantiles[low], quantiles[high], linewidth=0, **look)
    for level in _unpaired(sorted(quantiles)):
        axes.plot(places, quantiles[level], color=_FORECAST, linewidth=0.9, linestyle=":", label=f"quantile {level:g}")


def _dress(axes: Axes, forecast: Forecast) -> None:
    title = str(forecast.id)
    axes.set_title(
        title if len(title) <= _MAX_TITLE else title[: _MAX_TITLE - 1] + "…", fontsize="medium", parse_math=False
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.margins(x=0.02)
    axis = forecast.history.axis
    if isinstance(axis, Times | Periods):
        zone = axis.zone if isinstance(axis, Times) else None
        locator = AutoDateLocator(tz=zone, minticks=3, maxticks=6)
        axes.xaxis.set_major_locator(locator)
        axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, tz=zone))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.set_xlabel("step")
    axes.tick_params(labelsize="small")


def _places(positions: Sequence[int], forecast: Forecast) -> list[Any]:
    """Places steps on the x axis: numbers, or times; of periods their starts."""
    names = forecast.history.names(positions)
    if isinstance(forecast.history.axis, Periods):
        return [name.to_timestamp().to_pydatetime() for name in names]
    return names


def _bands(levels: Sequence[float]) -> list[tuple[float, float, float]]:
    """Pairs levels that are symmetric around the median, the widest pair first, each with its opacity."""
    pairs = [(low, high) for low in levels for high in levels if low < 0.5 and math.isclose(low + high, 1.0)]
    step = (_NARROWEST_ALPHA - _WIDEST_ALPHA) / max(1, len(pairs) - 1)
    return [(low, high, _WIDEST_ALPHA + index * step) for index, (low, high) in enumerate(pairs)]


def _unpaired(levels: Sequence[float]) -> list[float]:
    return [level for level in levels if level != 0.5 and not any(math.isclose(level + other, 1.0) for other in levels)]


def _has_lone(values: Sequence[float]) -> bool:
    """Whether a value stands between missing ones, so that a line would not show it."""
    gaps = [True, *(math.isnan(value) for value in values), True]
    return any(before and not here and after for before, here, after in zip(gaps, gaps[1:], gaps[2:], strict=False))
