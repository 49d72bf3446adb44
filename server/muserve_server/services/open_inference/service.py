"""inference.GRPCInferenceService: what answers each of its methods."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from muserve import __version__
from muserve.errors import InvalidRequestError
from muserve.inference import infer_pb2, model_config_pb2, model_repository_pb2, model_statistics_pb2, service_pb2
from muserve.v1 import model_pb2
from muserve_server.engine import EngineError
from muserve_server.interceptors import CallContext
from muserve_server.repository import Repository
from muserve_server.services.open_inference.description import config_of, metadata_of
from muserve_server.services.open_inference.inputs import check_request, element_count, read_rows
from muserve_server.services.open_inference.limits import TensorLimits
from muserve_server.services.open_inference.names import GraphNames, ServedGraph
from muserve_server.services.open_inference.outputs import write_response
from muserve_server.services.open_inference.statistics import statistics_of
from muserve_server.services.service import Service

__all__ = ["OpenInferenceService"]

logger = logging.getLogger(__name__)

_DESCRIPTOR = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
_EXTENSIONS = ("model_configuration", "statistics")
"""Not "model_repository": there is an index, but no loading and unloading by call."""
_STATES = {
    model_pb2.MODEL_STATE_READY: "READY",
    model_pb2.MODEL_STATE_LOADING: "LOADING",
    model_pb2.MODEL_STATE_UNLOADING: "UNLOADING",
    model_pb2.MODEL_STATE_REFUSED: "UNAVAILABLE",
}
_INLINE_ELEMENTS = 4096
"""Typed elements up to this number are read and written on the event loop; raw ones always, since they are copied as a
whole."""


class OpenInferenceService:
    """Runs and describes the graphs of a repository."""

    def __init__(self, repository: Repository, is_ready: Callable[[], bool], limits: TensorLimits) -> None:
        """Stores its parts.

        Args:
            repository: Where the models are.
            is_ready: Whether the server as a whole takes calls.
            limits: What a call may send and ask for.
        """
        self._repository = repository
        self._graphs = GraphNames(repository)
        self._is_ready = is_ready
        self._limits = limits

    def service(self) -> Service:
        """Returns what a front serves."""
        return Service(_DESCRIPTOR, {method.name: getattr(self, method.name) for method in _DESCRIPTOR.methods})

    async def ServerLive(
        self, _request: service_pb2.ServerLiveRequest, _call: CallContext
    ) -> service_pb2.ServerLiveResponse:
        """Says that the server lives."""
        return service_pb2.ServerLiveResponse(live=True)

    async def ServerReady(
        self, _request: service_pb2.ServerReadyRequest, _call: CallContext
    ) -> service_pb2.ServerReadyResponse:
        """Says whether every model is loaded and the server is not about to stop."""
        return service_pb2.ServerReadyResponse(ready=self._is_ready())

    async def ModelReady(
        self, request: service_pb2.ModelReadyRequest, _call: CallContext
    ) -> service_pb2.ModelReadyResponse:
        """Says whether a graph can be run."""
        return service_pb2.ModelReadyResponse(ready=self._graphs.is_ready(request.name, request.version))

    async def ServerMetadata(
        self, _request: service_pb2.ServerMetadataRequest, _call: CallContext
    ) -> service_pb2.ServerMetadataResponse:
        """Describes the server."""
        return service_pb2.ServerMetadataResponse(name="muserve", version=__version__, extensions=_EXTENSIONS)

    async def ModelMetadata(
        self, request: service_pb2.ModelMetadataRequest, call: CallContext
    ) -> service_pb2.ModelMetadataResponse:
        """Describes the tensors of a graph."""
        async with self._graphs.use(request.name, request.version, call) as graph:
            return metadata_of(graph, [served.version for served in self._graphs.served(request.name)])

    async def ModelConfig(
        self, request: model_config_pb2.ModelConfigRequest, call: CallContext
    ) -> model_config_pb2.ModelConfigResponse:
        """Describes how a graph is run."""
        async with self._graphs.use(request.name, request.version, call) as graph:
            return model_config_pb2.ModelConfigResponse(config=config_of(graph))

    async def ModelInfer(self, request: infer_pb2.ModelInferRequest, call: CallContext) -> infer_pb2.ModelInferResponse:
        """Runs a graph."""
        async with self._graphs.use(request.model_name, request.model_version, call) as graph:
            check_request(request, graph.spec, self._limits)
            return await self._infer(request, graph, call)

    async def ModelStatistics(
        self, request: model_statistics_pb2.ModelStatisticsRequest, call: CallContext
    ) -> model_statistics_pb2.ModelStatisticsResponse:
        """Counts what graphs did."""
        graphs = self._graphs.served(request.name, request.version)
        if request.name and not graphs:
            async with self._graphs.use(request.name, request.version, call) as graph:  # says what is wrong
                graphs = [graph]
        return model_statistics_pb2.ModelStatisticsResponse(model_stats=[statistics_of(graph) for graph in graphs])

    async def RepositoryIndex(
        self, request: model_repository_pb2.RepositoryIndexRequest, _call: CallContext
    ) -> model_repository_pb2.RepositoryIndexResponse:
        """Lists the graphs of every model version."""
        return model_repository_pb2.RepositoryIndexResponse(
            models=[
                model_repository_pb2.RepositoryIndexResponse.ModelIndex(
                    name=name, version=str(entry.version), state=_STATES[entry.state], reason=entry.reason
                )
                for name, entry in self._graphs.entries()
                if entry.lease or not request.ready
            ]
        )

    async def _infer(
        self, request: infer_pb2.ModelInferRequest, graph: ServedGraph, call: CallContext
    ) -> infer_pb2.ModelInferResponse:
        running = graph.model.call(_deadline(request, call), call.stats)
        is_short = bool(request.raw_input_contents) or element_count(request) <= _INLINE_ELEMENTS
        read = running.run_soon if is_short else running.offload
        rows = await read(read_rows, request, graph.spec)
        try:
            outputs = await running.infer(graph.spec.role, rows)
        except EngineError as error:
            # The graph has proved on its goldens that it works; these tensors are the caller's own.
            extra = {"request_id": call.request_id, "model": call.model, "version": call.version, "reason": str(error)}
            logger.warning("graph failed on a caller's tensors", extra=extra)
            raise InvalidRequestError(f"graph {graph.name!r} cannot run on these inputs: {error}") from error
        is_short = bool(request.raw_input_contents) or sum(map(_size, outputs.values())) <= _INLINE_ELEMENTS
        write = running.run_soon if is_short else running.offload
        return await write(write_response, request, graph, outputs, call.stats)


def _size(tensor: Any) -> int:
    return int(tensor.size)


def _deadline(request: infer_pb2.ModelInferRequest, call: CallContext) -> float:
    """The call's deadline, or the end of the request's own time to wait for a run, if that is earlier."""
    timeout = request.parameters.get("timeout")
    microseconds = timeout.int64_param if timeout else 0
    return min(call.deadline, time.monotonic() + microseconds / 1e6) if microseconds > 0 else call.deadline
