"""Scripts that set the released server, run its commands or use its SDK go on working: nothing public has gone."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from muserve_server.settings import read_settings
from tests.upgrade.versions import NEW, OLD, run


@cache
def surface(version: str) -> Any:
    """What a version offers."""
    return json.loads(run(version, Path(__file__).with_name("surface.py")))


def test_every_setting_of_the_released_server_is_still_one(tmp_path: Path) -> None:
    settings = surface(OLD)["settings"]
    assert len(settings) >= 30
    for name, known in settings.items():
        flag = "--" + name.replace("_", "-")
        for value in (known["default"], *known["choices"]):
            by_flag = read_settings([flag] if value == "true" else [] if value == "false" else [flag, value], {})
            assert read_settings([], {f"MUSERVE_CONFIG_{name.upper()}": value}) == by_flag, name
            file = tmp_path / "muserve.toml"
            file.write_text(f"{name} = {json.dumps(value)}")
            assert read_settings(["--config", str(file)], {}) == by_flag, name
            assert read_settings([], {"MUSERVE_CONFIG": str(file)}) == by_flag, name
            if value == known["default"] and name != "models":
                assert by_flag == read_settings([], {}), f"{name} has another default"


def test_every_command_takes_the_released_arguments() -> None:
    old, new = surface(OLD)["commands"], surface(NEW)["commands"]
    assert len(old) >= 20
    assert set(old) <= set(new)
    for command, arguments in old.items():
        now = new[command]
        for name, option in arguments.items():
            if name == "positionals":
                assert now[name] == option, command
                continue
            assert name in now, f"{command} has lost {name}"
            assert now[name]["values"] == option["values"], f"{command} {name}"
            assert set(option["choices"]) <= set(now[name]["choices"]), f"{command} {name}"
        assert required(now) <= required(arguments), f"{command} cannot be run as before"


def required(arguments: dict[str, Any]) -> set[str]:
    """The options that a command cannot run without."""
    return {name for name, option in arguments.items() if name != "positionals" and option["required"]}


def test_every_public_name_of_the_sdk_takes_the_released_parameters() -> None:
    old, new = surface(OLD)["names"], surface(NEW)["names"]
    assert len(old) >= 300
    assert sorted(set(old) - set(new)) == []
    for name, before in old.items():
        now = new[name]
        if before is None:
            continue
        assert now is not None, f"{name} can no longer be called"
        positional = [one for one in before if one[1] != "KEYWORD_ONLY"]
        assert now[: len(positional)] == positional, name
        assert [one for one in before if one not in now] == [], name
        added = [one for one in now if one not in before]
        assert [one for one in added if one[2] is None and not one[1].startswith("VAR_")] == [], name
