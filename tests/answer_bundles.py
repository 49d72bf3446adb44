"""A tiny real answer bundle for tests: ONNX graphs made by hand, without torch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers

from muserve.bundle import write_manifest
from muserve.v1 import common_pb2, manifest_pb2
from tests.bundles import FLOAT32, INT64, write_graph

__all__ = ["ANSWER_TOKENS", "ENTRIES", "KINDS", "PASSAGES_READ", "PASSAGE_TOKENS", "QUESTION_TOKENS", "copy_bundle"]

QUESTION_TOKENS, PASSAGE_TOKENS, ANSWER_TOKENS, LATENT_SIZE, STATE = 8, 40, 48, 4, 4
PASSAGE_CHARACTERS, PASSAGES_READ = 120, 4
KINDS = ("lamp", "inventor")
ENTRIES = (
    {
        "title": "lantern",
        "aliases": ["hand lamp"],
        "text": "A lantern is a lamp with a case. Ann Lee was its inventor.",
    },
    {"title": "gRPC", "text": "gRPC is a way to call a server."},
    {"title": "Node.js", "aliases": ["Node"], "text": "Node.js runs scripts on a server."},
)
_WORDS = (
    "a", "an", "ann", "brush", "by", "call", "case", "grpc", "hand", "inventor", "is", "its", "js", "lamp", "lantern",
    "lee", "made", "node", "on", "runs", "scripts", "server", "the", "to", "was", "way", "what", "who", "with", ".",
    "?", ":", "(", ")", ",",
)  # fmt: skip
_SPECIAL = ("[PAD]", "[UNK]", "[BOS]", "[EOS]")
_END = 3


def copy_bundle(root: Path, name: str = "copies", version: int = 1, *, with_corpus: bool = True) -> Path:
    """Writes a bundle that answers with the whole passage, if question and passage share a word.

    Drawn answers may end early. It asks "questions" about passages with the words of KINDS, which are the passage too.
    """
    folder = root / name / str(version)
    (folder / "graphs").mkdir(parents=True)
    (folder / "assets").mkdir()
    (folder / "assets" / "tokenizer.json").write_text(_tokenizer(), encoding="utf-8")
    if with_corpus:
        lines = "".join(json.dumps(entry) + "\n" for entry in ENTRIES)
        (folder / "assets" / "things.jsonl").write_text(lines, encoding="utf-8")
    settings = manifest_pb2.AnswerSettings(
        reader="reader", writer="writer", tokenizer_file="assets/tokenizer.json", question_tokens=QUESTION_TOKENS,
        passage_tokens=PASSAGE_TOKENS, passage_characters=PASSAGE_CHARACTERS, answer_tokens=ANSWER_TOKENS,
        latent_size=LATENT_SIZE, passages_read=PASSAGES_READ, search_weight=1, answerable_threshold=0.5, kinds=KINDS,
        temperature=1, question_step=32, passage_step=32, source_step=64,
    )  # fmt: skip
    if with_corpus:
        settings.corpora.add(name="things", file="assets/things.jsonl", licence="Apache-2.0", origin="tests")
    manifest = manifest_pb2.ModelManifest(
        name=name,
        version=version,
        task=common_pb2.TASK_ANSWER,
        description="Copies what shares a word with the question.",
        graphs=[_reader(folder), _writer(folder)],
        licence="Apache-2.0",
        answer=settings,
    )
    write_manifest(folder, manifest, optional=frozenset())
    return folder


def _tokenizer() -> str:
    vocabulary = {word: number for number, word in enumerate((*_SPECIAL, *_WORDS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=_SPECIAL[1]))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Punctuation("isolated")]
    )
    tokenizer.add_special_tokens(list(_SPECIAL))
    return str(tokenizer.to_str())


def _reader(folder: Path) -> manifest_pb2.Graph:
    node = helper.make_node
    constants: dict[str, NDArray[Any]] = {
        "axis1": np.array([1], np.int64), "axis2": np.array([2], np.int64), "both": np.array([1, 2], np.int64),
        "special": np.array(_END, np.int64), "zero": np.array(0, np.int64),
        "one": np.array(1, np.int64), "first": np.array(10, np.float32),
        "twenty": np.array(20, np.float32), "ten": np.array(10, np.float32), "half": np.array(0.5, np.float32),
        "spread": np.linspace(0.01, 0.04, STATE, dtype=np.float32)[None, None],
    }  # fmt: skip
    nodes = [
        node("Unsqueeze", ["passage", "axis2"], ["read"]),
        node("Unsqueeze", ["question", "axis1"], ["asked"]),
        node("Equal", ["read", "asked"], ["same"]),
        node("Greater", ["read", "special"], ["is_word"]),
        node("And", ["same", "is_word"], ["shared"]),
        node("Cast", ["shared"], ["shared_number"], to=1),
        node("ReduceMax", ["shared_number", "both"], ["any"], keepdims=0),
        node("Mul", ["any", "twenty"], ["scaled"]),
        node("Sub", ["scaled", "ten"], ["answerable"]),
        node("Greater", ["passage", "zero"], ["is_there"]),
        node("Cast", ["is_there"], ["there"], to=1),
        # The evidence is the whole passage: begins at the first token, ends at the last.
        node("Shape", ["passage"], ["passage_shape"]),
        node("Gather", ["passage_shape", "one"], ["passage_length"]),
        node("Range", ["zero", "passage_length", "one"], ["order"]),
        node("Cast", ["order"], ["order_number"], to=1),
        node("Less", ["order", "one"], ["is_first"]),
        node("Cast", ["is_first"], ["first_number"], to=1),
        node("Mul", ["first_number", "first"], ["first_points"]),
        node("Mul", ["there", "first_points"], ["start"]),
        node("Mul", ["there", "order_number"], ["end"]),
        node("Concat", ["question", "passage"], ["source"], axis=1),
        node("Cast", ["source"], ["numbers"], to=1),
        node("Unsqueeze", ["numbers", "axis2"], ["column"]),
        node("Mul", ["column", "spread"], ["memory"]),
        node("ReduceSum", ["memory", "axis1"], ["hidden"], keepdims=0),
        node("Mul", ["hidden", "half"], ["cell"]),
    ]
    return write_graph(
        folder,
        "reader",
        nodes,
        [("question", INT64, [-1]), ("passage", INT64, [-1])],
        [
            ("memory", FLOAT32, [-1, STATE]), ("hidden", FLOAT32, [STATE]), ("cell", FLOAT32, [STATE]),
            ("answerable", FLOAT32, []), ("start", FLOAT32, [-1]), ("end", FLOAT32, [-1]),
        ],
        constants,
        max_batch_rows=16,
    )  # fmt: skip


def _writer(folder: Path) -> manifest_pb2.Graph:
    node = helper.make_node
    constants: dict[str, NDArray[Any]] = {
        "axis1": np.array([1], np.int64), "one": np.array(1, np.int64), "zero": np.array(0, np.int64),
        "end": np.array([[_END]], np.int64), "none": np.array([[-1]], np.int64),
        "chances": np.log(np.array([[0.9, 0.1]], np.float32)), "little": np.array(0.001, np.float32),
        "tenth": np.array(0.1, np.float32),
    }  # fmt: skip
    nodes = [
        # The passage begins behind the question's end.
        node("Equal", ["source", "end"], ["is_end"]),
        node("Cast", ["is_end"], ["ends"], to=6),
        node("ArgMax", ["ends"], ["question_end"], axis=1, keepdims=0),
        node("Add", ["question_end", "one"], ["begin"]),
        node("Shape", ["source"], ["source_shape"]),
        node("Gather", ["source_shape", "one"], ["source_length"]),
        node("Sub", ["source_length", "one"], ["most"]),
        node("Less", ["place", "zero"], ["is_first"]),
        node("Add", ["place", "one"], ["behind"]),
        node("Where", ["is_first", "begin", "behind"], ["next"]),
        node("Greater", ["next", "most"], ["is_beyond"]),
        node("Min", ["next", "most"], ["inside"]),
        node("Unsqueeze", ["inside", "axis1"], ["at"]),
        node("GatherElements", ["source", "at"], ["found"], axis=1),
        node("Equal", ["found", "zero"], ["is_padding"]),
        node("Unsqueeze", ["is_beyond", "axis1"], ["beyond"]),
        node("Or", ["is_padding", "beyond"], ["is_over"]),
        node("Where", ["is_over", "end", "found"], ["token_first"]),
        node("Where", ["is_over", "none", "at"], ["place_first"]),
        node("Mul", ["at", "zero"], ["zeros"]),
        node("Add", ["zeros", "end"], ["token_second"]),
        node("Add", ["zeros", "none"], ["place_second"]),
        node("Concat", ["token_first", "token_second"], ["tokens"], axis=1),
        node("Concat", ["place_first", "place_second"], ["places"], axis=1),
        node("ReduceMean", ["noise", "axis1"], ["lean"], keepdims=1),
        node("Tanh", ["lean"], ["leaning"]),
        node("ReduceSum", ["memory", "axis1"], ["gist"], keepdims=0),
        node("Add", ["hidden", "gist"], ["heard"]),
        node("Add", ["heard", "leaning"], ["next_hidden"]),
        node("Mul", ["next_hidden", "tenth"], ["cell_part"]),
        node("Add", ["cell", "cell_part"], ["next_cell"]),
        node("Mul", ["leaning", "little"], ["shift"]),
        node("Add", ["chances", "shift"], ["logarithms"]),
    ]
    return write_graph(
        folder,
        "writer",
        nodes,
        [
            ("token", INT64, []), ("place", INT64, []), ("noise", FLOAT32, [LATENT_SIZE]),
            ("memory", FLOAT32, [-1, STATE]), ("hidden", FLOAT32, [STATE]), ("cell", FLOAT32, [STATE]),
            ("source", INT64, [-1]),
        ],
        [
            ("tokens", INT64, [2]), ("logarithms", FLOAT32, [2]), ("places", INT64, [2]),
            ("next_hidden", FLOAT32, [STATE]), ("next_cell", FLOAT32, [STATE]),
        ],
        constants,
        max_batch_rows=16,
    )  # fmt: skip
