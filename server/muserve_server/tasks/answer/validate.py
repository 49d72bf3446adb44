"""Whether a bundle's answer settings fit its graphs and files."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from muserve.bundle import Bundle, ManifestError
from muserve.v1 import manifest_pb2
from muserve_server.tasks.answer.limits import AnswerLimits

__all__ = ["check_settings"]

_MAX_TOKENS = 2048
_MAX_PASSAGES = 64
_FLOAT, _INT = manifest_pb2.DATA_TYPE_FLOAT32, manifest_pb2.DATA_TYPE_INT64
_ANY = 0
"""Any fixed size."""
_FREE = -1
"""A dynamic size: rows are as long as their texts."""

Shapes = Mapping[str, tuple[int, tuple[int, ...]]]


def check_settings(bundle: Bundle, limits: AnswerLimits) -> None:
    """Checks that answer settings agree with themselves, with the bundle's graphs and with this server.

    Raises:
        ManifestError: They do not; the text names the field.
    """
    settings = bundle.manifest.answer
    for name, maximum in (
        ("question_tokens", _MAX_TOKENS), ("passage_tokens", _MAX_TOKENS), ("answer_tokens", _MAX_TOKENS),
        ("passage_characters", 100 * _MAX_TOKENS), ("latent_size", _MAX_TOKENS), ("passages_read", _MAX_PASSAGES),
        ("question_step", _MAX_TOKENS), ("passage_step", _MAX_TOKENS), ("source_step", _MAX_TOKENS),
    ):  # fmt: skip
        if not 1 <= getattr(settings, name) <= maximum:
            raise ManifestError(f"{bundle}: answer.{name} is {getattr(settings, name)}; allowed: 1 up to {maximum}")
    if settings.passages_read > limits.max_samples_per_call:
        raise ManifestError(
            f"{bundle}: answer.passages_read is {settings.passages_read}; max_samples_per_call of this server is "
            f"{limits.max_samples_per_call}"
        )
    numbers = ("search_weight", "answerable_scale", "answerable_offset", "answerable_threshold", "temperature")
    for name in numbers:
        if not math.isfinite(getattr(settings, name)):
            raise ManifestError(f"{bundle}: answer.{name} is {getattr(settings, name)}; it must be finite")
    if not 0 <= settings.least_share <= 1:
        raise ManifestError(f"{bundle}: answer.least_share is {settings.least_share}; allowed: 0 up to 1")
    if settings.temperature <= 0:
        raise ManifestError(f"{bundle}: answer.temperature is {settings.temperature}; it must be above 0")
    if len(set(settings.kinds)) < len(settings.kinds) or "" in settings.kinds:
        raise ManifestError(f"{bundle}: answer.kinds are {list(settings.kinds)}; they must be different names")
    listed = {file.path for file in bundle.manifest.files}
    for path in (settings.tokenizer_file, *(corpus.file for corpus in settings.corpora)):
        if path not in listed:
            raise ManifestError(
                f"{bundle}: the answer settings name the file {path!r}, which is not listed under files"
            )
    _check_graphs(bundle)


def _check_graphs(bundle: Bundle) -> None:
    settings = bundle.manifest.answer
    state: Shapes = {"hidden": (_FLOAT, (-1, _ANY)), "cell": (_FLOAT, (-1, _ANY))}
    memory: Shapes = {"memory": (_FLOAT, (-1, _FREE, _ANY))}
    reader_inputs: Shapes = {"question": (_INT, (-1, _FREE)), "passage": (_INT, (-1, _FREE))}
    reader_outputs: Shapes = {
        **memory, **state,
        "answerable": (_FLOAT, (-1,)), "start": (_FLOAT, (-1, _FREE)), "end": (_FLOAT, (-1, _FREE)),
    }  # fmt: skip
    writer_inputs: Shapes = {
        "token": (_INT, (-1,)), "place": (_INT, (-1,)), "noise": (_FLOAT, (-1, settings.latent_size)),
        **memory, **state, "source": (_INT, (-1, _FREE)),
    }  # fmt: skip
    candidates = (-1, _ANY)
    writer_outputs: Shapes = {
        "tokens": (_INT, candidates), "logarithms": (_FLOAT, candidates), "places": (_INT, candidates),
        "next_hidden": state["hidden"], "next_cell": state["cell"],
    }  # fmt: skip
    graphs = {graph.role: graph for graph in bundle.manifest.graphs}
    for name, role, inputs, outputs in (
        ("reader", settings.reader, reader_inputs, reader_outputs),
        ("writer", settings.writer, writer_inputs, writer_outputs),
    ):
        if role not in graphs:
            raise ManifestError(f"{bundle}: answer.{name} is {role!r}, which is not a graph of the bundle")
        for side, expected, specs in (
            ("inputs", inputs, graphs[role].inputs), ("outputs", outputs, graphs[role].outputs)
        ):  # fmt: skip
            if not _fits(specs, expected):
                actual = {spec.name: list(spec.shape) for spec in specs}
                needed = {key: list(shape) for key, (_, shape) in expected.items()}
                raise ManifestError(
                    f"{bundle}: graph {role!r} must have the {side} {needed} (-1 is a dynamic size, 0 any fixed one); "
                    f"it has {actual}"
                )


def _fits(specs: Sequence[manifest_pb2.TensorSpec], expected: Shapes) -> bool:
    if {spec.name for spec in specs} != set(expected):
        return False
    return all(_is_like(spec, *expected[spec.name]) for spec in specs)


def _is_like(spec: manifest_pb2.TensorSpec, dtype: int, shape: tuple[int, ...]) -> bool:
    if spec.dtype != dtype or len(spec.shape) != len(shape):
        return False
    return all(
        size == expected or (expected == _ANY and size > 0) for size, expected in zip(spec.shape, shape, strict=True)
    )
