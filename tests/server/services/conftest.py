"""A server of images."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.bundles import image_bundle
from tests.server.services.imaging import Running, running


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    image_bundle(tmp_path, labels=("cat", "dog"))
    async with running(tmp_path) as made:
        yield made
