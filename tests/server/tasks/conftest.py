"""Tiny forecast bundles, opened."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from muserve_server.local import LocalModel
from tests.bundles import forecast_bundle, next_value_bundle


@pytest.fixture
async def model(tmp_path: Path) -> AsyncIterator[LocalModel]:
    async with await LocalModel.open(forecast_bundle(tmp_path)) as opened:
        yield opened


@pytest.fixture
async def next_value(tmp_path: Path) -> AsyncIterator[LocalModel]:
    async with await LocalModel.open(next_value_bundle(tmp_path)) as opened:
        yield opened
