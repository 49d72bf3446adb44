"""Envoy's configuration, made of what the server is set to: one pure function, and no file to edit."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any

__all__ = ["Config", "EnvoyOptions", "as_json", "envoy_config"]

Config = dict[str, Any]

_APP_CLUSTER = "app"
_HTTP = "type.googleapis.com/envoy.extensions.filters.http"
_HEALTH_WATCH = "/grpc.health.v1.Health/Watch"
_MAX_HEADERS_KIB = 32
_HEADERS_TIMEOUT_S = 10
_IDLE_TIMEOUT_S = 3600
"""How long a call may go without a byte in either direction, and a connection without a call. Callers set deadlines."""
_PING_INTERVAL_S, _PING_TIMEOUT_S = 30, 20
_STREAM_WINDOW, _CONNECTION_WINDOW = 2**20, 2**24
_REGEX_LIMIT, _MAX_REGEX_SIZE = "re2.max_program_size.error_level", 2**20
"""Envoy's own limit guards against patterns of strangers, and is too small for a few names of hosts or origins."""
_JSON_GROWTH = 2
"""An answer in JSON may be larger than the message that it stands for: base64, names of fields, blanks."""
_GRPC = r"application/grpc([+;].*)?"
"""The content types of gRPC itself."""
_MESSAGES = {
    400: "%LOCAL_REPLY_BODY% (%RESPONSE_CODE_DETAILS%)",
    413: "the request is larger than this server takes; its setting max_message_mib says how large",
}
_CODES = {
    400: 3,
    401: 16,
    403: 7,
    404: 5,
    405: 12,
    408: 4,
    413: 8,
    415: 3,
    426: 3,
    429: 8,
    431: 8,
    501: 12,
    503: 14,
    504: 4,
}
"""gRPC's code for each HTTP status that Envoy answers with by itself."""


@dataclass(frozen=True)
class EnvoyOptions:
    """What Envoy is set to."""

    addresses: Sequence[str]
    """IP addresses to listen on."""
    port: int
    """Port to listen on."""
    share_port: bool
    """Whether other processes may listen on it too."""
    app_filter: Config
    """The HTTP filter that runs the application."""
    descriptor_set: bytes
    """A serialized FileDescriptorSet of all that JSON may stand for."""
    services: Sequence[str]
    """Full names of the services that can be called with JSON."""
    admin_socket: Path
    """Where Envoy's own interface is, for the server alone."""
    allowed_hosts: Sequence[str]
    """Names that JSON and gRPC-Web calls may address beside IP addresses; "*" for any."""
    cors_origins: Sequence[str]
    """Origins of pages that may call; "*" for any."""
    max_message_bytes: int
    """Largest message in either direction."""
    max_streams: int
    """Most calls of a connection at a time."""
    max_connections: int
    """Most connections."""
    receive_timeout_s: float
    """How long a request may take to arrive, and a reader to take what is sent."""
    max_connection_age_s: float
    """After which clients reconnect; 0 for never."""
    log_json: bool
    """Whether Envoy logs JSON lines, as the server does."""


def envoy_config(options: EnvoyOptions) -> Config:
    """Returns Envoy's configuration, to be written as JSON."""
    first, *others = ({"socket_address": {"address": it, "port_value": options.port}} for it in options.addresses)
    listener: Config = {
        "name": "api",
        "address": first,
        "additional_addresses": [{"address": address} for address in others],
        "enable_reuse_port": options.share_port,
        "filter_chains": [
            {
                "filters": [
                    {"name": "envoy.filters.network.http_connection_manager", "typed_config": _connections(options)}
                ]
            }
        ],
    }
    config: Config = {
        "admin": {"address": {"pipe": {"path": str(options.admin_socket), "mode": 0o600}}},
        "static_resources": {
            "listeners": [listener],
            "clusters": [{"name": _APP_CLUSTER, "type": "STATIC"}],  # for routes: the application is a filter, not this
        },
        "layered_runtime": {"layers": [{"name": "limits", "static_layer": {_REGEX_LIMIT: _MAX_REGEX_SIZE}}]},
        "overload_manager": {
            "resource_monitors": [
                {
                    "name": "envoy.resource_monitors.global_downstream_max_connections",
                    "typed_config": {
                        "@type": "type.googleapis.com/envoy.extensions.resource_monitors.downstream_connections.v3"
                        ".DownstreamConnectionsConfig",
                        "max_active_downstream_connections": options.max_connections,
                    },
                }
            ]
        },
    }
    if options.log_json:
        fields = {"timestamp": "%Y-%m-%dT%T.%e%z", "level": "%l", "name": "envoy.%n", "message": "%j"}
        config["application_log_config"] = {"log_format": {"json_format": fields}}
    return config


