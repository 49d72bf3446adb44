"""The flags that commands share: which server, how long to wait, what to encrypt with, which model."""

from __future__ import annotations

import argparse
import os
from pathlib import Path
from typing import Any

import grpc

from muserve.configuration import ConfigurationError
from muserve_client.options import DEFAULT_TARGET

__all__ = ["add_connection_flags", "add_model_flags", "client_arguments", "server_of"]

SERVER_VARIABLE = "MUSERVE_SERVER"


def add_connection_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that every command has: the server, the timeout, encryption, metadata."""
    group = parser.add_argument_group("connection")
    group.add_argument(
        "--server",
        metavar="HOST:PORT",
        help=f"the server's address, or a gRPC target (environment: {SERVER_VARIABLE}; default: {DEFAULT_TARGET})",
    )
    group.add_argument("--timeout-s", metavar="X", type=float, default=60.0, help="timeout of a call [s] (default: 60)")
    group.add_argument("--tls", action="store_true", help="encrypt, trusting gRPC's root certificates")
    group.add_argument(
        "--tls-ca", metavar="PATH", type=Path, help="encrypt, trusting the certificates in this PEM file"
    )
    group.add_argument(
        "--tls-cert", metavar="PATH", type=Path, help="this client's certificate, as PEM; with --tls-key"
    )
    group.add_argument("--tls-key", metavar="PATH", type=Path, help="the key of this client's certificate, as PEM")
    group.add_argument(
        "--metadata",
        metavar="KEY=VALUE",
        action="append",
        default=[],
        help="sent with every call, such as a token for a proxy; may be repeated",
    )


def add_model_flags(parser: argparse.ArgumentParser) -> None:
    """Adds --model and --version."""
    parser.add_argument("--model", metavar="NAME", default="", help="model (default: the server's)")
    parser.add_argument("--version", metavar="N", type=int, help="its version (default: the newest)")


def server_of(namespace: argparse.Namespace) -> str:
    """Returns the server to call: flag > environment > default."""
    return namespace.server or os.environ.get(SERVER_VARIABLE) or DEFAULT_TARGET


def client_arguments(namespace: argparse.Namespace) -> dict[str, Any]:
    """Returns the arguments of `Client` that the flags set.

    Raises:
        ConfigurationError: Flags contradict each other, or a file cannot be read.
    """
    if (namespace.tls_cert is None) != (namespace.tls_key is None):
        raise ConfigurationError("--tls-cert and --tls-key belong together; give both or neither")
    credentials = None
    if namespace.tls_ca or namespace.tls_cert:
        credentials = grpc.ssl_channel_credentials(
            root_certificates=_read(namespace.tls_ca),
            private_key=_read(namespace.tls_key),
            certificate_chain=_read(namespace.tls_cert),
        )
    metadata = []
    for pair in namespace.metadata:
        key, equals, value = pair.partition("=")
        if not equals:
            raise ConfigurationError(f"--metadata is {pair!r}; it must be KEY=VALUE")
        metadata.append((key, value))
    return {
        "target": server_of(namespace),
        "timeout_s": namespace.timeout_s,
        "tls": namespace.tls,
        "credentials": credentials,
        "metadata": metadata,
    }


def _read(path: Path | None) -> bytes | None:
    try:
        return path.read_bytes() if path else None
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror})") from error
