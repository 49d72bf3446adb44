"""pandas tables in, pandas tables out: long and wide, from a real server."""

from __future__ import annotations

import datetime
import math
from typing import Any

import pandas as pd
import pytest

from muserve_client import Client, InvalidRequestError
from tests.client.conftest import Served
from tests.client.fakes import call, echo, fake_server
from tests.client.tables import days, ds, forecast, sent, values

NAN = math.nan


# Long form

LONG = pd.DataFrame(
    {
        "unique_id": ["b", "b", "b", "a", "a", "a", "a"],
        "ds": [*days("2024-01-31", "2024-02-29", "2024-03-31"), *pd.date_range("2024-01-01", periods=4)],
        "y": [1.0, 2.0, 3.0, 7.0, NAN, 8.0, 9.0],
        "price": [1.0] * 7,
    }
)  # fmt: skip


def test_a_long_frame(forecaster: Served) -> None:
    found = forecast(forecaster, LONG)
    assert [(one.id, one.frequency) for one in found] == [("b", "monthly"), ("a", "daily")]
    expected = pd.DataFrame(
        {
            "unique_id": ["b", "b", "a", "a"],
            "ds": pd.to_datetime(["2024-04-30", "2024-05-31", "2024-01-05", "2024-01-06"]).as_unit(LONG["ds"].dt.unit),
            "yhat": [4.0, 5.0, 10.0, 11.0],
            "q0.1": [3.0, 3.0, 9.0, 9.0],
            "q0.9": [5.0, 7.0, 11.0, 13.0],
        }
    )
    pd.testing.assert_frame_equal(found.to_frame(), expected)


def test_rows_may_stand_in_any_order() -> None:
    whole = sent(LONG)
    mixed = sent(LONG.sample(frac=1, random_state=3))
    assert sorted(str(one) for one in whole) == sorted(str(one) for one in mixed)
    assert [one.id for one in whole] == ["b", "a"]  # of their first rows


def test_columns_may_have_other_names(forecaster: Served) -> None:
    other = LONG.rename(columns={"unique_id": "store", "ds": "day", "y": "sales"})
    found = forecast(forecaster, other, id_column="store", time_column="day", value_column="sales", quantiles=())
    assert list(found.to_frame().columns) == ["store", "day", "yhat"]
    merged = other.merge(found.to_frame(), how="outer", on=["store", "day"])
    assert len(merged) == len(other) + 4


def test_without_ids_a_long_frame_is_one_series(forecaster: Served) -> None:
    one = LONG[LONG["unique_id"] == "a"].drop(columns="unique_id")
    assert forecast(forecaster, one)[0].id == "y"
    other = one.rename(columns={"y": "sales"})
    assert forecast(forecaster, other, value_column="sales")[0].id == "sales"


def test_ids_and_times_may_be_in_the_index() -> None:
    whole = [str(one) for one in sent(LONG)]
    assert [str(one) for one in sent(LONG.set_index("unique_id"))] == whole
    assert [str(one) for one in sent(LONG.set_index(["unique_id", "ds"]))] == whole


