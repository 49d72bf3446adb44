"""Replicas restarted in turn under mixed load: no call of the SDK fails, and none is answered by another version."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.answer_bundles import copy_bundle
from tests.bundles import forecast_bundle, image_bundle
from tests.e2e.rolling_restarts import CALLS, roll
from tests.music_bundles import music_bundle
from tests.translation_bundles import scene_bundle


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """Two versions of a model for every call."""
    for version in (1, 2):
        image_bundle(tmp_path, "shapes", version, weights_seed=version)
        forecast_bundle(tmp_path, version=version)
        music_bundle(tmp_path, version=version)
        copy_bundle(tmp_path, version=version)
        scene_bundle(tmp_path, version=version)
    return tmp_path


async def test_two_restarts_under_mixed_load(models: Path) -> None:
    report = await roll(models, restarts=2, flags=("--drain-delay-s", "1"))
    assert report.passed, str(report)
    assert {call for call, _, _ in report.answers} == set(CALLS)
    assert all(version.endswith("/2") for _, version, _ in report.answers)
