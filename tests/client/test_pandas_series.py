"""A pandas Series in, the same kind of times out: every form of index, from a real server."""

from __future__ import annotations

import datetime
import math
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import pytest

from muserve.v1 import forecast_pb2
from muserve_client import Client, InvalidRequestError
from tests.client.conftest import Served
from tests.client.fakes import call, echo, fake_server
from tests.client.tables import days, ds, forecast, sent, values

NAN = math.nan


@pytest.mark.parametrize(
    ("index", "frequency", "expected"),
    [
        (pd.date_range("2023-11-30", periods=3, freq="ME"), "monthly", days("2024-02-29", "2024-03-31")),
        (pd.date_range("2023-11-01", periods=3, freq="MS"), "monthly", days("2024-02-01", "2024-03-01")),
        (pd.DatetimeIndex(["2023-11-15", "2023-12-15", "2024-01-15"]), "monthly", days("2024-02-15", "2024-03-15")),
        (pd.date_range("2023-04-30", periods=3, freq="QE-JAN"), "quarterly", days("2024-01-31", "2024-04-30")),
        (pd.date_range("2021-12-31", periods=3, freq="YE"), "yearly", days("2024-12-31", "2025-12-31")),
        (pd.date_range("2024-02-04", periods=3, freq="W-SUN"), "weekly", days("2024-02-25", "2024-03-03")),
        (pd.date_range("2024-02-26", periods=3, freq="D"), "daily", days("2024-02-29", "2024-03-01")),
        (pd.date_range("2024-02-28 21:00", periods=3, freq="h"), "hourly", days("2024-02-29", "2024-02-29 01:00")),
        (pd.DatetimeIndex(["2024-02-26", "2024-02-27", "2024-02-28"]), "daily", days("2024-02-29", "2024-03-01")),
        (pd.DatetimeIndex(["1899-12-29", "1899-12-30", "1899-12-31"]), "daily", days("1900-01-01", "1900-01-02")),
    ],
)  # fmt: skip
def test_timestamps_go_on_and_tell_the_frequency(
    forecaster: Served, index: pd.DatetimeIndex, frequency: str, expected: list[pd.Timestamp]
) -> None:
    found = forecast(forecaster, pd.Series([1, 2, 3], index=index, name="sales"))
    assert (found[0].id, found[0].frequency, found[0].point) == ("sales", frequency, (4.0, 5.0))
    assert ds(found) == expected
    assert found[0].ds == [time.to_pydatetime() for time in expected]
    assert found[0].times == tuple(time.tz_localize("UTC").to_pydatetime() for time in expected)
    assert found.to_frame()["ds"].dtype == index.dtype


def test_the_index_says_the_frequency_where_its_times_could_not() -> None:
    two = pd.Series([1, 2], index=pd.date_range("2024-01-31", periods=2, freq="ME"))
    assert sent(two)[0].frequency == forecast_pb2.FREQUENCY_MONTHLY
    assert sent(pd.Series([1, 2], index=pd.DatetimeIndex(two.index, freq=None)))[0].frequency == 0
    assert sent(pd.Series([1, 2], index=pd.date_range("2024-01-31", periods=2, freq="15min")))[0].frequency == 0
    assert sent(two, frequency="daily")[0].frequency == forecast_pb2.FREQUENCY_DAILY


@pytest.mark.parametrize(
    ("index", "frequency", "expected"),
    [
        (pd.period_range("2023-11", periods=3, freq="M"), "monthly", ["2024-02", "2024-03"]),
        (pd.period_range("2023Q2", periods=3, freq="Q"), "quarterly", ["2024Q1", "2024Q2"]),
        (pd.period_range("2023Q2", periods=3, freq="Q-MAR"), "quarterly", ["2024Q1", "2024Q2"]),
        (pd.period_range("2021", periods=3, freq="Y"), "yearly", ["2024", "2025"]),
        (pd.period_range("2024-02-04", periods=3, freq="W"), "weekly", ["2024-02-19", "2024-02-26"]),
        (pd.period_range("2024-02-26", periods=3, freq="D"), "daily", ["2024-02-29", "2024-03-01"]),
        (pd.PeriodIndex(["2024-02", "2023-10", "2023-11"], freq="M"), "monthly", ["2024-03", "2024-04"]),
        (pd.period_range("2023-01", periods=3, freq="3M"), "quarterly", ["2023-10", "2024-01"]),
    ],
)  # fmt: skip
def test_periods_go_on_as_periods(
    forecaster: Served, index: pd.PeriodIndex, frequency: str, expected: list[str]
) -> None:
    found = forecast(forecaster, pd.Series([3, 1, 2], index=index))
    assert found[0].frequency == frequency
    assert ds(found) == list(pd.PeriodIndex(expected, freq=index.freq))
    assert found.to_frame()["ds"].dtype == index.dtype
    starts = pd.PeriodIndex(expected, freq=index.freq).to_timestamp().tz_localize("UTC")
    assert found[0].times == tuple(start.to_pydatetime() for start in starts)


