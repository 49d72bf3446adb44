"""What operators see: Prometheus histograms, and the HTTP port that shows them beside liveness and readiness."""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.platform_collector import PlatformCollector
from prometheus_client.process_collector import ProcessCollector

from muserve.bundle import Bundle
from muserve_server.model import CallStats

__all__ = ["HttpEndpoint", "Metrics"]

logger = logging.getLogger(__name__)

_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


class Metrics:
    """The server's metrics. All are histograms, so that replicas can be added up and p99 asked for."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        labels = ("method", "model", "version", "code")
        self._seconds = tuple(
            Histogram(f"muserve_{part}_seconds", text, labels, buckets=_SECONDS, registry=self.registry)
            for part, text in (
                ("request", "Whole call in the server."),
                ("queue", "Time a call's rows waited for the engine."),
                ("compute", "Time the engine ran batches that held a call's rows."),
                ("encode", "Time spent on encoding and decoding a call's media."),
            )
        )
        self._batch_rows = Histogram(
            "muserve_batch_rows", "Rows of a run.", ("model", "version", "graph"), buckets=_ROWS, registry=self.registry
        )
        self._run_seconds = Histogram(
            "muserve_run_seconds", "Time of a run.", ("model", "version", "graph"), buckets=_SECONDS,
            registry=self.registry,
        )  # fmt: skip
        self.calls = Gauge("muserve_calls_in_progress", "Calls in the server.", registry=self.registry)
        # Looking a child up costs more than observing; calls and runs have few label sets.
        self._call_children: dict[tuple[str, ...], tuple[Histogram, ...]] = {}
        self._run_children: dict[tuple[str, ...], tuple[Histogram, Histogram]] = {}

    def observe_call(self, method: str, model: str, version: str, code: str, seconds: float, stats: CallStats) -> None:
        """Counts a finished call. Model and version are empty if it never found one."""
        key = (method, model, version, code)
        children = self._call_children.get(key)
        if children is None:
            children = self._call_children[key] = tuple(histogram.labels(*key) for histogram in self._seconds)
        for child, value in zip(children, (seconds, stats.queue_s, stats.compute_s, stats.encode_s), strict=True):
            child.observe(value)

    def observe_run(self, bundle: Bundle, graph: str, rows: int, seconds: float) -> None:
        """Counts a run of a graph."""
        key = (bundle.manifest.name, str(bundle.manifest.version), graph)
        children = self._run_children.get(key)
        if children is None:
            children = self._run_children[key] = (self._batch_rows.labels(*key), self._run_seconds.labels(*key))
        children[0].observe(rows)
        children[1].observe(seconds)


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        super().__init__(address, handler)

    def server_bind(self) -> None:
        """Binds without the look-up of the host's name, which can take seconds where there is no DNS."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])

    def handle_error(self, _request: Any, client_address: Any) -> None:
        """A scraper that hangs up is not worth a traceback on standard error."""
        logger.debug("HTTP request failed", extra={"peer": str(client_address)}, exc_info=True)


class HttpEndpoint:
    """GET /metrics, /healthz (the process lives), /readyz (it takes calls). In a thread of its own."""

    def __init__(self, host: str, port: int, metrics: Metrics, is_ready: Callable[[], bool]) -> None:
        """Binds the port.

        Raises:
            OSError: The port is taken, or the address is not this machine's.
        """

        def answer(path: str) -> tuple[HTTPStatus, str, bytes]:
            if path == "/metrics":
                return HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(metrics.registry)
            if path == "/healthz":
                return HTTPStatus.OK, "text/plain", b"ok\n"
            if path == "/readyz":
                ready = is_ready()
                status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
                return status, "text/plain", b"ready\n" if ready else b"not ready\n"
            return HTTPStatus.NOT_FOUND, "text/plain", b"there is /metrics, /healthz and /readyz\n"

        class Handler(BaseHTTPRequestHandler):
            timeout = 10

            def do_GET(self) -> None:
                status, kind, body = answer(self.path.partition("?")[0])
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Scrapes are not worth a log line."""

        self._server = _HttpServer((host, port), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.1,), name="http", daemon=True)

    @property
    def port(self) -> int:
        """The port it listens on."""
        return int(self._server.server_address[1])

    def start(self) -> None:
        """Starts answering."""
        self._thread.start()

    def close(self) -> None:
        """Stops answering and frees the port."""
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
