"""Distributions of other people's task kinds, written as pip would install them: a package and its .dist-info."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from textwrap import dedent

from google.api import annotations_pb2, http_pb2
from google.protobuf import any_pb2, descriptor_pb2
from google.protobuf.message import Message
from onnx import helper

from muserve.bundle import write_manifest
from muserve.v1 import manifest_pb2
from tests.bundles import FLOAT32, write_graph

__all__ = ["echo_bundle", "echo_proto", "install", "install_echo", "on_path"]


def install(site: Path, distribution: str, modules: dict[str, str], entry_points: dict[str, dict[str, str]]) -> None:
    """Writes a distribution into a folder of sys.path.

    Args:
        site: The folder.
        distribution: Its name.
        modules: Source by path: "acme_echo/kind.py".
        entry_points: By group, name to value.
    """
    for path, source in modules.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_text(dedent(source))
    info = site / f"{distribution.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.0\n")
    tops = sorted({Path(path).parts[0].removesuffix(".py") for path in modules})
    (info / "top_level.txt").write_text("\n".join(tops) + "\n")
    lines = []
    for group, rows in entry_points.items():
        lines += [f"[{group}]", *(f"{name} = {value}" for name, value in rows.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")


@contextmanager
def on_path(site: Path) -> Iterator[Path]:
    """Puts a folder of distributions on sys.path; at the end the path and the modules are as if it had never been."""
    site.mkdir(parents=True, exist_ok=True)
    sys.path.insert(0, str(site))
    importlib.invalidate_caches()
    try:
        yield site
    finally:
        sys.path.remove(str(site))
        for name, module in list(sys.modules.items()):
            if Path(getattr(module, "__file__", None) or "/").is_relative_to(site):
                del sys.modules[name]


def echo_proto(package: str = "acme.echo.v1", paths: Sequence[str] = ()) -> descriptor_pb2.FileDescriptorProto:
    """A service that doubles numbers: EchoService.Echo with short paths, its messages, and EchoSettings."""
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{package.replace('.', '/')}/echo.proto",
        package=package,
        syntax="proto3",
        dependency=["google/api/annotations.proto", "muserve/v1/common.proto"],
    )
    kind = descriptor_pb2.FieldDescriptorProto
    request = file.message_type.add(name="EchoRequest")
    request.field.add(name="model", number=1, type=kind.TYPE_STRING, label=kind.LABEL_OPTIONAL)
    request.field.add(
        name="version", number=2, type=kind.TYPE_UINT32, label=kind.LABEL_OPTIONAL, proto3_optional=True, oneof_index=0
    )
    request.oneof_decl.add(name="_version")
    request.field.add(name="values", number=3, type=kind.TYPE_FLOAT, label=kind.LABEL_REPEATED)
    response = file.message_type.add(name="EchoResponse")
    response.field.add(name="values", number=1, type=kind.TYPE_FLOAT, label=kind.LABEL_REPEATED)
    response.field.add(
        name="info", number=2, type=kind.TYPE_MESSAGE, type_name=".muserve.v1.ResponseInfo", label=kind.LABEL_OPTIONAL
    )
    settings = file.message_type.add(name="EchoSettings")
    settings.field.add(name="graph", number=1, type=kind.TYPE_STRING, label=kind.LABEL_OPTIONAL)
    service = file.service.add(name="EchoService")
    echo = service.method.add(name="Echo", input_type=f".{package}.EchoRequest", output_type=f".{package}.EchoResponse")
    rules = [http_pb2.HttpRule(post=path, body="*") for path in paths]
    if rules:
        echo.options.Extensions[annotations_pb2.http].CopyFrom(rules[0])
        echo.options.Extensions[annotations_pb2.http].additional_bindings.extend(rules[1:])
    return file


_PROTOS = """
    from google.api import annotations_pb2  # the files that it imports
    from google.protobuf import descriptor_pool, message_factory
    from muserve.v1 import common_pb2

    FILE = descriptor_pool.Default().AddSerializedFile({serialized!r})
    SERVICE = FILE.services_by_name["EchoService"]
    EchoRequest, EchoResponse, EchoSettings = (
        message_factory.GetMessageClass(FILE.message_types_by_name[name])
        for name in ("EchoRequest", "EchoResponse", "EchoSettings")
    )
"""
_KIND = """
    from dataclasses import dataclass

    from muserve.configuration import option
    from muserve_server.tasks import TaskKind
    from acme_echo.protos import SERVICE

    @dataclass(frozen=True)
    class EchoLimits:
        max_echoes: int = option(3, "maximum values of one echo", minimum=1)

    def open_task(bundle, limits):
        from acme_echo.task import EchoTask

        return EchoTask(bundle, limits)

    KIND = TaskKind("echo", SERVICE, EchoLimits, open_task)
"""
_TASK = """
    import numpy as np

    from acme_echo.protos import EchoResponse
    from muserve_server.tasks.graphs import find_graph
    from muserve_server.tasks.requests import refuse

    class EchoTask:
        def __init__(self, bundle, limits):
            self._limits = limits
            self._graph = find_graph(bundle, "echo.graph", bundle.settings.graph).role

        def handlers(self):
            return {"Echo": self._echo}

        async def _echo(self, request, call):
            if not 1 <= len(request.values) <= self._limits.max_echoes:
                refuse("values", f"are {len(request.values)}; allowed: 1 up to {self._limits.max_echoes}")
            outputs = await call.infer(self._graph, {"x": np.array(request.values, np.float32)[:, None]})
            return EchoResponse(values=outputs["y"][:, 0].tolist())
"""


def install_echo(site: Path, paths: Sequence[str] = ()) -> None:
    """Installs the kind "echo" of the distribution acme-echo, whose method has short paths."""
    modules = {
        "acme_echo/__init__.py": "",
        "acme_echo/protos.py": _PROTOS.format(serialized=echo_proto(paths=paths).SerializeToString()),
        "acme_echo/kind.py": _KIND,
        "acme_echo/task.py": _TASK,
    }
    install(site, "acme-echo", modules, {"muserve.tasks": {"echo": "acme_echo.kind:KIND"}})


def echo_bundle(root: Path, settings: Message) -> Path:
    """Writes a bundle of the kind "echo".

    Args:
        root: The models folder.
        settings: An EchoSettings whose graph is "doubler".
    """
    folder = root / "double" / "1"
    (folder / "graphs").mkdir(parents=True)
    node = helper.make_node("Add", ["x", "x"], ["y"])
    graph = write_graph(folder, "doubler", [node], [("x", FLOAT32, [1])], [("y", FLOAT32, [1])], {}, max_batch_rows=16)
    custom = any_pb2.Any()
    custom.Pack(settings)
    manifest = manifest_pb2.ModelManifest(
        name="double",
        version=1,
        task_name="echo",
        description="Doubles.",
        graphs=[graph],
        licence="Apache-2.0",
        custom=custom,
    )
    write_manifest(folder, manifest, optional=frozenset())
    return folder
