"""One generic service for every task kind; models; health."""

from muserve_server.services.health import Health
from muserve_server.services.model import ModelService
from muserve_server.services.typed import add_typed_service

__all__ = ["Health", "ModelService", "add_typed_service"]
