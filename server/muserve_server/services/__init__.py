"""The services of a server: one for each task kind, models, the Open Inference Protocol, health and reflection."""

from muserve_server.services.descriptors import service_descriptors
from muserve_server.services.health import Health
from muserve_server.services.model import ModelService
from muserve_server.services.open_inference import OpenInferenceService, TensorLimits
from muserve_server.services.reflection import reflection_service
from muserve_server.services.service import MessageHandler, Service
from muserve_server.services.typed import typed_service

__all__ = [
    "Health",
    "MessageHandler",
    "ModelService",
    "OpenInferenceService",
    "Service",
    "TensorLimits",
    "reflection_service",
    "service_descriptors",
    "typed_service",
]
