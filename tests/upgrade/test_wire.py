"""Callers without our SDK, and what watches a server: the same bytes of a request get the same from both versions."""

from __future__ import annotations

import urllib.request
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc_reflection.v1alpha import reflection_pb2
from prometheus_client.parser import text_string_to_metric_families

from muserve.v1 import answer_pb2, forecast_pb2, image_pb2, model_pb2, music_pb2
from tests.servers import ServerProcess
from tests.upgrade.versions import NEW, OLD

IMAGES = "/muserve.v1.ImageService/GenerateImages"
HEALTH = "/grpc.health.v1.Health/Check"
REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
TIMEOUT_S = 200


def call(server: ServerProcess, method: str, request: bytes) -> bytes:
    """Sends bytes and returns bytes."""
    with grpc.insecure_channel(f"localhost:{server.grpc_port}") as channel:
        response: bytes = channel.unary_unary(method)(request, timeout=TIMEOUT_S)
        return response


ANSWERED: dict[str, tuple[str, bytes, Any]] = {
    "images": (IMAGES, b"\x18\x03(\n", image_pb2.GenerateImagesResponse),  # count 3, seed 10
    "an unknown field": (IMAGES, b"\x18\x03(\n\xc2\xbb\x01\x01x", image_pb2.GenerateImagesResponse),
    "music": (
        "/muserve.v1.MusicService/GenerateMusic",
        music_pb2.GenerateMusicRequest(style="salsa", bars=2, seed=3).SerializeToString(),
        music_pb2.GenerateMusicResponse,
    ),
    "forecast": (
        "/muserve.v1.ForecastService/Forecast",
        forecast_pb2.ForecastRequest(
            series=[forecast_pb2.TimeSeries(id="a", values=[3, 4, 5, 4, 3, 4, 5, 4])], horizon=3,
            frequency=forecast_pb2.FREQUENCY_QUARTERLY, quantiles=[0.2],
        ).SerializeToString(),
        forecast_pb2.ForecastResponse,
    ),
    "answer": (
        "/muserve.v1.AnswerService/AnswerQuestion",
        answer_pb2.AnswerQuestionRequest(question="What is a GAN?", seed=2).SerializeToString(),
        answer_pb2.AnswerQuestionResponse,
    ),
    "models": ("/muserve.v1.ModelService/ListModels", b"", model_pb2.ListModelsResponse),
}  # fmt: skip
"""Method, request and kind of the response."""


@pytest.mark.parametrize("name", ANSWERED)
def test_responses_are_the_same(name: str, servers: dict[str, ServerProcess]) -> None:
    method, request, kind = ANSWERED[name]
    found = {}
    for version, server in servers.items():
        response = kind.FromString(call(server, method, request))
        if isinstance(response, model_pb2.ListModelsResponse):
            for model in response.models:
                model.ClearField("task_name")  # newer than the release
        else:
            assert response.info.digest
            for field in ("timings", "request_id", "server_version"):
                response.info.ClearField(field)
        found[version] = response.SerializeToString(deterministic=True)
    assert found[OLD] == found[NEW] != b""


REFUSED = {
    "two fields": (IMAGES, b"\x18\xe8\x07=\x00\x00\x00@"),  # count 1000, truncation 2
    "no message": (IMAGES, b"\xff"),
    "no such model": (IMAGES, b"\x0a\x08nonesuch"),
    "too large": (IMAGES, b"\x00" * 33 * 2**20),
    "no such method": ("/muserve.v1.ImageService/Nonesuch", b""),
    "no such service": ("/muserve.v2.ImageService/GenerateImages", b""),
    "no such service's health": (HEALTH, b"\n\x08nonesuch"),
}


NEW_REASONS = {
    "too large": "MESSAGE_TOO_LARGE",
    "no such method": "UNIMPLEMENTED",
    "no such service": "UNIMPLEMENTED",
    "no such service's health": "MODEL_NOT_FOUND",
}
"""Refusals that gave no details in the release, and may say their reason now: which one depends on the front."""


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_have_the_same_code_and_details(name: str, servers: dict[str, ServerProcess]) -> None:
    found = {}
    for version, server in servers.items():
        with pytest.raises(grpc.RpcError) as caught:
            call(server, *REFUSED[name])
        found[version] = (caught.value.code(), details(caught.value))
    code, given = found[OLD]
    allowed = [given] if given else [[], [[NEW_REASONS[name], "muserve.v1", []]]]
    assert found[NEW] in [(code, it) for it in allowed]


def details(error: Any) -> list[Any]:
    """The details of an error, without its words and the request's id."""
    binary = dict(error.trailing_metadata() or ()).get("grpc-status-details-bin", b"")
    found: list[Any] = []
    for detail in status_pb2.Status.FromString(binary).details:
        info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
        if detail.Unpack(info):
            found.append([info.reason, info.domain, sorted(info.metadata.items())])
        elif detail.Unpack(bad):
            found.append([violation.field for violation in bad.field_violations])
        else:
            found.append(detail.TypeName())
    return found


def reflected(server: ServerProcess) -> list[str]:
    """The services that a server names by reflection."""
    kind = reflection_pb2.ServerReflectionResponse
    request = reflection_pb2.ServerReflectionRequest(list_services="").SerializeToString()
    with grpc.insecure_channel(f"localhost:{server.grpc_port}") as channel:
        (response,) = channel.stream_stream(REFLECTION)(iter([request]), timeout=TIMEOUT_S)
    return [service.name for service in kind.FromString(response).list_services_response.service]


def test_released_services_are_reflected_and_healthy(servers: dict[str, ServerProcess]) -> None:
    services = reflected(servers[OLD])
    assert len(services) >= 7
    assert set(services) <= set(reflected(servers[NEW]))
    for service in ("", *(name for name in services if name.startswith("muserve."))):
        request = b"\n" + bytes([len(service)]) + service.encode()
        assert call(servers[OLD], HEALTH, request) == call(servers[NEW], HEALTH, request) == b"\x08\x01", service


def test_released_pages_and_metrics_are_there(servers: dict[str, ServerProcess]) -> None:
    found = {}
    for version, server in servers.items():
        call(server, IMAGES, b"")
        pages = {name: read(server, name) for name in ("healthz", "readyz", "metrics")}
        families = text_string_to_metric_families(pages.pop("metrics"))
        samples = {(sample.name, *sorted(sample.labels)) for family in families for sample in family.samples}
        found[version] = pages, samples
    assert found[OLD][0] == found[NEW][0]
    assert len([name for name, *_ in found[OLD][1] if name.startswith("muserve_")]) > 10
    assert sorted(found[OLD][1] - found[NEW][1]) == []


def read(server: ServerProcess, page: str) -> str:
    """A page of a server's HTTP port."""
    with urllib.request.urlopen(f"http://localhost:{server.http_port}/{page}", timeout=TIMEOUT_S) as answer:
        text: str = answer.read().decode()
        return text