def _connections(options: EnvoyOptions) -> Config:
    protocol: Config = {"idle_timeout": _seconds(_IDLE_TIMEOUT_S)}
    if options.max_connection_age_s:
        protocol["max_connection_duration"] = _seconds(options.max_connection_age_s)
    refusals = _refusals(options)
    return {
        "@type": "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3"
        ".HttpConnectionManager",
        "stat_prefix": "api",
        "codec_type": "AUTO",
        "use_remote_address": True,
        "forward_client_cert_details": "SANITIZE",
        "generate_request_id": False,
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "max_request_headers_kb": _MAX_HEADERS_KIB,
        "request_headers_timeout": _seconds(_HEADERS_TIMEOUT_S),
        "request_timeout": _seconds(options.receive_timeout_s),
        "stream_flush_timeout": _seconds(options.receive_timeout_s),
        "stream_idle_timeout": _seconds(_IDLE_TIMEOUT_S),
        "common_http_protocol_options": {**protocol, "headers_with_underscores_action": "DROP_HEADER"},
        "http2_protocol_options": {
            "max_concurrent_streams": options.max_streams,
            "initial_stream_window_size": _STREAM_WINDOW,
            "initial_connection_window_size": _CONNECTION_WINDOW,
            "connection_keepalive": {
                "interval": _seconds(_PING_INTERVAL_S), "timeout": _seconds(_PING_TIMEOUT_S),
            },
        },
        "local_reply_config": {
            "mappers": [*chain(*map(_refused, refusals)), *(_reply(status, code) for status, code in _CODES.items())]
        },
        "route_config": {"virtual_hosts": [_virtual_host(options)]},
        "http_filters": [
            {"name": "envoy.filters.http.cors", "typed_config": {"@type": f"{_HTTP}.cors.v3.Cors"}},
            {"name": "envoy.filters.http.rbac", "typed_config": _access(refusals)},
            {"name": "envoy.filters.http.grpc_web", "typed_config": {"@type": f"{_HTTP}.grpc_web.v3.GrpcWeb"}},
            {"name": "envoy.filters.http.grpc_json_transcoder", "typed_config": _transcoder(options)},
            options.app_filter,
        ],
    }  # fmt: skip


def _virtual_host(options: EnvoyOptions) -> Config:
    origins = options.cors_origins
    cors = {
        "@type": f"{_HTTP}.cors.v3.CorsPolicy",
        "allow_origin_string_match": [_any_origin() if origin == "*" else {"exact": origin} for origin in origins],
        "allow_methods": "GET, POST",
        "allow_headers": "content-type, x-grpc-web, x-user-agent, grpc-timeout, x-request-id, authorization",
        "expose_headers": "grpc-status, grpc-message, grpc-status-details-bin, x-request-id",
        "max_age": "600",
    }
    return {
        "name": "api",
        "domains": ["*"],
        "typed_per_filter_config": {"envoy.filters.http.cors": cors},
        "routes": [
            # Who watches health may hear nothing for days.
            {"match": {"path": _HEALTH_WATCH}, "route": {"cluster": _APP_CLUSTER, "idle_timeout": "0s"}},
            {"match": {"prefix": "/"}, "route": {"cluster": _APP_CLUSTER}},
        ],
    }


@dataclass(frozen=True)
class _Refusal:
    """What is refused by its headers, before anything else is done."""

    headers: Sequence[Config]
    """Matchers that all match what is refused."""
    status: int
    """HTTP status."""
    message: str


def _refusals(options: EnvoyOptions) -> list[_Refusal]:
    refusals = [
        _Refusal(
            [
                _header(":method", "POST"),
                _other("content-type", r"((?i:application/json)|application/grpc)([-+; ].*)?"),
            ],
            415,
            "content-type is %REQ(CONTENT-TYPE)%; allowed: application/json, or a type of gRPC or gRPC-Web",
        ),
        _Refusal(
            # No method has such a name, and one that is not UTF-8 would never be answered: pyvoy fails to decode it.
            [_header("content-type", r"application/grpc.*"), _header(":path", ".*%.*")],
            404,
            "%REQ(:PATH)% is not a method of this server",
        ),
    ]
    if "*" not in options.cors_origins:
        known = "|".join([*map(re.escape, options.cors_origins), _own_origins(options)])
        refusals.append(
            _Refusal(
                [{"name": "origin", "present_match": True}, _other("origin", known)],
                403,
                "pages of %REQ(ORIGIN)% may not call this server; its setting cors_origins says which may",
            )
        )
    if "*" not in options.allowed_hosts:
        refusals.append(
            _Refusal(
                [_other("content-type", _GRPC), _other(":authority", _hosts(options.allowed_hosts))],
                403,
                "%REQ(:AUTHORITY)% is not a name of this server; its setting allowed_hosts says which are",
            )
        )
    return refusals


