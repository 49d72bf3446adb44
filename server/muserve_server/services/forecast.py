"""muserve.v1.ForecastService."""

from __future__ import annotations

from google.protobuf.message import Message

from muserve.v1 import common_pb2, forecast_pb2, forecast_pb2_grpc
from muserve_server.interceptors import CallContext
from muserve_server.repository import Repository
from muserve_server.services.answering import answer

__all__ = ["ForecastService"]


class ForecastService(forecast_pb2_grpc.ForecastServiceServicer):
    """Serves models of TASK_FORECAST."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    async def Forecast(self, request: forecast_pb2.ForecastRequest, call: CallContext) -> Message:
        """Continues series; see forecast.proto."""
        return await answer(self._repository, common_pb2.TASK_FORECAST, request, call)
