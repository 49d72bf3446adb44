"""The attempts of one call: when it is retried, and what its failure means. Nothing here talks to the network."""

from __future__ import annotations

import math
import random
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any

from muserve.errors import (
    STATUS_DETAILS_KEY,
    CancelledCallError,
    DeadlineExceededError,
    MuserveError,
    QueueFullError,
    UnavailableError,
    UnimplementedError,
    from_status,
)
from muserve_client.fields import Fields
from muserve_client.options import ClientOptions

__all__ = ["CLOSED", "Attempts", "checked_timeout"]

CLOSED = "this client is closed; make a new one, or call inside its `with` block"
_REQUEST_ID_KEY = "x-request-id"
_MAX_REQUEST_ID = 128


class Attempts:
    """The attempts of one call: their deadline, their metadata, and what follows a failure."""

    def __init__(
        self,
        options: ClientOptions,
        *,
        timeout_s: float | None,
        request_id: str | None,
        max_attempts: int | None = None,
        reached: threading.Event | None = None,
        clock: Callable[[], float] = time.monotonic,
        fraction: Callable[[], float] = random.random,
    ) -> None:
        """Starts the clock.

        Args:
            options: The client's.
            timeout_s: Seconds for all attempts and the waits between them; None takes the client's.
            request_id: The call's name in the server's log; None draws one.
            max_attempts: Attempts at most; None takes the client's.
            reached: Set once the client has reached its server; shared by all its calls.
            clock: Seconds that only go forward.
            fraction: Random numbers from 0 up to 1.

        Raises:
            InvalidRequestError: The timeout or the id cannot be sent.
        """
        self._options = options
        self._clock = clock
        self._fraction = fraction
        self._timeout_s = checked_timeout(options.timeout_s if timeout_s is None else timeout_s)
        self._request_id = secrets.token_hex(8) if request_id is None else _checked_id(request_id)
        self._deadline = clock() + self._timeout_s
        self._max_attempts = options.retries.attempts if max_attempts is None else max_attempts
        self._reached = reached or threading.Event()
        self._failed = 0
        self._counted = 0
        self._is_local = False
        self._fell_back = False

    @property
    def metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        """What each attempt sends along."""
        return (*self._options.metadata, (_REQUEST_ID_KEY, self._request_id))

    @property
    def checks_health(self) -> bool:
        """Whether the next attempt goes to healthy replicas only, which a last one does not."""
        return self._options.checks_health and not self._fell_back and self._counted + 1 < self._max_attempts

    def remaining_s(self) -> float:
        """Returns the seconds that the next attempt may take."""
        return max(0.0, self._deadline - self._clock())

    def succeeded(self) -> None:
        """Notes that the server has answered."""
        self._reached.set()

    def translate(self, error: Any) -> MuserveError:
        """Turns what gRPC raised into an error of the contract: the one place for both clients.

        Args:
            error: A `grpc.RpcError` that was not caused by closing the client.
        """
        trailers = error.trailing_metadata() or ()
        details = next((value for key, value in trailers if key == STATUS_DETAILS_KEY), None)
        failure = from_status(error.code(), error.details() or "", details)
        self._is_local = details is None
        if details is not None:
            if not isinstance(failure, UnavailableError) or failure.retry_after_s:
                self._reached.set()
            return failure
        # gRPC made this status itself; its texts name neither the server nor the way out.
        if isinstance(failure, UnavailableError):
            return UnavailableError(f"{self._options.address} does not answer: {failure.message}")
        if isinstance(failure, CancelledCallError):
            # Not by us: both skins see to that. A server that stops does this to calls that have just arrived
            # (grpc/grpc#41785), where UNAVAILABLE is meant.
            return UnavailableError(f"{self._options.address} dropped the call, as servers do when they stop")
        if isinstance(failure, UnimplementedError):
            return UnimplementedError(
                f"{self._options.address} does not offer this call ({failure.message}): it is older than this client, "
                "or the task's package is not installed there"
            )
        if isinstance(failure, DeadlineExceededError):
            text = (
                f"no answer from {self._options.address} within {self._timeout_s:g} s; ask for less or raise timeout_s"
            )
            return DeadlineExceededError(text, request_id=self._request_id)
        return failure

    def pause_s(self, failure: MuserveError) -> float | None:
        """Decides what follows a failed attempt.

        Returns:
            Seconds to wait before the next attempt; None if the failure is final.
        """
        self._failed += 1
        if not isinstance(failure, UnavailableError | QueueFullError):
            return None
        was_checked = self.checks_health
        if isinstance(failure, QueueFullError) or self._max_attempts == 1 or not self._reached.is_set():
            self._counted += 1
        if self._counted >= self._max_attempts:
            return None
        # No replica is healthy, or the connection broke: which, gRPC does not tell.
        self._fell_back = was_checked and self._is_local
        pause = 0.0 if self._fell_back else self._wait_s(failure)
        return pause if pause < self.remaining_s() else None

    def _wait_s(self, failure: UnavailableError | QueueFullError) -> float:
        # A server that says when it has loaded is not overloaded: no reason to stay away longer each time.
        is_loading = isinstance(failure, UnavailableError) and failure.retry_after_s
        number = 1 if is_loading else self._failed
        return failure.retry_after_s + self._options.retries.backoff_s(number, self._fraction())


def checked_timeout(seconds: Any) -> float:
    """Returns a timeout that a call can have.

    Raises:
        InvalidRequestError: It is not a number, not above 0, or infinite.
    """
    fields = Fields()
    number = fields.real("timeout_s", seconds)
    fields.check()
    if not 0 < number < math.inf:
        fields.refuse("timeout_s", f"is {seconds!r}; allowed: above 0 and finite")
    fields.check()
    return number


def _checked_id(request_id: Any) -> str:
    fields = Fields()
    text = fields.text("request_id", request_id)
    fields.check()
    if not 1 <= len(text) <= _MAX_REQUEST_ID or not text.isascii() or not text.isprintable() or text != text.strip():
        fields.refuse("request_id", f"is {text!r}; allowed: 1 to {_MAX_REQUEST_ID} printable ASCII characters")
    fields.check()
    return text
