"""HTTP requests behind Envoy that are odd or ill-meant: each is answered, and with what it deserves."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from http.client import HTTPConnection, HTTPResponse
from pathlib import Path
from typing import Any

import pytest

from muserve_server.fronts.envoy.process import missing
from tests.bundles import image_bundle
from tests.servers import ServerProcess, server_process

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())

GENERATE = "/muserve.v1.ImageService/GenerateImages"
JSON = {"content-type": "application/json"}
GRPC = {"content-type": "application/grpc", "te": "trailers"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    models: Path = tmp_path_factory.mktemp("models")
    image_bundle(models)
    with server_process(models, "--front", "envoy", "--max-message-mib", "1") as process:
        yield process


def ask(
    server: ServerProcess, path: str, headers: Mapping[str, str], body: bytes = b"{}"
) -> tuple[HTTPResponse, dict[str, Any]]:
    with closing(HTTPConnection("127.0.0.1", server.grpc_port, timeout=60)) as connection:
        connection.request("POST", path, body, dict(headers))
        response = connection.getresponse()
        content = response.read()
        is_json = response.getheader("content-type") == "application/json"
        return response, json.loads(content) if is_json else {}


@pytest.mark.parametrize("path", ["/%ff", "/a.b/C%c3", "/muserve.v1.ImageService/%ED%A0%80"])
def test_a_path_that_is_no_text_is_answered(server: ServerProcess, path: str) -> None:
    response, _ = ask(server, path, GRPC, b"\0\0\0\0\0")
    assert response.getheader("grpc-status") == "12"
    assert response.getheader("grpc-message", "").endswith("is not a method of this server")
    response, content = ask(server, path, JSON)
    assert (response.status, content["code"]) == (404, 5)


def test_metadata_may_have_underscores(server: ServerProcess) -> None:
    response, _ = ask(server, GENERATE, {**JSON, "user_id": "7"})
    assert response.status == 200


@pytest.mark.parametrize("kind", ["Application/JSON", "APPLICATION/JSON; charset=utf-8", "application/json;x=y"])
def test_letters_of_a_media_type_may_be_large(server: ServerProcess, kind: str) -> None:
    assert ask(server, GENERATE, {"content-type": kind})[0].status == 200


@pytest.mark.parametrize(
    "kind", ["application/jsonx", "text/plain; application/json", "text/json", "application/grpcx"]
)
def test_other_media_types_are_refused_as_json(server: ServerProcess, kind: str) -> None:
    response, content = ask(server, GENERATE, {"content-type": kind})
    assert (response.status, content["code"]) == (415, 3)


def test_letters_of_a_host_may_be_large(server: ServerProcess) -> None:
    assert ask(server, GENERATE, {**JSON, "host": f"LocalHost:{server.grpc_port}"})[0].status == 200
    assert ask(server, GENERATE, {**JSON, "host": "localhost.example.org"})[0].status == 403


@pytest.mark.parametrize("address", ["192.0.2.1", "[2001:db8::1]"])
def test_a_page_of_an_address_elsewhere_is_foreign(server: ServerProcess, address: str) -> None:
    response, content = ask(server, GENERATE, {**JSON, "origin": f"http://{address}:{server.grpc_port}"})
    assert (response.status, content["code"]) == (403, 7)
    for own in ("127.0.0.1", "localhost", "[::1]"):
        assert ask(server, GENERATE, {**JSON, "origin": f"http://{own}:{server.grpc_port}"})[0].status == 200
    response, _ = ask(server, GENERATE, {**GRPC, "origin": f"http://{address}:{server.grpc_port}"})
    assert response.getheader("grpc-message", "").startswith("pages of ")


def test_a_body_over_the_limit_is_too_large_and_not_too_many(server: ServerProcess) -> None:
    response, content = ask(server, GENERATE, JSON, b'{"model": "%s"}' % (b"a" * 2**20))
    assert (response.status, content["code"]) == (413, 8)
    assert "max_message_mib" in content["message"]


def test_half_a_surrogate_pair_is_the_callers_fault(server: ServerProcess) -> None:
    response, content = ask(server, GENERATE, JSON, b'{"\\ud800": 1}')
    assert (response.status, content["code"]) == (400, 3)


def test_an_unknown_transfer_coding_is_refused_as_json(server: ServerProcess) -> None:
    response, content = ask(server, GENERATE, {**JSON, "transfer-encoding": "gzip, chunked"}, b"2\r\n{}\r\n0\r\n\r\n")
    assert (response.status, content["code"]) == (501, 12)
