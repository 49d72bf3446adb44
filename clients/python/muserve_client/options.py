"""What can be set on a client, checked when it is made: where the server is, how long to wait, when to try again."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import grpc

from muserve import __version__
from muserve.configuration import ConfigurationError
from muserve_client.service_config import service_config

__all__ = ["DEFAULT_TARGET", "KEEPALIVE_TIME_MS", "ClientOptions", "Retries"]

DEFAULT_TARGET = "localhost:8001"
DEFAULT_PORT = 8001
KEEPALIVE_TIME_MS = 40_000  # the server takes a ping every 30 s; the rest is room for jitter
_KEEPALIVE_TIMEOUT_MS = 10_000
_RECONNECT_MS = {"initial": 100, "max": 5_000}  # gRPC's own 120 s would hide for minutes that a server is back
_RESOLVE_MS = 5_000  # new replicas behind a headless Service are seen this soon
_SERVICE_CONFIG = "grpc.service_config"
_SCHEMES = ("dns", "ipv4", "ipv6", "unix", "unix-abstract", "vsock", "xds")
_HOST_AND_PORT = re.compile(r"(?P<host>\[[0-9A-Fa-f:.%\w]+\]|[^\s:/\[\]]+)(:(?P<port>\d{1,5}))?")
_METADATA_KEY = re.compile(r"[0-9a-z_.-]+")


@dataclass(frozen=True)
class Retries:
    """When a call is retried: only after UNAVAILABLE and QUEUE_FULL, and never beyond the call's timeout.

    Inference has no side effects, so these are always safe. A server that is full or loading says when to come back,
    and that is honoured.

    Calls outlast a restart: once a client has had an answer from its server, or was told when to come back,
    UNAVAILABLE is retried until the call's timeout, however many attempts that takes. Before, `attempts` is the limit,
    so that a wrong address fails within seconds.

    Only replicas that report to be healthy are called. Where there is none, or the connection breaks, the next attempt
    follows at once and checks no health: the server's own answer is truer than a guess. Nor does the last attempt.
    """

    attempts: int = 5
    """Maximum attempts per call, the first one included, but see above; 1 disables retries and health checks."""
    initial_backoff_s: float = 0.1
    """Longest wait after the first attempt, in seconds; each is shortened at random by up to a half."""
    max_backoff_s: float = 5.0
    """Longest wait after any attempt, in seconds; a server may ask for a longer one."""
    multiplier: float = 2.0
    """By how much the wait grows with each attempt."""

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            ConfigurationError: One is out of bounds.
        """
        if self.attempts < 1:
            raise ConfigurationError(f"retries.attempts is {self.attempts}; it must be at least 1")
        if not (0 <= self.initial_backoff_s <= self.max_backoff_s and math.isfinite(self.max_backoff_s)):
            raise ConfigurationError(
                f"retries has initial_backoff_s {self.initial_backoff_s} and max_backoff_s {self.max_backoff_s}; "
                "allowed: 0 <= initial_backoff_s <= max_backoff_s"
            )
        if not self.multiplier >= 1:
            raise ConfigurationError(f"retries.multiplier is {self.multiplier}; it must be at least 1")

    def backoff_s(self, attempt: int, fraction: float) -> float:
        """Returns the wait after an attempt.

        Args:
            attempt: Which attempt failed, from 1.
            fraction: A random number from 0 up to 1.

        Returns:
            Seconds: between a half and the whole of the attempt's longest wait.
        """
        longest = min(self.initial_backoff_s * self.multiplier ** min(attempt - 1, 64), self.max_backoff_s)
        return longest * (1 - fraction / 2)


