"""Runs graphs: onnxruntime behind a small seam, and the batcher in front of it."""

from muserve_server.engine.batcher import Batcher, BatcherOptions
from muserve_server.engine.engine import Engine, EngineError
from muserve_server.engine.onnx import OnnxEngine, OnnxOptions
from muserve_server.engine.runs import RunStats
from muserve_server.engine.statistics import BatcherStats, Tally

__all__ = [
    "Batcher",
    "BatcherOptions",
    "BatcherStats",
    "Engine",
    "EngineError",
    "OnnxEngine",
    "OnnxOptions",
    "RunStats",
    "Tally",
]
