"""Settings from flags, environment and TOML: what is taken, what is refused and with which words."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muserve.configuration import (
    ConfigurationError,
    add_flags,
    build,
    describe_value,
    from_environment,
    from_flags,
    nearest,
    option,
    parse_flags,
    read_toml,
)


@dataclass(frozen=True)
class Oven:
    """A config with a field of every type."""

    degrees: int = option(180, "how hot", unit="°C", minimum=30, maximum=250)
    hours: float = option(0.5, "how long", unit="h", minimum=0)
    fan: bool = option(default=False, help="whether air moves")
    recipe: Path = option(Path("bread.toml"), "what is baked")
    mode: str = option("bake", "how it heats", choices=("bake", "grill"))
    racks: tuple[int, ...] = option((1,), "which racks are used", minimum=1, maximum=4)
    names: tuple[str, ...] = option((), "who bakes")
    alarm_s: float | None = option(None, "when it rings", unit="s", minimum=1)


def parser(**arguments: Any) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="oven", allow_abbrev=False, **arguments)
    add_flags(made, Oven)
    return made


def flags(*arguments: str) -> dict[str, Any]:
    return from_flags(Oven, parse_flags(parser(), arguments))


def test_defaults() -> None:
    assert build(Oven) == Oven()


def test_later_layers_win() -> None:
    file, environment, line = (
        {"degrees": 100, "hours": 2.0, "fan": True},
        {"degrees": "110", "hours": "3"},
        {"degrees": "120"},
    )
    assert build(Oven, file, environment, line) == Oven(degrees=120, hours=3.0, fan=True)


@pytest.mark.parametrize(
    ("name", "given_value", "expected"),
    [
        ("degrees", "200", 200),
        ("hours", "1", 1.0),
        ("hours", 1, 1.0),
        ("fan", "TRUE", True),
        ("fan", "yes", True),
        ("fan", "1", True),
        ("fan", "no", False),
        ("fan", "0", False),
        ("fan", False, False),
        ("recipe", "cake.toml", Path("cake.toml")),
        ("mode", "grill", "grill"),
        ("racks", "1, 2,,3", (1, 2, 3)),
        ("racks", [4], (4,)),
        ("racks", "", ()),
        ("names", "Ann,Bob", ("Ann", "Bob")),
        ("alarm_s", "", None),
        ("alarm_s", None, None),
        ("alarm_s", "1.5", 1.5),
    ],
)
def test_values_of_every_type(name: str, given_value: object, expected: object) -> None:
    value = getattr(build(Oven, {name: given_value}), name)
    assert value == expected
    assert type(value) is type(expected)


@pytest.mark.parametrize(
    ("name", "given_value", "words"),
    [
        ("degrees", "hot", "degrees is 'hot'; it must be a whole number"),
        ("degrees", 180.5, "degrees is 180.5; it must be a whole number"),
        ("degrees", True, "degrees is True; it must be a whole number"),
        ("degrees", "", "degrees is ''"),
        ("degrees", 29, "degrees is 29; it must be at least 30 °C"),
        ("degrees", 251, "degrees is 251; it must be at most 250 °C"),
        ("hours", "long", "hours is 'long'; it must be a number"),
        ("hours", "nan", "hours is nan; it must be at least 0 h"),
        ("hours", False, "hours is False"),
        ("fan", "maybe", "fan is 'maybe'; it must be true or false"),
        ("fan", 2, "fan is 2"),
        ("recipe", 3, "recipe is 3; it must be a path"),
        ("mode", "steam", "mode is 'steam'; allowed: bake, grill"),
        ("mode", 1, "mode is 1; it must be text"),
        ("racks", "1,two", "racks is '1,two'; it must be a comma-separated list, each item a whole number"),
        ("racks", "1,5", "racks is 5; it must be at most 4"),
        ("racks", 3, "racks is 3; it must be a comma-separated list"),
        ("alarm_s", "soon", "alarm_s is 'soon'; it must be a number"),
        ("alarm_s", 0.5, "alarm_s is 0.5; it must be at least 1 s"),
    ],
)
def test_wrong_values_are_refused(name: str, given_value: object, words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        build(Oven, {name: given_value})
    assert words in str(caught.value)


def test_an_unknown_key_is_refused_with_the_nearest() -> None:
    with pytest.raises(ConfigurationError, match="unknown setting 'degres'; did you mean 'degrees'"):
        build(Oven, {"degres": 1})
    with pytest.raises(ConfigurationError, match="unknown setting 'xyz'; valid: alarm_s, degrees, fan"):
        build(Oven, {"xyz": 1})


@given(st.integers(30, 250), st.floats(0, 1e9), st.booleans(), st.lists(st.integers(1, 4)))
def test_what_describe_value_writes_can_be_read_back(degrees: int, hours: float, fan: bool, racks: list[int]) -> None:
    oven = Oven(degrees, hours, fan, racks=tuple(racks))
    texts = {name: describe_value(getattr(oven, name)) for name in ("degrees", "hours", "fan", "racks", "alarm_s")}
    assert build(Oven, texts) == oven


def test_toml(tmp_path: Path) -> None:
    path = tmp_path / "oven.toml"
    path.write_text('degrees = 90\nfan = true\nracks = [1, 3]\nrecipe = "pie.toml"\n')
    assert build(Oven, read_toml(path)) == Oven(90, fan=True, racks=(1, 3), recipe=Path("pie.toml"))


def test_toml_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nothing.toml: cannot be read"):
        read_toml(tmp_path / "nothing.toml")
    (tmp_path / "bad.toml").write_text("degrees = ")
    with pytest.raises(ConfigurationError, match=r"bad.toml: not TOML"):
        read_toml(tmp_path / "bad.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff")
    with pytest.raises(ConfigurationError, match=r"bytes.toml: not TOML"):
        read_toml(tmp_path / "bytes.toml")


def test_environment() -> None:
    environ = {"OVEN_DEGREES": "99", "OVEN_ALARM_S": "", "PATH": "/bin", "OVENDEGREES": "1"}
    assert from_environment(Oven, "OVEN_", environ) == {"degrees": "99", "alarm_s": ""}
    with pytest.raises(ConfigurationError, match="'OVEN_DEGRES'; did you mean 'OVEN_DEGREES'"):
        from_environment(Oven, "OVEN_", {"OVEN_DEGRES": "99"})


def test_flags_that_are_not_given_set_nothing() -> None:
    assert flags() == {}
    assert flags("--degrees", "99", "--no-fan", "--alarm-s=3") == {"degrees": "99", "fan": False, "alarm_s": "3"}
    assert build(Oven, {"fan": True}, flags("--no-fan")).fan is False


def test_help_documents_every_flag() -> None:
    text = " ".join(parser().format_help().split())
    assert "--degrees N how hot [°C] (default: 180)" in text
    assert "--fan, --no-fan whether air moves (default: false)" in text
    assert "--mode bake|grill how it heats (default: bake)" in text
    assert "--alarm-s" in text
    assert "when it rings [s] (default: none)" in text


def test_help_shows_other_defaults() -> None:
    made = argparse.ArgumentParser()
    add_flags(made, Oven, defaults=Oven(degrees=77, racks=(1, 2)))
    text = " ".join(made.format_help().split())
    assert "(default: 77)" in text
    assert "(default: 1,2)" in text


def refusal(capsys: pytest.CaptureFixture[str], made: argparse.ArgumentParser, *arguments: str) -> str:
    with pytest.raises(SystemExit) as caught:
        parse_flags(made, arguments)
    assert caught.value.code == 2
    return capsys.readouterr().err


def test_an_unknown_flag_is_refused_with_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    text = refusal(capsys, parser(), "--degree=5")
    assert "oven: error: unknown argument '--degree'; did you mean '--degrees'?" in text
    assert "unknown argument 'extra'; valid: --alarm-s, --degrees" in refusal(capsys, parser(), "extra")


def test_an_unknown_flag_of_a_subcommand_is_refused_with_the_nearest_of_its_own(
    capsys: pytest.CaptureFixture[str],
) -> None:
    made = argparse.ArgumentParser(prog="kitchen", allow_abbrev=False)
    made.add_argument("--colour")
    commands = made.add_subparsers(dest="command")
    add_flags(commands.add_parser("oven", allow_abbrev=False), Oven)
    commands.add_parser("sink", allow_abbrev=False).add_argument("--degreaser")
    text = refusal(capsys, made, "oven", "--degrese", "1")
    assert "kitchen oven: error: unknown argument '--degrese'; did you mean '--degrees'?" in text
    assert "kitchen sink: error" in refusal(capsys, made, "sink", "--degrees", "1")
    assert "kitchen: error: unknown argument '--color'; did you mean '--colour'?" in refusal(capsys, made, "--color")
    assert parse_flags(made, ["oven", "--degrees", "5"]).degrees == "5"


def test_nearest_compares_flags_without_their_dashes() -> None:
    assert nearest("--count", ["--json", "--task"]) == "valid: --json, --task"
    assert nearest("--cuont", ["--json", "--count"]) == "did you mean '--count'?"
