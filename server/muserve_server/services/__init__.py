"""The services of a server: one for each task kind, models, health and reflection."""

from muserve_server.services.health import Health
from muserve_server.services.model import ModelService
from muserve_server.services.reflection import reflection_service
from muserve_server.services.service import MessageHandler, Service
from muserve_server.services.typed import typed_service

__all__ = ["Health", "MessageHandler", "ModelService", "Service", "reflection_service", "typed_service"]
