"""A plug-in kind whose calls fail, or go on until they are stopped, as callers wish: installed beside any server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pool, message_factory

from tests.plugins import echo_bundle, echo_proto, install

__all__ = ["ECHO", "FAIL", "FOREVER", "install_patient", "patient_request"]

ECHO = "/acme.patient.v1.PatientService/Echo"
FAIL, FOREVER = -1.0, -2.0

_FILE = echo_proto("acme.patient.v1")
_FILE.service[0].name = "PatientService"
_PROTOS = f"""
    from google.protobuf import descriptor_pool, message_factory
    from muserve.v1 import common_pb2  # the file that it imports

    FILE = descriptor_pool.Default().AddSerializedFile({_FILE.SerializeToString()!r})
    SERVICE = FILE.services_by_name["PatientService"]
    EchoResponse = message_factory.GetMessageClass(FILE.message_types_by_name["EchoResponse"])
    EchoSettings = message_factory.GetMessageClass(FILE.message_types_by_name["EchoSettings"])
"""
_KIND = """
    from dataclasses import dataclass

    from acme_patient.protos import SERVICE
    from muserve_server.tasks import TaskKind

    @dataclass(frozen=True)
    class NoLimits:
        pass

    def open_task(bundle, limits):
        from acme_patient.task import PatientTask

        return PatientTask(bundle)

    KIND = TaskKind("echo", SERVICE, NoLimits, open_task)
"""
_TASK = f"""
    import numpy as np

    from acme_patient.protos import EchoResponse
    from muserve_server.tasks.graphs import find_graph

    class PatientTask:
        def __init__(self, bundle):
            self._graph = find_graph(bundle, "echo.graph", bundle.settings.graph).role

        def handlers(self):
            return {{"Echo": self._echo}}

        async def _echo(self, request, call):
            values = list(request.values)
            if {FAIL} in values:
                raise ZeroDivisionError("a secret")
            while True:
                outputs = await call.infer(self._graph, {{"x": np.array(values, np.float32)[:, None]}})
                if {FOREVER} not in values:
                    return EchoResponse(values=outputs["y"][:, 0].tolist())
"""


def install_patient(site: Path, models: Path) -> dict[str, str]:
    """Installs the kind and writes a bundle of it, the model "double".

    Returns:
        The environment of a server that finds the kind.
    """
    modules = {
        "acme_patient/__init__.py": "",
        "acme_patient/protos.py": _PROTOS,
        "acme_patient/kind.py": _KIND,
        "acme_patient/task.py": _TASK,
    }
    install(site, "acme-patient", modules, {"muserve.tasks": {"echo": "acme_patient.kind:KIND"}})
    echo_bundle(models, _message("EchoSettings")(graph="doubler"))
    return {"PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}


def patient_request(*values: float) -> bytes:
    """A request whose values are doubled, unless they are FAIL or FOREVER."""
    return bytes(_message("EchoRequest")(values=values).SerializeToString())


def _message(name: str) -> Any:
    pool: Any = descriptor_pool.Default()
    from muserve.v1 import common_pb2  # noqa: F401 - the file that it imports

    try:
        file = pool.FindFileByName(_FILE.name)
    except KeyError:
        file = pool.AddSerializedFile(_FILE.SerializeToString())
    return message_factory.GetMessageClass(file.message_types_by_name[name])