@dataclass(frozen=True)
class ClientOptions:
    """The settings of one client, as both clients take them; see `Client` for what each means."""

    address: str
    """The target as it was given, for messages."""
    target: str
    """The target as gRPC takes it."""
    timeout_s: float
    retries: Retries
    tls: bool
    credentials: grpc.ChannelCredentials | None
    metadata: tuple[tuple[str, str | bytes], ...]
    max_message_mib: int
    channel_options: tuple[tuple[str, Any], ...]

    @classmethod
    def of(
        cls,
        target: str,
        *,
        metadata: Mapping[str, str | bytes] | Iterable[tuple[str, str | bytes]],
        channel_options: Iterable[tuple[str, Any]],
        **others: Any,
    ) -> ClientOptions:
        """Checks what a client was given and brings it into one form.

        Raises:
            ConfigurationError: Something cannot be used.
        """
        pairs = metadata.items() if isinstance(metadata, Mapping) else metadata
        return cls(
            address=target,
            target=_full_target(target),
            metadata=tuple((_metadata_key(key), value) for key, value in pairs),
            channel_options=tuple(channel_options),
            **others,
        )

    def __post_init__(self) -> None:
        """Checks the numbers.

        Raises:
            ConfigurationError: One is out of bounds.
        """
        if not (0 < self.timeout_s < math.inf):
            raise ConfigurationError(f"timeout_s is {self.timeout_s}; it must be above 0 and finite: no call may hang")
        if not 1 <= self.max_message_mib <= 1024:
            raise ConfigurationError(f"max_message_mib is {self.max_message_mib}; allowed: 1 up to 1024")

    def channel_credentials(self) -> grpc.ChannelCredentials | None:
        """Returns what to encrypt with; None for a plain connection."""
        if self.credentials is None and self.tls:
            return grpc.ssl_channel_credentials()
        return self.credentials

    @property
    def checks_health(self) -> bool:
        """Whether calls go to healthy replicas only; not with a service config of the user's own."""
        return _SERVICE_CONFIG not in dict(self.channel_options)

    def channel_arguments(self, service: str | None = None) -> list[tuple[str, Any]]:
        """Returns gRPC's channel arguments; the user's own come last and win.

        Args:
            service: Full name of the service whose health is checked; None checks none.
        """
        size = self.max_message_mib * 2**20
        return [
            ("grpc.primary_user_agent", f"muserve-python/{__version__}"),
            ("grpc.max_send_message_length", size),
            ("grpc.max_receive_message_length", size),
            (_SERVICE_CONFIG, service_config(service)),
            # A policy from DNS would retry what this client already does.
            ("grpc.service_config_disable_resolution", 1),
            ("grpc.keepalive_time_ms", KEEPALIVE_TIME_MS),
            ("grpc.keepalive_timeout_ms", _KEEPALIVE_TIMEOUT_MS),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.max_pings_without_data", 0),
            ("grpc.initial_reconnect_backoff_ms", _RECONNECT_MS["initial"]),
            ("grpc.max_reconnect_backoff_ms", _RECONNECT_MS["max"]),
            ("grpc.dns_min_time_between_resolutions_ms", _RESOLVE_MS),
            *self.channel_options,
        ]


def _full_target(target: str) -> str:
    """Turns host:port into gRPC's form; what is in that form already stays."""
    if target.startswith(tuple(f"{scheme}:" for scheme in _SCHEMES)) and not re.fullmatch(r"[a-z0-9-]+:\d+", target):
        return target
    match = _HOST_AND_PORT.fullmatch(target)
    if match is None or int(match["port"] or DEFAULT_PORT) > 65535:
        raise ConfigurationError(
            f"target is {target!r}; allowed: host, host:port, [IPv6 address]:port, or a gRPC target such as "
            "'ipv4:10.0.0.1:8001,10.0.0.2:8001' or 'dns:///muserve:8001'"
        )
    return f"dns:///{match['host']}:{match['port'] or DEFAULT_PORT}"


def _metadata_key(key: str) -> str:
    lower = key.lower()
    if not _METADATA_KEY.fullmatch(lower):
        raise ConfigurationError(f"metadata has the key {key!r}; allowed: letters, digits, '_', '-' and '.'")
    return lower
