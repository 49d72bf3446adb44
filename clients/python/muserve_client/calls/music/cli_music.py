"""`muserve music`: writes music into MIDI files, and says how to write it again."""

from __future__ import annotations

import argparse

from muserve_client.calls.kind import Command
from muserve_client.calls.music.cli_pieces import add_flags, again, arguments, check_paths, describe, new_tracks, save
from muserve_client.client import Client
from muserve_client.flags import client_arguments

__all__ = ["COMMAND"]


def _add_flags(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--tempo", metavar="BPM", type=float, help="quarter notes per minute, 40 to 240 (default: the style's)"
    )
    parser.add_argument("--bars", metavar="N", type=int, help="length (default: what one run of the model gives)")
    add_flags(parser, tracks="only these tracks, as in bass,drums (default: all)", default_out="MODEL-SEED.mid")


def _run(namespace: argparse.Namespace) -> int:
    check_paths(namespace)
    with Client(**client_arguments(namespace)) as client:
        music = client.music(tempo_bpm=namespace.tempo, bars=namespace.bars, **arguments(namespace))
    info = music.info
    out = save(namespace, music, f"{info.model}-{info.seed}.mid")
    print(f"{describe(music)}: {new_tracks(music)}")
    print(f"model {info.model}, version {info.version}, seed {info.seed}")
    own = [] if namespace.tempo is None else ["--tempo", str(namespace.tempo)]
    own += [] if namespace.bars is None else ["--bars", str(namespace.bars)]
    print(again("music", namespace, music, own, out))
    return 0


COMMAND = Command("music", "Write music into MIDI files.", _add_flags, _run)
