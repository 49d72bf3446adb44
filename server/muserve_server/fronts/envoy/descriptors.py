"""The protos that Envoy makes gRPC of JSON with: those of the services, and those of an error's details.

Envoy passes over fields of a body that it does not know. So that a misspelt field is an error, as everywhere else, it
does not read bodies: it hands them on as `google.api.HttpBody` to a mirror of each service, which reads JSON itself.
Queries and answers are Envoy's to read and write.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from google.api import annotations_pb2, http_pb2, httpbody_pb2
from google.protobuf import descriptor_pb2
from google.protobuf.descriptor import FileDescriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2, status_pb2

from muserve.errors import InvalidRequestError
from muserve_server.fronts.envoy.short_paths import ShortPaths, long_path

__all__ = ["body_of", "descriptor_set", "json_path", "json_services"]

_PACKAGE = "json"
_MIRROR = "muserve/json.proto"


def json_path(path: str) -> str:
    """Returns where Envoy sends requests in JSON to a method: "/muserve.v1.ImageService/GenerateImages" mirrored."""
    service, _, method = path[1:].partition("/")
    return f"/{_PACKAGE}.{service.replace('.', '_')}/{method}"


def json_services(services: Iterable[ServiceDescriptor]) -> list[str]:
    """Returns the services that JSON may call: each with its queries, and the mirror of each."""
    return [name for service in services for name in (service.full_name, json_path(f"/{service.full_name}/")[1:-1])]


def body_of(message: bytes) -> bytes:
    """Returns the JSON that came to a mirror.

    Raises:
        InvalidRequestError: It is not from Envoy.
    """
    try:
        return bytes(httpbody_pb2.HttpBody.FromString(message).data)
    except DecodeError as error:
        raise InvalidRequestError(f"the request is not a google.api.HttpBody ({error})") from error


def descriptor_set(services: Iterable[ServiceDescriptor], paths: ShortPaths) -> bytes:
    """Returns the files of services and their mirrors, and of an error's details, as a FileDescriptorSet.

    Args:
        services: Those that JSON may call.
        paths: The short paths of their methods.
    """
    services = list(services)
    files: dict[str, descriptor_pb2.FileDescriptorProto] = {}
    others = (error_details_pb2.DESCRIPTOR, status_pb2.DESCRIPTOR, httpbody_pb2.DESCRIPTOR, annotations_pb2.DESCRIPTOR)
    for root in (*(service.file for service in services), *others):
        _collect(root, files, paths)
    mirror = descriptor_pb2.FileDescriptorProto(
        name=_MIRROR, package=_PACKAGE, syntax="proto3", dependency=sorted(files)
    )
    for service in services:
        copy = mirror.service.add(name=json_path(f"/{service.full_name}/")[1:-1].removeprefix(f"{_PACKAGE}."))
        for method in service.methods:
            if not method.client_streaming:
                _add_mirror(copy, method, paths.posts.get(method.full_name, ()))
    return descriptor_pb2.FileDescriptorSet(file=[*files.values(), mirror]).SerializeToString()


def _add_mirror(
    service: descriptor_pb2.ServiceDescriptorProto, method: MethodDescriptor, short_paths: Sequence[str]
) -> None:
    mirror = service.method.add(
        name=method.name,
        input_type=".google.api.HttpBody",
        output_type=f".{method.output_type.full_name}",
        server_streaming=method.server_streaming,
    )
    _write_rules(mirror, [http_pb2.HttpRule(post=path, body="*") for path in (long_path(method), *short_paths)])


def _collect(file: FileDescriptor, files: dict[str, descriptor_pb2.FileDescriptorProto], paths: ShortPaths) -> None:
    """Adds a file and what it imports. Of its methods' rules only queries stay: bodies go to the mirrors."""
    for dependency in file.dependencies:
        _collect(dependency, files, paths)
    if file.name in files:
        return
    copy = files[file.name] = descriptor_pb2.FileDescriptorProto()
    file.CopyToProto(copy)
    for service, written in zip(file.services_by_name.values(), copy.service, strict=True):
        for method, target in zip(service.methods, written.method, strict=True):
            target.options.ClearExtension(annotations_pb2.http)
            _write_rules(target, [http_pb2.HttpRule(get=path) for path in paths.gets.get(method.full_name, ())])


def _write_rules(method: descriptor_pb2.MethodDescriptorProto, rules: Sequence[http_pb2.HttpRule]) -> None:
    if rules:
        rule = method.options.Extensions[annotations_pb2.http]
        rule.CopyFrom(rules[0])
        rule.additional_bindings.extend(rules[1:])
