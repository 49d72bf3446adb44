"""Calls of other distributions: every way in which they can be broken, and how flows are driven."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import subprocess
import sys
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from muserve.errors import InvalidRequestError, QueueFullError
from muserve_client import AsyncClient, Client
from muserve_client.calls import InvalidFlowError, Pause, Work, installed_calls
from muserve_client.cli import main
from tests.client.conftest import Served
from tests.client.fakes import Skin, both_skins, call, fail, fake_server, one_image
from tests.plugins import install, on_path

_STAMPS = """
    from muserve.v1 import image_pb2
    from muserve_client.calls import Calls, Command, Fields, Rpc, client_arguments, method_of

    METHOD = method_of(image_pb2.DESCRIPTOR.services_by_name["ImageService"], "GenerateImages")

    def stamps(count=1, *, timeout_s=None, request_id=None):
        fields, request = Fields(), image_pb2.GenerateImagesRequest(seed=7)
        fields.fill(request, count=count)
        fields.check()
        response = yield Rpc(METHOD, request, timeout_s=timeout_s, request_id=request_id)
        return [image.png for image in response.images]

    def odd():
        response = yield 42

    def _run(namespace):
        from muserve_client import Client

        with Client(**client_arguments(namespace)) as client:
            print(len(client.run(odd() if namespace.odd else stamps(namespace.count))), "stamps")
        return 0

    def _add_flags(parser):
        parser.add_argument("--count", type=int, default=1)
        parser.add_argument("--odd", action="store_true")

    CALLS = Calls("stamp", [Command("stamps", "Make stamps, 20% of them red.", _add_flags, _run)])
