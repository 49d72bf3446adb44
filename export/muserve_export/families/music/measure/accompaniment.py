"""Whether accompaniments fit what they accompany: held-out tracks, sent as MIDI through the served path.

Of each style and each role four held-out segments whose track sounds in every bar, of different pieces where there are
as many, are accompanied twice, with two samples of noise; the same two for all. Against each stands a random
accompaniment: the other tracks of a training segment of the style.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from muserve.v1 import music_pb2
from muserve_export.families.music.measure.metrics import Floats, Integers, Layout, Segments, centroids, sounding
from muserve_export.families.music.measure.overlap import find_notes
from muserve_export.families.music.measure.reference import Reference
from muserve_export.families.music.measure.served import SEED, MusicReader, gather
from muserve_export.families.music.measure.tracks import paired_p
from muserve_server.model import LocalModel
from muserve_server.tasks.music.midi_writer import write_song
from muserve_server.tasks.music.song import DRUM_CHANNEL, Song, SongTrack

__all__ = ["Accompaniments", "Fit", "accompany"]

_PER_ROLE = 4
_SAMPLES = 2
_TICKS_PER_BEAT = 480
_US_PER_MINUTE = 60e6
_VELOCITY = 90
_TEMPO_BPM = 120.0


@dataclass(frozen=True)
class Fit:
    """How well accompaniments fit, by one measure: means over the given tracks."""

    accompanied: float
    random: float
    """Random accompaniments from the training data."""
    real: float
    """The tracks that the held-out piece has itself."""
    p: float
    """Chance that they fit no better than random ones: signs flipped by piece, one-sided."""


@dataclass(frozen=True)
class Accompaniments:
    """What was found."""

    count: int
    """Tracks that were accompanied."""
    tonal_distance: Fit
    """Given track to new ones, lower is better; of pitched given tracks."""
    joint_logit: Fit
    """The judge's, of given and new tracks together; higher is better."""
    changed_by_input: float
    """Share of cells that sound otherwise for another given track of the same style and role, with the same noise."""
    changed_by_noise: float
    """The same for the same given track with other noise."""
    swap_wins: float
    """Share of pairs of inputs for which the judge prefers each input's own accompaniment over the other's."""
    swap_p: float
    """Chance that it does not prefer them."""


async def accompany(
    model: LocalModel, reader: MusicReader, reference: Reference, *, seed: int = SEED
) -> Accompaniments | None:
    """Lets a model accompany held-out tracks; None if no track can be given."""
    chosen, role = _choose(reference.held_out, seed)
    if not len(chosen):
        return None
    given = reference.held_out.take(chosen)
    requests = [
        music_pb2.AccompanyRequest(
            midi=_midi(given, index, track, reader),
            roles=[music_pb2.TrackRole(track=1, role=reader.tracks[track].role)],
            tracks=[other.role for number, other in enumerate(reader.tracks) if number != track],
            style=reference.styles[given.style[index]] if model.bundle.manifest.music.styles else "",
            count=_SAMPLES,
            seed=seed,
        )
        for index, track in enumerate(role.tolist())
    ]
    read = await gather(model, requests, reader, given=False)
    onset, hold = np.stack([onset for onset, _, _ in read]), np.stack([hold for _, hold, _ in read])
    by_sample = [
        Segments(onset[sample::_SAMPLES], hold[sample::_SAMPLES], given.style, given.piece) for sample in (0, 1)
    ]
    return _judge(given, role, by_sample[0], by_sample[1], reference)


def _judge(given: Segments, role: Integers, new: Segments, other: Segments, reference: Reference) -> Accompaniments:
    random = np.random.default_rng(SEED)
    training = reference.training
    source = np.array([random.choice(np.flatnonzero(training.style == style)) for style in given.style])
    drawn = training.take(source)
    layout = reference.layout
    together = {
        "accompanied": _join(given, role, new),
        "random": _join(given, role, drawn),
        "real": given,
    }
    distances = {name: _given_distance(segments, role, layout) for name, segments in together.items()}
    logits = {name: reference.joint_logits(segments) for name, segments in together.items()}
    first, second = _pairs(given, role)
    own = logits["accompanied"]
    crossed = [
        reference.joint_logits(_join(given.take(one), role[one], new.take(two)))
        for one, two in ((first, second), (second, first))
    ]
    gain = own[first] + own[second] - crossed[0] - crossed[1]
    return Accompaniments(
        count=len(given),
        tonal_distance=_fit(distances, given.piece, sign=-1),
        joint_logit=_fit(logits, given.piece, sign=1),
        changed_by_input=_mean(_changed(new.take(first), new.take(second))),
        changed_by_noise=_mean(_changed(new, other)),
        swap_wins=_mean(np.where(np.isnan(gain), np.nan, gain > 0)),
        swap_p=paired_p(gain, given.piece[first]),
    )


