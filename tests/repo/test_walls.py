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


CLIENT_SIDE = """
import importlib, pkgutil
import muserve, muserve.v1, muserve_client
from google.protobuf import descriptor_pool
for package in (muserve, muserve.v1, muserve_client):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        if not module.name.startswith("muserve.inference") and not module.name.endswith("__main__"):
            importlib.import_module(module.name)
def is_known(name):
    try:
        descriptor_pool.Default().FindMessageTypeByName(name)
    except KeyError:
        return False
    return True
assert is_known("muserve.v1.Model")
print(is_known("inference.ModelInferRequest"))
"""


def test_contract_and_client_leave_the_name_inference_to_clients_of_that_protocol() -> None:
    """Each of these brings its own copy of the messages, and protobuf takes a name once in a process."""
    result = subprocess.run(
        [sys.executable, "-c", CLIENT_SIDE], capture_output=True, text=True, timeout=200, check=True
    )
    assert result.stdout.split() == ["False"]
