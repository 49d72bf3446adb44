"""What both clients share: how they are made, and the channels that they open at the first call of a service."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any, ClassVar

import grpc

from muserve_client.attempts import CLOSED, Attempts
from muserve_client.flows import Method, Rpc
from muserve_client.options import DEFAULT_TARGET, ClientOptions, Retries

__all__ = ["Callables", "ClientBase"]

_HEALTH_SERVICE = "grpc.health.v1.Health"


@dataclass(frozen=True)
class Callables:
    """What sends requests of one method."""

    checked: Any
    """To a replica on which the method's service is healthy."""
    unchecked: Any
    """To any replica."""


class ClientBase:
    """Options, and channels with their callables.

    Health is a matter of a channel, so there is one for each service that is called, and one that checks none. gRPC
    lets them share connections: in clear text there is one for each address; encrypted, each channel has its own.
    """

    _api: ClassVar[ModuleType]
    """`grpc` or `grpc.aio`, which name the same functions."""

    def __init__(
        self,
        target: str = DEFAULT_TARGET,
        *,
        timeout_s: float = 60.0,
        retries: Retries = Retries(),  # noqa: B008 - frozen
        tls: bool = False,
        credentials: grpc.ChannelCredentials | None = None,
        metadata: Mapping[str, str | bytes] | Iterable[tuple[str, str | bytes]] = (),
        max_message_mib: int = 32,
        channel_options: Iterable[tuple[str, Any]] = (),
    ) -> None:
        """Checks and stores its arguments; opens no connection.

        Args:
            target: "host:port", load-balanced over all addresses of the name; or a gRPC target:
                "ipv4:10.0.0.1:8001,10.0.0.2:8001".
            timeout_s: Seconds for a whole call, retries included, unless the call sets its own.
            retries: When to retry.
            tls: Encrypt, trusting gRPC's root certificates.
            credentials: Encrypt with these instead, for private or mutual certificates: `grpc.ssl_channel_credentials`.
            metadata: Sent with every call: {"authorization": "Bearer …"}.
            max_message_mib: Largest message in either direction, in MiB; the server has its own limit.
            channel_options: gRPC channel arguments for everything else. They override the client's: a
                "grpc.service_config" of your own replaces balancing and health checks.

        Raises:
            ConfigurationError: An argument is invalid.
        """
        self._options = ClientOptions.of(
            target,
            timeout_s=timeout_s,
            retries=retries,
            tls=tls,
            credentials=credentials,
            metadata=metadata,
            max_message_mib=max_message_mib,
            channel_options=channel_options,
        )
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._reached = threading.Event()
        self._channels: dict[str | None, Any] = {}
        self._callables: dict[str, Callables] = {}

    def _attempts(self, rpc: Rpc) -> Attempts:
        return Attempts(
            self._options,
            timeout_s=rpc.timeout_s,
            request_id=rpc.request_id,
            max_attempts=rpc.attempts,
            reached=self._reached,
        )

    def _callable(self, method: Method) -> Callables:
        """Returns what sends requests of a method, over channels that are opened now if there are none.

        Raises:
            RuntimeError: The client is closed.
        """
        with self._lock:
            if self._closed.is_set():
                raise RuntimeError(CLOSED)
            if method.path not in self._callables:
                service = method.path.split("/")[1]
                checked = self._channel(None if service == _HEALTH_SERVICE else service)
                channels = (checked, self._channel(None))
                sends = (channel.unary_unary(method.path, method.serialize) for channel in channels)
                self._callables[method.path] = Callables(*sends)
            return self._callables[method.path]

    def _channel(self, service: str | None) -> Any:
        """Returns the channel that checks the health of a service; None: that checks none."""
        if not self._options.checks_health:
            service = None
        if service not in self._channels:
            self._channels[service] = self._open(self._options.channel_arguments(service))
        return self._channels[service]

    def _open(self, arguments: list[tuple[str, Any]]) -> Any:
        credentials = self._options.channel_credentials()
        if credentials is None:
            return self._api.insecure_channel(self._options.target, arguments)
        return self._api.secure_channel(self._options.target, credentials, arguments)
