"""Envoy's configuration: Envoy accepts what the function makes, whatever the server is set to."""

from __future__ import annotations

import copy
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor

from muserve_server.fronts.envoy.config import EnvoyOptions, as_json, envoy_config
from muserve_server.fronts.envoy.descriptors import body_of, descriptor_set, json_path, json_services
from muserve_server.fronts.envoy.process import app_filter, environment, envoy_path, missing
from muserve_server.fronts.envoy.short_paths import find_short_paths
from muserve_server.services import service_descriptors
from muserve_server.tasks import installed_kinds
from tests.plugins import echo_proto

needs_envoy = pytest.mark.skipif(bool(missing()), reason=missing())
APP = "tests.server.fronts.test_envoy_config:nothing"


async def nothing(_scope: Any, _receive: Any, _send: Any) -> None:
    """An application."""


def services() -> list[ServiceDescriptor]:
    return list(service_descriptors(installed_kinds()))


def descriptors_of(served: list[ServiceDescriptor]) -> bytes:
    return descriptor_set(served, find_short_paths(served))


def options(tmp_path: Path, **changes: Any) -> EnvoyOptions:
    values: dict[str, Any] = {
        "addresses": ["127.0.0.1"],
        "port": 8001,
        "share_port": False,
        "app_filter": {"name": "app"},
        "descriptor_set": descriptors_of(services()),
        "services": json_services(services()),
        "admin_socket": tmp_path / "admin.sock",
        "allowed_hosts": ("localhost",),
        "cors_origins": (),
        "max_message_bytes": 2**20,
        "max_streams": 100,
        "max_connections": 1000,
        "receive_timeout_s": 60.0,
        "max_connection_age_s": 300.0,
        "log_json": False,
    }
    return EnvoyOptions(**(values | changes))


CHANGES: list[dict[str, Any]] = [
    {},
    {"addresses": ["::1", "127.0.0.1", "127.0.0.2"], "share_port": True},
    {"addresses": ["::"], "allowed_hosts": ("*",), "cors_origins": ("*",)},
    {"allowed_hosts": (), "max_connection_age_s": 0.0, "receive_timeout_s": 0.001, "log_json": True},
    {"allowed_hosts": ("a.example", "b+c.example"), "cors_origins": ("https://a.example", "http://localhost:3000")},
    {"allowed_hosts": [f"h{number}.some.example" for number in range(200)], "cors_origins": ["https://a.b"] * 200},
    {"max_message_bytes": 1024 * 2**20, "max_streams": 1, "max_connections": 1, "receive_timeout_s": 3600.0},
]


@needs_envoy
@pytest.mark.parametrize("changes", CHANGES)
def test_envoy_accepts_it(tmp_path: Path, changes: dict[str, Any]) -> None:
    assert validated(tmp_path, options(tmp_path, app_filter=app_filter(APP), **changes)) == (0, "")


@needs_envoy
def test_envoy_refuses_what_is_wrong(tmp_path: Path) -> None:
    code, reason = validated(tmp_path, options(tmp_path, app_filter=app_filter(APP), services=["no.such.Service"]))
    assert code != 0
    assert "no.such.Service" in reason


def validated(tmp_path: Path, wanted: EnvoyOptions) -> tuple[int, str]:
    """What Envoy says of a configuration: its exit code, and the reason if it is not 0."""
    file = tmp_path / "envoy.json"
    file.write_text(as_json(envoy_config(wanted)))
    command = [str(envoy_path()), "--mode", "validate", "--config-path", str(file), "--log-level", "critical"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment({}), timeout=250, check=False)
    return done.returncode, (done.stdout + done.stderr) if done.returncode else ""


@pytest.mark.parametrize("changes", CHANGES)
def test_it_is_a_pure_function(tmp_path: Path, changes: dict[str, Any]) -> None:
    given = options(tmp_path, **changes)
    before = copy.deepcopy(given)
    first = as_json(envoy_config(given))
    envoy_config(options(tmp_path, allowed_hosts=("else",)))
    assert as_json(envoy_config(given)) == first
    assert given == before
    assert not list(tmp_path.iterdir())


def test_settings_are_where_envoy_reads_them(tmp_path: Path) -> None:
    changes = {"addresses": ["::1", "127.0.0.1"], "port": 77, "max_streams": 5, "max_connections": 9}
    config = envoy_config(options(tmp_path, share_port=True, **changes))
    (listener,) = config["static_resources"]["listeners"]
    assert listener["address"]["socket_address"] == {"address": "::1", "port_value": 77}
    assert listener["additional_addresses"] == [
        {"address": {"socket_address": {"address": "127.0.0.1", "port_value": 77}}}
    ]
    assert listener["enable_reuse_port"] is True
    assert config["admin"]["address"]["pipe"] == {"path": str(tmp_path / "admin.sock"), "mode": 0o600}
    connections = listener["filter_chains"][0]["filters"][0]["typed_config"]
    assert connections["http2_protocol_options"]["max_concurrent_streams"] == 5
    assert connections["forward_client_cert_details"] == "SANITIZE"
    (monitor,) = config["overload_manager"]["resource_monitors"]
    assert monitor["typed_config"]["max_active_downstream_connections"] == 9
    assert "application_log_config" not in config
    assert "application_log_config" in envoy_config(options(tmp_path, log_json=True))


def test_no_origin_is_allowed_unless_it_is_set(tmp_path: Path) -> None:
    def allowed(*origins: str) -> Any:
        config = envoy_config(options(tmp_path, cors_origins=origins))
        manager = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]["typed_config"]
        (host,) = manager["route_config"]["virtual_hosts"]
        return host["typed_per_filter_config"]["envoy.filters.http.cors"]["allow_origin_string_match"]

    assert allowed() == []
    assert allowed("https://a.example") == [{"exact": "https://a.example"}]


def test_the_mirror_has_a_method_for_each_rpc() -> None:
    file = descriptor_pool.Default().AddSerializedFile(echo_proto("fronts.echo.v1").SerializeToString())
    served = [*services(), file.services_by_name["EchoService"]]
    assert len(served) > 7
    pool = descriptor_pool.DescriptorPool()
    for proto in descriptor_pb2.FileDescriptorSet.FromString(descriptors_of(served)).file:
        pool.AddSerializedFile(proto.SerializeToString())
    names = json_services(served)
    assert len(names) == len(set(names)) == 2 * len(served)
    for service in served:
        assert service.full_name in names
        for method in service.methods:
            mirror_service, name = json_path(f"/{service.full_name}/{method.name}")[1:].split("/")
            assert mirror_service in names
            mirror = pool.FindServiceByName(mirror_service).methods_by_name[name]
            assert mirror.input_type.full_name == "google.api.HttpBody"
            assert mirror.output_type.full_name == method.output_type.full_name
    assert pool.FindMessageTypeByName("google.rpc.BadRequest")


def test_a_body_is_what_came() -> None:
    from google.api import httpbody_pb2

    content = json.dumps({"seed": "7"}).encode()
    message = httpbody_pb2.HttpBody(content_type="application/json", data=content).SerializeToString()
    assert body_of(message) == content
