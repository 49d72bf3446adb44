"""What a service is to a front: its descriptor, and what answers each of its methods, message by message."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message

from muserve_server.interceptors import CallContext

__all__ = ["MessageHandler", "Service"]

MessageHandler = Callable[[Any, CallContext], Awaitable[Message] | AsyncIterator[Message]]
"""Answers a request message with a message, or with a stream of them if the method's responses are a stream.

Where requests are a stream too, it is called for each in turn. It raises `MuserveError`, never an error of gRPC.
"""


@dataclass(frozen=True)
class Service:
    """A service of the API."""

    descriptor: ServiceDescriptor
    """Its proto: methods and messages."""
    handlers: Mapping[str, MessageHandler]
    """What answers, by name of the method. A method without a handler is not implemented."""

    @property
    def name(self) -> str:
        """Its full name: "muserve.v1.ImageService"."""
        return str(self.descriptor.full_name)
