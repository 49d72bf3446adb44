"""What is public stays public, and both skins offer the same."""

from __future__ import annotations

import inspect
import subprocess
import sys
from typing import Any

import pytest

import muserve_client
from muserve.errors import ERRORS
from muserve_client import AsyncClient, Client

PUBLIC = {
    "Accompaniment", "Answer", "Answers", "AsyncClient", "CancelledCallError", "Client", "ConfigurationError",
    "DeadlineExceededError", "Evidence", "FieldViolation", "Forecast", "Forecasts", "Image", "Images", "Info",
    "InternalError", "InvalidRequestError", "MessageTooLargeError", "Model", "ModelNotFoundError", "ModelRefusedError",
    "Music", "MuserveError", "PermissionDeniedError", "Picture", "Piece", "Quantisation", "QuestionAnswer", "Questions",
    "QueueFullError", "Reconstruction", "Retries", "Source", "Timings", "Track", "Translation", "UnavailableError",
    "UnimplementedError", "__version__",
}  # fmt: skip
METHODS = {
    "accompany", "ask", "close", "forecast", "images", "is_ready", "model", "models", "music", "questions", "run",
    "translate", "wait_until_ready",
}  # fmt: skip


def public_methods(kind: type) -> dict[str, Any]:
    return {name: getattr(kind, name) for name in dir(kind) if not name.startswith("_")}


def test_all_is_what_is_public() -> None:
    assert set(muserve_client.__all__) == PUBLIC
    assert all(hasattr(muserve_client, name) for name in PUBLIC)


def test_every_error_of_the_contract_is_exported() -> None:
    assert {error.__name__ for error in ERRORS} < PUBLIC


def test_both_skins_have_the_same_methods() -> None:
    assert set(public_methods(Client)) == set(public_methods(AsyncClient)) == METHODS


@pytest.mark.parametrize("name", sorted(METHODS | {"__init__"}))
def test_a_method_has_the_same_signature_in_both_skins(name: str) -> None:
    assert inspect.signature(getattr(Client, name)) == inspect.signature(getattr(AsyncClient, name))


@pytest.mark.parametrize("name", sorted(METHODS))
def test_every_async_method_is_awaited(name: str) -> None:
    assert inspect.iscoroutinefunction(getattr(AsyncClient, name))
    assert not inspect.iscoroutinefunction(getattr(Client, name))


def test_every_public_thing_is_documented() -> None:
    for name in PUBLIC - {"__version__"}:
        assert inspect.getdoc(getattr(muserve_client, name)), name
    for name in METHODS:
        assert inspect.getdoc(getattr(Client, name)), name


def test_importing_it_brings_in_nothing_heavy() -> None:
    heavy = {
        "numpy",
        "pandas",
        "matplotlib",
        "pyarrow",
        "PIL",
        "onnxruntime",
        "torch",
        "mido",
        "muserve_server",
        "muserve_export",
    }
    code = f"import muserve_client, muserve_client.cli, sys; print(sorted({heavy} & set(sys.modules)))"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
