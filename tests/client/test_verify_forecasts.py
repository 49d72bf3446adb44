"""`muserve verify` of forecasts: passes where a server is deterministic, and fails wherever it is not."""

from __future__ import annotations

import asyncio
import itertools
import math
import re
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from muserve.v1 import common_pb2, forecast_pb2, manifest_pb2
from muserve_client.calls.forecast.probe import PROBES
from muserve_client.cli import main
from tests.bundles import HORIZON_STEPS, add_golden, forecast_bundle, next_value_bundle
from tests.client.conftest import Served
from tests.client.fakes import failed, fake_model, verified
from tests.servers import serving_in_thread

DAILY, MONTHLY = forecast_pb2.FREQUENCY_DAILY, forecast_pb2.FREQUENCY_MONTHLY
Point = Callable[[forecast_pb2.ForecastRequest, int], float]
"""Makes the forecast of one series of a request."""


def golden() -> forecast_pb2.ForecastRequest:
    request = forecast_pb2.ForecastRequest(horizon=HORIZON_STEPS + 2, quantiles=[0.2, 0.5], non_negative=True)
    for number in range(4):
        times = [86400 * day for day in range(5 + number)]
        values = [number, math.nan, *range(3 + number)]
        request.series.add(id=str(number), values=values, times_unix_s=times, frequency=DAILY)
    return request


def test_a_real_server_is_deterministic(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(add_golden(forecast_bundle(tmp_path), golden()))
    with serving_in_thread(tmp_path) as server:
        assert main(["verify", "--server", f"127.0.0.1:{server.grpc_port}", "--rounds", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("ok      series/1 one: ") for line in lines[:-1])
    assert all(re.search(r"amid 16 other calls, (in one|but in no) batch .*, round \d", line) for line in lines[2:4])
    assert lines[-2].endswith("4 series, each alone")
    assert lines[-1] == "5 of 5 checks passed"


def test_models_without_goldens_get_a_small_request(forecaster: Served, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--server", forecaster.target]) == 0
    out = capsys.readouterr().out
    for model in ("drift/1", "level/1"):
        assert f"{model} default: 3 series, each alone" in out


def test_models_of_every_kind_take_the_small_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    forecast_bundle(tmp_path)
    next_value_bundle(tmp_path)
    with serving_in_thread(tmp_path, default_models=("forecast=series",)) as server:
        assert main(["verify", "--server", f"127.0.0.1:{server.grpc_port}", "--rounds", "1"]) == 0
    assert capsys.readouterr().out.endswith("8 of 8 checks passed\n")


def test_the_small_request_fits_the_model() -> None:
    settings = manifest_pb2.ForecastSettings(max_horizon=5, min_points=100)
    settings.frequencies.add(frequency=DAILY, horizon_steps=0)  # known by name only
    settings.frequencies.add(frequency=MONTHLY, horizon_steps=18)
    request = PROBES[0].default(manifest_pb2.ModelManifest(forecast=settings))
    assert (request.frequency, request.horizon, list(request.quantiles)) == (MONTHLY, 5, [])
    assert {len(series.values) for series in request.series} == {100}


def test_other_calls_have_other_values_but_miss_the_same() -> None:
    request = golden()
    others = [PROBES[0].other(request, index) for index in range(48)]
    assert {len(other.series) for other in others} == set(range(1, 9))
    given = {series.id: list(series.values) for series in request.series}
    for other in others:
        for series in other.series:
            assert list(map(math.isnan, series.values)) == list(map(math.isnan, given[series.id]))
    assert len({other.SerializeToString() for other in others}) == len(others)
    assert request.SerializeToString() not in {other.SerializeToString() for other in others}
    assert request == golden()


def server_of(point: Point, *, goldens: tuple[forecast_pb2.ForecastRequest, ...] = (), digest: str = "d") -> Any:
    """A server with the model fake/1."""
    manifest = manifest_pb2.ModelManifest(
        goldens=[manifest_pb2.GoldenRequest(name="g", forecast=golden) for golden in goldens]
    )

    def answer(request: Any, _context: Any, _number: int) -> Any:
        response = forecast_pb2.ForecastResponse()
        response.info.digest = digest
        for index, series in enumerate(request.series):
            response.forecasts.add(id=series.id, point=[point(request, index)])
        return response

    return fake_model(common_pb2.TASK_FORECAST, manifest, answer)


def verify(server: Any, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    code, lines = verified(server, capsys)
    return code, failed(lines)


def last(request: forecast_pb2.ForecastRequest, index: int) -> float:
    return request.series[index].values[-1]


def test_the_fake_itself_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert verify(server_of(last), capsys) == (0, [])
    assert verify(server_of(last, goldens=(golden(),)), capsys) == (0, [])


def test_chance_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    numbers = itertools.count()
    code, failed = verify(server_of(lambda *_: float(next(numbers))), capsys)
    assert code == 1
    assert len(failed) == 5  # again, three rounds, series alone
    assert "FAILED  fake/1 default: again, alone: series 0 has other numbers, 3 of 3 series differ" in failed


def test_the_last_bit_counts(capsys: pytest.CaptureFixture[str]) -> None:
    numbers = itertools.count()
    code, failed = verify(server_of(lambda *_: math.nextafter(1.0, 2.0) if next(numbers) == 4 else 1.0), capsys)
    assert code == 1
    assert failed == ["FAILED  fake/1 default: again, alone: series 1 has other numbers, 1 of 3 series differ"]


def test_an_influence_of_other_calls_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    lock, before = threading.Lock(), [0.0]

    def point(request: forecast_pb2.ForecastRequest, index: int) -> float:
        with lock:
            mine = sum(request.series[0].values)
            theirs, before[0] = before[0], mine
            return last(request, index) + (theirs not in (0.0, mine))

    code, failed = verify(server_of(point), capsys)
    assert code == 1
    assert all("amid 16 other calls" in line for line in failed[:3])


def test_an_influence_of_the_other_series_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    # Wrong: the longest series of the call decides how the others are padded.
    def point(request: forecast_pb2.ForecastRequest, index: int) -> float:
        return last(request, index) + max(len(series.values) for series in request.series)

    code, failed = verify(server_of(point, goldens=(golden(),)), capsys)
    assert code == 1
    assert failed == ["FAILED  fake/1 g: 4 series, each alone: series 0 alone has other numbers"]


def test_another_bundle_behind_the_same_name_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    code, failed = verify(server_of(last, digest="e"), capsys)
    assert code == 1
    assert failed == ["FAILED  fake/1 default: answered by the listed bundle: the answer came from e, listed is d"]
