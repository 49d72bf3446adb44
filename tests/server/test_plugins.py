"""Task kinds of other distributions: found, served like the built-in ones, and passed over where they are broken."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from importlib.metadata import distributions, entry_points
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from muserve.bundle import ManifestError, read_bundle
from muserve.configuration import ConfigurationError
from muserve.errors import STATUS_DETAILS_KEY, from_status
from muserve.v1 import common_pb2, model_pb2, model_pb2_grpc
from muserve_server.model import LocalModel, LocalOptions, WarmUpError
from muserve_server.settings import build_settings
from muserve_server.tasks import Kinds, installed_kinds
from muserve_server.tasks.registry import GROUP, find_kinds
from tests.bundles import add_golden, image_bundle
from tests.options import local_options
from tests.plugins import echo_bundle, echo_proto, install, install_echo, on_path
from tests.server.calling import get_http
from tests.servers import server_process, serving


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of sys.path where acme-echo is installed."""
    folder = tmp_path_factory.mktemp("site")
    install_echo(folder)
    installed_kinds()  # remembered as they are without it
    with on_path(folder):
        yield folder


@pytest.fixture(scope="module")
def protos(site: Path) -> Any:
    import acme_echo.protos  # type: ignore[import-not-found]

    return acme_echo.protos


@pytest.fixture
def models(tmp_path: Path, protos: Any) -> Path:
    echo_bundle(tmp_path / "models", protos.EchoSettings(graph="doubler"))
    return tmp_path / "models"


def found_in(*sites: Path) -> Kinds:
    """The kinds of some folders beside the built-in ones."""
    others = [entry for site in sites for found in distributions(path=[str(site)]) for entry in found.entry_points]
    house = [entry for entry in entry_points(group=GROUP) if entry.value.startswith("muserve_server.")]
    return find_kinds([*house, *(entry for entry in others if entry.group == GROUP)])


async def test_a_kind_of_another_distribution_is_served_like_those_of_the_house(
    site: Path, models: Path, protos: Any
) -> None:
    image_bundle(models)
    environ = {"PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}
    with (
        server_process(models, "--max-echoes", "2", "--default-models", "echo=double", environ=environ) as server,
        grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}") as channel,
    ):
        echo = channel.unary_unary(
            "/acme.echo.v1.EchoService/Echo", protos.EchoRequest.SerializeToString, protos.EchoResponse.FromString
        )
        response = echo(protos.EchoRequest(values=[1, 2.5]), metadata=[("x-request-id", "mine")])
        assert list(response.values) == [2, 5]
        assert (response.info.model, response.info.version, response.info.request_id) == ("double", 1, "mine")
        with pytest.raises(grpc.RpcError) as caught:
            echo(protos.EchoRequest(values=[1, 2, 3]))
        details = dict(caught.value.trailing_metadata())[STATUS_DETAILS_KEY]
        error = from_status(caught.value.code(), caught.value.details(), details)
        assert error.message == "values: are 3; allowed: 1 up to 2"

        listed = model_pb2_grpc.ModelServiceStub(channel).ListModels(model_pb2.ListModelsRequest(task_name="echo"))
        (model,) = listed.models
        assert (model.name, model.task, model.task_name) == ("double", common_pb2.TASK_UNSPECIFIED, "echo")
        assert (model.state, model.default) == (model_pb2.MODEL_STATE_READY, True)
        health = health_pb2_grpc.HealthStub(channel)
        status = health.Check(health_pb2.HealthCheckRequest(service="acme.echo.v1.EchoService")).status
        assert status == health_pb2.HealthCheckResponse.SERVING
        query = reflection_pb2.ServerReflectionRequest(file_containing_symbol="acme.echo.v1.EchoService")
        (answer,) = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([query]))
        assert echo_proto().SerializeToString() in answer.file_descriptor_response.file_descriptor_proto
        _, metrics = get_http(server.http_port, "/metrics")
        labels = 'code="OK",method="/acme.echo.v1.EchoService/Echo",model="double",version="1"'
        assert f"muserve_request_seconds_count{{{labels}}} 1.0" in metrics


async def test_its_goldens_are_replayed(site: Path, models: Path, protos: Any) -> None:
    folder = models / "double" / "1"
    options = LocalOptions(kinds=found_in(site))
    async with await LocalModel.open(folder, options) as model:
        digest = model.bundle.digest
    await add_golden(folder, protos.EchoRequest(values=[3]), options=options)
    async with await LocalModel.open(folder, options) as model:
        assert model.bundle.digest != digest
        assert list((await model.answer(protos.EchoRequest(values=[4]))).values) == [8]
        with pytest.raises(TypeError, match="ListModelsRequest is not a request of the task 'echo'"):
            await model.answer(model_pb2.ListModelsRequest())
    with pytest.raises(WarmUpError, match="golden 'one' failed: values: are 1; allowed: 1 up to 0"):
        await LocalModel.open(folder, local_options(kinds=options.kinds, max_echoes=0))