def test_periods_are_named_by_the_servers_times(forecaster: Served) -> None:
    days_of_weeks = pd.Series([1, 2, 3], index=pd.period_range("2024-01-01", periods=15, freq="D")[::7])
    assert ds(forecast(forecaster, days_of_weeks, frequency="weekly")) == [
        pd.Period("2024-01-22", "D"),
        pd.Period("2024-01-29", "D"),
    ]
    months = pd.Series([1, 2, 3], index=pd.period_range("2023-01", periods=7, freq="M")[::3])
    assert ds(forecast(forecaster, months, frequency="quarterly")) == [
        pd.Period("2023-10", "M"),
        pd.Period("2024-01", "M"),
    ]


@pytest.mark.parametrize(
    ("index", "frequency", "coming", "words"),
    [
        (pd.period_range("2010Q1", periods=40, freq="Q"), "monthly", days("2019-11-01"), "two monthly steps would"),
        (pd.period_range("2010Q1", periods=40, freq="Q"), "monthly", days("2020-01-01", "2020-03-01"), "on 2020Q1"),
        (pd.period_range("2024-01-01", periods=4, freq="D"), "hourly", days("2024-01-04 01:00"), "fall on 2024-01-04"),
        (pd.period_range("2024-01-01", periods=4, freq="2h"), "hourly", days("2024-01-01 07:00"), "2024-01-01 06"),
    ],
)  # fmt: skip
def test_periods_longer_than_the_steps_are_refused(
    index: pd.PeriodIndex, frequency: str, coming: list[pd.Timestamp], words: str
) -> None:
    def answer(request: forecast_pb2.ForecastRequest, *_: Any) -> forecast_pb2.ForecastResponse:
        response = echo(request)
        response.forecasts[0].frequency = request.frequency
        response.forecasts[0].times_unix_s.extend(int(time.timestamp()) for time in coming)
        return response

    series = pd.Series(range(len(index)), index=index, name="x")
    with fake_server(answer) as server, pytest.raises(InvalidRequestError) as caught:
        call(Client, server.target, "forecast", series, len(coming), frequency=frequency)
    assert [violation.field for violation in caught.value.violations] == ["frequency"]
    description = caught.value.violations[0].description
    assert f"the periods '{index.freqstr}', too long for the frequency '{frequency}'" in description
    assert words in description


@pytest.mark.parametrize("freq", ["B", "2B"])
@pytest.mark.filterwarnings("ignore:Period:FutureWarning")
def test_periods_of_business_days_are_refused_with_ways_out(forecaster: Served, freq: str) -> None:
    series = pd.Series(range(60), index=pd.period_range("2024-01-01", periods=60, freq=freq))
    for given in (series, series.rename_axis("ds").reset_index(name="y")):
        with pytest.raises(InvalidRequestError, match=f"are business days \\('{freq}'\\), .*weekends count as missing"):
            forecast(forecaster, given)
    assert forecast(forecaster, series.tolist(), frequency="yearly")  # the values alone have no days


def test_periods_are_sent_by_their_starts() -> None:
    (series,) = sent(pd.Series([1, 2], index=pd.PeriodIndex(["2024-03", "2024-01"], freq="M"), name="x"))
    assert [pd.Timestamp(time, unit="s") for time in series.times_unix_s] == days("2024-01-01", "2024-03-01")
    assert values(series) == [2, 1]


def test_hours_of_a_zone_are_sent_in_utc_and_come_back_in_the_zone(forecaster: Served) -> None:
    index = pd.date_range("2024-03-30 23:00", periods=3, freq="h", tz="Europe/Berlin")
    series = pd.Series([1, 2, 3], index=index)
    assert [pd.Timestamp(time, unit="s") for time in sent(series)[0].times_unix_s] == days(
        "2024-03-30 22:00", "2024-03-30 23:00", "2024-03-31 00:00"
    )
    found = forecast(forecaster, series)
    assert ds(found) == days("2024-03-31 03:00", "2024-03-31 04:00", zone="Europe/Berlin")  # no 02:00 on this day
    assert found.to_frame()["ds"].dtype == index.dtype
    assert found[0].times == (
        datetime.datetime(2024, 3, 31, 1, tzinfo=datetime.UTC),
        datetime.datetime(2024, 3, 31, 2, tzinfo=datetime.UTC),
    )
    assert found[0].ds[0].utcoffset() == datetime.timedelta(hours=2)


