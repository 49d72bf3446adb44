"""Plans a bundle of the answer task from a trained reader and writer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from muserve.v1 import answer_pb2, common_pb2, manifest_pb2
from muserve_export.bundling import BundlePlan, GraphSource, tensor_spec
from muserve_export.families.answers.config import AnswersConfig
from muserve_export.families.answers.corpus.corpus import LICENCE_ENDING
from muserve_export.families.answers.data import AnswersData
from muserve_export.families.answers.examples.maker import MAX_PASSAGE_CHARACTERS
from muserve_export.families.answers.examples.wordings import WORDINGS
from muserve_export.families.answers.measure.calibration import Calibration, calibrate
from muserve_export.families.answers.measure.samples import draw_samples
from muserve_export.families.answers.model import Reader, Writer
from muserve_export.families.answers.networks.decoding import find_candidates
from muserve_export.training.trained import TrainedModel
from muserve_server.tasks.answer.span_reader import filled_length, reader_lengths
from muserve_server.tasks.answer.text import PADDING, SPECIAL

__all__ = ["ReaderGraph", "WriterGraph", "plan_bundle"]

_TOLERANCE = 2e-4
_GOLDEN_TOLERANCE = 2e-3
_READER_ROWS, _WRITER_ROWS, _THREADS = 4, 64, 1
_TOKENIZER = "assets/tokenizer.json"
_TEMPERATURE = 0.7
_QUESTION_STEP, _PASSAGE_STEP, _SOURCE_STEP = 32, 64, 128
_PASSAGES_READ = 8
_GOLDEN = "A lantern is a portable lamp with a case of glass. It was invented by Ann Lee in 1820."
_INT = manifest_pb2.DATA_TYPE_INT64
_FREE = -1
"""A dynamic axis."""


class ReaderGraph(nn.Module):
    """The reader as a graph."""

    def __init__(self, reader: Reader) -> None:
        super().__init__()
        self.reader = reader

    def forward(self, question: Tensor, passage: Tensor) -> tuple[Tensor, ...]:
        """See `Reader.forward`."""
        return tuple(self.reader(question, passage))


class WriterGraph(nn.Module):
    """One decoding step of the writer as a graph: the top-k candidates of the next token."""

    def __init__(self, writer: Writer, candidates: int) -> None:
        super().__init__()
        self.writer = writer
        self.candidates = candidates

    def forward(
        self, token: Tensor, place: Tensor, noise: Tensor, memory: Tensor, hidden: Tensor, cell: Tensor, source: Tensor
    ) -> tuple[Tensor, ...]:
        """See `Writer.forward` and `find_candidates`."""
        words, copies, hidden, cell = self.writer(token[:, None], place[:, None], noise, (memory, hidden, cell), source)
        found = find_candidates(words[:, 0], copies[:, 0], source, self.candidates)
        return (*found, hidden, cell)


def plan_bundle(trained: TrainedModel[AnswersConfig, AnswersData]) -> BundlePlan:
    """Plans a bundle of the answer task: reader and writer, with the weights that validated best."""
    config, data, best = trained.config, trained.data, trained.checkpoint["best"]
    reader, writer = Reader(config, data.codec.size), Writer(config, data.codec.size)
    for module, part in ((reader, "reader"), (writer, "writer")):
        prefix = f"{part}."
        module.load_state_dict(
            {key.removeprefix(prefix): value for key, value in best.items() if key.startswith(prefix)}
        )
        # Rounded to 16 bits, which halves the bundle. Figures and golden requests are those of the rounded weights.
        module.half().float().eval()
    manifest = _manifest(config, data, calibrate(reader, data))
    return BundlePlan(
        manifest=manifest,
        graphs=_graphs(config, manifest.answer, reader, writer),
        assets=_assets(data),
        training={"best_step": int(best["step"])},
        goldens=[_golden()],
        samples=lambda model: draw_samples(model, data),
    )


def _manifest(config: AnswersConfig, data: AnswersData, calibration: Calibration) -> manifest_pb2.ModelManifest:
    corpora = [
        manifest_pb2.AnswerCorpus(
            name=file.name, file=f"assets/{file.name}.jsonl", licence=file.licence, origin=file.origin
        )
        for file in data.corpus.files
    ]
    training_data = [
        manifest_pb2.TrainingData(
            name=f"{file.name}, {file.entries:,} entries", origin=file.origin, licence=file.licence, split=data.split
        )
        for file in data.corpus.files
    ]
    return manifest_pb2.ModelManifest(
        task=common_pb2.TASK_ANSWER,
        description="Answers questions from a text or its corpus, and asks questions that a text answers.",
        training_data=training_data,
        licence="LicenseRef-owner" if config.has_own_data else "Apache-2.0 AND GFDL-1.1-or-later",
        answer=manifest_pb2.AnswerSettings(
            reader="reader",
            writer="writer",
            tokenizer_file=_TOKENIZER,
            question_tokens=config.question_tokens,
            passage_tokens=config.passage_tokens,
            passage_characters=MAX_PASSAGE_CHARACTERS,
            answer_tokens=config.answer_tokens,
            latent_size=config.latent_size,
            corpora=corpora,
            passages_read=_PASSAGES_READ,
            search_weight=calibration.search_weight,
            least_share=calibration.min_share,
            question_step=_QUESTION_STEP,
            passage_step=_PASSAGE_STEP,
            source_step=_SOURCE_STEP,
            answerable_scale=calibration.scale,
            answerable_offset=calibration.offset,
            answerable_threshold=calibration.threshold,
            # Pairs of one's own have no kinds, so nothing was learnt of asking.
            kinds=list(WORDINGS) if data.corpus.triples else [],
            temperature=_TEMPERATURE,
        ),
    )


def _assets(data: AnswersData) -> Mapping[str, bytes]:
    assets = {_TOKENIZER: data.vocabulary.encode()}
    first = 0
    for file in data.corpus.files:
        entries = data.corpus.entries[first : first + file.entries]
        first += file.entries
        lines = (
            json.dumps(
                {"title": entry.title, **({"aliases": entry.aliases} if entry.aliases else {}), "text": entry.text},
                ensure_ascii=False,
            )
            for entry in entries
        )
        assets[f"assets/{file.name}.jsonl"] = ("\n".join(lines) + "\n").encode()
        terms = data.corpus.path / f"{file.name}{LICENCE_ENDING}"
        if terms.is_file():
            assets[f"assets/{terms.name}"] = terms.read_bytes()
    return assets


def _graphs(
    config: AnswersConfig, settings: manifest_pb2.AnswerSettings, reader: Reader, writer: Writer
) -> list[GraphSource]:
    return [_reader_graph(config, settings, reader), _writer_graph(config, settings, reader, writer)]


def _reader_graph(config: AnswersConfig, settings: manifest_pb2.AnswerSettings, reader: Reader) -> GraphSource:
    return GraphSource(
        role="reader",
        module=ReaderGraph(reader).eval(),
        inputs=(tensor_spec("question", (_FREE,), "token", _INT), tensor_spec("passage", (_FREE,), "token", _INT)),
        outputs=(
            *_state(config), tensor_spec("answerable", (), "logit"),
            tensor_spec("start", (_FREE,), "logit"), tensor_spec("end", (_FREE,), "logit"),
        ),
        draw=lambda rows, random: _draw_texts(settings, len(reader.embed.weight), rows, random),
        max_batch_rows=_READER_ROWS,
        max_threads=_THREADS,
        tolerance=_TOLERANCE,
    )  # fmt: skip


def _writer_graph(
    config: AnswersConfig, settings: manifest_pb2.AnswerSettings, reader: Reader, writer: Writer
) -> GraphSource:
    size, cells = len(writer.embed.weight), 4 * config.hidden_size
    candidates = min(config.candidates, size)

    def draw(rows: int, random: np.random.Generator) -> tuple[NDArray[Any], ...]:
        texts = _draw_texts(settings, size, rows, random)
        with torch.no_grad():
            read = reader(*(torch.from_numpy(text) for text in texts))
        source = np.concatenate(texts, axis=1)
        missing = filled_length(source.shape[1], settings.source_step) - source.shape[1]
        source = np.pad(source, ((0, 0), (0, missing)), constant_values=PADDING)
        memory = np.pad(read.memory.numpy(), ((0, 0), (0, missing), (0, 0)))
        place = random.integers(-1, 2, rows)
        token = np.where(place < 0, random.integers(len(SPECIAL), size, rows), source[np.arange(rows), place])
        noise = random.standard_normal((rows, config.latent_size)).astype(np.float32)
        return token, place, noise, memory, read.hidden.numpy(), read.cell.numpy(), source

    return GraphSource(
        role="writer",
        module=WriterGraph(writer, candidates).eval(),
        inputs=(
            tensor_spec("token", (), "token", _INT), tensor_spec("place", (), "source token, -1 for none", _INT),
            tensor_spec("noise", (config.latent_size,), "standard normal"), *_state(config),
            tensor_spec("source", (_FREE,), "token", _INT),
        ),
        outputs=(
            tensor_spec("tokens", (candidates,), "token", _INT),
            tensor_spec("logarithms", (candidates,), "of probabilities"),
            tensor_spec("places", (candidates,), "source token, -1 for none", _INT),
            tensor_spec("next_hidden", (cells,), "the writer's state"),
            tensor_spec("next_cell", (cells,), "the writer's cells"),
        ),
        draw=draw,
        max_batch_rows=_WRITER_ROWS,
        max_threads=_THREADS,
        tolerance=_TOLERANCE,
    )  # fmt: skip


def _state(config: AnswersConfig) -> tuple[manifest_pb2.TensorSpec, ...]:
    """Returns the tensors that the reader passes to the writer."""
    cells = 4 * config.hidden_size
    return (
        tensor_spec("memory", (_FREE, 2 * config.hidden_size), "what each token means"),
        tensor_spec("hidden", (cells,), "the writer's state"),
        tensor_spec("cell", (cells,), "the writer's cells"),
    )


def _draw_texts(
    settings: manifest_pb2.AnswerSettings, vocabulary: int, rows: int, random: np.random.Generator
) -> tuple[NDArray[Any], ...]:
    """Draws questions and passages, padded as the server pads them; some tokens occur in both."""
    texts = []
    longest = (int(random.integers(2, most + 1)) for most in (settings.question_tokens + 1, settings.passage_tokens))
    for length in reader_lengths(settings, *longest):
        tokens = random.integers(len(SPECIAL), vocabulary, (rows, length))
        tokens[np.arange(length)[None] >= random.integers(2, length + 1, (rows, 1))] = PADDING
        texts.append(tokens)
    texts[1][:, :2] = texts[0][:, :2]
    return tuple(texts)


def _golden() -> manifest_pb2.GoldenRequest:
    """Returns a question with its own context, answered twice: greedily and sampled, both cut short."""
    return manifest_pb2.GoldenRequest(
        name="lantern",
        tolerance=_GOLDEN_TOLERANCE,
        answer_question=answer_pb2.AnswerQuestionRequest(
            question="What is a lantern?", context=_GOLDEN, count=2, seed=1, max_tokens=5
        ),
    )