def _access(refusals: Sequence[_Refusal]) -> Config:
    policies = {
        str(number): {
            "permissions": [{"and_rules": {"rules": [{"header": header} for header in refusal.headers]}}],
            "principals": [{"any": True}],
        }
        for number, refusal in enumerate(refusals)
    }
    return {"@type": f"{_HTTP}.rbac.v3.RBAC", "rules": {"action": "DENY", "policies": policies}}


def _header(name: str, pattern: str) -> Config:
    return {"name": name, "string_match": {"safe_regex": {"regex": pattern}}}


def _other(name: str, pattern: str) -> Config:
    """Matches a header that does not match the pattern, or is not there."""
    return {**_header(name, pattern), "invert_match": True, "treat_missing_header_as_empty": True}


def _any_origin() -> Config:
    return {"safe_regex": {"regex": ".+"}}


def _hosts(names: Sequence[str]) -> str:
    addresses = r"\d{1,3}(\.\d{1,3}){3}|\[[0-9a-fA-F:.]+\]"  # a page of another site has a name, never an address
    return rf"(?i:{'|'.join([addresses, *map(re.escape, names)])})(:\d+)?"


def _own_origins(options: EnvoyOptions) -> str:
    """Pages of this server itself: of its names, of loopback, or of where it listens. Strangers have addresses, too."""
    listening = (f"[{address}]" if ":" in address else address for address in options.addresses)
    names = [*(name for name in options.allowed_hosts if name != "*"), "[::1]", *listening]
    return rf"https?://(?i:127(\.\d{{1,3}}){{3}}|{'|'.join(map(re.escape, names))}):{options.port}"


def _transcoder(options: EnvoyOptions) -> Config:
    return {
        "@type": f"{_HTTP}.grpc_json_transcoder.v3.GrpcJsonTranscoder",
        "proto_descriptor_bin": base64.b64encode(options.descriptor_set).decode(),
        "services": list(options.services),
        "auto_mapping": False,  # each method has its path among the rules of its mirror
        "convert_grpc_status": True,
        "print_options": {"preserve_proto_field_names": True},
        "request_validation_options": {
            "reject_unknown_method": True,
            "reject_unknown_query_parameters": True,
            "reject_binding_body_field_collisions": True,
        },
        "max_request_body_size": options.max_message_bytes,
        "max_response_body_size": options.max_message_bytes * _JSON_GROWTH,
    }


def _refused(refusal: _Refusal) -> tuple[Config, Config]:
    """The answers to what is refused: text for gRPC, which sends it as grpc-message, and JSON for all others."""
    filters = [_status_is(403), *({"header_filter": {"header": header}} for header in refusal.headers)]
    is_grpc = {"header_filter": {"header": _header("content-type", _GRPC)}}
    text = {"text_format_source": {"inline_string": refusal.message}}
    return (
        {"filter": {"and_filter": {"filters": [*filters, is_grpc]}}, "status_code": refusal.status,
         "body_format_override": text},
        {"filter": {"and_filter": {"filters": filters}}, "status_code": refusal.status,
         "body_format_override": _json_error(_CODES[refusal.status], refusal.message)},
    )  # fmt: skip


def _reply(status: int, code: int) -> Config:
    """What Envoy answers by itself, as JSON for those who do not speak gRPC."""
    is_json = {
        "or_filter": {
            "filters": [
                {"header_filter": {"header": _other("content-type", r"application/grpc([-+;].*)?")}},
                {"header_filter": {"header": {"name": "x-envoy-original-path", "present_match": True}}},
            ]
        }
    }
    return {
        "filter": {"and_filter": {"filters": [_status_is(status), is_json]}},
        "body_format_override": _json_error(code, _MESSAGES.get(status, "%LOCAL_REPLY_BODY%")),
    }


def _status_is(status: int) -> Config:
    value = {"default_value": status, "runtime_key": "muserve.unused"}
    return {"status_code_filter": {"comparison": {"op": "EQ", "value": value}}}


def _json_error(code: int, message: str) -> Config:
    return {"json_format": {"code": code, "message": message}}


def _seconds(seconds: float) -> str:
    return f"{seconds:.3f}s"


def as_json(config: Config) -> str:
    """Returns a configuration as Envoy reads it."""
    return json.dumps(config, indent=1)
