"""`muserve accompany`: adds tracks to a MIDI file, into another, and says how the file was heard."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from muserve.configuration import ConfigurationError
from muserve_client.calls.kind import Command
from muserve_client.calls.music.cli_pieces import (
    add_flags,
    again,
    arguments,
    check_paths,
    counted,
    describe,
    new_tracks,
    save,
)
from muserve_client.calls.music.result import Accompaniment, Quantisation
from muserve_client.client import Client
from muserve_client.flags import client_arguments

__all__ = ["COMMAND"]

_HARDLY_ON_GRID_STEPS = 0.15


def _add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("file", metavar="FILE", type=Path, help="MIDI of type 0 or 1, in the model's metre (4/4)")
    parser.add_argument(
        "--role",
        metavar="TRACK=ROLE",
        dest="roles",
        action="append",
        default=[],
        help="what a track of the file plays, as in 1=bass; 1= keeps it without listening to it; tracks count from 0; "
        "may be repeated (default: guessed and printed)",
    )
    add_flags(
        parser,
        tracks="tracks to add, as in bass,drums (default: all that the file does not play)",
        default_out="FILE-SEED.mid, in this folder",
    )


def _run(namespace: argparse.Namespace) -> int:
    check_paths(namespace)
    roles = dict(map(_role, namespace.roles))
    with Client(**client_arguments(namespace)) as client:
        found = client.accompany(namespace.file, roles=roles, **arguments(namespace))
    stem = namespace.file.stem.replace("{", "{{").replace("}", "}}")
    out = save(namespace, found, f"{stem}-{found.info.seed}.mid", source=namespace.file)
    for line in _heard(found):
        print(line)
    print(f"added {new_tracks(found)}: {describe(found)}")
    print(f"model {found.info.model}, version {found.info.version}, seed {found.info.seed}")
    own = [str(namespace.file), *(word for role in namespace.roles for word in ("--role", role))]
    print(again("accompany", namespace, found, own, out))
    return 0


def _role(text: str) -> tuple[int, str]:
    track, equals, role = text.partition("=")
    if not equals or not track.strip().isdecimal():
        raise ConfigurationError(f"--role is {text!r}; it must be TRACK=ROLE, as in 1=bass")
    return int(track), role.strip()


def _heard(found: Accompaniment) -> Iterator[str]:
    """Says how the file was read: who plays what, and how well it fits the model's grid."""
    given = [track.name for track in found[0].tracks if track.given]
    names = given if len(given) == len(found.roles) else [""] * len(found.roles)
    for (index, role), name in zip(found.roles.items(), names, strict=True):
        track = f"track {index}" + f" ({name})" * bool(name)
        yield f"{track} is heard as {role}" if role else f"{track} is kept, but not listened to"
    yield _fit(found.quantisation)
    if found.quantisation.folded_notes:
        yield f"{found.quantisation.folded_notes} of them are heard octaves off, where the model's range ends"


def _fit(fit: Quantisation) -> str:
    heard = f"{counted(fit.notes, 'note')} heard in {counted(fit.bars, 'bar')}"
    distance = f"{fit.mean_error_steps:.2g} steps off the grid on average, {fit.on_grid_share:.0%} on it"
    if fit.mean_error_steps > _HARDLY_ON_GRID_STEPS:
        return f"{heard}, hardly in time: {distance}; is the tempo in the file that of its notes?"
    return f"{heard}, {distance}"


COMMAND = Command("accompany", "Add tracks to a MIDI file, whose own notes stay as they are.", _add_flags, _run)
