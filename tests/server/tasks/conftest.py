"""Tiny bundles, opened."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from muserve_server.model import LocalModel
from tests.bundles import forecast_bundle, next_value_bundle
from tests.music_bundles import chord_bundle, music_bundle
from tests.translation_bundles import invert_bundle, scene_bundle


@pytest.fixture
async def model(tmp_path: Path) -> AsyncIterator[LocalModel]:
    async with await LocalModel.open(forecast_bundle(tmp_path)) as opened:
        yield opened


@pytest.fixture
async def next_value(tmp_path: Path) -> AsyncIterator[LocalModel]:
    async with await LocalModel.open(next_value_bundle(tmp_path)) as opened:
        yield opened


@pytest.fixture
async def band(tmp_path: Path) -> AsyncIterator[LocalModel]:
    async with await LocalModel.open(music_bundle(tmp_path)) as opened:
        yield opened


@pytest.fixture
async def chords(tmp_path: Path) -> AsyncIterator[LocalModel]:
    async with await LocalModel.open(chord_bundle(tmp_path)) as opened:
        yield opened


@pytest.fixture
async def scenes(tmp_path: Path) -> AsyncIterator[LocalModel]:
    async with await LocalModel.open(scene_bundle(tmp_path)) as opened:
        yield opened


@pytest.fixture
async def negatives(tmp_path: Path) -> AsyncIterator[LocalModel]:
    async with await LocalModel.open(invert_bundle(tmp_path)) as opened:
        yield opened
