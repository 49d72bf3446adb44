"""Whether a manifest's music settings can be served: checked when a bundle is opened."""

from __future__ import annotations

import math
from collections.abc import Sequence

from muserve.bundle import Bundle, ManifestError
from muserve.v1 import manifest_pb2
from muserve_server.tasks.graphs import check_tensors, find_graph
from muserve_server.tasks.music.grid import Grid
from muserve_server.tasks.music.limits import MusicLimits
from muserve_server.tasks.music.midi_writer import MAX_TICK

__all__ = ["GIVEN_HOLD", "GIVEN_ONSET", "GIVEN_TRACKS", "TEMPO_RANGE_BPM", "TICKS_PER_BEAT", "check_settings"]

GIVEN_ONSET, GIVEN_HOLD, GIVEN_TRACKS = "given_onset", "given_hold", "given_tracks"
"""The accompanist's inputs for what it listens to."""
TEMPO_RANGE_BPM = (40.0, 240.0)
TICKS_PER_BEAT = 480
"""Ticks of a quarter note in new files, as most programs write it."""
_MAX_ROLL_CELLS = 2**20
"""Most numbers in one roll of one run."""

_MAX_LATENTS = 2**16
_MAX_PITCHED_TRACKS = 15  # channels without that of drums
_BEAT_UNITS = (1, 2, 4, 8, 16, 32, 64)
_MAX_MIDI_VALUE = 127
_FLOAT32, _INT64 = manifest_pb2.DATA_TYPE_FLOAT32, manifest_pb2.DATA_TYPE_INT64

_Specs = dict[str, tuple[manifest_pb2.DataType, list[int]]]


def check_settings(bundle: Bundle, limits: MusicLimits) -> None:
    """Checks that music settings agree with themselves, with the bundle's graphs and with this server.

    Raises:
        ManifestError: They do not; says where.
    """
    settings = bundle.manifest.music
    _check_grid(bundle, limits)
    _check_tracks(bundle)
    _check_styles(bundle)
    _check_graph(bundle, "generator", settings.generator, given=False)
    if settings.accompanist:
        _check_graph(bundle, "accompanist", settings.accompanist, given=True)
    if not (math.isfinite(settings.onset_threshold) and math.isfinite(settings.hold_threshold)):
        raise ManifestError(f"{bundle}: music.onset_threshold and hold_threshold must be finite numbers")


