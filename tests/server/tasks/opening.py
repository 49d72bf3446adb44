"""Fixtures of opened bundles."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from muserve_server.model import LocalModel

__all__ = ["opened_bundle"]


def opened_bundle(write: Callable[..., Path], *arguments: Any, **keywords: Any) -> Any:
    """Makes a fixture of what a function writes into a folder, opened, for one test."""

    @pytest.fixture
    async def model(tmp_path: Path) -> AsyncIterator[LocalModel]:
        async with await LocalModel.open(write(tmp_path, *arguments, **keywords)) as opened:
            yield opened

    return model
