"""What both clients share: how they are made, and the channel that they open at the first call."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from types import ModuleType
from typing import Any, ClassVar

import grpc

from muserve_client.attempts import CLOSED
from muserve_client.flows import Method
from muserve_client.options import DEFAULT_TARGET, ClientOptions, Retries

__all__ = ["ClientBase"]


class ClientBase:
    """Options, and one channel with its callables."""

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
            channel_options: gRPC channel arguments for everything else. They override the client's.

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
        self._channel: Any = None
        self._callables: dict[str, Any] = {}

    def _callable(self, method: Method) -> Any:
        """Returns what sends requests of a method, over a channel that is opened now if there is none."""
        with self._lock:
            if self._closed.is_set():
                raise RuntimeError(CLOSED)
            if self._channel is None:
                self._channel = self._open()
            if method.path not in self._callables:
                self._callables[method.path] = self._channel.unary_unary(method.path, method.serialize)
            return self._callables[method.path]

    def _open(self) -> Any:
        credentials, arguments = self._options.channel_credentials(), self._options.channel_arguments()
        if credentials is None:
            return self._api.insecure_channel(self._options.target, arguments)
        return self._api.secure_channel(self._options.target, credentials, arguments)
