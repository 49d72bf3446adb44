"""What an import brings in. import-linter reads the source (`make lint`); this sees what is really loaded."""

from __future__ import annotations

import subprocess
import sys

import pytest

# Not scipy: bm25s, which the server needs, takes it where it happens to be installed.
TRAINING = {"torch", "lightning_fabric", "matplotlib", "mlxtend", "onnx", "onnxscript", "sklearn", "muserve_export"}
SERVING = {"numpy", "onnxruntime", "PIL", "prometheus_client", "uvloop", "muserve_server"}


@pytest.mark.parametrize(
    ("module", "forbidden"),
    [
        ("muserve_server.app", TRAINING | {"muserve_client"}),
        ("muserve_client", TRAINING | SERVING),
        ("muserve.bundle", TRAINING | SERVING | {"grpc", "muserve_client"}),
    ],
)
def test_an_import_brings_in_nothing_from_beyond_the_wall(module: str, forbidden: set[str]) -> None:
    code = f"import {module}, sys; print(*sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=200, check=True)
    loaded = set(result.stdout.split())
    assert module in loaded
    assert forbidden & loaded == set()
