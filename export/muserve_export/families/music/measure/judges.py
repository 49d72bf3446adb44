"""The judges: small classifiers of real music. One tells tracks of one piece from tracks of several, one tells styles.

Both hear chroma by beat (what sounds and what begins, of each pitched track) and rhythm by step (what begins, what is
held and how high it lies; of drums every hit), never programs. They learn from the training part of real music, in all
keys, and the validation part chooses the epoch. Their rates on held-out music stand beside every figure that they give.

The style judge hears only pitched tracks that all styles share, so that it cannot go by the drum kit or by who plays:
those that sound in at least half of the segments of every style (`shared_tracks`). Where a style has keys in one piece
and guitar in the next, the two are heard as one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, pad

from muserve_export.families.music.measure.distances import shuffle_tracks
from muserve_export.families.music.measure.metrics import STANDARD, Integers, Layout, Segments, sounding

__all__ = [
    "VERSION",
    "Judge",
    "JudgeFeatures",
    "judge_features",
    "load_joint_judge",
    "load_style_judge",
    "merge_chords",
    "shared_tracks",
]

_OCTAVE = 12
_CHUNK = 256
_BATCH = 64
_PER_EPOCH = 2048
_EPOCHS = 12
_MIN_SHARE = 0.5
_CHORDS = ("keys", "guitar")
VERSION = 1
"""Raised when judges are made otherwise, so that saved ones are made anew."""

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class JudgeFeatures:
    """Segments as the judges hear them."""

    chroma: Bytes
    """[segment, pitched track, (sounding steps, onsets), pitch class, beat]."""
    rhythm: Bytes
    """[segment, pitched track, (onsets, held notes, mean pitch row), step]."""
    drums: Bytes
    """Hits, [segment, pitch, step]; no pitches without drums."""

    def __len__(self) -> int:
        return len(self.chroma)

    def take(self, indices: Integers) -> JudgeFeatures:
        """Returns some segments."""
        return JudgeFeatures(self.chroma[indices], self.rhythm[indices], self.drums[indices])

    def mix(self, source: Integers) -> JudgeFeatures:
        """Puts together tracks of several segments: source [segment, (drums, pitched tracks …)] are their indices."""
        tracks = np.arange(self.chroma.shape[1])
        return JudgeFeatures(
            self.chroma[source[:, 1:], tracks], self.rhythm[source[:, 1:], tracks], self.drums[source[:, 0]]
        )

    def tensors(self, shift: int = 0) -> tuple[Tensor, Tensor]:
        """Returns what a judge takes: chroma [segment, channel, 12, beat], and rhythm [segment, channel, step]."""
        chroma = torch.from_numpy(np.roll(self.chroma, shift, axis=3)).flatten(1, 2).float()
        rhythm = torch.from_numpy(self.rhythm).float() * torch.tensor([0.5, 0.5, 1 / 42])[:, None]
        parts = [rhythm.flatten(1, 2), torch.from_numpy(self.drums).float()]
        return torch.log1p(chroma), torch.cat(parts, dim=1)


def judge_features(
    segments: Segments, layout: Layout = STANDARD, *, tracks: Sequence[int] | None = None
) -> JudgeFeatures:
    """Listens to segments.

    Args:
        segments: What to hear.
        layout: What the axes mean.
        tracks: Which pitched tracks to hear, without drums; None for all, with drums.
    """
    pitched = list(layout.pitched if tracks is None else tracks)
    drums = layout.drums if tracks is None else None
    found: list[tuple[Bytes, Bytes, Bytes]] = []
    for start in range(0, max(1, len(segments)), _CHUNK):
        onset = segments.onset[start : start + _CHUNK]
        sounds = sounding(onset, segments.hold[start : start + _CHUNK])
        chroma = np.stack([_by_beat(rolls[:, :, pitched], layout) for rolls in (sounds, onset)], axis=2)
        begins = onset[:, :, pitched].sum(axis=-1, dtype=np.uint8)
        count = sounds[:, :, pitched].sum(axis=-1, dtype=np.uint8)
        rows = sounds[:, :, pitched].astype(np.float32) @ np.arange(onset.shape[-1], dtype=np.float32)
        height = (rows / np.maximum(count, 1)).astype(np.uint8)
        rhythm = np.stack([_by_step(values) for values in (begins, count - begins, height)], axis=2)
        hits = onset[:, :, drums] if drums is not None else onset[:, :, 0, :, :0]
        hits = hits.reshape(len(onset), onset.shape[1] * onset.shape[3], hits.shape[-1])
        found.append((chroma, rhythm, hits.swapaxes(1, 2).astype(np.uint8)))
    return JudgeFeatures(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


class Judge(nn.Module):
    """A small convolutional classifier; along pitch classes it goes round in a circle."""

    def __init__(self, chroma_channels: int, rhythm_channels: int, classes: int) -> None:
        super().__init__()
        self.chord = nn.Sequential(nn.Conv2d(chroma_channels, 32, (_OCTAVE, 1), bias=False), nn.BatchNorm2d(32))
        self.change = nn.Sequential(nn.Conv2d(32, 48, (3, 3), stride=(1, 2), bias=False), nn.BatchNorm2d(48))
        self.rhythm = nn.Sequential(
            nn.Conv1d(rhythm_channels, 48, 4, stride=4, bias=False), nn.BatchNorm1d(48), nn.ReLU(),
            nn.Conv1d(48, 48, 3, stride=2, padding=1, bias=False), nn.BatchNorm1d(48), nn.ReLU(),
        )  # fmt: skip
        self.together = nn.Sequential(nn.Conv1d(48 * 3, 64, 3, padding=1, bias=False), nn.BatchNorm1d(64), nn.ReLU())
        self.head = nn.Sequential(nn.Dropout(0.3), nn.Linear(64 * 2, classes))

    def forward(self, chroma: Tensor, rhythm: Tensor) -> Tensor:
        """Classifies chroma [batch, channel, 12, beat] and rhythm [batch, channel, step]: logits [batch, class]."""
        seen = torch.relu(self.chord(pad(chroma, (0, 0, 0, _OCTAVE - 1), mode="circular")))
        seen = torch.relu(self.change(pad(pad(seen, (0, 0, 1, 1), mode="circular"), (1, 1, 0, 0))))
        parts = [seen.mean(dim=2), seen.amax(dim=2), self.rhythm(rhythm)]
        together = self.together(torch.cat(parts, dim=1))
        logits: Tensor = self.head(torch.cat([together.mean(dim=2), together.amax(dim=2)], dim=1))
        return logits

    @torch.no_grad()
    def listen(self, heard: JudgeFeatures) -> NDArray[np.float32]:
        """Returns logits of segments, [segment, class]."""
        self.eval()
        parts = [
            self(*heard.take(np.arange(start, min(start + _CHUNK, len(heard)))).tensors()).numpy()
            for start in range(0, max(1, len(heard)), _CHUNK)
        ]
        return np.concatenate(parts)


def load_joint_judge(
    training: Segments,
    validation: Segments,
    layout: Layout = STANDARD,
    *,
    file: Path | None = None,
    seed: int = 0,
) -> Judge:
    """Trains the judge of whether tracks belong together, or takes the one that was saved.

    Its logit is of class 1: all tracks of one segment; class 0 are tracks of several (`distances.shuffle_tracks`).

    Args:
        training: Real music to learn from.
        validation: Real music that chooses the epoch.
        layout: What the axes mean.
        file: Where to save it; None to keep nothing.
        seed: Of weights, order and shuffles.
    """
    heard, checked = judge_features(training, layout), judge_features(validation, layout)
    tracks = 1 + len(layout.pitched)

    def batches(epoch: int) -> Iterator[tuple[JudgeFeatures, Tensor]]:
        source = shuffle_tracks(training.style, training.piece, tracks, seed=seed * 1000 + epoch)
        for chosen in _order(training.style, seed * 1000 + epoch):
            half = len(chosen) // 2
            own = np.repeat(chosen[:half, None], tracks, axis=1)
            yield heard.mix(np.concatenate([own, source[chosen[half:]]])), (torch.arange(len(chosen)) < half).long()

    source = shuffle_tracks(validation.style, validation.piece, tracks, seed=seed)
    both = np.concatenate([np.repeat(np.arange(len(validation))[:, None], tracks, axis=1), source])
    labels = np.arange(len(both)) < len(validation)
    return _load(batches, checked.mix(both), labels.astype(np.int64), np.tile(validation.style, 2), 2, file, seed)


def load_style_judge(
    training: Segments,
    validation: Segments,
    styles: int,
    layout: Layout = STANDARD,
    *,
    file: Path | None = None,
    seed: int = 0,
) -> Judge:
    """Trains the judge of styles on tracks that all share, or takes the one that was saved. Arguments as before.

    The segments must have only the tracks to be heard, without drums: see `shared_tracks` and `merge_chords`.
    """
    heard, checked = judge_features(training, layout), judge_features(validation, layout)

    def batches(epoch: int) -> Iterator[tuple[JudgeFeatures, Tensor]]:
        for chosen in _order(training.style, seed * 1000 + epoch):
            yield heard.take(chosen), torch.from_numpy(training.style[chosen])

    return _load(batches, checked, validation.style, validation.style, styles, file, seed)


def shared_tracks(segments: Segments, layout: Layout = STANDARD) -> tuple[str, ...]:
    """Returns the pitched tracks that sound in at least half of the segments of every style.

    "chords" among them stands for keys and guitar as one, where neither is shared but the two together are. If no
    track is shared, those of the best are returned.
    """
    candidates: list[tuple[str, ...]] = [(layout.roles[track],) for track in layout.pitched]
    if set(_CHORDS) <= set(layout.roles):
        candidates.append(_CHORDS)
    shares = {}
    for names in candidates:
        tracks = [layout.roles.index(name) for name in names]
        sounds = np.asarray(segments.onset[:, :, tracks].any(axis=(1, 2, 3, 4)))
        shares[names] = min(sounds[segments.style == style].mean() for style in np.unique(segments.style))
    shared = [names for names, share in shares.items() if share >= _MIN_SHARE] or [max(shares, key=lambda n: shares[n])]
    single = [names[0] for names in shared if len(names) == 1]
    return tuple(single) if set(single) & set(_CHORDS) or _CHORDS not in shared else (*single, "chords")


def merge_chords(segments: Segments, tracks: Sequence[str], layout: Layout = STANDARD) -> tuple[Segments, Layout]:
    """Leaves of segments only some tracks, as `shared_tracks` names them; returns them and what their axes mean."""
    groups = [_CHORDS if name == "chords" else (name,) for name in tracks]
    rolls = [
        np.stack([rolls[:, :, [layout.roles.index(name) for name in group]].any(axis=2) for group in groups], axis=2)
        for rolls in (segments.onset, segments.hold)
    ]
    merged = Segments(rolls[0], rolls[1] & ~rolls[0], segments.style, segments.piece, segments.tempo_bpm)
    return merged, Layout(tuple(tracks), layout.lowest_pitch, layout.beats_per_bar)


def _by_beat(rolls: NDArray[np.bool_], layout: Layout) -> Bytes:
    """[segment, bar, track, step, pitch] to counts [segment, track, pitch class, beat]."""
    segments, bars, tracks, steps, pitches = rolls.shape
    beats = layout.beats_per_bar
    counts = rolls.reshape(segments, bars, tracks, beats, steps // beats, pitches).sum(axis=4, dtype=np.uint8)
    classes = np.eye(_OCTAVE, dtype=np.float32)[(np.arange(pitches) + layout.lowest_pitch) % _OCTAVE]
    chroma = counts.astype(np.float32) @ classes  # [segment, bar, track, beat, pitch class]
    found: Bytes = chroma.transpose(0, 2, 4, 1, 3).reshape(segments, tracks, _OCTAVE, bars * beats).astype(np.uint8)
    return found


def _by_step(values: Bytes) -> Bytes:
    """[segment, bar, track, step] to [segment, track, step of all bars]."""
    segments, bars, tracks, steps = values.shape
    return values.swapaxes(1, 2).reshape(segments, tracks, bars * steps)


def _order(style: Integers, seed: int) -> Iterator[Integers]:
    """Yields batches of an epoch in which every style comes as often."""
    random = np.random.default_rng(seed)
    styles = np.unique(style)
    each = -(-_PER_EPOCH // len(styles))
    chosen = np.concatenate([random.choice(np.flatnonzero(style == number), each) for number in styles])
    chosen = random.permutation(chosen)
    for start in range(0, len(chosen) - _BATCH + 1, _BATCH):
        yield chosen[start : start + _BATCH]


def _load(
    batches: Callable[[int], Iterator[tuple[JudgeFeatures, Tensor]]],
    checked: JudgeFeatures,
    labels: Integers,
    style: Integers,
    classes: int,
    file: Path | None,
    seed: int,
) -> Judge:
    """Trains a judge and saves it, or loads it."""
    chroma, rhythm = checked.take(np.arange(0)).tensors()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        judge = Judge(chroma.shape[1], rhythm.shape[1], classes)
        if file is not None and file.exists():
            judge.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
            return judge.eval()
        _train(judge, batches, checked, labels, style)
    if file is not None:
        file.parent.mkdir(parents=True, exist_ok=True)
        torch.save(judge.state_dict(), file)
    return judge.eval()


def _train(
    judge: Judge,
    batches: Callable[[int], Iterator[tuple[JudgeFeatures, Tensor]]],
    checked: JudgeFeatures,
    labels: Integers,
    style: Integers,
) -> None:
    optimizer = torch.optim.AdamW(judge.parameters(), lr=1e-3, weight_decay=1e-2)
    steps = _EPOCHS * (_PER_EPOCH // _BATCH + 1)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 4e-3, total_steps=steps)
    best, best_state = (-1.0, 0.0), judge.state_dict()
    for epoch in range(_EPOCHS):
        judge.train()
        for heard, wanted in batches(epoch):
            key = int(torch.randint(_OCTAVE, ()))
            optimizer.zero_grad()
            cross_entropy(judge(*heard.tensors(key)), wanted, label_smoothing=0.05).backward()
            optimizer.step()
            schedule.step()
        score = _validate(judge, checked, labels, style)
        if score >= best:
            best, best_state = score, {name: value.clone() for name, value in judge.state_dict().items()}
    judge.load_state_dict(best_state)


def _validate(judge: Judge, heard: JudgeFeatures, labels: Integers, style: Integers) -> tuple[float, float]:
    """Returns accuracy, each style weighing the same, and minus the loss: the greater pair is the better judge."""
    logits = judge.listen(heard)
    right = logits.argmax(axis=1) == labels
    accuracy = float(np.mean([right[style == number].mean() for number in np.unique(style)])) if len(style) else 0.0
    loss = float(cross_entropy(torch.from_numpy(logits), torch.from_numpy(labels))) if len(style) else 0.0
    return round(accuracy, 3), -loss
