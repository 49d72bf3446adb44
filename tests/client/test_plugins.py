"""Calls of other distributions: made by both clients, commands of `muserve`, checked by `muserve verify`."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint, distributions, entry_points
from pathlib import Path

import pytest

from muserve.errors import InvalidRequestError
from muserve_client import AsyncClient, Client
from muserve_client.calls import Flow, installed_calls
from muserve_client.calls.registry import GROUP, Installed, find_calls
from muserve_server.tasks import installed_kinds
from tests.bundles import image_bundle
from tests.client.conftest import Served
from tests.plugins import echo_bundle, install, install_echo, on_path
from tests.servers import ServerProcess, server_process

_CALLS = """
    import argparse

    from acme_echo.protos import SERVICE, EchoRequest
    from muserve_client import Client
    from muserve_client.calls import (
        Calls, Command, Fields, Probe, Rpc, add_model_flags, answer_of, client_arguments, copy_of, method_of, read_info,
    )

    ECHO = method_of(SERVICE, "Echo")

    def echo(values, *, model="", timeout_s=None, request_id=None):
        '''Doubles numbers.'''
        fields, request = Fields(), EchoRequest()
        fields.fill(request, values=values, model=model)
        fields.check()
        response = yield Rpc(ECHO, request, timeout_s=timeout_s, request_id=request_id)
        return list(response.values), read_info(response.info)

    def stray():
        yield 3

    def _add_flags(parser):
        parser.add_argument("values", type=float, nargs="+", help="numbers")
        add_model_flags(parser)

    def _run(namespace):
        with Client(**client_arguments(namespace)) as client:
            values, info = client.run(echo(namespace.values, model=namespace.model))
        print(*values, info.model)
        return 0

    def _other(request, index):
        return EchoRequest(model=request.model, version=request.version, values=[index + 10.0])

    def _alone(request, index):
        one = copy_of(request)
        one.values[:] = [request.values[index]]
        return one

    PROBE = Probe(
        task="echo", request=EchoRequest, method=ECHO, nouns=("values", "values", "bits"),
        read=lambda response: answer_of(response, {str(i): str(v).encode() for i, v in enumerate(response.values)}),
        default=lambda manifest: EchoRequest(values=[1, 2, 3]), other=_other, alone=_alone,
    )
    CALLS = Calls("echo", commands=(Command("echo", "Double numbers.", _add_flags, _run),), probes=(PROBE,))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder of sys.path where the task kind acme-echo and its calls are installed."""
    folder = tmp_path_factory.mktemp("site")
    install_echo(folder)
    install(folder, "acme-echo-calls", {"acme_echo/calls.py": _CALLS}, {GROUP: {"echo": "acme_echo.calls:CALLS"}})
    installed_kinds()  # of this process, remembered as they are without it
    with on_path(folder):
        yield folder


@pytest.fixture(scope="module")
def environment(site: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])}


@pytest.fixture(scope="module")
def server(
    site: Path, environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    from acme_echo.protos import EchoSettings  # type: ignore[import-not-found]

    models = tmp_path_factory.mktemp("models")
    echo_bundle(models, EchoSettings(graph="doubler"))
    image_bundle(models)
    with server_process(models, environ={"PYTHONPATH": environment["PYTHONPATH"]}) as running:
        yield running


def muserve(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "muserve_client", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)


async def test_both_clients_run_the_call_of_another_package(site: Path, server: ServerProcess) -> None:
    from acme_echo.calls import echo  # type: ignore[import-not-found]

    with Client(f"localhost:{server.grpc_port}") as client:
        values, info = client.run(echo([1, 2.5], request_id="mine"))
        assert (values, info.model, info.request_id) == ([2, 5], "double", "mine")
        with pytest.raises(InvalidRequestError, match="values: are 4; allowed: 1 up to 3"):
            client.run(echo([1, 2, 3, 4]))
        with pytest.raises(InvalidRequestError, match=r"values\[1\]: is 'x'"):
            client.run(echo([1, "x"]))
    async with AsyncClient(f"localhost:{server.grpc_port}") as client_:
        assert (await client_.run(echo([3])))[0] == [6]


def test_it_is_a_command_and_its_models_are_listed_and_verified(
    environment: dict[str, str], server: ServerProcess
) -> None:
    address = ("--server", f"localhost:{server.grpc_port}")
    assert "echo      Double numbers." in muserve(environment, "--help").stdout
    assert muserve(environment, "echo", "1", "4", *address).stdout == "2.0 8.0 double\n"
    listed = muserve(environment, "models", "--task", "echo", *address).stdout
    assert [line.split()[:4] for line in listed.splitlines()[1:]] == [["double", "1", "echo", "ready"]]
    done = muserve(environment, "verify", "--rounds", "1", *address)
    assert done.returncode == 0, done.stdout
    assert "ok      double/1 default: 3 values, each alone" in done.stdout
    assert done.stdout.endswith("8 of 8 checks passed\n")


def test_a_model_whose_calls_are_not_installed_is_told_of(
    server: ServerProcess, capfd: pytest.CaptureFixture[str]
) -> None:
    done = muserve(dict(os.environ), "verify", "--model", "double", "--server", f"localhost:{server.grpc_port}")
    assert done.returncode == 1
    assert (
        "this client has no check for the task 'echo': update it, or install the package that brings one" in done.stdout
    )
    done = muserve(dict(os.environ), "models", "--task", "ecko", "--server", f"localhost:{server.grpc_port}")
    assert "task: is 'ecko'; did you mean 'echo'?" in done.stderr


def endless() -> Flow[int]:
    yield "no step"  # type: ignore[misc]
    return 1


async def test_a_flow_that_yields_no_rpc_names_its_origin(served: Served, site: Path) -> None:
    from acme_echo.calls import stray

    with Client(served.target) as client, pytest.raises(TypeError, match=r"the call 'endless' of .* yielded 'no step'"):
        client.run(endless())
    async with AsyncClient(served.target) as async_client:
        with pytest.raises(TypeError, match=r"of the distribution 'acme-echo.*' yielded 3; a call is a generator"):
            await async_client.run(stray())


def found_in(*sites: Path) -> Installed:
    others = [entry for site in sites for found in distributions(path=[str(site)]) for entry in found.entry_points]
    house = [entry for entry in entry_points(group=GROUP) if entry.value.startswith("muserve_client.")]
    return find_calls([*house, *(entry for entry in others if entry.group == GROUP)])


HEAD = "from muserve_client.calls import Calls, Command\nC = Command('images', 'x', print, print)\n"


@pytest.mark.parametrize(
    ("name", "source", "text"),
    [
        ("rival", "import nothing_of_the_kind", "its import failed (ModuleNotFoundError"),
        ("rival", "CALLS = 3", "it names a int; it must be a muserve_client.calls.Calls"),
        ("rival", HEAD + "CALLS = Calls('other')", "the calls are named 'other'; entry point and calls must have"),
        ("rival", HEAD + "CALLS = Calls('rival', commands=(C,))", "brings a command `muserve images` already"),
        ("image", HEAD + "CALLS = Calls('image')", "brings one of this name already; uninstall one"),
    ],
)
def test_broken_or_clashing_calls_are_passed_over_with_a_warning(
    tmp_path: Path, served: Served, name: str, source: str, text: str
) -> None:
    install(tmp_path, "acme-rival", {"rival_calls.py": source}, {GROUP: {name: "rival_calls:CALLS"}})
    with on_path(tmp_path):
        found = found_in(tmp_path)
    (problem,) = found.problems.values()
    assert problem.startswith(f"entry point {name!r} of the distribution 'acme-rival': ")
    assert text in problem
    assert {command.name for command in found.commands} >= {"images", "verify", "forecast"}
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    done = muserve(environ, "models", "--server", served.target)
    assert done.returncode == 0
    assert done.stderr.startswith(f"muserve: warning: entry point {name!r} of the distribution 'acme-rival': ")
    assert done.stderr.count("\n") == 1


def test_the_house_has_no_calls_of_its_own_list() -> None:
    assert {calls.name for calls in installed_calls().values()} >= {"image", "server"}
    found = found_in()
    assert not found.problems
    assert {calls.name for calls in found.values()} == {"answer", "forecast", "image", "music", "server", "translation"}
    assert all(isinstance(entry, EntryPoint) for entry in entry_points(group=GROUP))


def test_a_method_says_what_its_call_says() -> None:
    from muserve_client.calls.image.flow import images

    for kind in (Client, AsyncClient):
        assert inspect.getdoc(kind.images) == inspect.getdoc(images)
        assert list(inspect.signature(kind.images).parameters)[1:] == list(inspect.signature(images).parameters)
        assert inspect.signature(kind.images).return_annotation == "Images"
        assert kind.images.__qualname__ == f"{kind.__name__}.images"
