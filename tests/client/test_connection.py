"""How a client connects: where to, how it says who it is, and that no call is without a deadline."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import grpc
import pytest

from muserve_client import Client, ConfigurationError, UnavailableError, __version__
from muserve_client.options import KEEPALIVE_TIME_MS, ClientOptions
from muserve_server.fronts import grpcio
from tests.client.fakes import Skin, both_skins, call, empty, fake_server

METHODS: dict[str, tuple[Any, ...]] = {"images": (), "forecast": ([1, 2], 3), "models": (), "model": ("digits",)}


@both_skins
@pytest.mark.parametrize("method", METHODS)
def test_every_call_has_a_deadline(skin: Skin, method: str) -> None:
    with fake_server(lambda request, *_: empty(request)) as server:
        call(skin, server.target, method, *METHODS[method])
        call(skin, server.target, method, *METHODS[method], client={"timeout_s": 200})
        call(skin, server.target, method, *METHODS[method], client={"timeout_s": 200}, timeout_s=900)
    allowed = (60, 200, 900)
    for seconds, most in zip(server.remaining_s, allowed, strict=True):
        assert seconds is not None
        assert most / 2 < seconds < most + 1


@both_skins
@pytest.mark.parametrize("method", METHODS)
def test_every_call_says_who_calls(skin: Skin, method: str) -> None:
    with fake_server(lambda request, *_: empty(request)) as server:
        client = {"metadata": {"Authorization": "Bearer token", "trace-bin": b"\0\1"}}
        call(skin, server.target, method, *METHODS[method], client=client, request_id="mine")
        call(skin, server.target, method, *METHODS[method], client={"metadata": [("k", "1")]})
    first, second = server.metadata
    assert first["authorization"] == "Bearer token"
    assert first["trace-bin"] == b"\0\1"
    assert first["x-request-id"] == "mine"
    assert second["k"] == "1"
    assert len(second["x-request-id"]) == 16
    assert str(first["user-agent"]).startswith(f"muserve-python/{__version__} ")


@both_skins
def test_targets_that_are_grpcs_own(skin: Skin, tmp_path: Path) -> None:
    with fake_server(lambda request, *_: empty(request)) as server:
        for target in (
            f"ipv4:{server.target}",
            f"dns:///{server.target}",
            server.target.replace("127.0.0.1", "localhost"),
        ):
            assert call(skin, target, "models") == []
    assert server.calls == 3
    with fake_server(lambda request, *_: empty(request), address=f"unix:{tmp_path}/socket") as server:
        assert call(skin, server.target, "models") == []


@both_skins
def test_calls_are_spread_over_all_addresses(skin: Skin) -> None:
    with fake_server(lambda request, *_: empty(request)) as one, fake_server(lambda request, *_: empty(request)) as two:
        target = f"ipv4:{one.target},{two.target}"
        # A new client may find one address before the other, so calls are made until both have seen some.
        while not (one.calls and two.calls):
            call(skin, target, "models")
        if skin is Client:
            with Client(target) as client:
                while client.models() == [] and min(one.calls, two.calls) < 20:
                    pass
            assert max(one.calls, two.calls) < 60


@pytest.mark.parametrize(
    ("target", "full"),
    [
        ("localhost", "dns:///localhost:8001"),
        ("muserve.example:9", "dns:///muserve.example:9"),
        ("10.0.0.1:65535", "dns:///10.0.0.1:65535"),
        ("[::1]:8001", "dns:///[::1]:8001"),
        ("[::1]", "dns:///[::1]:8001"),
        ("dns:8001", "dns:///dns:8001"),
        ("dns:///a:1", "dns:///a:1"),
        ("ipv4:10.0.0.1:1,10.0.0.2:2", "ipv4:10.0.0.1:1,10.0.0.2:2"),
        ("unix:/run/muserve.sock", "unix:/run/muserve.sock"),
    ],
)
def test_host_and_port_become_a_grpc_target(target: str, full: str) -> None:
    assert Client(target)._options.target == full


@pytest.mark.parametrize(
    "target", ["", "http://localhost:8001", "::1", "a b", "localhost:", "localhost:65536", ":8001"]
)
def test_other_targets_are_refused(target: str) -> None:
    with pytest.raises(ConfigurationError, match=r"target is .* allowed: host"):
        Client(target)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"timeout_s": 0}, "timeout_s is 0"),
        ({"timeout_s": float("inf")}, "no call may hang"),
        ({"timeout_s": float("nan")}, "timeout_s is nan"),
        ({"max_message_mib": 0}, "max_message_mib is 0; allowed: 1 up to 1024"),
        ({"metadata": {"a b": "c"}}, "'a b'"),
    ],
)
def test_settings_are_checked(wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        Client("localhost", **wrong)


def arguments(**changes: Any) -> list[tuple[str, Any]]:
    defaults: dict[str, Any] = {"timeout_s": 1, "retries": None, "tls": False, "credentials": None, "metadata": ()}
    return ClientOptions.of(
        "localhost", **(defaults | {"max_message_mib": 3, "channel_options": ()} | changes)
    ).channel_arguments()


def test_channel_arguments() -> None:
    found = dict(arguments())
    assert found["grpc.max_send_message_length"] == found["grpc.max_receive_message_length"] == 3 * 2**20
    assert json.loads(found["grpc.service_config"]) == {"loadBalancingConfig": [{"round_robin": {}}]}
    assert arguments(channel_options=[("grpc.keepalive_time_ms", 1)])[-1] == ("grpc.keepalive_time_ms", 1)


def test_keepalive_fits_the_servers() -> None:
    # The only place that may see both sides: a ping that comes too early costs the connection (too_many_pings).
    assert dict(arguments())["grpc.keepalive_time_ms"] == KEEPALIVE_TIME_MS > grpcio.MIN_PING_INTERVAL_MS


@both_skins
def test_tls(skin: Skin, certificate: tuple[Path, Path]) -> None:
    pem, key = (path.read_bytes() for path in certificate)
    with fake_server(
        lambda request, *_: empty(request), credentials=grpc.ssl_server_credentials([(key, pem)])
    ) as server:
        target = server.target.replace("127.0.0.1", "localhost")
        credentials = grpc.ssl_channel_credentials(pem)
        assert call(skin, target, "models", client={"credentials": credentials}) == []
        assert call(skin, target, "models", client={"credentials": credentials, "tls": True}) == []
        with pytest.raises(UnavailableError):  # nobody vouches for it
            call(skin, target, "models", client={"tls": True})
        with pytest.raises(UnavailableError):
            call(skin, target, "models")
    assert server.calls == 2
