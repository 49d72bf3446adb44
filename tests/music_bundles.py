"""Tiny real music bundles for tests: ONNX graphs made by hand, without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from muserve.v1 import common_pb2, manifest_pb2
from tests.bundles import FLOAT32, INT64, describe_bundle, write_graph

__all__ = ["BARS", "LOWEST_PITCH", "MAX_BARS", "PITCHES", "ROLES", "STEPS", "STYLES", "chord_bundle", "music_bundle"]

BARS, STEPS, LOWEST_PITCH, PITCHES, MAX_BARS = 2, 16, 36, 48, 9
CONSTANT_SIZE, BAR_SIZE = 8, 4
ROLES = ("drums", "keys", "bass")
STYLES = {"march": 110.0, "waltzing": 97.3, "bossanova": 132.0}
PROGRAMS = {"march": (0, 4, 33), "waltzing": (0, 16, 32), "bossanova": (8, 24, 38)}

_ROLL = [BARS, len(ROLES), STEPS, PITCHES]
_Input = tuple[str, manifest_pb2.DataType, list[int]]


def music_bundle(root: Path, name: str = "band", version: int = 1, *, accompanist: bool = True) -> Path:
    """Writes a music bundle of dense layers with random weights: three tracks, three styles, phrases of two bars.

    More density gives more notes, and each style, each bar's latent and the tempo changes the notes. The accompanist
    also plays, in all tracks, whatever begins or sounds in the tracks that it listens to.
    """
    folder = root / name / str(version)
    (folder / "graphs").mkdir(parents=True)
    graphs = [_write(folder, "generator", given=False)]
    if accompanist:
        graphs.append(_write(folder, "accompanist", given=True))
    settings = manifest_pb2.MusicSettings(
        generator="generator", accompanist="accompanist" if accompanist else "", bars=BARS, beats_per_bar=4,
        beat_unit=4, steps_per_bar=STEPS, lowest_pitch=LOWEST_PITCH, pitches=PITCHES, max_bars=MAX_BARS,
        constant_latent_input="constant", constant_latent_size=CONSTANT_SIZE, bar_latents_input="per_bar",
        bar_latent_size=BAR_SIZE, style_input="style", tempo_input="tempo", density_input="density",
        onset_output="onset", hold_output="hold", onset_threshold=0.5, hold_threshold=0.4,
    )  # fmt: skip
    settings.tracks.add(role="drums", name="Drums", drums=True, velocity=100, off_beat_velocity=80)
    settings.tracks.add(role="keys", name="Keys", program=1, velocity=90, off_beat_velocity=70, max_notes_per_step=4)
    settings.tracks.add(role="bass", name="Bass", program=32, velocity=95, off_beat_velocity=75, min_note_steps=2,
                        max_notes_per_step=1)  # fmt: skip
    for style, tempo_bpm in STYLES.items():
        settings.styles.add(name=style, tempo_bpm=tempo_bpm, programs=PROGRAMS[style])
    return _write_manifest(folder, graphs, settings, "Dense layers with random weights.")


def chord_bundle(root: Path, name: str = "chords", version: int = 1) -> Path:
    """Writes the least a music bundle can have: one chord of 88 pitches, from one latent; onsets alone, above 0."""
    folder = root / name / str(version)
    (folder / "graphs").mkdir(parents=True)
    weights = np.random.default_rng(0).standard_normal((100, 88)).astype(np.float32) / 10
    graph = write_graph(
        folder,
        "generator",
        [
            helper.make_node("MatMul", ["latent", "weights"], ["dense"]),
            helper.make_node("Sub", ["dense", "bias"], ["shifted"]),
            helper.make_node("Tanh", ["shifted"], ["flat"]),
            helper.make_node("Reshape", ["flat", "shape"], ["onset"]),
        ],
        [("latent", FLOAT32, [100])],
        [("onset", FLOAT32, [1, 1, 1, 88])],
        {"weights": weights, "bias": np.array([1.0], np.float32), "shape": np.array([-1, 1, 1, 1, 88], np.int64)},
        max_batch_rows=32,
    )
    settings = manifest_pb2.MusicSettings(
        generator="generator", bars=1, beats_per_bar=4, beat_unit=4, steps_per_bar=1, lowest_pitch=21, pitches=88,
        max_bars=32, constant_latent_input="latent", constant_latent_size=100, onset_output="onset",
    )  # fmt: skip
    settings.tracks.add(role="keys", name="Piano", velocity=80, off_beat_velocity=80)
    return _write_manifest(folder, [graph], settings, "One chord a bar.")


def _write(folder: Path, role: str, *, given: bool) -> manifest_pb2.Graph:
    random = np.random.default_rng(len(role))
    cells = int(np.prod(_ROLL))

    def weights(rows: int, columns: int, scale: float) -> NDArray[np.float32]:
        return (random.standard_normal((rows, columns)) * scale).astype(np.float32)

    constants: dict[str, NDArray[Any]] = {
        "constant_weights": weights(CONSTANT_SIZE, cells, 0.35),
        "bar_weights": weights(BAR_SIZE, cells // BARS, 0.5),
        "styles": weights(len(STYLES), cells, 1.0),
        "tempo_weights": weights(1, cells, 0.004),
        "density_weights": np.ones((1, cells), np.float32),
        "shape": np.array([-1, *_ROLL], np.int64),
        "last": np.array([1], np.int64),
        "bias": np.array([3.0], np.float32),
    }
    nodes = [
        helper.make_node("MatMul", ["constant", "constant_weights"], ["whole"]),
        helper.make_node("MatMul", ["per_bar", "bar_weights"], ["bars"]),
        helper.make_node("Gather", ["styles", "style"], ["styled"]),
        *_scaled("tempo"),
        *_scaled("density"),
        helper.make_node("Sum", ["whole", "styled", "by_tempo", "by_density"], ["flat"]),
        helper.make_node("Reshape", ["flat", "shape"], ["folded"]),
        helper.make_node("Reshape", ["bars", "shape"], ["folded_bars"]),
        helper.make_node("Add", ["folded", "folded_bars"], ["all"]),
        helper.make_node("Sub", ["all", "bias"], ["shifted"]),
    ]
    inputs: list[_Input] = [
        ("constant", FLOAT32, [CONSTANT_SIZE]), ("per_bar", FLOAT32, [BARS, BAR_SIZE]), ("style", INT64, []),
        ("tempo", FLOAT32, []), ("density", FLOAT32, []),
    ]  # fmt: skip
    onset, hold = "shifted", "all"
    if given:
        inputs += [("given_onset", FLOAT32, _ROLL), ("given_hold", FLOAT32, _ROLL), ("given_tracks", FLOAT32, [3])]
        constants |= {
            "around": np.array([1, 3, 4], np.int64),
            "track": np.array([2], np.int64),
            "much": np.array([20.0], np.float32),
        }
        nodes.append(helper.make_node("Unsqueeze", ["given_tracks", "around"], ["heard"]))
        nodes += _heard("given_onset", onset, "loud_onset") + _heard("given_hold", hold, "loud_hold")
        onset, hold = "loud_onset", "loud_hold"
    nodes += [helper.make_node("Sigmoid", [onset], ["onset"]), helper.make_node("Sigmoid", [hold], ["hold"])]
    outputs: list[_Input] = [("onset", FLOAT32, _ROLL), ("hold", FLOAT32, _ROLL)]
    return write_graph(folder, role, nodes, inputs, outputs, constants, max_batch_rows=32)


def _scaled(name: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("Unsqueeze", [name, "last"], [f"{name}_column"]),
        helper.make_node("MatMul", [f"{name}_column", f"{name}_weights"], [f"by_{name}"]),
    ]


def _heard(given: str, added_to: str, result: str) -> list[onnx.NodeProto]:
    return [
        helper.make_node("Mul", [given, "heard"], [f"{given}_heard"]),
        helper.make_node("ReduceSum", [f"{given}_heard", "track"], [f"{given}_sum"], keepdims=1),
        helper.make_node("Mul", [f"{given}_sum", "much"], [f"{given}_loud"]),
        helper.make_node("Add", [f"{given}_loud", added_to], [result]),
    ]


def _write_manifest(
    folder: Path, graphs: list[manifest_pb2.Graph], settings: manifest_pb2.MusicSettings, description: str
) -> Path:
    return describe_bundle(folder, graphs, description, task=common_pb2.TASK_MUSIC, music=settings)
