"""`muserve forecast`: forecasts the series of a file, into a table, a file or a plot."""

from __future__ import annotations

import argparse
import io
import itertools
from pathlib import Path

from muserve.configuration import ConfigurationError
from muserve.errors import InvalidRequestError
from muserve_client.calls.forecast.frequencies import FREQUENCIES
from muserve_client.calls.forecast.result import FORMATS, Forecasts
from muserve_client.calls.forecast.series import Columns
from muserve_client.calls.kind import Command
from muserve_client.client import Client
from muserve_client.extras import extra
from muserve_client.flags import add_model_flags, client_arguments
from muserve_client.saving import write_file

__all__ = ["COMMAND"]

_PICTURES = (".png", ".svg", ".pdf")
_MAX_ROWS = 24


def _add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file",
        metavar="FILE",
        type=Path,
        help="CSV or Parquet: long (unique_id, ds, y), wide (times, then a column per series), or one column; "
        "times are dates, or whole numbers that count steps",
    )
    parser.add_argument("--horizon", metavar="N", type=int, required=True, help="number of steps to forecast")
    parser.add_argument(
        "--quantiles",
        metavar="X",
        type=float,
        nargs="*",
        default=[0.1, 0.9],
        help="levels above 0 and below 1; none: the point forecast only (default: 0.1 0.9)",
    )
    parser.add_argument(
        "--frequency",
        metavar="NAME",
        help="yearly, quarterly, monthly, weekly, daily, hourly or other; or a pandas alias (default: inferred)",
    )
    parser.add_argument("--non-negative", action="store_true", help="values cannot be negative, such as sales")
    parser.add_argument(
        "--point", choices=("median", "mean"), default="median", help="the point forecast, yhat (default: median)"
    )
    parser.add_argument("--ids", metavar="ID", nargs="+", help="only these series (default: all)")
    default = Columns()
    for name, what in (("id", "ids"), ("time", "times"), ("value", "values")):
        value = getattr(default, name)
        parser.add_argument(
            f"--{name}-column",
            metavar="NAME",
            default=value,
            help=f"the long form's column of {what} (default: {value})",
        )
    parser.add_argument(
        "--out", metavar="PATH", type=Path, help="x.csv, x.json or x.parquet (default: a table of the first rows)"
    )
    parser.add_argument("--plot", metavar="PATH", type=Path, help="x.png, x.svg or x.pdf; at most 12 series")
    add_model_flags(parser)


def _run(namespace: argparse.Namespace) -> int:
    _check_ending("--out", namespace.out, FORMATS)
    _check_ending("--plot", namespace.plot, _PICTURES)
    try:
        forecasts = _forecast(namespace)
        if namespace.out is None:
            print(_table(forecasts))
        else:
            print(f"saved {forecasts.save(namespace.out)}")
        if namespace.plot is not None:
            print(f"saved {write_file(namespace.plot, _picture(forecasts, namespace.plot))}")
    except ModuleNotFoundError as error:
        raise ConfigurationError(str(error)) from error
    _report(forecasts)
    return 0


def _forecast(namespace: argparse.Namespace) -> Forecasts:
    columns = Columns(namespace.id_column, namespace.time_column, namespace.value_column)
    with extra("muserve forecast"):
        from muserve_client.calls.forecast.files import choose_ids, read_table

        table = read_table(namespace.file, columns)
    if namespace.ids:
        table = choose_ids(table, namespace.ids, columns)
    with Client(**client_arguments(namespace)) as client:
        try:
            return client.forecast(
                table,
                namespace.horizon,
                frequency=namespace.frequency,
                quantiles=namespace.quantiles,
                non_negative=namespace.non_negative,
                point=namespace.point,
                id_column=columns.id,
                time_column=columns.time,
                value_column=columns.value,
                model=namespace.model,
                version=namespace.version,
            )
        except InvalidRequestError as error:
            if error.request_id and any(violation.field.endswith("frequency") for violation in error.violations):
                raise InvalidRequestError(
                    f"{error.message} (--frequency {'|'.join(FREQUENCIES)})",
                    violations=error.violations,
                    request_id=error.request_id,
                ) from error
            about_file = [violation for violation in error.violations if violation.field.startswith("series")]
            if error.request_id or not about_file:
                raise
            raise ConfigurationError(f"{namespace.file}: {about_file[0].description}") from error


def _check_ending(flag: str, path: Path | None, allowed: tuple[str, ...]) -> None:
    if path is not None and path.suffix.lower() not in allowed:
        raise ConfigurationError(f"{flag} is {str(path)!r}; it must end with one of {', '.join(allowed)}")


def _picture(forecasts: Forecasts, path: Path) -> bytes:
    content = io.BytesIO()
    forecasts.plot().savefig(content, format=path.suffix[1:].lower())
    return content.getvalue()


def _table(forecasts: Forecasts) -> str:
    """Lays out the first rows of the table that a file would hold."""
    headings, *rows = itertools.islice(forecasts.rows(), _MAX_ROWS + 1)
    cells = [
        [str(name) for name in headings],
        *([str(id_), str(ds), *(f"{x:.6g}" for x in xs)] for id_, ds, *xs in rows),
    ]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in cells]
    more = sum(len(forecast.point) for forecast in forecasts) - len(rows)
    return "\n".join([*lines, *([f"… and {more} more rows: --out FILE writes all"] if more else [])])


def _report(forecasts: Forecasts) -> None:
    info, frequencies = forecasts.info, sorted({forecast.frequency for forecast in forecasts})
    print(f"model {info.model}, version {info.version}, {len(forecasts)} series, {' and '.join(frequencies)}")
    rolled_out = sorted({forecast.direct_steps for forecast in forecasts if forecast.is_rolled_out})
    if rolled_out:
        print(f"steps after {' or '.join(map(str, rolled_out))} are rolled out: their quantiles are less certain")
    experimental = sorted({forecast.frequency for forecast in forecasts if forecast.experimental})
    if experimental:
        print(f"the model's support of {' and '.join(experimental)} is experimental")


COMMAND = Command("forecast", "Forecast the time series of a file.", _add_flags, _run)
