"""Music served against music written without a server, on the same cores in one run; and our MIDI against mido's."""

from __future__ import annotations

import argparse
import io
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median

import mido
import numpy as np

from bench.comparison import IN_FLIGHT, Comparison, describe_run
from bench.load import find_h2load
from bench.raw_music import BARS, RawMusic, newest_bundle
from bench.served import Served
from muserve.v1 import music_pb2
from muserve_client import Client
from muserve_server.tasks.music.midi_writer import write_song
from muserve_server.tasks.music.song import DRUM_CHANNEL, Song, SongTrack
from tests.servers import server_process

MODELS = Path(__file__).parents[1] / "models"
OUT = Path("out/bench-music.md")
NOTES, TRACKS, TICKS_PER_BEAT = 500, 5, 480
TEXT = "muserve {}"


def main() -> None:
    """Measures, prints a Markdown report and writes it to out/bench-music.md."""
    parser = argparse.ArgumentParser(prog="python -m bench.music", description=__doc__)
    parser.add_argument("--models", type=Path, default=MODELS, help="folder with a music bundle that can accompany")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of raw and served, and of both encoders")
    parser.add_argument("--calls", type=int, default=1000, help="calls of a round and a number of connections")
    parser.add_argument("--server-flag", action="append", default=[], help="a flag for muserve-server; repeatable")
    options = parser.parse_args()
    find_h2load()
    bundle = newest_bundle(options.models)
    lines = [describe_run(bundle, options.server_flag), ""]
    request = music_pb2.GenerateMusicRequest(
        count=1, bars=BARS, model=bundle.manifest.name, version=bundle.manifest.version
    )
    flags = ["--poll-interval-s", "0", "--drain-delay-s", "0", *options.server_flag]
    with server_process(options.models, *flags) as process:
        served = Served(process)
        lines += _sizes(options.models, f"127.0.0.1:{process.grpc_port}", request)
        served.load(request, calls=IN_FLIGHT * 4)  # compiled and warm, as the raw loops are
        comparison = Comparison(request, partial(RawMusic, options.models), "pieces", calls=options.calls, raw_s=2.0)
        lines += comparison.measure(served, options.rounds)
        lines += [
            "",
            f"Rows of a run, all runs: {served.runs_by_rows()}. RSS at the end: {served.rss_mib:.0f} MiB.",
            "",
        ]
    lines += _encoders(options.rounds)
    report = "\n".join(lines) + "\n"
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(report)
    sys.stdout.write(report)


def _sizes(models: Path, target: str, request: music_pb2.GenerateMusicRequest) -> list[str]:
    """Says how long the pieces are, and proves that both sides write the same."""
    seeds = range(IN_FLIGHT)
    raw = RawMusic(models).draw(seeds)
    with Client(target) as client:
        served = [client.music(bars=BARS, seed=seed, model=request.model, version=request.version)[0] for seed in seeds]
    if [piece.midi for piece in served] != raw:
        raise RuntimeError("the served MIDI is not the raw one: the two sides do not do the same work")
    notes = median(sum(track.notes for track in piece.tracks) for piece in served)
    return [f"Pieces of {BARS} bars: {notes:.0f} notes, {median(map(len, raw)):.0f} bytes (medians of {len(raw)}).", ""]


def _encoders(rounds: int) -> list[str]:
    """Times the encoding of one song by both, in turn, and proves that both say the same."""
    song = _song()
    writers: dict[str, Callable[[], bytes]] = {
        "ours (`write_song`)": lambda: write_song(song, text=TEXT),
        "mido": lambda: _write_with_mido(song),
    }
    ours, other = (_events(write()) for write in writers.values())
    if ours != other:
        raise RuntimeError("the two encoders do not write the same events")
    times: dict[str, list[float]] = {name: [] for name in writers}
    for _ in range(max(rounds, 3)):
        for name, write in writers.items():
            times[name].append(_seconds(write))
    ratio = median(b / a for a, b in zip(*times.values(), strict=True))
    lines = [f"| encoding {NOTES} notes in {TRACKS} tracks | µs a piece |", "|---|---|"]
    lines += [f"| {name} | {median(seconds) * 1e6:,.0f} |" for name, seconds in times.items()]
    return [*lines, "", f"mido takes {ratio:.1f} times as long."]


def _seconds(write: Callable[[], bytes], *, least_s: float = 0.5) -> float:
    count, started = 0, time.perf_counter()
    while (passed := time.perf_counter() - started) < least_s:
        write()
        count += 1
    return passed / count


def _song() -> Song:
    """A song of notes at random times, as many in each track."""
    random = np.random.default_rng(0)
    tracks = []
    for index in range(TRACKS):
        count = NOTES // TRACKS
        start = np.sort(random.integers(0, 16 * 8, count)) * (TICKS_PER_BEAT // 4)
        length = random.integers(1, 9, count) * (TICKS_PER_BEAT // 4)
        # No pitch twice at a time.
        notes = np.column_stack([start, start + length, 24 + np.arange(count) % 84, random.integers(40, 120, count)])
        tracks.append(SongTrack(index, index if index else DRUM_CHANNEL, f"Track {index}", 8 * index, notes))
    return Song(
        ticks_per_beat=TICKS_PER_BEAT,
        tracks=tuple(tracks),
        tempos=np.array([[0, 500_000]]),
        time_signatures=np.array([[0, 4, 4]]),
        end_tick=20 * 4 * TICKS_PER_BEAT,
    )


def _write_with_mido(song: Song) -> bytes:
    """Writes a song as one does who has mido."""
    file = mido.MidiFile(type=1, ticks_per_beat=song.ticks_per_beat)
    head = mido.MidiTrack([mido.MetaMessage("text", text=TEXT)])
    head += [mido.MetaMessage("set_tempo", tempo=tempo, time=tick) for tick, tempo in song.tempos.tolist()]
    for tick, beats, unit in song.time_signatures.tolist():
        head.append(mido.MetaMessage("time_signature", numerator=beats, denominator=unit, time=tick))
    head.append(mido.MetaMessage("end_of_track", time=song.end_tick))
    file.tracks.append(head)
    for own in song.tracks:
        track = mido.MidiTrack([mido.MetaMessage("track_name", name=own.name)])
        track.append(mido.Message("program_change", channel=own.channel, program=own.program))
        events = []
        for start, end, pitch, velocity in own.notes.tolist():
            events.append((start, 1, pitch, velocity))
            events.append((end, 0, pitch, 64))
        now = 0
        for tick, kind, pitch, velocity in sorted(events):
            name = "note_on" if kind else "note_off"
            track.append(mido.Message(name, channel=own.channel, note=pitch, velocity=velocity, time=tick - now))
            now = tick
        track.append(mido.MetaMessage("end_of_track", time=song.end_tick - now))
        file.tracks.append(track)
    buffer = io.BytesIO()
    file.save(file=buffer)
    return buffer.getvalue()


def _events(midi: bytes) -> list[list[str]]:
    return [[str(message) for message in track] for track in mido.MidiFile(file=io.BytesIO(midi)).tracks]


if __name__ == "__main__":
    main()
