"""The command `muserve forecast`: files in every form, tables, files and pictures out."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pandas as pd
import pytest

from muserve_client.cli import main
from tests.client.conftest import Served

MONTHS = pd.date_range("2023-11-30", periods=5, freq="ME")
LONG = pd.DataFrame(
    {"unique_id": ["007"] * 5 + ["NA"] * 5, "ds": [*MONTHS, *MONTHS], "y": [1.0, 2, 3, None, 5, 6, 7, 8, 9, 10]}
)
WIDE = pd.DataFrame({"north": [1, 2, 3, 4, 5], "south": [6.0, 7, 8, 9, 10]}, index=MONTHS)


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, forecaster: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MUSERVE_SERVER", forecaster.target)


def run(text: str) -> int:
    try:
        return main(["forecast", *shlex.split(text)])
    except SystemExit as error:
        return int(error.code or 0)


def saved(text: str) -> list[str]:
    """Forecasts one step into a file; returns its rows."""
    assert run(f"{text} --horizon 1 --out out.csv") == 0
    return Path("out.csv").read_text().splitlines()[1:]


def test_a_table_is_printed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    LONG.to_csv("sales.csv", index=False)
    assert run("sales.csv --horizon 2") == 0
    assert capsys.readouterr().out.splitlines() == [
        "unique_id  ds          yhat  q0.1  q0.9",
        "007        2024-04-30  6     5     7",
        "007        2024-05-31  7     5     9",
        "NA         2024-04-30  11    10    12",
        "NA         2024-05-31  12    10    14",
        "model drift, version 1, 2 series, monthly",
    ]


def test_a_long_table_is_cut_and_what_is_uncertain_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    WIDE.set_axis(pd.date_range("2024-01-07", periods=5, freq="W")).to_csv("x.csv")
    assert run("x.csv --horizon 20") == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 25 + 4
    assert lines[25:] == [
        "… and 16 more rows: --out FILE writes all",
        "model drift, version 1, 2 series, weekly",
        "steps after 6 are rolled out: their quantiles are less certain",
        "the model's support of weekly is experimental",
    ]


def test_files_and_pictures(capsys: pytest.CaptureFixture[str]) -> None:
    LONG.to_parquet("sales.parquet")
    assert run("sales.parquet --horizon 2 --quantiles 0.25 0.5 --out a/x.json --plot a/x.png") == 0
    assert capsys.readouterr().out.splitlines() == [
        "saved a/x.json",
        "saved a/x.png",
        "model drift, version 1, 2 series, monthly",
    ]
    forecasts = json.loads(Path("a/x.json").read_text())["forecasts"]
    assert [list(forecast["quantiles"]) for forecast in forecasts] == [["0.25", "0.5"]] * 2
    assert Path("a/x.png").read_bytes().startswith(b"\x89PNG")
    assert run("sales.parquet --horizon 2 --out x.parquet --plot x.svg") == 0
    assert pd.read_parquet("x.parquet")["unique_id"].tolist() == ["007", "007", "NA", "NA"]
    assert Path("x.svg").read_text().startswith("<?xml")


def test_options_reach_the_server(capsys: pytest.CaptureFixture[str]) -> None:
    Path("x.csv").write_text("day,a\n1,-5\n2,-5\n3,-5\n")
    assert saved("x.csv --frequency monthly --quantiles") == ["a,4,-4.0"]
    assert saved("x.csv --frequency M --non-negative --quantiles") == ["a,4,0.0"]
    assert saved("x.csv --model level --version 1 --quantiles 0.9") == ["a,4,-5.0,-4.0"]
    assert saved("x.csv --frequency monthly --point mean --quantiles")[0].startswith("a,4,-4.")
    assert "model level, version 1" in capsys.readouterr().out


FORMS = {
    "long": LONG.to_csv(index=False),
    "long, of other columns": LONG.assign(price=1, name="x").to_csv(),
    "long, mixed": LONG.iloc[::-1].to_csv(index=False),
    "long, with a byte order mark": "\ufeff" + LONG.to_csv(index=False),
    "long, with blank lines": LONG.to_csv(index=False).replace("\n", "\n\n"),
    "long, by tabs": LONG.to_csv(index=False, sep="\t"),
    "long, by semicolons": LONG.to_csv(index=False, sep=";", decimal=","),
}


@pytest.mark.parametrize("text", FORMS.values(), ids=FORMS)
def test_long_files(text: str) -> None:
    Path("x.csv").write_text(text, encoding="utf-8")
    expected = {"007,2024-04-30,6.0,5.0,7.0", "NA,2024-04-30,11.0,10.0,12.0"}
    assert set(saved("x.csv")) == expected
    assert set(saved("x.csv --ids NA")) == {max(expected)}


@pytest.mark.parametrize(
    ("name", "text", "rows"),
    [
        ("wide", WIDE.to_csv(), ["north,2024-04-30,6.0", "south,2024-04-30,11.0"]),
        ("wide, named", WIDE.to_csv(index_label="ds"), ["north,2024-04-30,6.0", "south,2024-04-30,11.0"]),
        ("two columns", WIDE[["south"]].to_csv(sep="\t"), ["south,2024-04-30,11.0"]),
        ("decimal commas", "t;x\n01.01.2024;1,5\n02.01.2024;2,5\n03.01.2024;3,5\n", ["x,2024-01-04,4.5"]),
        ("no header", "2024-01-01,1\n2024-01-02,2\n2024-01-03,3\n", ["x,2024-01-04,4.0"]),
        ("no header, wide", "2024-01,1,7\n2024-02,2,8\n2024-03,3,9\n", ["1,2024-04-01,4.0", "2,2024-04-01,10.0"]),
        ("times and values", "ds,y\n2024-01-01,1\n2024-01-02,2\n2024-01-03,3\n", ["y,2024-01-04,4.0"]),
        ("quoted", '"ds","y"\n"2024-01-01","1"\n"2024-01-02","2"\n"2024-01-03","3"\n', ["y,2024-01-04,4.0"]),
        ("days in digits", "day,sales\n20240101,1\n20240102,2\n20240103,3\n", ["sales,2024-01-04,4.0"]),
        ("two headings", ",0,1\n2024-01,1,2\n2024-02,2,3\n2024-03,3,4\n", ["0,2024-04-01,4.0", "1,2024-04-01,5.0"]),
        ("a heading", "\n;7\n\n2024-01;1\n2024-02;2\n2024-03;3\n", ["7,2024-04-01,4.0"]),
        ("a heading, day first", ",7\n30/01/2024,1\n31/01/2024,2\n01/02/2024,3\n", ["7,2024-02-02,4.0"]),
        ("no header, day first", "30/01/2024,1\n31/01/2024,2\n01/02/2024,3\n", ["x,2024-02-02,4.0"]),
        ("numbers", "m,1,2\n2024-01,1,1\n2024-02,2,2\n2024-03,3,3\n", ["1,2024-04-01,4.0", "2,2024-04-01,4.0"]),
    ],
)  # fmt: skip
def test_files_with_dates(name: str, text: str, rows: list[str]) -> None:
    Path("x.csv").write_text(text)
    assert [row.rsplit(",", 2)[0] for row in saved("x.csv")] == rows


@pytest.mark.parametrize(
    ("name", "text", "rows"),
    [
        ("one column", "sales\n1\n2\n\n3\n", ["sales,4,4.0"]),
        ("one column, missing values", "sales\n1\n2\nNA\n3\n", ["sales,5,4.0"]),
        ("one column, no header", "1\n2\n3", ["x,4,4.0"]),
        ("one column, no header, with a byte order mark", "\ufeff1\n2\n3", ["x,4,4.0"]),
        ("rows and columns of numbers", ",0,1\n0,1,7\n1,2,8\n2,3,9\n", ["0,3,4.0", "1,3,10.0"]),
        ("years", "year,sales\n2000,1\n2002,2\n2004,3\n2005,3\n", ["sales,2006,4.0"]),
    ],
)
def test_files_without_a_calendar(name: str, text: str, rows: list[str]) -> None:
    Path("x.csv").write_text(text)
    assert [row.rsplit(",", 2)[0] for row in saved("x.csv --frequency yearly")] == rows


def test_parquet_keeps_its_index() -> None:
    WIDE.to_parquet("x.parquet")
    assert [row.split(",")[0] for row in saved("x.parquet")] == ["north", "south"]
    assert [row.split(",")[0] for row in saved("x.parquet --ids south")] == ["south"]
    WIDE.reset_index(names="day").to_parquet("x.parquet")
    assert [row.split(",")[:2] for row in saved("x.parquet")] == [["north", "2024-04-30"], ["south", "2024-04-30"]]


def test_columns_can_be_named() -> None:
    LONG.rename(columns={"unique_id": "store", "ds": "day", "y": "sales"}).to_csv("x.csv", index=False)
    flags = "--id-column store --time-column day --value-column sales"
    assert saved(f"x.csv {flags} --ids 007") == ["007,2024-04-30,6.0,5.0,7.0"]
    assert Path("out.csv").read_text().startswith("store,day,yhat")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "x.csv: cannot be read (it is empty)"),
        ("\n \n", "x.csv: cannot be read (it is empty)"),
        ("unique_id,ds,y\n", "x.csv: has no rows"),
        ("unique_id,ds,y\na,2024-01-01,1\n\na,2024-01-02,many\n", "x.csv: column 'y', line 4 is 'many'"),
        ("unique_id,ds,y\na,2024-01-01,1\na,soon,1\n", "x.csv: column 'ds', line 3 is 'soon'"),
        ("unique_id,ds,y\na,2024-01-01,1\na,,1\n", "x.csv: column 'ds', line 3 has no time"),
        ("ds,y\n2024-01-01,1\n2024-01-01,2\n", "x.csv: 'y' has '2024-01-01' twice in column 'ds': line 3"),
        ("day,a,b\n2024-01-01,1,2\n2024-01-02,1,x\n", "x.csv: column 'b', day 2024-01-02 is 'x'"),
        (",1.5\n1,2\n2,3\n", "x.csv: row 0 of the index has no time"),
        ("day,a\n2024-01-01,1\n2024-01-01,2\n", "x.csv: has '2024-01-01' in its index twice"),
        ("sales\n1\nmany\n", "x.csv: column 'sales', row 2 is 'many'"),
        ("unique_id,date,y\na,2024-01-01,1\n", "x.csv: has no column 'ds'; valid: date, unique_id, y"),
        ("ds,y\n2024-01-01,1,2\n2024-01-02,1,3\n", "its rows have more cells than the first line, which has 2"),
        ("ds,y\n2024-01-01,1\n2024-01-02,1,3\n", "Expected 2 fields in line 3, saw 3"),
    ],
)
def test_wrong_files_are_refused_with_the_line(capsys: pytest.CaptureFixture[str], text: str, words: str) -> None:
    Path("x.csv").write_text(text)
    assert run("x.csv --horizon 1") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("muserve: error: ")
    assert words in captured.err


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("x.csv", 2, "--horizon"),
        ("--horizon 1", 2, "FILE"),
        ("nothing.csv --horizon 1", 2, "nothing.csv: cannot be read (No such file or directory)"),
        ("bytes.csv --horizon 1", 2, "bytes.csv: cannot be read ('utf-8' codec"),
        ("bytes.parquet --horizon 1", 2, "bytes.parquet: cannot be read (Could not open Parquet"),
        ("x.csv --horizon 1 --ids 7", 2, "--ids has '7'; valid: 007, NA"),
        ("one.csv --horizon 1 --ids 7", 2, "--ids needs the column 'unique_id'"),
        ("wide.csv --horizon 1 --ids suoth", 2, "did you mean 'south'?"),
        ("x.csv --horizon 1 --id-column unique", 2, "did you mean 'unique_id'? (name it by id_column)"),
        ("x.csv --horizon 1 --out x.txt", 2, "--out is 'x.txt'; it must end with one of .csv, .json, .parquet"),
        ("x.csv --horizon 1 --plot x.gif", 2, "--plot is 'x.gif'; it must end with one of .png, .svg, .pdf"),
        ("x.csv --horizon 1 --point mode", 2, "invalid choice: 'mode'"),
        ("x.csv --horizn 1 --horizon 1", 2, "did you mean '--horizon'?"),
        ("x.csv --horizon 1 --frequency mothly", 1, "frequency: is 'mothly'; did you mean 'monthly'?"),
        ("x.csv --horizon 99", 1, "horizon: is 99; allowed by drift/1: 1 up to 24 (request "),
        ("years.csv --horizon 1", 1, "series[0].frequency: is not set, and it has no timestamps to infer it from"),
        (
            "years.csv --horizon 1",
            1,
            "HOURLY (--frequency yearly|quarterly|monthly|weekly|daily|hourly|other) (r",
        ),
        ("x.csv --horizon 1 --frequency other", 1, "FREQUENCY_HOURLY (--frequency yearly|"),
        ("x.csv --horizon 1 --model shift", 1, "drift"),
    ],
)
def test_wrong_use(capsys: pytest.CaptureFixture[str], text: str, code: int, words: str) -> None:
    LONG.to_csv("x.csv", index=False)
    WIDE.to_csv("wide.csv")
    LONG[["ds", "y"]][:5].to_csv("one.csv", index=False)
    Path("years.csv").write_text("2001,1\n2002,2\n2003,3\n")
    for name in ("bytes.csv", "bytes.parquet"):
        Path(name).write_bytes(b"\xff\xfe\0")
    assert run(text) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert words in captured.err
    assert not Path("x.txt").exists()
