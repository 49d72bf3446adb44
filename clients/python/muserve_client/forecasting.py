"""The calls behind `forecast`: the request, cut into as many calls as it needs, and their answers joined again."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from muserve.configuration import nearest
from muserve.errors import FieldViolation, InternalError, InvalidRequestError, MuserveError
from muserve.v1 import forecast_pb2
from muserve_client.answers import Info, Timings, read_info
from muserve_client.core import Method, Rpc
from muserve_client.fields import Fields
from muserve_client.forecasts import Forecast, Forecasts, read_forecast
from muserve_client.frequencies import read_frequency
from muserve_client.series import Columns, Series, read_series

__all__ = ["FORECAST", "ForecastJob", "Part", "forecast_job"]

FORECAST = Method(
    "/muserve.v1.ForecastService/Forecast",
    forecast_pb2.ForecastRequest.SerializeToString,
    forecast_pb2.ForecastResponse.FromString,
)
_POINTS = {"median": forecast_pb2.POINT_FORECAST_MEDIAN, "mean": forecast_pb2.POINT_FORECAST_MEAN}
_MOST_SERIES = 500  # half of what a server takes, so that others' rows fit into its queue too
_VALUE_BYTES = 8
_TIME_BYTES = 10  # at most
_EXTRA_BYTES = 64  # of each series and each of its quantiles: tags, lengths, levels
_INDEX = re.compile(r"(?P<before>^|; )series\[(?P<series>\d+)\](\.values\[(?P<value>\d+)\])?")


@dataclass(frozen=True)
class Part:
    """The answer of one call."""

    info: Info
    """Model, digest and timings."""
    forecasts: tuple[Forecast, ...]
    """One a series of the call."""


class ForecastJob:
    """What a caller asked for, as calls to be made one after the other."""

    def __init__(
        self,
        series: Sequence[Series],
        options: forecast_pb2.ForecastRequest,
        *,
        columns: Columns,
        max_message_mib: int,
    ) -> None:
        """Stores what is to be done.

        Args:
            series: All series.
            options: The request without series.
            columns: Names for the tables of the result.
            max_message_mib: Largest message, both ways, in MiB.
        """
        self._series = series
        self._options = options
        self._columns = columns
        self._max_bytes = max_message_mib * 2**20 // 2  # the other half is room for what is only guessed
        self._parts: list[Part] = []

    def calls(self) -> Iterator[Rpc[Part]]:
        """Yields call after call; take each answer before the next. All ask for the version that answered the first."""
        start = 0
        while start < len(self._series):
            count = self._fitting(start)
            request = forecast_pb2.ForecastRequest()
            request.CopyFrom(self._options)
            if self._parts:
                request.model, request.version = self._parts[0].info.model, self._parts[0].info.version
            yield _rpc(request, self._series[start : start + count], start)
            start += count

    def take(self, part: Part) -> None:
        """Takes the answer of a call.

        Raises:
            InternalError: It comes from another bundle than the first.
        """
        self._parts.append(part)
        first, info = self._parts[0].info, part.info
        if info.digest != first.digest:
            raise InternalError(
                f"{first.model}/{first.version} is another bundle on another replica ({first.digest[:12]}, "
                f"{info.digest[:12]}); see: muserve verify",
                request_id=info.request_id,
            )

    def result(self) -> Forecasts:
        """Joins the answers."""
        forecasts = tuple(forecast for part in self._parts for forecast in part.forecasts)
        point = next(name for name, number in _POINTS.items() if number == self._options.point)
        return Forecasts(forecasts, _joined([part.info for part in self._parts]), point, self._columns)

    def _fitting(self, start: int) -> int:
        """Counts the series from an index on that go into one call: at least one."""
        numbers = 1 + len(self._options.quantiles)
        answer = self._options.horizon * (numbers * _VALUE_BYTES + _TIME_BYTES) + numbers * _EXTRA_BYTES
        sent, received = 0, 0
        for count, series in enumerate(self._series[start : start + _MOST_SERIES]):
            sent += series.newest().ByteSize() + _EXTRA_BYTES
            received += answer + len(series.message.id.encode())
            if count and max(sent, received) > self._max_bytes:
                return count
        return min(_MOST_SERIES, len(self._series) - start)


def forecast_job(
    series: Any,
    horizon: Any,
    *,
    frequency: Any,
    quantiles: Any,
    non_negative: bool,
    point: Any,
    columns: Columns,
    model: Any,
    version: Any,
    max_message_mib: int,
) -> ForecastJob:
    """Reads the arguments of `Client.forecast`.

    Raises:
        InvalidRequestError: Names the arguments that no request can carry.
    """
    fields, options = Fields(), forecast_pb2.ForecastRequest(non_negative=bool(non_negative))
    options.model = fields.text("model", model)
    options.horizon = fields.whole("horizon", horizon, bits=32)
    options.frequency = read_frequency(fields, frequency)  # type: ignore[assignment]
    options.quantiles.extend(fields.reals("quantiles", () if quantiles is None else quantiles))
    if version is not None:
        options.version = fields.whole("version", version, bits=32)
    kind = fields.text("point", point)
    if kind and kind not in _POINTS:
        fields.refuse("point", f"is {kind!r}; {nearest(kind, list(_POINTS))}")
    options.point = _POINTS.get(kind, forecast_pb2.POINT_FORECAST_UNSPECIFIED)
    for name, column in (("id", columns.id), ("time", columns.time), ("value", columns.value)):
        fields.text(f"{name}_column", column)
    found: list[Series] = []
    try:
        found = read_series(series, frequency=options.frequency, columns=columns)
    except InvalidRequestError as error:
        for violation in error.violations:
            fields.refuse(violation.field, violation.description)
    fields.check()
    return ForecastJob(found, options, columns=columns, max_message_mib=max_message_mib)


def _rpc(request: forecast_pb2.ForecastRequest, series: Sequence[Series], start: int) -> Rpc[Part]:
    """Returns the call for some of the series, of which the first has the index `start` among all."""
    request.series.extend(one.newest() for one in series)

    def read(response: forecast_pb2.ForecastResponse) -> Part:
        if len(response.forecasts) != len(series):
            raise InternalError(
                f"{len(series)} series were answered with {len(response.forecasts)} forecasts",
                request_id=response.info.request_id,
            )
        return Part(
            read_info(response.info),
            tuple(read_forecast(one, answer) for one, answer in zip(series, response.forecasts, strict=True)),
        )

    return Rpc(FORECAST, request, read, lambda failure: _counted(start, series, failure))


def _counted(start: int, series: Sequence[Series], failure: MuserveError) -> MuserveError:
    """Lets a refusal count series and values as the caller does."""
    if not isinstance(failure, InvalidRequestError) or not (start or any(one.left_out for one in series)):
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
