"""The call `forecast`: as many RPCs as the series need, one after the other, and their answers joined."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from muserve.configuration import nearest
from muserve.errors import FieldViolation, InternalError, InvalidRequestError
from muserve.v1 import forecast_pb2
from muserve_client.calls.forecast.forecast import Forecast, read_forecast
from muserve_client.calls.forecast.frequencies import read_frequency
from muserve_client.calls.forecast.reading import read_series
from muserve_client.calls.forecast.result import Forecasts
from muserve_client.calls.forecast.series import Columns, Series
from muserve_client.fields import Fields
from muserve_client.flows import OPTIONS, Flow, Rpc, method_of
from muserve_client.info import Info, Timings, read_info
from muserve_client.options import ClientOptions

__all__ = ["FORECAST", "forecast"]

FORECAST = method_of(forecast_pb2.DESCRIPTOR.services_by_name["ForecastService"], "Forecast")
_POINTS = {"median": forecast_pb2.POINT_FORECAST_MEDIAN, "mean": forecast_pb2.POINT_FORECAST_MEAN}
_MAX_SERIES = 500  # half of what a server takes, so that others' rows fit into its queue too
_VALUE_BYTES = 8
_TIME_BYTES = 10  # at most
_EXTRA_BYTES = 64  # of each series and each of its quantiles: tags, lengths, levels
_INDEX = re.compile(r"(?P<before>^|; )series\[(?P<series>\d+)\](\.values\[(?P<value>\d+)\])?")


def forecast(
    series: Any,
    horizon: int,
    *,
    frequency: str | None = None,
    quantiles: Sequence[float] = (0.1, 0.9),
    non_negative: bool = False,
    point: str = "median",
    id_column: str = "unique_id",
    time_column: str = "ds",
    value_column: str = "y",
    model: str = "",
    version: int | None = None,
    timeout_s: float | None = None,
    request_id: str | None = None,
) -> Flow[Forecasts]:
    """Forecasts series, each by itself, with quantiles.

    Args:
        series: Numbers, oldest first, as a list, tuple or NumPy array; several of them as a list, a dict by id, or the
            rows of a 2-D array; a pandas Series with time as its index; or a DataFrame in long form (columns
            `unique_id`, `ds`, `y`) or wide form (a column per series, time as the index). None, NaN and skipped
            timestamps are missing values. Times are timestamps, dates as text, periods, or whole numbers that count
            steps; without a time zone they are UTC. Of each series the newest 10,000 values are sent.
        horizon: Steps to forecast; at most the manifest's `max_horizon`.
        frequency: "yearly", "quarterly", "monthly", "weekly", "daily", "hourly", "other", or a pandas alias such as
            "ME". None infers it from the index or the timestamps; without these it is required, unless the model
            supports only one. Daily means every day of the week: give business days as daily dates, so that weekends
            are missing and forecast too, or as values without dates and "other".
        quantiles: Levels to return, above 0 and below 1. Empty: the point forecast only.
        non_negative: Whether values cannot be negative, such as sales: forecasts below 0 become 0.
        point: The point forecast: "median" or "mean".
        id_column: Column of ids in long form.
        time_column: Column of times in long form.
        value_column: Column of values in long form.
        model: Model name; "" takes the server's default.
        version: Model version; None takes the newest.
        timeout_s: Seconds for each RPC, retries included; None takes the client's. More than 500 series take several
            RPCs, one after the other, all to one version.
        request_id: The RPCs' name in the server's log; None draws one for each.

    Returns:
        One forecast per series, in order (in long form: of their first rows), with model and digest.

    Raises:
        MuserveError: As `muserve.errors` lists them; InvalidRequestError says where the data is wrong.
    """
    fields, options = Fields(), forecast_pb2.ForecastRequest()
    columns = Columns(id_column, time_column, value_column)
    fields.fill(options, non_negative=non_negative, model=model, horizon=horizon, quantiles=quantiles, version=version)
    options.frequency = read_frequency(fields, frequency)  # type: ignore[assignment]
    options.point = _point(fields, point)
    read = _read(fields, series, options.frequency, columns)
    fields.check()
    forecasts, info = yield from _send(options, read, timeout_s, request_id)
    return Forecasts(forecasts, info, point, columns)


def _send(
    options: forecast_pb2.ForecastRequest, series: Sequence[Series], timeout_s: float | None, request_id: str | None
) -> Flow[tuple[tuple[Forecast, ...], Info]]:
    """Sends as many RPCs as the series take."""
    client: ClientOptions = yield OPTIONS
    infos: list[Info] = []
    forecasts: list[Forecast] = []
    max_bytes = client.max_message_mib * 2**20 // 2  # the other half is room for what is only estimated
    for start, part in _parts(series, options, max_bytes):
        request = forecast_pb2.ForecastRequest()
        request.CopyFrom(options)
        request.series.extend(one.newest() for one in part)
        if infos:  # all ask for the version that answered the first
            request.model, request.version = infos[0].model, infos[0].version
        try:
            response = yield Rpc(FORECAST, request, timeout_s=timeout_s, request_id=request_id)
        except InvalidRequestError as failure:
            raise _counted(start, part, failure) from failure.__cause__
        infos.append(_checked(response, part, infos[:1]))
        forecasts += [read_forecast(one, answer) for one, answer in zip(part, response.forecasts, strict=True)]
    return tuple(forecasts), _joined(infos)


def _point(fields: Fields, point: Any) -> forecast_pb2.PointForecast:
    kind = fields.text("point", point)
    if kind and kind not in _POINTS:
        fields.refuse("point", f"is {kind!r}; {nearest(kind, list(_POINTS))}")
    return _POINTS.get(kind, forecast_pb2.POINT_FORECAST_UNSPECIFIED)


def _read(fields: Fields, series: Any, frequency: int, columns: Columns) -> list[Series]:
    """Reads the series; the fields get what cannot be sent, and where it stands."""
    for name, column in (("id", columns.id), ("time", columns.time), ("value", columns.value)):
        fields.text(f"{name}_column", column)
    try:
        return read_series(series, frequency=frequency, columns=columns)
    except InvalidRequestError as error:
        for violation in error.violations:
            fields.refuse(violation.field, violation.description)
        return []


def _parts(
    series: Sequence[Series], options: forecast_pb2.ForecastRequest, max_bytes: int
) -> Iterator[tuple[int, Sequence[Series]]]:
    """Yields the series of each RPC, with the index of the first: as many as fit into messages, at least one."""
    numbers = 1 + len(options.quantiles)
    answer = options.horizon * (numbers * _VALUE_BYTES + _TIME_BYTES) + numbers * _EXTRA_BYTES
    start = sent = received = 0
    for index, one in enumerate(series):
        more_sent, more_received = one.newest().ByteSize() + _EXTRA_BYTES, answer + len(one.message.id.encode())
        is_full = max(sent + more_sent, received + more_received) > max_bytes or index - start == _MAX_SERIES
        if index > start and is_full:
            yield start, series[start:index]
            start, sent, received = index, 0, 0
        sent, received = sent + more_sent, received + more_received
    yield start, series[start:]


def _checked(response: forecast_pb2.ForecastResponse, series: Sequence[Series], first: Sequence[Info]) -> Info:
    """Reads who answered.

    Raises:
        InternalError: Not every series was answered, or another bundle answered than the first time.
    """
    info = read_info(response.info)
    if len(response.forecasts) != len(series):
        raise InternalError(
            f"{len(series)} series were answered with {len(response.forecasts)} forecasts",
            request_id=info.request_id,
        )
    for before in first:
        if info.digest != before.digest:
            raise InternalError(
                f"{before.model}/{before.version} is another bundle on another replica ({before.digest[:12]}, "
                f"{info.digest[:12]}); see: muserve verify",
                request_id=info.request_id,
            )
    return info


def _counted(start: int, series: Sequence[Series], failure: InvalidRequestError) -> InvalidRequestError:
    """Lets a refusal count series and values as the caller does."""
    if not (start or any(one.left_out for one in series)):
        return failure

    def index(match: re.Match[str]) -> str:
        place = int(match["series"])
        left_out = sum(one.left_out for one in series[place : place + 1])
        value = f".values[{int(match['value']) + left_out}]" if match["value"] else ""
        return f"{match['before']}series[{start + place}]{value}"

    violations = [FieldViolation(_INDEX.sub(index, one.field), one.description) for one in failure.violations]
    message = _INDEX.sub(index, failure.message)
    return InvalidRequestError(message, violations=violations, request_id=failure.request_id)


def _joined(infos: Sequence[Info]) -> Info:
    timings = [info.timings for info in infos]
    total = Timings(
        sum(part.queue_s for part in timings),
        sum(part.compute_s for part in timings),
        sum(part.encode_s for part in timings),
    )
    return replace(infos[0], timings=total, batch_rows=max(info.batch_rows for info in infos))