@pytest.mark.parametrize(
    "ids",
    [[2, 10], [2.5, 1.5], ["x", "y"], [("a", 1), ("b", 2)], [datetime.date(2024, 1, 1), datetime.date(2023, 1, 1)]],
)
def test_ids_come_back_as_they_were(ids: list[Any]) -> None:
    frame = pd.DataFrame({"unique_id": pd.Series([ids[0], ids[0], ids[1]]), "ds": [1, 2, 1], "y": [1, 2, 3]})
    assert [one.id for one in sent(frame)] == [str(one) for one in ids]
    with fake_server(lambda request, *_: echo(request)) as server:
        found = call(Client, server.target, "forecast", frame, 1)
        categories = call(Client, server.target, "forecast", frame.astype({"unique_id": "category"}), 1)
    assert [one.id for one in found] == [one.id for one in categories] == ids
    assert list(found.to_frame()["unique_id"]) == ids


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        (["2024-01-31", "2024-02-29", "2024-03-31"], days("2024-04-30")),
        (["2024-01", "2024-02", "2024-03"], days("2024-04-01")),
        (["31.01.2024", "29.02.2024", "31.03.2024"], days("2024-04-30")),
        (["01.01.2024", "01.02.2024", "01.03.2024"], days("2024-04-01")),  # a day stands before dots
        (["01/01/2024", "02/01/2024", "03/01/2024"], days("2024-04-01")),  # a month before slashes,
        (["12/01/2024", "13/01/2024", "14/01/2024"], days("2024-01-15")),  # unless it cannot be one
        (["01/31/2024", "02/29/2024", "03/31/2024"], days("2024-04-30")),
        (["Jan 2024", "Feb 2024", "Mar 2024"], days("2024-04-01")),
        (["2024-01-01 00:00", "2024-01-02", " 2024-01-03 "], days("2024-01-04")),
        (["2024-01-01T00:00:00Z", "2024-01-02T00:00:00Z", "2024-01-03T00:00:00Z"], days("2024-01-04", zone="UTC")),
        (["2024-01-01T00+01:00", "2024-01-02T00+01:00", "2024-01-02T23Z"], days("2024-01-03T23:00", zone="UTC")),
        (["2023Q4", "2024Q1", "2024Q2"], [pd.Period("2024Q3")]),
        (["2023-Q4", "2024-Q1", "2024-Q2"], [pd.Period("2024Q3")]),
        ([datetime.date(2024, 1, 1), datetime.date(2024, 1, 2), datetime.date(2024, 1, 3)], days("2024-01-04")),
        ([datetime.datetime(2024, 1, day, 6) for day in (1, 2, 3)], days("2024-01-04 06:00")),
        ([20240101, 20240102, 20240103], days("2024-01-04")),
        ([202401, 202402, 202403], days("2024-04-01")),
        (["202311", "202312", "202401"], days("2024-02-01")),
        ([2021, 2022, 2023], [2024]),
        (["2021", "2022", "2023"], [2024]),
        ([1.0, 2.0, 3.0], [4]),
        ([200001, 200012, 200023], [200034]),
        (pd.period_range("2024-01", periods=3, freq="M"), [pd.Period("2024-04")]),
        (list(pd.period_range("2024-01", periods=3, freq="M")), [pd.Period("2024-04")]),
        (pd.Categorical(["2024-01", "2024-02", "2024-03"]), days("2024-04-01")),
        (pd.array(["2024-01-01", "2024-01-02", "2024-01-03"], dtype="timestamp[us][pyarrow]"), days("2024-01-04")),
    ],
    ids=str,
)  # fmt: skip
def test_times_of_every_form(forecaster: Served, times: Any, expected: list[Any]) -> None:
    frame = pd.DataFrame({"ds": times, "y": [1, 2, 3]})
    has_calendar = not isinstance(expected[0], int)
    found = forecast(forecaster, frame, 1, frequency=None if has_calendar else "yearly")
    assert ds(found) == expected
    wide = forecast(forecaster, frame.set_index("ds"), 1, frequency=None if has_calendar else "yearly")
    assert ds(wide) == expected


def test_gaps_between_whole_numbers_are_missing_values(forecaster: Served) -> None:
    frame = pd.DataFrame({"unique_id": [*"aaaabb"], "ds": [10, 20, 50, 40, 30, 40], "y": [1, 2, 5, 4, 7, 8]})
    assert [values(one) for one in sent(frame)] == [[1, 2, None, 4, 5], [7, 8]]
    found = forecast(forecaster, frame[frame["unique_id"] == "a"], 2, frequency="daily")
    assert ds(found) == [60, 70]


def test_a_gap_in_timestamps_is_left_to_the_server(forecaster: Served) -> None:
    gap = pd.Series(range(8), index=pd.date_range("2024-01-01", periods=8)).drop(pd.Timestamp("2024-01-03"))
    assert len(sent(gap)[0].values) == 7
    assert ds(forecast(forecaster, gap)) == days("2024-01-09", "2024-01-10")


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        ({"unique_id": ["a", "b", "b"], "ds": ["2024"] * 3, "y": [1, 2, 3]}, "'b' has '2024' twice in .* 'ds': row 2"),
        ({"ds": [3, 1, 3], "y": [1, 2, 3]}, "'y' has 3 twice in column 'ds': row 2"),
        ({"ds": ["2024-01-01", None], "y": [1, 2]}, "column 'ds', row 1 has no time"),
        ({"ds": ["2024-01-01", "soon"], "y": [1, 2]}, "'ds', row 1 is 'soon'; allowed: dates such as 2024-01-31"),
        ({"ds": ["31.01.2024", "30.02.2024"], "y": [1, 2]}, "column 'ds', row 1 is '30.02.2024'"),
        ({"ds": [1.0, 2.5], "y": [1, 2]}, "column 'ds', row 1 is 2.5; numbers that stand for times must be whole"),
        ({"ds": [1.0, math.inf], "y": [1, 2]}, "row 1 is inf"),
        ({"ds": [True, False], "y": [1, 2]}, "column 'ds' holds boolean; allowed for times: dates"),
        ({"ds": [0, 1, 10**12], "y": [1, 2, 3]}, r"1000000000001 steps; if they are timestamps, give pd\.to_datetime"),
        ({"ds": [1, 2], "y": ["1", "many"]}, "column 'y', row 1 is 'many'; allowed: numbers"),
        ({"ds": [1, 2], "y": pd.to_datetime(["2024", "2025"])}, "column 'y' holds datetime64"),
        ({"ds": [1, 2], "y": [1j, 2]}, "column 'y' holds complex"),
        ({"unique_id": ["a", None], "ds": [1, 2], "y": [1, 2]}, "column 'unique_id', row 1 has no id"),
        ({"unique_id": ["a"], "date": [1], "y": [1]}, "has no column 'ds'; valid: date, unique_id, y"),
        ({"unique_id": ["a"], "ds": [1], "sales": [1]}, r"no column 'y'; valid: .* \(name it by value_column\)"),
        ({"id": ["a"], "date": ["2024"], "value": [1]}, "column 'id', row 0 is 'a'"),
        ({"date": pd.to_datetime(["2024"]), "value": [1]}, "needs the columns unique_id, ds and y, or"),
        ({"unique_id": [], "ds": [], "y": []}, "has no rows"),
    ],
)  # fmt: skip
def test_wrong_frames_are_refused_with_the_place(frame: dict[str, Any], words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words) as caught:
        call(Client, "127.0.0.1:1", "forecast", pd.DataFrame(frame), 1)
    assert [violation.field for violation in caught.value.violations] == ["series"]