def _choose(held_out: Segments, seed: int) -> tuple[Integers, Integers]:
    """Returns which segments' tracks to give: indices of segment and track, those of a style and role in a row."""
    random = np.random.default_rng(seed)
    # Notes that began before the segment are not in its file.
    sounds = np.asarray(sounding(held_out.onset, held_out.hold).any(axis=(3, 4)))  # [segment, bar, track]
    able_to_give = np.asarray(sounds.all(axis=1))
    found: list[tuple[int, int]] = []
    for style in np.unique(held_out.style):
        for track in range(able_to_give.shape[1]):
            able = random.permutation(np.flatnonzero((held_out.style == style) & able_to_give[:, track]))
            # First one segment of each piece, then a second one …
            rank = [int(np.sum(held_out.piece[able[:place]] == held_out.piece[own])) for place, own in enumerate(able)]
            found += [(int(able[place]), track) for place in np.argsort(rank, kind="stable")[:_PER_ROLE]]
    pairs = np.array(found, np.int64).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]


def _pairs(given: Segments, role: Integers) -> tuple[Integers, Integers]:
    """Pairs neighbours of one style and role, each input in one pair at most."""
    same = (given.style[:-1] == given.style[1:]) & (role[:-1] == role[1:])
    first, free = [], 0
    for index in np.flatnonzero(same).tolist():
        if index >= free:
            first.append(index)
            free = index + 2
    found = np.array(first, np.int64)
    return found, found + 1


def _join(given: Segments, role: Integers, others: Segments) -> Segments:
    """Puts the given tracks among the others' tracks."""
    index = np.arange(len(given))
    rolls = []
    for own, theirs in ((given.onset, others.onset), (given.hold, others.hold)):
        joined = theirs.copy()
        joined[index, :, role] = own[index, :, role]
        rolls.append(joined)
    return Segments(rolls[0], rolls[1], given.style, given.piece)


def _given_distance(segments: Segments, role: Integers, layout: Layout) -> Floats:
    """Returns the tonal distance of the given track to the others, mean over beats and tracks; NaN for drums."""
    centroid = centroids(sounding(segments.onset, segments.hold), layout)  # [segment, bar, pitched track, beat, 6]
    place = np.array(
        [layout.pitched.index(track) if track in layout.pitched else -1 for track in range(len(layout.roles))]
    )
    own = centroid[np.arange(len(segments)), :, place[role]][:, :, None]
    distance = np.linalg.norm(centroid - own, axis=-1)
    distance[np.arange(len(segments)), :, place[role]] = np.nan
    distance[place[role] < 0] = np.nan
    known = ~np.isnan(distance)
    total, count = np.where(known, distance, 0).sum(axis=(1, 2, 3)), known.sum(axis=(1, 2, 3))
    return np.asarray(np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0), np.float64)


def _changed(one: Segments, other: Segments) -> Floats:
    """Returns the share of the cells sounding in either that sound in one only, [segment]; NaN where all is silent."""
    cells = [(part.onset | part.hold).reshape(len(part), -1) for part in (one, other)]
    either = (cells[0] | cells[1]).sum(axis=1)
    differ = (cells[0] != cells[1]).sum(axis=1)
    return np.asarray(np.divide(differ, either, out=np.full(len(either), np.nan), where=either > 0), np.float64)


def _fit(values: dict[str, Floats], piece: Integers, *, sign: int) -> Fit:
    """Compares what is known of accompanied and random ones alike."""
    difference = sign * (values["accompanied"] - values["random"])
    known = ~np.isnan(difference)
    return Fit(
        accompanied=_mean(values["accompanied"][known]),
        random=_mean(values["random"][known]),
        real=_mean(values["real"][known]),
        p=paired_p(difference, piece),
    )


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else np.nan


def _midi(segments: Segments, index: int, track: int, reader: MusicReader) -> bytes:
    """Writes one track of a segment as a file."""
    grid, settings = reader.grid, reader.tracks[track]
    _, time, pitch, length = find_notes(segments.take(np.array([index])), track)
    step_ticks = round(grid.step_ticks(_TICKS_PER_BEAT))
    notes = np.column_stack(
        [time * step_ticks, (time + length) * step_ticks, pitch + grid.lowest_pitch, np.full(len(time), _VELOCITY)]
    )
    tempo_bpm = float(segments.tempo_bpm[index]) or _TEMPO_BPM
    channel = DRUM_CHANNEL if settings.drums else 0
    song = Song(
        ticks_per_beat=_TICKS_PER_BEAT,
        tracks=(SongTrack(1, channel, settings.name, settings.program, notes.astype(np.int64)),),
        tempos=np.array([[0, round(_US_PER_MINUTE / tempo_bpm)]]),
        time_signatures=np.array([[0, grid.beats_per_bar, grid.beat_unit]]),
        end_tick=round(grid.bars * grid.bar_ticks(_TICKS_PER_BEAT)),
    )
    return write_song(song)