def _check_grid(bundle: Bundle, limits: MusicLimits) -> None:
    settings = bundle.manifest.music
    if not (settings.bars and settings.beats_per_bar and settings.steps_per_bar and settings.pitches):
        raise ManifestError(f"{bundle}: music.bars, beats_per_bar, steps_per_bar and pitches must be at least 1")
    if settings.beats_per_bar > _MAX_MIDI_VALUE or settings.beat_unit not in _BEAT_UNITS:
        metre = f"{settings.beats_per_bar}/{settings.beat_unit}"
        raise ManifestError(f"{bundle}: the metre {metre} is none; the note value is one of {_BEAT_UNITS}")
    if settings.lowest_pitch + settings.pitches > _MAX_MIDI_VALUE + 1:
        highest = settings.lowest_pitch + settings.pitches - 1
        raise ManifestError(f"{bundle}: the highest pitch is {highest}; MIDI has 0 up to {_MAX_MIDI_VALUE}")
    if math.prod(_roll_shape(settings)[1:]) > _MAX_ROLL_CELLS:
        raise ManifestError(f"{bundle}: a roll is {_roll_shape(settings)[1:]}; allowed: {_MAX_ROLL_CELLS} numbers")
    phrases = -(-settings.max_bars // settings.bars)
    if not 1 <= phrases * settings.bars <= limits.max_bars_per_call:
        raise ManifestError(
            f"{bundle}: music.max_bars is {settings.max_bars}, in phrases of {settings.bars}; allowed: 1 up to "
            f"max_bars_per_call of this server, {limits.max_bars_per_call}"
        )
    if settings.max_bars * Grid.of(settings).bar_ticks(TICKS_PER_BEAT) > MAX_TICK:
        raise ManifestError(f"{bundle}: music.max_bars is {settings.max_bars}, more than a MIDI file can count")


def _check_tracks(bundle: Bundle) -> None:
    tracks = bundle.manifest.music.tracks
    _check_unique(bundle, "tracks", [track.role for track in tracks])
    pitched = sum(not track.drums for track in tracks)
    if not tracks or pitched > _MAX_PITCHED_TRACKS:
        allowed = f"allowed: 1 and more, up to {_MAX_PITCHED_TRACKS} of them pitched"
        raise ManifestError(f"{bundle}: music has {len(tracks)} tracks, {pitched} of them pitched; {allowed}")
    for track in tracks:
        if track.program > _MAX_MIDI_VALUE:
            raise ManifestError(
                f"{bundle}: track {track.role!r} has the program {track.program}; MIDI has up to {_MAX_MIDI_VALUE}"
            )
        if not (1 <= track.velocity <= _MAX_MIDI_VALUE and 1 <= track.off_beat_velocity <= _MAX_MIDI_VALUE):
            raise ManifestError(f"{bundle}: track {track.role!r} must have velocities of 1 up to {_MAX_MIDI_VALUE}")


def _check_styles(bundle: Bundle) -> None:
    settings = bundle.manifest.music
    _check_unique(bundle, "styles", [style.name for style in settings.styles])
    if bool(settings.styles) != bool(settings.style_input):
        raise ManifestError(f"{bundle}: music.styles and style_input come together")
    lowest, highest = TEMPO_RANGE_BPM
    for style in settings.styles:
        if not lowest <= style.tempo_bpm <= highest:
            allowed = f"allowed: {lowest:g} up to {highest:g}"
            raise ManifestError(f"{bundle}: style {style.name!r} has the tempo {style.tempo_bpm:g}; {allowed}")
        if len(style.programs) != len(settings.tracks) or any(program > _MAX_MIDI_VALUE for program in style.programs):
            raise ManifestError(
                f"{bundle}: style {style.name!r} must have a program, up to {_MAX_MIDI_VALUE}, for each track"
            )


def _check_unique(bundle: Bundle, field: str, names: Sequence[str]) -> None:
    if not all(names) or len(set(names)) != len(names):
        raise ManifestError(f"{bundle}: music.{field} are {list(names)}; they must have names of their own")


def _check_graph(bundle: Bundle, field: str, role: str, *, given: bool) -> None:
    settings = bundle.manifest.music
    graph = find_graph(bundle, f"music.{field}", role)
    inputs = _inputs(bundle)
    roll = (_FLOAT32, _roll_shape(settings))
    if given:
        inputs |= {GIVEN_ONSET: roll, GIVEN_HOLD: roll, GIVEN_TRACKS: (_FLOAT32, [-1, len(settings.tracks)])}
    outputs: _Specs = {settings.onset_output: roll}
    if settings.hold_output:
        outputs[settings.hold_output] = roll
    check_tensors(bundle, graph, "inputs", inputs)
    check_tensors(bundle, graph, "outputs", outputs)


def _inputs(bundle: Bundle) -> _Specs:
    """Returns the inputs that both graphs have."""
    settings = bundle.manifest.music
    latents = (
        (settings.constant_latent_input, [settings.constant_latent_size]),
        (settings.bar_latents_input, [settings.bars, settings.bar_latent_size]),
    )
    inputs: _Specs = {}
    for name, shape in latents:
        if bool(name) != bool(shape[-1]) or math.prod(shape) > _MAX_LATENTS:
            raise ManifestError(
                f"{bundle}: the latent input {name!r} has the shape {shape}; a name and a size come together, with up "
                f"to {_MAX_LATENTS} numbers"
            )
        if name:
            inputs[name] = (_FLOAT32, [-1, *shape])
    if not inputs:
        raise ManifestError(f"{bundle}: the music settings name no latent input, so all pieces would be one")
    if settings.style_input:
        inputs[settings.style_input] = (_INT64, [-1])
    for name in (settings.tempo_input, settings.density_input):
        if name:
            inputs[name] = (_FLOAT32, [-1])
    return inputs


def _roll_shape(settings: manifest_pb2.MusicSettings) -> list[int]:
    return [-1, settings.bars, len(settings.tracks), settings.steps_per_bar, settings.pitches]
