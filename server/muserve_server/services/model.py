"""muserve.v1.ModelService."""

from __future__ import annotations

from muserve.v1 import common_pb2, model_pb2
from muserve_server.interceptors import CallContext
from muserve_server.repository import ModelEntry, Repository
from muserve_server.services.service import Service
from muserve_server.tasks.requests import Violations, refuse

__all__ = ["ModelService"]


class ModelService:
    """Says what the repository holds."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    def service(self) -> Service:
        """Returns what a front serves."""
        descriptor = model_pb2.DESCRIPTOR.services_by_name["ModelService"]
        return Service(descriptor, {"ListModels": self.list_models, "GetModel": self.get_model})

    async def list_models(
        self, request: model_pb2.ListModelsRequest, _call: CallContext
    ) -> model_pb2.ListModelsResponse:
        """Lists models; see model.proto."""
        violations = Violations()
        violations.member("task", request.task, common_pb2.Task)
        violations.check()
        models = [self._model(entry) for entry in self._repository.entries()]
        return model_pb2.ListModelsResponse(
            models=[
                model
                for model in models
                if request.task in (common_pb2.TASK_UNSPECIFIED, model.task)
                and request.task_name in ("", model.task_name)
            ]
        )

    async def get_model(self, request: model_pb2.GetModelRequest, _call: CallContext) -> model_pb2.GetModelResponse:
        """Gets one model; see model.proto."""
        if not request.name:
            refuse("name", "is empty; ListModels gives the names")
        entry = self._repository.find(request.name, request.version if request.HasField("version") else None)
        manifest = entry.bundle.manifest if entry.bundle else None
        return model_pb2.GetModelResponse(model=self._model(entry), manifest=manifest)

    def _model(self, entry: ModelEntry) -> model_pb2.Model:
        model = model_pb2.Model(name=entry.name, version=entry.version, state=entry.state, reason=entry.reason)
        if entry.bundle:
            model.task = entry.bundle.manifest.task
            model.task_name = entry.bundle.task
            model.digest = entry.bundle.digest
            model.description = entry.bundle.manifest.description
            model.default = self._repository.default_model(entry.bundle.task) is entry
        return model
