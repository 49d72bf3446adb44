"""The Open Inference Protocol: raw tensors for every graph of every model, through the batchers of the typed API."""

from muserve_server.services.open_inference.limits import TensorLimits
from muserve_server.services.open_inference.service import OpenInferenceService

__all__ = ["OpenInferenceService", "TensorLimits"]