@pytest.mark.parametrize(
    ("first", "freq", "expected"),
    [
        ("2024-03-28", "D", ("2024-03-31", "2024-04-01", "2024-04-02")),
        ("2024-08-31", "ME", ("2024-11-30", "2024-12-31", "2025-01-31")),
        ("2024-01-01", "MS", ("2024-04-01", "2024-05-01", "2024-06-01")),
        ("2024-03-10", "W", ("2024-03-31", "2024-04-07", "2024-04-14")),
    ],
)
def test_days_of_a_zone_stay_its_days_when_the_clocks_change(
    forecaster: Served, first: str, freq: str, expected: tuple[str, ...]
) -> None:
    index = pd.date_range(first, periods=3, freq=freq, tz="Europe/Berlin")
    found = forecast(forecaster, pd.Series([1, 2, 3], index=pd.DatetimeIndex(index, freq=None)), 3)
    assert ds(found) == days(*expected, zone="Europe/Berlin")
    assert found[0].times is not None
    assert list(found[0].times) == days(*expected, zone="Europe/Berlin")
    assert list(found[0].history.names(found[0].history.positions)) == list(index)


def test_days_in_utc_stay_days_in_utc(forecaster: Served) -> None:
    index = pd.date_range("2024-03-30", periods=3, freq="D", tz="UTC").tz_convert("Europe/Berlin")
    found = forecast(forecaster, pd.Series([1, 2, 3], index=index))
    assert [time.isoformat() for time in ds(found)] == ["2024-04-02T02:00:00+02:00", "2024-04-03T02:00:00+02:00"]


def test_a_fixed_offset_is_a_zone(forecaster: Served) -> None:
    index = pd.DatetimeIndex(["2024-01-01T00:00+05:30", "2024-01-02T00:00+05:30", "2024-01-03T00:00+05:30"])
    found = forecast(forecaster, pd.Series([1, 2, 3], index=index))
    assert [time.isoformat() for time in ds(found)] == ["2024-01-04T00:00:00+05:30", "2024-01-05T00:00:00+05:30"]


def test_whole_numbers_go_on(forecaster: Served) -> None:
    assert ds(forecast(forecaster, pd.Series([1, 2, 3]), frequency="D")) == [3, 4]
    assert ds(forecast(forecaster, pd.Series([1, 2, 3], index=[10, 11, 12]), frequency="D")) == [13, 14]
    assert ds(forecast(forecaster, pd.Series(range(9))[::3], frequency="D")) == [9, 12]
    assert ds(forecast(forecaster, pd.Series([3, 1, 2], index=[2002, 2000, 2001]), frequency="Y")) == [2003, 2004]
    years = pd.Series([1, 2, 3, 4.5], index=pd.Index([2000, 2001, 2003, 2004], name="year"))
    assert values(sent(years)[0]) == [1, 2, None, 3, 4.5]
    assert ds(forecast(forecaster, years, frequency="yearly")) == [2005, 2006]


def test_an_index_with_gaps_that_was_not_meant_is_refused() -> None:
    with pytest.raises(InvalidRequestError, match=r"with a gap before 4\. .*reset_index\(drop=True\)"):
        sent(pd.Series([1, 2, 3, 4], index=[0, 1, 4, 2]))


def test_a_series_is_sorted_and_text_is_read(forecaster: Served) -> None:
    found = forecast(forecaster, pd.Series([3, 1, 2], index=["2024-01-03", "2024-01-01", "2024-01-02"]))
    assert found[0].point[0] == 4
    assert ds(found) == days("2024-01-04", "2024-01-05")


# Values


@pytest.mark.parametrize(
    "column",
    [
        pd.array([1, None, 3], dtype="Int64"),
        pd.array([1.0, None, 3.0], dtype="Float32"),
        pd.array([1.0, None, 3.0], dtype="float64[pyarrow]"),
        np.array([1, np.nan, 3]),
        pd.array(["1", None, "3"], dtype="object"),
        pd.array([Decimal(1), None, Decimal(3)], dtype="object"),
        pd.array(["1", None, " 3"], dtype="string"),
        pd.Series([1, 3, 3]).where([True, False, True]).to_numpy(),
    ],
    ids=lambda column: str(column.dtype),
)
def test_numbers_of_every_type(column: Any) -> None:
    frame = pd.DataFrame({"ds": [1, 2, 3], "y": column})
    assert values(sent(frame)[0]) == values(sent(frame.set_index("ds")["y"])[0]) == [1, None, 3]
