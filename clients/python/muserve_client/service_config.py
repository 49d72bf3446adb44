"""The contract's gRPC service config, which lies beside the protos: balanced per call, over healthy replicas."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import Any

__all__ = ["service_config"]

_FILE = "muserve/v1/muserve_grpc_service_config.json"


def service_config(service: str | None) -> str:
    """Returns the service config of one channel, as JSON.

    Args:
        service: Full name of the service whose health decides which replicas are called; None checks no health.
    """
    config = _contract() | {"healthCheckConfig": {"serviceName": service}}
    del config["methodConfig"]  # gRPC's retries: this client's own know the deadline and what the server asks for
    if service is None:
        del config["healthCheckConfig"]
    return json.dumps(config)


@cache
def _contract() -> dict[str, Any]:
    package = files("muserve")
    protos = package / "protos"
    if not protos.is_dir():  # an editable install, whose protos lie in the checkout: proto/python/muserve
        protos = package / "../.."
    config: dict[str, Any] = json.loads((protos / _FILE).read_text(encoding="utf-8"))
    return config