async def test_a_bundle_of_a_kind_that_is_not_installed_says_how_to_install_it_and_the_rest_serves(
    models: Path,
) -> None:
    image_bundle(models)
    with pytest.raises(ManifestError, match=r"manifest.json: its task kind 'echo' is not installed here; install the"):
        await LocalModel.open(models / "double" / "1")
    async with serving(models) as server:
        assert server._health.ready
        entries = {entry.name: entry for entry in server._repository.entries()}
        assert (
            "its task kind 'echo' is not installed here; install the package that brings it" in entries["double"].reason
        )
        assert entries["shapes"].state == model_pb2.MODEL_STATE_READY


def test_a_manifest_cannot_name_two_kinds_or_none(models: Path) -> None:
    path = models / "double/1/manifest.json"
    manifest = json.loads(path.read_text())
    for change, text in (
        ({"task": "TASK_IMAGE"}, "has both a task and a task_name"),
        ({"taskName": "Echo!"}, r"taskName is 'Echo!'; allowed: a lower-case letter"),
        ({"taskName": 3}, "taskName is 3; allowed: a lower-case letter"),
    ):
        path.write_text(json.dumps(manifest | change))
        with pytest.raises(ManifestError, match=text):
            read_bundle(models / "double/1")


ECHO_KIND = "from acme_echo.kind import KIND as K\nfrom dataclasses import dataclass, replace\n"
LIMITS = ECHO_KIND + "from muserve.configuration import option\n@dataclass(frozen=True)\nclass Limits:\n"


@pytest.mark.parametrize(
    ("name", "source", "text"),
    [
        (
            "echo",
            "raise RuntimeError('no luck')",
            r"of the distribution 'rival': its import failed \(RuntimeError",
        ),
        ("echo", "KIND = 3", r"rival.kind:KIND is int; it must be a muserve_server.tasks.TaskKind"),
        ("other", ECHO_KIND + "KIND = K", "calls itself 'echo'; entry point and kind must have the same name"),
        ("UP", ECHO_KIND + "KIND = replace(K, name='UP')", "the name is 'UP'; allowed: a lower-case letter"),
        ("bad", ECHO_KIND + "KIND = replace(K, name='bad', limits=3)", "limits are 3; they must be a dataclass"),
        *(
            (
                "bad",
                f"{LIMITS}    {field}\nKIND = replace(K, name='bad', limits=Limits)",
                "cannot be made without values",
            )
            for field in ("size: 'Nonesuch' = option(1, 'x')", "size: int", "def __post_init__(self): raise OSError")
        ),
        ("bad", ECHO_KIND + "KIND = replace(K, name='bad', service=3)", "service is 3; it must be a protobuf"),
        ("echo", ECHO_KIND + "KIND = K", "distribution 'acme-echo' brings one of this name already; uninstall one"),
        ("image", ECHO_KIND + "KIND = replace(K, name='image')", "brings one of this name already; uninstall one"),
        (
            "twin",
            ECHO_KIND + "KIND = replace(K, name='twin')",
            "the kind 'echo' of the distribution 'acme-echo' has the service acme.echo.v1.EchoService already",
        ),
        (
            "models",
            "from dataclasses import replace\nfrom acme_echo.kind import KIND as K\nfrom muserve.v1 import model_pb2\n"
            "KIND = replace(K, name='models', service=model_pb2.DESCRIPTOR.services_by_name['ModelService'])",
            r"the request of muserve.v1.ModelService.ListModels needs the field `string model`",
        ),
    ],
)
def test_a_broken_or_clashing_kind_is_passed_over_and_its_distribution_named(
    site: Path, tmp_path: Path, name: str, source: str, text: str
) -> None:
    install(tmp_path, "rival", {"rival/__init__.py": "", "rival/kind.py": source}, {GROUP: {name: "rival.kind:KIND"}})
    with on_path(tmp_path):
        kinds = found_in(tmp_path) if "import failed" in text or "is int" in text else found_in(site, tmp_path)
    (problem,) = kinds.problems.values()
    assert "'rival'" in problem
    assert re.search(text, problem), problem
    assert set(installed_kinds()) <= set(kinds)
    build_settings(kinds=kinds)
    if name == "echo" and "import failed" in text:
        with pytest.raises(ManifestError, match=r"kind 'echo' cannot be used here: .* distribution 'rival'"):
            kinds.named("echo")


@pytest.mark.parametrize(
    ("limit", "whose"),
    [("grpc_port", "the server itself"), ("config", "the command line"), ("max_midi_events", "'music'")],
)
async def test_a_limit_that_clashes_with_a_flag_leaves_its_kind_out(
    site: Path, tmp_path: Path, limit: str, whose: str
) -> None:
    source = (
        "from acme_echo.kind import KIND as K\nfrom dataclasses import dataclass, replace\n"
        "from muserve.configuration import option\n"
        f"@dataclass(frozen=True)\nclass Limits:\n    {limit}: int = option(1, 'mine')\n"
        "KIND = replace(K, name='rude', service=None, limits=Limits)\n"
    )
    install(tmp_path / "site", "rude", {"rude.py": source}, {GROUP: {"rude": "rude:KIND"}})
    with on_path(tmp_path / "site"):
        kinds = found_in(tmp_path / "site")
    assert "rude" in kinds
    settings = build_settings({"grpc_port": 5}, kinds=kinds)
    assert "rude" not in settings.kinds
    assert settings.grpc_port == 5
    problem = settings.kinds.problems["rude"]
    assert f"task kind 'rude' of the distribution 'rude': its limit {limit!r} has the name of a setting of" in problem
    assert whose in problem
    with pytest.raises(ConfigurationError, match="default_models has the task 'rude'"):
        build_settings({"default_models": "rude=x"}, kinds=kinds)


