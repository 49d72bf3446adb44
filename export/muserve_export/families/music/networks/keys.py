"""Keys: music is learnt in C major and A minor, and moved to its key afterwards.

Chords and scales are the same in every key, so the networks need learn them once only. What is to be learnt from or
accompanied is moved from the key that it seems to be in, and what was written is moved to that key again, or to one
that the noise draws.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from muserve_export.families.music.networks.layers import OCTAVE, Shape, pitch_classes

__all__ = ["KEYS", "Keys"]

KEYS = OCTAVE
"""Keys by their number of semitones above C, each with its relative minor."""
_MAJOR = (6.35, 2.23, 3.48, 2.33, 4.38, 4.09, 2.52, 5.19, 2.39, 3.66, 2.29, 2.88)
_MINOR = (6.33, 2.68, 3.52, 5.38, 2.60, 3.53, 2.54, 4.75, 3.98, 2.69, 3.34, 3.17)
_TO_RELATIVE_MAJOR = 3
_HIGHEST_SHIFT = 6


class Keys(nn.Module):
    """Finds keys and moves rolls between them.

    A key is the one whose profile the durations of the pitch classes are most like (Krumhansl, "Cognitive Foundations
    of Musical Pitch", 1990, with the profiles of Krumhansl and Kessler).
    """

    profiles: Tensor
    moves: Tensor
    fold: Tensor
    pitched: Tensor

    def __init__(self, shape: Shape, *, drums: int, together: bool) -> None:
        """Makes the tables.

        Args:
            shape: Of the rolls.
            drums: Index of the track that has no key.
            together: Whether all tracks are in one key, or each is in its own, as in jamming.
        """
        super().__init__()
        self.tracks = shape.tracks
        self.together = together
        profiles = torch.tensor([_MAJOR, _MINOR])
        profiles = profiles - profiles.mean(1, keepdim=True)
        major, minor = profiles / profiles.norm(dim=1, keepdim=True)
        rows = [(major.roll(key), minor.roll(key - _TO_RELATIVE_MAJOR)) for key in range(KEYS)]
        self.register_buffer("profiles", torch.stack([row for pair in rows for row in pair]), persistent=False)
        moves = torch.stack([_move(shape.pitches, semitones) for semitones in _shifts()])
        self.register_buffer("moves", moves, persistent=False)  # [key, pitch before, pitch after]
        self.register_buffer("fold", pitch_classes(shape), persistent=False)
        pitched = (torch.arange(shape.tracks) != drums).long()
        self.register_buffer("pitched", pitched, persistent=False)  # [track]

    def find(self, rolls: Tensor, heard: Tensor) -> Tensor:
        """Finds the keys of phrases.

        Args:
            rolls: [batch, track, channel, step, pitch], 0 or 1.
            heard: 1 for the tracks to go by, [batch, track]; drums are never gone by.

        Returns:
            Semitones above C of each track's major key or relative major, int64 [batch, track]; 0 where nothing sounds,
            and for drums.
        """
        durations = rolls.sum(dim=(2, 3)) @ self.fold * (heard * self.pitched)[:, :, None]  # [batch, track, class]
        if self.together:
            durations = durations.sum(1, keepdim=True)
        likeness = (durations - durations.mean(2, keepdim=True)) @ self.profiles.T  # [batch, track, key × mode]
        return self._of_tracks(likeness.unflatten(2, (KEYS, 2)).amax(3))

    def drawn(self, noise: Tensor) -> Tensor:
        """Draws keys, each as likely: int64 [batch, track], of standard normal noise [batch, noise_size]."""
        return self._of_tracks(noise.unflatten(1, (-1, KEYS)))

    @property
    def noise_size(self) -> int:
        """How much noise draws a phrase's keys."""
        return KEYS if self.together else KEYS * self.tracks

    def to_c(self, rolls: Tensor, key: Tensor) -> Tensor:
        """Moves rolls [batch, track, channel, step, pitch] from keys, int64 [batch, track], to C."""
        return self._move(rolls, torch.remainder(KEYS - key, KEYS))

    def from_c(self, rolls: Tensor, key: Tensor) -> Tensor:
        """Moves rolls, or probabilities of them, from C to keys, int64 [batch, track]."""
        return self._move(rolls, key)

    def _of_tracks(self, likeness: Tensor) -> Tensor:
        """Takes the likeliest keys, [batch, track or 1, key], drums left out."""
        return likeness.argmax(2).expand(-1, self.tracks) * self.pitched

    def _move(self, rolls: Tensor, key: Tensor) -> Tensor:
        """Moves tracks the nearest way; what would leave the range goes to the same pitch class inside it."""
        moved = (rolls.flatten(2, 3) @ self.moves[key]).clamp(max=1).reshape(rolls.shape)
        # An onset ends the note that was moved onto its pitch.
        onset, hold = moved.split(1, dim=2)
        return torch.cat([onset, torch.minimum(hold, 1 - onset)], dim=2)


def _shifts() -> list[int]:
    """Semitones of each key, upwards up to 6 and downwards beyond."""
    return [key if key <= _HIGHEST_SHIFT else key - KEYS for key in range(KEYS)]


def _move(pitches: int, semitones: int) -> Tensor:
    """Returns which pitch goes where, [pitch before, pitch after]."""
    target = torch.arange(pitches) + semitones
    target = torch.where(target < 0, target + KEYS, torch.where(target >= pitches, target - KEYS, target))
    return torch.eye(pitches)[target]
