"""What `muserve music` and `muserve accompany` share: flags, files, and the description of a piece."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from muserve.configuration import ConfigurationError
from muserve_client.calls.music.result import MIDI_ENDINGS, PICTURE_ENDINGS, Music, name_pieces
from muserve_client.flags import add_model_flags
from muserve_client.naming import is_file, is_pattern

__all__ = ["add_flags", "again", "arguments", "check_paths", "counted", "describe", "new_tracks", "save"]

_SAMPLE = "-{sample}"


def add_flags(parser: argparse.ArgumentParser, *, tracks: str, default_out: str) -> None:
    """Adds the flags that both commands have.

    Args:
        parser: Of the subcommand.
        tracks: What --tracks chooses.
        default_out: Where pieces go without --out.
    """
    parser.add_argument("--style", metavar="NAME", default="", help="such as bossanova (default: drawn by the seed)")
    parser.add_argument(
        "--tracks", metavar="A,B,…", action="extend", type=lambda text: text.split(","), default=[], help=tracks
    )
    parser.add_argument(
        "--density", metavar="X", type=float, help="0 (sparse) to 1 (busy); not every model supports it (default: open)"
    )
    parser.add_argument("--count", metavar="N", type=int, help="number of pieces (default: 1)")
    parser.add_argument("--seed", metavar="N", type=int, help="reproduces the same pieces (default: drawn and printed)")
    parser.add_argument(
        "--first-sample",
        metavar="N",
        type=int,
        default=0,
        help="index of the first sample in the seed's series (default: 0)",
    )
    parser.add_argument(
        "--out",
        metavar="PATH",
        help="x.mid, or x-0.mid, x-1.mid and so on for several pieces; a folder; or a pattern such as "
        f"'out/{{style}}-{{sample}}.mid' (default: {default_out})",
    )
    parser.add_argument(
        "--piano-roll", metavar="PATH", help="draws the notes as well: x.png, a folder, or a pattern, as for --out"
    )
    add_model_flags(parser)


def arguments(namespace: argparse.Namespace) -> dict[str, Any]:
    """Returns the arguments of the client's method that these flags set."""
    return {
        "style": namespace.style,
        "tracks": namespace.tracks,
        "density": namespace.density,
        "count": namespace.count,
        "seed": namespace.seed,
        "first_sample": namespace.first_sample,
        "piano_roll": namespace.piano_roll is not None,
        "model": namespace.model,
        "version": namespace.version,
    }


def check_paths(namespace: argparse.Namespace) -> None:
    """Checks the paths before the call.

    Raises:
        ConfigurationError: A path is neither a folder nor a file of the right type.
    """
    for flag, where, endings in _wanted(namespace, namespace.out):
        is_folder = "{" not in where and (Path(where).is_dir() or where.endswith("/") or not Path(where).suffix)
        if not is_folder and Path(where).suffix.lower() not in endings:
            raise ConfigurationError(f"{flag} is {where!r}; it must be a folder, or end with {' or '.join(endings)}")


def save(namespace: argparse.Namespace, music: Music, default_out: str, *, source: Path | None = None) -> str:
    """Writes the pieces, and their piano rolls if requested; prints where.

    Args:
        namespace: The flags.
        music: The pieces.
        default_out: Where they go without --out.
        source: A file that must not be overwritten.

    Returns:
        What --out is, or stands for.

    Raises:
        ConfigurationError: A path cannot be used; nothing was written.
        OSError: A file cannot be written.
    """
    out = namespace.out or default_out
    planned = []
    for flag, where, endings in _wanted(namespace, out):
        paths = _paths(flag, where, endings, music)
        if source is not None and any(path.exists() and path.samefile(source) for path in paths):
            raise ConfigurationError(f"{flag} would write over {source}, which is accompanied; name another file")
        planned.append(paths)
    for paths in planned:
        for piece, path in zip(music, paths, strict=True):
            piece.save(path)
        print(f"saved {paths[0]}" if len(paths) == 1 else f"saved {len(paths)} files: {paths[0]} … {paths[-1]}")
    return out


def describe(music: Music) -> str:
    """Describes the pieces in one line."""
    styles = " and ".join(sorted({piece.style for piece in music if piece.style}))
    tempi = " and ".join(dict.fromkeys(f"{tempo:g}" for tempo in sorted(piece.tempo_bpm for piece in music)))
    parts = [counted(len(music), "piece")] if len(music) > 1 else []
    parts += [styles] if styles else []
    return ", ".join([*parts, f"{counted(music[0].bars, 'bar')} at {tempi} quarter notes a minute"])


def counted(number: int, noun: str) -> str:
    """Returns "1 bar", "2 bars"."""
    return f"{number} {noun}" + "s" * (number != 1)


def new_tracks(music: Music) -> str:
    """Returns the roles of the tracks that the model wrote."""
    return ", ".join(track.role for track in music[0].tracks if not track.given)


def again(command: str, namespace: argparse.Namespace, music: Music, own: Sequence[str], out: str) -> str:
    """Returns the line that makes the same again.

    Args:
        command: The subcommand.
        namespace: The flags.
        music: The pieces.
        own: Arguments of this subcommand alone.
        out: As `save` returns it.
    """
    info = music.info
    words = ["muserve", command, *own, "--model", info.model, "--version", str(info.version), "--seed", str(info.seed)]
    if namespace.tracks:
        words += ["--tracks", ",".join(namespace.tracks)]
    flags = ("server", "style", "density", "count", "first_sample", "piano_roll")
    for flag in flags:
        value = getattr(namespace, flag)
        if value not in (None, "") and not (flag == "first_sample" and value == 0):
            words += ["--" + flag.replace("_", "-"), str(value)]
    return "again: " + shlex.join([*words, "--out", out])


def _wanted(namespace: argparse.Namespace, out: str | None) -> list[tuple[str, str, tuple[str, ...]]]:
    """Returns what to write: the flag, where to, and how files may end."""
    expected = [("--out", out, MIDI_ENDINGS), ("--piano-roll", namespace.piano_roll, PICTURE_ENDINGS)]
    return [(flag, where, endings) for flag, where, endings in expected if where]


def _paths(flag: str, where: str, endings: tuple[str, ...], music: Music) -> list[Path]:
    """Names a file for each piece; a single file name gets the numbers of several."""
    path = Path(where)
    try:
        if len(music) > 1 and is_file(where, endings) and not is_pattern(where):
            path = path.with_name(path.stem + _SAMPLE + path.suffix)
        return name_pieces(music, path, endings=endings)
    except ValueError as error:
        raise ConfigurationError(f"{flag}: {error}") from error