@pytest.fixture
def rude(site: Path, tmp_path: Path) -> Any:
    """Finds a kind with one limit, declared by a line."""

    def find(limit: str) -> Kinds:
        source = (f"{LIMITS}    {limit}\nKIND = replace(K, name='rude', service=None, limits=Limits)\n").replace(
            "\n@data", "\nfrom muserve_server.limits import MAX_SAMPLES_PER_CALL\n@data"
        )
        install(tmp_path / "site", "rude", {"rude.py": source}, {GROUP: {"rude": "rude:KIND"}})
        with on_path(tmp_path / "site"):
            return found_in(tmp_path / "site")

    return find


def test_a_limit_at_most_what_nobody_has_leaves_its_kind_out(rude: Any) -> None:
    settings = build_settings(kinds=rude("size: int = option(1, 'mine', at_most='nonesuch')"))
    assert "its limit 'size' is at most 'nonesuch', which is not a setting" in settings.kinds.problems["rude"]


def test_a_shared_limit_of_another_name_is_another_setting(rude: Any) -> None:
    settings = build_settings(
        {"max_colours": 5, "max_samples_per_call": 7}, kinds=rude("max_colours: int = MAX_SAMPLES_PER_CALL")
    )
    assert settings.limits["rude"].max_colours == 5
    assert settings.limits["image"].max_samples_per_call == 7
    assert settings.limits["music"].max_samples_per_call == 7


def test_a_shared_limit_of_another_type_clashes(rude: Any) -> None:
    settings = build_settings(
        {"max_samples_per_call": 7}, kinds=rude("max_samples_per_call: float = MAX_SAMPLES_PER_CALL")
    )
    assert "its limit 'max_samples_per_call' has the name of a setting of" in settings.kinds.problems["rude"]
    assert repr(settings.limits["image"].max_samples_per_call) == "7"


async def test_a_task_without_a_handler_is_refused_by_the_name_of_its_distribution(
    site: Path, models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = found_in(site)["echo"]

    def open_nothing(bundle: Any, limits: Any) -> Any:
        task = kind.open(bundle, limits)
        monkeypatch.setattr(type(task), "handlers", lambda self: {})
        return task

    kinds = found_in(site).with_kind(replace(kind, open=open_nothing))
    with pytest.raises(ManifestError, match=r"'echo' is not complete: it handles nothing, .*Echo; .*'acme-echo'"):
        await LocalModel.open(models / "double" / "1", LocalOptions(kinds=kinds, limits=kinds.limits()))


def test_a_setting_of_a_kind_that_is_passed_over_says_why(tmp_path: Path) -> None:
    install(tmp_path, "rude", {"rude.py": "raise OSError('no disk')"}, {GROUP: {"rude": "rude:KIND"}})
    environ = {**os.environ, "PYTHONPATH": str(tmp_path), "MUSERVE_CONFIG_MAX_RUDENESS": "3"}
    command = [sys.executable, "-m", "muserve_server"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 1
    assert "unknown environment variable 'MUSERVE_CONFIG_MAX_RUDENESS'" in done.stderr
    assert "entry point 'rude' of the distribution 'rude': its import failed (OSError('no disk'))" in done.stderr


def test_a_server_of_images_imports_nothing_of_other_tasks(tmp_path: Path) -> None:
    image_bundle(tmp_path)
    code = (
        "import asyncio, sys\n"
        "from pathlib import Path\n"
        "from muserve.v1 import image_pb2\n"
        "from muserve_server.app import Server\n"
        "from muserve_server.settings import build_settings\n"
        "async def main():\n"
        "    values = {'models': sys.argv[1], 'grpc_port': 0, 'http_port': 0, 'poll_interval_s': 0}\n"
        "    server = Server(build_settings(values))\n"
        "    await server.start()\n"
        "    assert server._health.ready\n"
        "    await server.stop(drain=False)\n"
        "asyncio.run(main())\n"
        "print(*sys.modules)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    loaded = set(subprocess.run(command, check=True, capture_output=True, text=True).stdout.split())
    assert "muserve_server.tasks.image.task" in loaded
    assert not {"tokenizers", "bm25s", "rapidfuzz", "torch"} & loaded
    kinds = {"answer", "forecast", "music", "translation"}
    assert not {f"muserve_server.tasks.{kind}.task" for kind in kinds} & loaded
