"""Both servers, and what each SDK gets from each of them: once a session."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.servers import ServerProcess, server_process
from tests.upgrade.released import released, released_fixtures
from tests.upgrade.versions import NEW, OLD, environment, run


@pytest.fixture(scope="session")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The released bundles and the released fixture bundle in one folder."""
    folder = tmp_path_factory.mktemp("bundles")
    for models in (released() / "muserve_server/models", released_fixtures()):
        for model in models.iterdir():
            (folder / model.name).symlink_to(model)
    return folder


@pytest.fixture(scope="session")
def servers(bundles: Path) -> Iterator[dict[str, ServerProcess]]:
    """Both servers, on the released bundles."""
    flags = ("--default-models", "image=digits")
    with ExitStack() as stack:
        yield {
            version: stack.enter_context(server_process(bundles, *flags, environ=environment(version)))
            for version in (OLD, NEW)
        }


@pytest.fixture(scope="session")
def drive(servers: dict[str, ServerProcess]) -> Any:
    """Makes every call with one SDK on one server, once."""
    driver = Path(__file__).with_name("driver.py")
    return cache(lambda sdk, server: json.loads(run(sdk, driver, f"localhost:{servers[server].grpc_port}")))
