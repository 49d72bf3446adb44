"""Checks that a host and a port can be listened on, and says which of the two is to blame if not."""

from __future__ import annotations

import errno
import socket

from muserve_server.fronts.front import FrontError

__all__ = ["check_address", "joined"]


def check_address(host: str, port: int, *, setting: str, share_port: bool = False) -> list[str]:
    """Checks that an address is free.

    Args:
        host: Address or name to listen on.
        port: Port; 0 for any.
        setting: The port's setting: "grpc_port".
        share_port: Whether others that share it may have it.

    Returns:
        The host's addresses.

    Raises:
        FrontError: The host is not one of this machine's, or the port cannot be had.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise FrontError(_wrong_host(host, f"which is not known here ({error})")) from error
    for family, kind, protocol, _, address in found:
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if share_port and hasattr(socket, "SO_REUSEPORT"):
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            try:
                probe.bind(address)
            except OSError as error:
                raise FrontError(_explained(error, host, port, setting)) from error
    return list(dict.fromkeys(str(address[0]) for *_, address in found))


def joined(host: str, port: int) -> str:
    """Returns host and port as URLs have them: "127.0.0.1:8001", "[::1]:8001"."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _explained(error: OSError, host: str, port: int, setting: str) -> str:
    flag = f"--{setting.replace('_', '-')}"
    if error.errno == errno.EADDRINUSE:
        return f"{setting}: {joined(host, port)} is in use; stop what uses it, or choose another with {flag}"
    if error.errno == errno.EACCES:
        return f"{setting}: {port} may not be opened by this user; choose one above 1023 with {flag}"
    return _wrong_host(host, f"which cannot be listened on ({error.strerror})")


def _wrong_host(host: str, reason: str) -> str:
    return (
        f"host is {host!r}, {reason}; it must be an address or a name of this machine: 127.0.0.1, ::1, or 0.0.0.0 for "
        "every interface"
    )
