"""Short paths for JSON: what is served, and what is passed over so that all else is."""

from __future__ import annotations

import json
import subprocess
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from google.api import annotations_pb2, http_pb2
from google.api.http_pb2 import HttpRule as Rule
from google.protobuf import descriptor_pb2, descriptor_pool
from google.protobuf.descriptor import ServiceDescriptor

from muserve_server.fronts.envoy.config import EnvoyOptions, as_json, envoy_config
from muserve_server.fronts.envoy.descriptors import descriptor_set, json_services
from muserve_server.fronts.envoy.process import envoy_path, missing
from muserve_server.fronts.envoy.short_paths import Passed, find_short_paths
from muserve_server.services import service_descriptors
from muserve_server.tasks import installed_kinds
from tests.bundles import image_bundle
from tests.plugins import install_echo
from tests.servers import ServerProcess, server_process


def service(name: str, **rules: Sequence[Rule]) -> ServiceDescriptor:
    """A service whose methods have rules and take a request with the fields name, version, tags and inner.name."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name=f"{name}.proto", package=name, syntax="proto3", dependency=[annotations_pb2.DESCRIPTOR.name]
    )
    inner = file.message_type.add(name="Inner")
    request = file.message_type.add(name="Request")
    for message in (inner, request):
        message.field.add(name="name", number=1, type=field.TYPE_STRING, label=field.LABEL_OPTIONAL)
    request.field.add(name="tags", number=2, type=field.TYPE_STRING, label=field.LABEL_REPEATED)
    request.field.add(
        name="inner", number=3, type=field.TYPE_MESSAGE, type_name=f".{name}.Inner", label=field.LABEL_OPTIONAL
    )
    added = file.service.add(name="Service")
    for method, given in rules.items():
        written = added.method.add(name=method, input_type=f".{name}.Request", output_type=f".{name}.Request")
        if given:
            rule = written.options.Extensions[annotations_pb2.http]
            rule.CopyFrom(given[0])
            rule.additional_bindings.extend(given[1:])
    pool = descriptor_pool.DescriptorPool()
    for proto in (descriptor_pb2.DESCRIPTOR, http_pb2.DESCRIPTOR, annotations_pb2.DESCRIPTOR):
        pool.AddSerializedFile(proto.serialized_pb)
    pool.AddSerializedFile(file.SerializeToString())
    return pool.FindServiceByName(f"{name}.Service")


def test_the_house_has_these() -> None:
    paths = find_short_paths(service_descriptors(installed_kinds()))
    assert paths.passed == []
    assert {name.removeprefix("muserve.v1."): found for name, found in paths.gets.items()} == {
        "ModelService.ListModels": ["/v1/models"],
        "ModelService.GetModel": ["/v1/models/{name}"],
    }
    assert {
        name.removeprefix("muserve.v1."): found for name, found in paths.posts.items() if name.startswith("muserve.v1.")
    } == {
        "AnswerService.AnswerQuestion": ["/v1/answers:ask"],
        "AnswerService.GenerateQuestions": ["/v1/questions:generate"],
        "ForecastService.Forecast": ["/v1/forecasts:forecast"],
        "ImageService.GenerateImages": ["/v1/images:generate"],
        "ImageTranslationService.TranslateImage": ["/v1/images:translate"],
        "MusicService.Accompany": ["/v1/music:accompany"],
        "MusicService.GenerateMusic": ["/v1/music:generate"],
    }


def test_a_method_may_have_several() -> None:
    rules = [Rule(post="/v1/a:do", body="*"), Rule(get="/v1/a/{name}"), Rule(get="/v2/a/{inner.name=x/*}/b")]
    paths = find_short_paths([service("one", Do=rules)])
    assert paths.posts == {"one.Service.Do": ["/v1/a:do"]}
    assert paths.gets == {"one.Service.Do": ["/v1/a/{name}", "/v2/a/{inner.name=x/*}/b"]}
    assert paths.passed == []


@pytest.mark.parametrize(
    ("rule", "reason"),
    [
        (Rule(put="/v1/a", body="*"), "its verb is put; allowed: get and post"),
        (Rule(custom=http_pb2.CustomHttpPattern(kind="HEAD", path="/v1/a")), "its verb is custom"),
        (Rule(), "its verb is none"),
        (Rule(post="v1/a", body="*"), "the path cannot be read"),
        (Rule(post="/v1/a/", body="*"), "the path cannot be read"),
        (Rule(post="/v1/a b", body="*"), "the path cannot be read"),
        (Rule(get="/v1/{name"), "the path cannot be read"),
        (Rule(get="/v1/**/a"), "the path cannot be read"),
        (Rule(post="/v1/a/{name}", body="*"), "a post takes no fields from its path"),
        (Rule(post="/v1/a", body="name"), "body is 'name'"),
        (Rule(post="/v1/a"), "body is ''"),
        (Rule(get="/v1/a", body="*"), "a get has none"),
        (Rule(get="/v1/a", response_body="name"), "response_body is not supported"),
        (Rule(get="/v1/{name}/{name}"), "one field is in its path twice"),
        (Rule(get="/v1/{nonesuch}"), "one.Request has no single plain field nonesuch"),
        (Rule(get="/v1/{tags}"), "no single plain field tags"),
        (Rule(get="/v1/{inner}"), "no single plain field inner"),
        (Rule(get="/v1/{inner.nonesuch}"), "no single plain field inner.nonesuch"),
        (Rule(get="/v1/{name.inner}"), "no single plain field name.inner"),
    ],
)
def test_what_envoy_would_refuse_is_passed_over(rule: Rule, reason: str) -> None:
    one = service("one", Do=[rule, Rule(post="/v1/good", body="*")])
    paths = find_short_paths([one])
    assert paths.posts == {"one.Service.Do": ["/v1/good"]}
    assert paths.gets == {}
    (passed,) = paths.passed
    assert passed.service is one
    assert passed.reason.startswith("one.Service.Do: ")
    assert reason in passed.reason


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Rule(post="/v1/a", body="*"), Rule(post="/v1/a", body="*")),
        (Rule(get="/v1/a/{name}"), Rule(get="/v1/a/{inner.name}")),
        (Rule(get="/v1/{name=a/*}:x"), Rule(get="/v1/a/*:x")),
        (Rule(post="/v1/b", body="*"), Rule(post="/one.Service/Do", body="*")),
    ],
)
def test_of_two_equal_ones_the_first_is_served(first: Rule, second: Rule) -> None:
    one, two = service("one", Do=[first]), service("two", Do=[second])
    paths = find_short_paths([one, two])
    verb = second.WhichOneof("pattern")
    assert {**paths.gets, **paths.posts} == {"one.Service.Do": [getattr(first, verb)]}
    path = getattr(second, verb)
    assert paths.passed == [Passed(two, path, "two.Service.Do: one.Service.Do has it already")]


def test_get_and_post_do_not_clash() -> None:
    paths = find_short_paths([service("one", Do=[Rule(get="/v1/a")], Make=[Rule(post="/v1/a", body="*")])])
    assert (paths.gets, paths.posts) == ({"one.Service.Do": ["/v1/a"]}, {"one.Service.Make": ["/v1/a"]})
    assert paths.passed == []


@pytest.mark.skipif(bool(missing()), reason=missing())
def test_envoy_takes_what_is_left(tmp_path: Path) -> None:
    rules = [
        Rule(post="/v1/images:generate", body="*"), Rule(get="/v1/models/{inner.name}"), Rule(get="/v1/{tags}"),
        Rule(get="/v1/x.y/*/{name=a/*/b}:c-d"), Rule(get="/v1/{name=~c}/{inner.name=*}"), Rule(post="/", body="*"),
        Rule(get="/v1/x.y/*/a/*/b:c-d"),
    ]  # fmt: skip
    services = [*service_descriptors(installed_kinds()), service("other", Do=rules)]
    paths = find_short_paths(services)
    assert len(paths.passed) == 5
    router = "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"
    config = envoy_config(
        EnvoyOptions(
            addresses=["127.0.0.1"],
            port=8001,
            share_port=False,
            app_filter={"name": "envoy.filters.http.router", "typed_config": {"@type": router}},
            descriptor_set=descriptor_set(services, paths),
            services=json_services(services),
            admin_socket=tmp_path / "admin.sock",
            allowed_hosts=["localhost"],
            cors_origins=[],
            max_message_bytes=2**20,
            max_streams=10,
            max_connections=10,
            receive_timeout_s=1,
            max_connection_age_s=0,
            log_json=False,
        )
    )
    file = tmp_path / "envoy.json"
    file.write_text(as_json(config))
    command = [str(envoy_path()), "--mode", "validate", "--use-dynamic-base-id", "--config-path", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(bool(missing()), reason=missing())
def test_a_path_that_another_has_is_passed_over_and_the_rest_serves(tmp_path: Path) -> None:
    install_echo(tmp_path / "site", ["/v1/images:generate", "/v1/echo:do"])
    image_bundle(tmp_path / "models")
    environ = {"PYTHONPATH": str(tmp_path / "site")}
    with server_process(tmp_path / "models", "--front", "envoy", environ=environ) as server:
        status, answer = post(server, "/v1/images:generate")
        assert (status, list(answer)) == (200, ["info", "images"])
        status, answer = post(server, "/v1/echo:do")
        assert (status, answer["code"]) == (404, 5)
        assert "model" in answer["message"]
        warnings = [line for line in map(json.loads, server.log) if line["level"] == "WARNING"]
    (warning,) = (line for line in warnings if "short path" in line["message"])
    assert (warning["distribution"], warning["path"]) == ("acme-echo", "/v1/images:generate")
    assert warning["reason"] == "acme.echo.v1.EchoService.Echo: muserve.v1.ImageService.GenerateImages has it already"


def post(server: ServerProcess, path: str) -> tuple[int, Any]:
    """The status and the JSON that a path answers an empty object with."""
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(f"http://127.0.0.1:{server.grpc_port}{path}", b"{}", headers)
    try:
        with urllib.request.urlopen(request, timeout=100) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)