"""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Path]:
    """An empty folder of sys.path."""
    with on_path(tmp_path / "site") as folder:
        yield folder


def add_calls(site: Path, source: str, *, name: str, distribution: str) -> Any:
    """Installs a distribution whose package has one module "call", which has CALLS."""
    package = distribution.replace("-", "_")
    modules = {f"{package}/__init__.py": "", f"{package}/call.py": source}
    install(site, distribution, modules, {"muserve.calls": {name: f"{package}.call:CALLS"}})
    importlib.invalidate_caches()
    return package


@pytest.fixture
def stamps(site: Path) -> Any:
    """The calls of acme-stamps."""
    return importlib.import_module(f"{add_calls(site, _STAMPS, name='stamp', distribution='acme-stamps')}.call")


# Flows


@both_skins
def test_a_flow_runs_in_both_clients(skin: Skin, served: Served, stamps: Any) -> None:
    pngs = call(skin, served.target, "run", stamps.stamps(3))
    assert pngs == [image.png for image in call(skin, served.target, "images", 3, seed=7)]


@both_skins
def test_a_flow_is_retried_and_sends_its_options(skin: Skin, stamps: Any) -> None:
    def answer(_request: Any, context: Any, number: int) -> Any:
        if number < 3:
            fail(context, QueueFullError("full", retry_after_s=0.01))
        return one_image(b"stamp")

    with fake_server(answer) as server:
        assert call(skin, server.target, "run", stamps.stamps(timeout_s=30, request_id="mine")) == [b"stamp"]
    assert [metadata["x-request-id"] for metadata in server.metadata] == ["mine"] * 3
    assert all(remaining is not None and remaining < 31 for remaining in server.remaining_s)


@both_skins
def test_a_failure_is_raised_at_the_yield(skin: Skin, stamps: Any) -> None:
    seen: list[Exception] = []

    def patient() -> Any:
        try:
            yield from stamps.stamps()
        except InvalidRequestError as error:
            seen.append(error)
        yield Pause(0.0)
        return (yield Work(lambda: "recovered"))

    with fake_server(lambda _request, context, _number: fail(context, InvalidRequestError("no"))) as server:
        assert call(skin, server.target, "run", patient()) == "recovered"
        with pytest.raises(InvalidRequestError, match="no"):
            call(skin, server.target, "run", stamps.stamps())
    assert len(seen) == 1


@both_skins
def test_a_flow_is_closed_when_it_fails(skin: Skin) -> None:
    closed: list[bool] = []

    def failing() -> Any:
        try:
            yield Work(lambda: 1 / 0)
        finally:
            closed.append(True)

    with pytest.raises(ZeroDivisionError):
        call(skin, "127.0.0.1:1", "run", failing())
    assert closed == [True]


@both_skins
def test_a_flow_that_yields_no_step_names_its_distribution(skin: Skin, stamps: Any) -> None:
    text = r"'odd' of the distribution 'acme-stamps' yielded 42; .*muserve_client\.calls\.Rpc"
    with pytest.raises(InvalidFlowError, match=text):
        call(skin, "127.0.0.1:1", "run", stamps.odd())


@both_skins
def test_a_flow_that_goes_on_after_a_wrong_step_is_ended(skin: Skin) -> None:
    def stubborn() -> Any:
        while True:
            with contextlib.suppress(TypeError):
                yield 42

    with pytest.raises(InvalidFlowError, match="yielded 42"):
        call(skin, "127.0.0.1:1", "run", stubborn())


@both_skins
@pytest.mark.parametrize("what", [5, [1], lambda: None])
def test_what_is_no_flow_is_refused(skin: Skin, what: Any) -> None:
    with pytest.raises(InvalidFlowError, match="takes a flow"):
        call(skin, "127.0.0.1:1", "run", what)


@both_skins
def test_a_flow_runs_once(skin: Skin, stamps: Any) -> None:
    flow = stamps.odd()
    next(flow)
    with pytest.raises(InvalidFlowError, match="'odd' has run already"):
        call(skin, "127.0.0.1:1", "run", flow)


# Commands


def test_a_command_of_a_package_is_one_of_muserve(
    served: Served, stamps: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["stamps", "--count", "3", "--server", served.target]) == 0
    assert capsys.readouterr().out == "3 stamps\n"
    with pytest.raises(SystemExit) as ended:
        main(["stamps", "--cuont", "3"])
    assert ended.value.code == 2
    assert "did you mean '--count'?" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "Make stamps, 20% of them red." in capsys.readouterr().out


def test_a_command_whose_flow_is_broken_ends_with_an_error(
    served: Served, stamps: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["stamps", "--odd", "--server", served.target]) == 1
    err = capsys.readouterr().err
    assert err.startswith("muserve: error: ")
    assert "the distribution 'acme-stamps'" in err
    assert "Traceback" not in err


_HEAD = "from muserve_client.calls import Calls, Command\n"
_COMMAND = "Command({name!r}, 'Help.', lambda parser: None, lambda namespace: 0)"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("import nonsense_that_is_not_there\n", "its import failed"),
        ("raise SystemExit(3)\n", "its import failed"),
        ("CALLS = 5\n", "it must be a muserve_client.calls.Calls"),
        (f"{_HEAD}CALLS = Calls('other')\n", "entry point and calls must have the same name"),
        (f"{_HEAD}CALLS = Calls('broken', [5])\n", "must be a muserve_client.calls.Command"),
        (f"{_HEAD}CALLS = Calls('broken', probes=[5])\n", "must be a muserve_client.calls.Probe"),
        (f"{_HEAD}CALLS = Calls('broken', 5)\n", "it cannot be used"),
        (
            f"{_HEAD}CALLS = Calls('broken', [{_COMMAND.format(name='images')}])\n",
            "the distribution 'muserve' brings a command `muserve images` already",
        ),
        (
            f"{_HEAD}CALLS = Calls('broken', [{_COMMAND.format(name='verify')}])\n",
            "the distribution 'muserve' brings a command `muserve verify` already",
        ),
        (
            f"{_HEAD}CALLS = Calls('broken', [{', '.join([_COMMAND.format(name='twice')] * 2)}])\n",
            "it brings a command `muserve twice` twice",
        ),
        (
            f"{_HEAD}CALLS = Calls('broken', [Command('x', 'Help.', lambda parser: parser.add_argument('--server'), "
            "lambda namespace: 0)])\n",
            "--server",
        ),
        (
            f"{_HEAD}CALLS = Calls('broken', [Command('x', 'Help.', lambda parser: parser.add_argument('--run'), "
            "lambda namespace: 0)])\n",
            "has the flag --run, a name that `muserve` needs itself",
        ),
        (
            f"{_HEAD}CALLS = Calls('broken', [Command('x', 'H.', "
            "lambda parser: parser.add_argument('--y', help='5% of'), lambda namespace: 0)])\n",
            "the flags of `muserve x` cannot be added",
        ),
    ],
)
def test_broken_calls_are_told_in_a_line_and_the_rest_goes_on(
    served: Served, site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], source: str, words: str
) -> None:
    add_calls(site, source, name="broken", distribution="acme-broken")
    png = tmp_path / "x.png"
    assert main(["images", "--server", served.target, "--out", str(png)]) == 0
    assert png.exists()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("muserve: warning: ")
    assert "'acme-broken'" in line
    assert words in line


def test_of_two_packages_with_one_command_the_first_by_name_wins(
    site: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for distribution, name in (("acme-second", "b"), ("acme-first", "a")):
        source = f"{_HEAD}CALLS = Calls({name!r}, [Command('x', 'Help.', print, lambda _: print({name!r}) or 0)])\n"
        add_calls(site, source.replace("print,", "lambda parser: None,"), name=name, distribution=distribution)
    assert main(["x"]) == 0
    out, err = capsys.readouterr()
    assert out == "a\n"
    assert "'acme-second'" in err
    assert "the distribution 'acme-first' brings a command `muserve x` already; uninstall one" in err


def test_the_house_has_no_problems() -> None:
    installed = installed_calls()
    assert not installed.problems
    names = [command.name for command in installed.commands]
    assert sorted(names) == [
        "accompany", "ask", "forecast", "images", "models", "music", "questions", "translate", "verify",
    ]  # fmt: skip


def test_help_imports_nothing_heavy() -> None:
    heavy = {"numpy", "pandas", "matplotlib", "pyarrow", "PIL", "onnxruntime", "torch", "mido", "muserve_server"}
    code = (
        "import sys\nfrom muserve_client.cli import main\n"
        f"try:\n    main(['--help'])\nexcept SystemExit:\n    print(sorted({heavy} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_both_clients_describe_a_call_alike() -> None:
    for name in ("images", "forecast", "music", "accompany", "translate", "ask", "questions", "models", "model"):
        ours, theirs = getattr(Client, name), getattr(AsyncClient, name)
        assert inspect.signature(ours) == inspect.signature(theirs)
        assert inspect.getdoc(ours) == inspect.getdoc(theirs)
        assert typing.get_type_hints(ours) == typing.get_type_hints(theirs)
        assert not str(inspect.signature(ours).return_annotation).startswith("Flow")
        assert ours.__qualname__ == f"Client.{name}"
        assert theirs.__qualname__ == f"AsyncClient.{name}"
        assert ours.__module__ == "muserve_client.client"
        assert theirs.__module__ == "muserve_client.async_client"