def test_wrong_names_are_refused_with_the_nearest() -> None:
    with pytest.raises(InvalidRequestError, match=r"no column 'stor'; did you mean 'store'\? \(name it by id_column\)"):
        call(Client, "127.0.0.1:1", "forecast", LONG.rename(columns={"unique_id": "store"}), 1, id_column="stor")
    twice = pd.concat([LONG, LONG[["y"]]], axis=1)
    with pytest.raises(InvalidRequestError, match="two columns 'y'"):
        call(Client, "127.0.0.1:1", "forecast", twice, 1)


# Wide form

WIDE = pd.DataFrame(
    {"north": [1.0, 2.0, 3.0, 4.0], "south": [NAN, 5.0, 6.0, NAN], 7: [7, 8, 9, 10]},
    index=pd.date_range("2023-12-31", periods=4, freq="ME"),
)


def test_a_wide_frame(forecaster: Served) -> None:
    found = forecast(forecaster, WIDE[["north", 7]])
    assert [one.id for one in found] == ["north", 7]
    frame = found.to_frame()
    assert list(frame["ds"][:2]) == list(frame["ds"][2:]) == days("2024-04-30", "2024-05-31")
    wide = frame.pivot(index="ds", columns="unique_id", values="yhat")
    assert wide["north"].tolist() == [5.0, 6.0]
    assert wide[7].tolist() == [11.0, 12.0]


def test_columns_of_a_wide_frame_share_their_times() -> None:
    north, south, seven = sent(WIDE[::-1])
    assert (north.id, south.id, seven.id) == ("north", "south", "7")
    assert values(south) == [None, 5, 6, None]
    assert list(north.times_unix_s) == list(south.times_unix_s)
    assert [values(one) for one in sent(WIDE.reset_index(drop=True))] == [values(north), values(south), values(seven)]
    named = WIDE.rename_axis("ds")  # alone it does not make a frame long
    assert [str(one) for one in sent(named)] == [str(one) for one in sent(WIDE)]


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (pd.DataFrame({"a": [1, 2]}, index=pd.DatetimeIndex(["2024-01-01"] * 2)), "00:00:00 in its index twice"),
        (pd.DataFrame({"a": [1, 2]}, index=["x", "2024-01-01"]), "row 0 of the index is 'x'"),
        (pd.DataFrame({"a": [1, 2]}, index=pd.DatetimeIndex(["2024-01-01", None])), "row 1 of the index has no time"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "two columns 'a'"),
        (pd.DataFrame({"a": [1, 2]}, index=[[1, 2], [3, 4]]), "several levels"),
        (pd.DataFrame(index=[1, 2]), "has no values"),
        (pd.DataFrame(), "has no values"),
        (pd.Series([], dtype=float), "has no values"),
        (pd.Series([1, 2], index=[1, 1]), "has 1 in its index twice"),
        (pd.Series(["a", 2], name="n"), "column 'n', row 0 is 'a'"),
        (pd.Series([1, 2], index=pd.to_timedelta([1, 2])), "the index holds timedelta"),
    ],
)  # fmt: skip
def test_wrong_indexes_are_refused(frame: Any, words: str) -> None:
    with pytest.raises(InvalidRequestError, match=words):
        call(Client, "127.0.0.1:1", "forecast", frame, 1)


def test_axes_of_several_kinds_share_a_table(forecaster: Served) -> None:
    dated = pd.Series([1, 2, 3], index=pd.date_range("2024-01-01", periods=3))
    found = forecast(forecaster, {"dated": dated, "counted": [1, 2, 3]}, 1, frequency="daily")
    assert list(found.to_frame()["ds"]) == [datetime.datetime(2024, 1, 4), 3]
