"""The true sixteenth of a file whose ticks lie.

Some converters write real time into a MIDI file, and ticks and a tempo that have nothing to do with the music. Where
the notes keep a beat all the same, it can be found again: it is the step at which they all have one phase.
"""

from __future__ import annotations

from collections.abc import Iterator

import mido
import numpy as np
from numpy.typing import NDArray

__all__ = ["on_grid_share", "onsets", "period_strength", "repair"]

TICKS_PER_BEAT = 480
_STEPS_PER_BEAT = 4
_SLOWEST_BPM, _FASTEST_BPM = 60.0, 220.0
_CANDIDATES = 8000
_TOLERANCE = 1 / 8
_AS_STRONG = 0.9
_MIN_STRENGTH = 0.8

Floats = NDArray[np.float64]


def onsets(file: mido.MidiFile) -> Floats:
    """When notes begin, in ticks, in order; a chord counts once a note."""
    found = [
        time
        for track in file.tracks
        for time, message in _timed(track)
        if message.type == "note_on"
        if message.velocity
    ]
    return np.sort(np.asarray(found, np.float64))


def on_grid_share(file: mido.MidiFile) -> float:
    """The share of notes that begin within an eighth of a step of a sixteenth; 0 if there are no notes."""
    steps = onsets(file) / (file.ticks_per_beat / _STEPS_PER_BEAT)
    return float(np.mean(np.abs(steps - np.round(steps)) <= _TOLERANCE)) if len(steps) else 0.0


def period_strength(file: mido.MidiFile, steps: int) -> float:
    """How far the number of onsets a sixteenth repeats after so many sixteenths: its autocorrelation, at most 1."""
    position = np.round(onsets(file) / (file.ticks_per_beat / _STEPS_PER_BEAT)).astype(np.int64)
    counts = np.bincount(position).astype(np.float64) if len(position) else np.zeros(0)
    if len(counts) <= steps or not (power := float(np.var(counts))):
        return 0.0
    centred = counts - counts.mean()
    return float(np.mean(centred[:-steps] * centred[steps:])) / power


def repair(file: mido.MidiFile) -> mido.MidiFile | None:
    """Rewrites a file so that its ticks and its tempo tell the music.

    The step s is looked for at which |mean(exp(2 pi i t / s))| over all onsets t is largest. Halves of it fit as well,
    so the longest of the steps that fit nearly as well is the sixteenth.

    Args:
        file: A file of one tempo.

    Returns:
        The same notes in other ticks, with the true tempo, or None if they keep no beat between 60 and 220 bpm.
    """
    times = onsets(file)
    if not len(times):
        return None
    tempo = next((m.tempo for track in file.tracks for m in track if m.type == "set_tempo"), 500_000)
    ticks_per_minute = 60e6 / tempo * file.ticks_per_beat
    shortest, longest = (ticks_per_minute / bpm / _STEPS_PER_BEAT for bpm in (_FASTEST_BPM, _SLOWEST_BPM))
    steps = np.geomspace(shortest, longest, _CANDIDATES)
    strengths = np.array([_strength(times, step) for step in steps])
    if strengths.max() < _MIN_STRENGTH:
        return None
    step = float(steps[np.flatnonzero(strengths >= _AS_STRONG * strengths.max())].max())
    near = np.linspace(step * 0.999, step * 1.001, 401)
    step = float(near[np.argmax([_strength(times, one) for one in near])])
    phase = float(np.angle(np.mean(np.exp(2j * np.pi * times / step)))) / (2 * np.pi)
    scale = TICKS_PER_BEAT / _STEPS_PER_BEAT / step
    shift = -phase * step
    tempo_bpm = ticks_per_minute / step / _STEPS_PER_BEAT
    return _rewrite(file, scale, shift, round(60e6 / tempo_bpm))


def _strength(times: Floats, step: float) -> float:
    return float(np.abs(np.mean(np.exp(2j * np.pi * times / step))))


def _rewrite(file: mido.MidiFile, scale: float, shift: float, tempo: int) -> mido.MidiFile:
    written = mido.MidiFile(type=file.type, ticks_per_beat=TICKS_PER_BEAT)
    for index, track in enumerate(file.tracks):
        kept = mido.MidiTrack()
        if index == 0:
            kept.append(mido.MetaMessage("set_tempo", tempo=tempo))
        before = 0
        for time, message in _timed(track):
            if message.type == "set_tempo":
                continue
            now = max(before, round((time + shift) * scale))
            kept.append(message.copy(time=now - before))
            before = now
        written.tracks.append(kept)
    return written


def _timed(track: mido.MidiTrack) -> Iterator[tuple[int, mido.Message]]:
    now = 0
    for message in track:
        now += message.time
        yield now, message
