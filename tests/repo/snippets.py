"""The code blocks of the documents, and a reader who types them in.

Each line of a block needs a rule here. A line that no rule knows is an error, so that no new snippet goes untested.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
import sysconfig
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, chdir, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import mido
import numpy as np
from PIL import Image

from muserve import __version__
from muserve_export.cli import main as export_main
from muserve_server.settings import Settings
from tests.servers import server_process

__all__ = [
    "PLACEHOLDER_SERVER",
    "REPOSITORY",
    "Block",
    "Reader",
    "SnippetError",
    "blocks",
    "commands",
    "make_verbs",
    "tracked",
    "write_own_images",
    "write_own_melody",
    "write_own_music",
    "write_own_notes",
    "write_own_photo",
    "write_own_questions",
    "write_own_sales",
    "write_own_seasons",
]

REPOSITORY = Path(__file__).parents[2]
PLACEHOLDER_SERVER = "localhost:8001"
QUICK = {  # instead of an hour
    "digits": ("--epochs", "1", "--image-size", "16", "--batch-size", "8"),
    "answers": (
        "--epochs", "2", "--rows-per-epoch", "128", "--batch-size", "16", "--vocabulary-size", "500",
        "--embedding-size", "8", "--hidden-size", "8", "--validation-rows", "8", "--candidates", "4",
    ),
    "forecast": ("--epochs", "1", "--windows-per-epoch", "32", "--batch-size", "32", "--hidden-size", "4"),
    "music": (
        "--epochs", "1", "--batch-size", "8", "--bar-width", "8", "--beat-width", "8", "--step-width", "8",
        "--track-width", "8", "--discriminator-width", "8", "--constant-latent-size", "1", "--bar-latent-size", "1",
        "--bars", "1", "--steps-per-beat", "2",
    ),
    "translation": (
        "--epochs", "1", "--images-per-epoch", "4", "--crop-size", "32", "--tile-size", "64", "--overlap", "16",
        "--generator-channels", "4", "--generator-blocks", "1", "--discriminator-channels", "4",
        "--discriminator-layers", "2",
    ),
}  # fmt: skip
_FENCE = re.compile(r"^\s*```(\S*)\s*$")
_EXTRAS = re.compile(r"'(?:\.|muserve)\[([\w-]+)\]'")
_SAVED = re.compile(r"""save\("([^"]+\.(?:png|csv|mid))"\)""")
_SHELL_SYNTAX = re.compile(r"[|&;<>$`*~]")


class SnippetError(AssertionError):
    """A document shows something that cannot be run as it stands."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a document."""

    document: str
    """Path from the top of the repository."""
    line: int
    """Where it begins, counted from 1."""
    language: str
    """What stands behind the fence."""
    text: str
    """What stands between the fences."""

    def __str__(self) -> str:
        return f"{self.document}:{self.line}"


def blocks(document: str, text: str | None = None) -> list[Block]:
    """Returns the fenced blocks of a document.

    Raises:
        SnippetError: A fence is never closed.
    """
    found: list[Block] = []
    begun: tuple[int, str] | None = None
    body: list[str] = []
    lines = (text if text is not None else (REPOSITORY / document).read_text(encoding="utf-8")).splitlines()
    for number, line in enumerate(lines, start=1):
        fence = _FENCE.match(line)
        if begun and fence:
            found.append(Block(document, *begun, "\n".join(body)))
            begun, body = None, []
        elif begun:
            body.append(line)
        elif fence:
            begun = (number, fence[1])
    if begun:
        raise SnippetError(f"{document}:{begun[0]}: this block is never closed")
    return found


