"""What can be set: flags, environment, file, their order, and what each refuses."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from muserve.configuration import ConfigurationError
from muserve_server.model import LocalOptions
from muserve_server.settings import BUNDLED_MODELS, Settings, build_settings, read_settings
from tests.options import every_option


def test_flags_win_over_environment_over_file_over_defaults(tmp_path: Path) -> None:
    file = tmp_path / "muserve.toml"
    file.write_text("grpc_port = 1\nhttp_port = 1\nmax_delay_ms = 1\n")
    environ = {"MUSERVE_CONFIG": str(file), "MUSERVE_CONFIG_GRPC_PORT": "2", "MUSERVE_CONFIG_HTTP_PORT": "2"}
    settings = read_settings(["--grpc-port", "3"], environ)
    assert (settings.grpc_port, settings.http_port, settings.max_delay_ms) == (3, 2, 1.0)
    assert settings.max_batch_rows == Settings().max_batch_rows
    other = tmp_path / "other.toml"
    other.write_text("grpc_port = 9")
    assert read_settings(["--config", str(other)], {"MUSERVE_CONFIG": str(file)}).grpc_port == 9


def test_an_unknown_setting_names_the_nearest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        read_settings(["--grpc-prt", "1"], {})
    assert caught.value.code == 2
    assert "unknown argument '--grpc-prt'; did you mean '--grpc-port'?" in capsys.readouterr().err
    with pytest.raises(ConfigurationError, match="'MUSERVE_CONFIG_GRCP_PORT'; did you mean 'MUSERVE_CONFIG_GRPC_PORT'"):
        read_settings([], {"MUSERVE_CONFIG_GRCP_PORT": "1"})
    file = tmp_path / "muserve.toml"
    file.write_text("grpcport = 1")
    with pytest.raises(ConfigurationError, match="'grpcport'; did you mean 'grpc_port'"):
        read_settings(["--config", str(file)], {})


@pytest.mark.parametrize("argument", [["--grpc"], ["--grpc=1"], ["stray"]])
def test_flags_are_not_guessed(argument: list[str]) -> None:
    with pytest.raises(SystemExit):
        read_settings(argument, {})


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (["--grpc-port", "x"], "grpc_port is 'x'; it must be a whole number"),
        (["--grpc-port", "65536"], "grpc_port is 65536; it must be at most 65535"),
        (["--grpc-port", "-1"], "grpc_port is -1; it must be at least 0"),
        (["--device", "tpu"], "device is 'tpu'; allowed: cpu, cuda"),
        (["--max-delay-ms", "nan"], "max_delay_ms is nan; it must be at least 0 ms"),
        (["--default-deadline-s", "0"], "default_deadline_s is 0.0; it must be at least 0.001 s"),
        (["--default-models", "digits"], "default_models has 'digits'; each item must be TASK=NAME"),
        (["--default-models", "imge=digits"], "default_models has the task 'imge'; did you mean 'image'?"),
        (["--default-versions", "digits"], "default_versions has 'digits'; each item must be MODEL=VERSION: digits=1"),
        (["--default-versions", "digits=0"], "default_versions has 'digits=0'; each item must be MODEL=VERSION"),
        (["--default-versions", "digits=²"], "default_versions has 'digits=²'; each item must be MODEL=VERSION"),
        (["--default-versions", "=2"], "default_versions has '=2'; each item must be MODEL=VERSION"),
        (["--default-versions", "a=1, a=2"], "default_versions has the versions 1 and 2 of 'a'"),
        (
            ["--max-samples-per-call", "100", "--max-queue-rows", "99"],
            "max_samples_per_call is 100, but max_queue_rows is 99: the largest call would never fit",
        ),
        (["--max-series-per-call", "1025"], "max_series_per_call is 1025, but max_queue_rows is 1024: the largest"),
        (["--max-series-per-call", "0"], "max_series_per_call is 0; it must be at least 1 series"),
        (["--max-points-per-series", "0"], "max_points_per_series is 0; it must be at least 1 values"),
        (["--host", ""], "host is ''"),
        (["--host", "unix:muserve.sock"], "host is 'unix:muserve.sock'; it must be an address or a name"),
        (["--host", "unix:///run/muserve.sock"], "Sockets of files are not served"),
        (["--host", "localhost:8001"], "ports have settings of their own"),
        (["--config", "/nowhere/muserve.toml"], "/nowhere/muserve.toml: cannot be read"),
    ],
)
def test_a_wrong_or_contradictory_value_says_what_is_allowed(flags: list[str], text: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(text)):
        read_settings(flags, {})


def test_a_file_that_is_not_toml_is_named(tmp_path: Path) -> None:
    file = tmp_path / "muserve.toml"
    file.write_text("grpc_port: 1")
    with pytest.raises(ConfigurationError, match=r"muserve\.toml: not TOML"):
        read_settings(["--config", str(file)], {})


def test_help_documents_each_setting(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        read_settings(["--help"], {})
    text = re.sub(r"\s+", " ", capsys.readouterr().out)
    fields = [field for _, _, field in every_option()]
    for field in fields:
        flag = "--" + field.name.replace("_", "-")
        start = re.search(rf"{flag}(, --no-\S+)? (?:[^-]\S* )?", text)
        assert start, flag
        assert field.metadata["help"], field.name
        words = re.sub(r"\s+", " ", field.metadata["help"])
        unit = f" [{field.metadata['unit']}]" if field.metadata["unit"] else ""
        assert f"{words}{unit} (default: " in text, field.name
    for field in fields:
        for suffix, unit in {"_s": "s", "_ms": "ms", "_mib": "MiB", "_rows": "rows"}.items():
            if field.name.endswith(suffix):
                assert field.metadata["unit"] == unit, field.name


def test_default_models_are_by_task() -> None:
    settings = read_settings(["--default-models", "image=digits, music=jazz"], {})
    assert settings.default_model_names() == {"image": "digits", "music": "jazz"}


def test_default_versions_are_by_model() -> None:
    settings = read_settings([], {"MUSERVE_CONFIG_DEFAULT_VERSIONS": "digits=1, music=2, digits=1"})
    assert settings.default_version_numbers() == {"digits": 1, "music": 2}


def test_models_may_be_in_several_folders(tmp_path: Path) -> None:
    pair = os.pathsep.join(["mine", "theirs"])
    for flags in (["--models", "mine", "--models", "theirs"], ["--models", pair]):
        assert read_settings(flags, {}).models == (Path("mine"), Path("theirs"))
    assert read_settings([], {"MUSERVE_CONFIG_MODELS": pair}).models == (Path("mine"), Path("theirs"))
    file = tmp_path / "muserve.toml"
    file.write_text('models = ["mine", "bundled"]')
    assert read_settings(["--config", str(file)], {}).models == (Path("mine"), BUNDLED_MODELS)
    assert read_settings([], {}).models == (BUNDLED_MODELS,)
    assert read_settings(["--models", "./bundled:bundled"], {}).models == (Path("bundled"), BUNDLED_MODELS)
    assert build_settings({"models": Path("bundled")}).models == (Path("bundled"),)
    with pytest.raises(ConfigurationError, match="models is empty; name a folder of bundles, or 'bundled'"):
        read_settings([], {"MUSERVE_CONFIG_MODELS": ""})
    assert read_settings(["--models", "a,b"], {}).models == (Path("a,b"),)  # as before there could be several


def test_settings_reach_the_parts() -> None:
    values = {
        "max_batch_rows": 3, "max_queue_rows": 500, "max_delay_ms": 4, "engine_threads": 5, "runs_at_once": 6,
        "max_samples_per_call": 7, "max_pixels_per_call": 8, "max_series_per_call": 9, "max_points_per_series": 10,
        "max_message_mib": 11,
    }  # fmt: skip
    settings = build_settings(values)
    options = settings.local_options()
    batcher = options.batcher
    assert (batcher.max_batch_rows, batcher.max_queue_rows, batcher.max_delay_s) == (3, 500, 0.004)
    assert (options.onnx.device, options.onnx.threads, options.runs_at_once) == ("cpu", 5, 6)
    for kind in ("image", "music", "translation"):
        assert (options.limits[kind].max_samples_per_call, options.limits[kind].max_pixels_per_call) == (7, 8)
    assert options.limits["answer"].max_samples_per_call == 7
    forecast, music = options.limits["forecast"], options.limits["music"]
    assert (forecast.max_series_per_call, forecast.max_points_per_series) == (9, 10)
    assert forecast.max_answer_values * 8 == music.max_answer_bytes == settings.max_message_mib * 2**20 == 11 * 2**20


def test_the_limits_are_the_same_with_a_server_and_without() -> None:
    served, local = build_settings().local_options(), LocalOptions()
    assert list(served.kinds) == list(local.kinds) == ["answer", "forecast", "image", "music", "translation"]
    for kind in local.kinds.values():
        assert served.limits_of(kind) == local.limits_of(kind)


def test_operators_find_each_limit_with_its_default() -> None:
    text = (Path(__file__).parents[2] / "deploy/README.md").read_text(encoding="utf-8")
    (limits,) = re.findall(r"\*\*Limits\.\*\*(.*?)\n\n", text, re.DOTALL)
    for name, _, field in every_option():
        if not name.startswith("max_"):
            continue
        if name in ("max_batch_rows", "max_delay_ms", "max_connection_age_s"):
            continue  # these refuse nothing
        assert re.search(rf"`{name}`\s\({field.default:,}[),\s]", limits), name