def tracked(*patterns: str) -> list[str]:
    """Returns the files of the repository: what git has, and what it would take. Patterns are git's: "*.md"."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns]
    listed = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    return sorted(name for name in set(listed.split("\0")) if name and (REPOSITORY / name).is_file())


def make_verbs() -> set[str]:
    """Returns the verbs that `make help` lists."""
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    return set(re.findall(r"^([a-z-]+):[^#=]*## \S", makefile, re.MULTILINE))


class Reader:
    """Someone with folders `my-images`, `my-music` and `my-seasons`, a file of each kind, and a server that serves."""

    def __init__(self, folder: Path, models: Path, address: str, servers: ExitStack) -> None:
        self._folder = folder
        self._models = models  # what a server without --models serves
        self._address = address
        self._servers = servers
        self._rules = {
            "make": self._make,
            "pip": self._pip,
            "muserve": self._muserve,
            "muserve-server": self._muserve_server,
            "muserve-export": self._muserve_export,
            "docker": self._docker,
        }

    def follow(self, block: Block) -> None:
        """Does what a block says.

        Raises:
            SnippetError: No rule knows a line or the language, or a line does not do what it promises.
        """
        if block.language == "python":
            self._python(block.text)
        elif block.language == "sh":
            for line in commands(block.text):
                self._type(line, block)
        else:
            raise SnippetError(f"{block}: no rule knows the language {block.language!r}; known: sh, python")

    def _type(self, line: str, block: Block) -> None:
        words = shlex.split(line, comments=True)
        if words[0] not in self._rules or _SHELL_SYNTAX.search(" ".join(words)):
            raise SnippetError(f"{block}: no rule knows how to test {line!r}; add one to {Path(__file__).name}")
        self._rules[words[0]](words[1:], line)

    def _python(self, code: str) -> None:
        self._run([sys.executable, "-W", "error", "-c", code.replace(PLACEHOLDER_SERVER, self._address)])
        for name in _SAVED.findall(code):
            self._expect(name)

    def _make(self, words: list[str], line: str) -> None:
        if len(words) != 1 or words[0] not in make_verbs():
            raise SnippetError(f"{line!r}: the Makefile has {sorted(make_verbs())}")

    def _pip(self, words: list[str], line: str) -> None:
        pyproject = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
        extras = set(pyproject["project"]["optional-dependencies"])
        named = _EXTRAS.findall(line)  # of the comment too: # or '.[server-gpu]'
        if words[:1] != ["install"] or len(words) != 2 or not named or not set(named) <= extras:
            raise SnippetError(f"{line!r}: pyproject.toml has the extras {sorted(extras)}")

    def _muserve(self, words: list[str], line: str) -> None:
        self._run([_installed("muserve"), *words])
        for flag in {"--out", "--plot", "--piano-roll", "--cycle", "--side-by-side"} & set(words):
            self._expect(words[words.index(flag) + 1])

    def _muserve_server(self, words: list[str], line: str) -> None:
        if words == ["--help"]:
            self._run([_installed("muserve-server"), *words])
            return
        models = self._models
        if words[:1] == ["--models"]:
            models, words = self._folder / words[1], words[2:]
        server = self._servers.enter_context(server_process(models, *words))
        self._address = f"localhost:{server.grpc_port}"

    def _muserve_export(self, words: list[str], line: str) -> None:
        """Runs it in this process, where torch is loaded already; a process of its own is tested in tests/export."""
        words = [*words, *(QUICK[words[1]] if words[0] == "train" else ())]
        output = io.StringIO()
        with chdir(self._folder), redirect_stdout(output), redirect_stderr(output):
            try:
                export_main(words)
            except SystemExit as end:
                if end.code:
                    raise SnippetError(f"{line!r} ended with {end.code}:\n{output.getvalue()}") from end

    def _docker(self, words: list[str], line: str) -> None:
        """Only what it names: an image is built and run in tests/image."""
        if words[0] == "build" and not (REPOSITORY / words[-1] / "Dockerfile").is_file():
            raise SnippetError(f"{line!r}: there is no Dockerfile in {words[-1]!r}")
        if f"muserve:{__version__}" not in words:
            raise SnippetError(f"{line!r}: this is version {__version__}")
        settings = Settings()
        published = {word for before, word in pairwise(words) if before == "-p"}
        if not published <= {f"{port}:{port}" for port in (settings.grpc_port, settings.http_port)}:
            raise SnippetError(f"{line!r}: the server listens on {settings.grpc_port} and {settings.http_port}")

    def _run(self, command: list[str]) -> None:
        environ = {**os.environ, "MUSERVE_SERVER": self._address}
        result = subprocess.run(
            command, cwd=self._folder, env=environ, capture_output=True, text=True, timeout=280, check=False
        )
        if result.returncode:
            raise SnippetError(f"{command} ended with {result.returncode}:\n{result.stdout}{result.stderr}")

    def _expect(self, name: str) -> None:
        if name.endswith(".csv"):
            if len((self._folder / name).read_text().splitlines()) < 2:
                raise SnippetError(f"{name} has no rows")
            return
        if name.endswith(".mid"):
            if len(mido.MidiFile(self._folder / name).tracks) < 2:
                raise SnippetError(f"{name} has no instruments")
            return
        with Image.open(self._folder / name) as image:
            if image.format != "PNG":
                raise SnippetError(f"{name} is a {image.format}")


def write_own_images(folder: Path) -> None:
    """Writes 40 small images in two classes: what users bring to train on."""
    random = np.random.default_rng(0)
    for label in ("bright", "dark"):
        (folder / label).mkdir(parents=True)
        for index in range(20):
            pixels = random.integers(0, 256, (20, 20), dtype=np.uint8) // 2 + (120 if label == "bright" else 0)
            Image.fromarray(pixels.astype(np.uint8)).save(folder / label / f"{index}.png")


def write_own_sales(path: Path) -> None:
    """Writes three years of two monthly series: what users bring to forecast."""
    lines = ["unique_id,ds,y"]
    for name, level in (("north", 100), ("south", 50)):
        for month in range(36):
            value = level + month + 10 * np.sin(month * np.pi / 6)
            lines.append(f"{name},{2021 + month // 12}-{month % 12 + 1:02d}-01,{value:.2f}")
    path.write_text("\n".join(lines) + "\n")


def write_own_melody(path: Path) -> None:
    """Writes eight bars of a melody: what users bring to be accompanied."""
    pitches = [60 + (0, 2, 4, 5, 7, 5, 4, 2)[beat % 8] for beat in range(32)]
    _write_midi(path, {(0, 0): [(beat, 1, pitch) for beat, pitch in enumerate(pitches)]})


def write_own_music(folder: Path) -> None:
    """Writes four pieces of two styles, for drums, piano and bass: what users bring to train on."""
    random = np.random.default_rng(0)
    for style, hits in (("ballads", 1), ("marches", 2)):
        (folder / style).mkdir(parents=True)
        for index in range(4):
            roots = [36 + int(root) for root in random.integers(0, 12, 8)]  # one a bar
            beats = [(beat / hits, 1 / hits) for beat in range(32 * hits)]
            _write_midi(
                folder / style / f"{index}.mid",
                {
                    (9, 0): [(beat, length, 36 + int(random.integers(0, 8))) for beat, length in beats],
                    (0, 0): [(4 * bar, 4, root + 24 + up) for bar, root in enumerate(roots) for up in (0, 4, 7)],
                    (1, 33): [(beat, length, roots[int(beat) // 4]) for beat, length in beats],
                },
            )


def write_own_seasons(folder: Path) -> None:
    """Writes photos of two seasons, no two of one place: what users bring to train on."""
    for seed, (name, ground) in enumerate((("trainA", (60, 140, 50)), ("trainB", (235, 240, 250)))):
        (folder / name).mkdir(parents=True)
        for index in range(3 + seed):
            _draw_hills(index + 10 * seed, ground).save(folder / name / f"{index}.jpg")


def write_own_questions(path: Path) -> None:
    """Writes questions of a shop with their answers: what users bring to train on."""
    rows = [
        f"When does shelf {number} get new goods?,Shelf {number} gets new goods at {number % 12 + 1}."
        for number in range(60)
    ]
    path.write_text("\n".join(["question,answer", *rows]) + "\n")


def write_own_notes(path: Path) -> None:
    """Writes a text: what users bring to be asked about."""
    path.write_text("A lantern is a portable lamp with a case of glass. It was invented by Ann Lee in 1820.\n")


def write_own_photo(path: Path) -> None:
    """Writes a photo of summer: what users bring to be translated."""
    _draw_hills(20, (60, 140, 50)).save(path)


def _draw_hills(seed: int, ground: tuple[int, int, int]) -> Image.Image:
    """Draws hills under a sky."""
    random = np.random.default_rng(seed)
    height, width = (int(size) for size in random.integers(40, 100, 2))
    rows, columns = np.mgrid[:height, :width]
    hills = height * (0.4 + 0.1 * np.sin(columns / random.uniform(6, 12)))
    pixels = np.where((rows > hills)[..., None], ground, (110, 160, 220)) + random.normal(0, 4, (height, width, 3))
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _write_midi(path: Path, tracks: dict[tuple[int, int], list[tuple[float, float, int]]]) -> None:
    """Writes notes, (start, length, pitch) in quarters, of tracks by channel and program."""
    file = mido.MidiFile()
    for (channel, program), notes in tracks.items():
        track = mido.MidiTrack([mido.Message("program_change", channel=channel, program=program)])
        events = [(start + length, "note_off", pitch) for start, length, pitch in notes]
        events += [(start, "note_on", pitch) for start, _, pitch in notes]
        now = 0
        for beat, kind, pitch in sorted(events):
            tick = round(beat * file.ticks_per_beat)
            track.append(mido.Message(kind, channel=channel, note=pitch, time=tick - now))
            now = tick
        file.tracks.append(track)
    file.save(path)


def commands(text: str) -> Iterator[str]:
    """Yields the commands of a block, each on one line."""
    for line in text.replace("\\\n", " ").splitlines():
        if line.strip() and not line.lstrip().startswith("#"):
            yield line


def _installed(command: str) -> str:
    """The command that `pip install` put beside this Python."""
    return str(Path(sysconfig.get_path("scripts")) / command)
