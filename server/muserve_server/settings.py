"""Everything that can be set on a server, checked at the start. Command line > environment > file > default."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from muserve import __version__
from muserve.configuration import (
    ConfigurationError,
    add_flags,
    build,
    from_environment,
    from_flags,
    nearest,
    option,
    parse_flags,
    read_toml,
)
from muserve.v1 import common_pb2
from muserve_server.engine import BatcherOptions, OnnxOptions
from muserve_server.model import LocalOptions

__all__ = ["Settings", "read_settings"]

ENVIRONMENT_PREFIX = "MUSERVE_CONFIG_"
FILE_VARIABLE = "MUSERVE_CONFIG"

_PACKAGE = Path(__file__).parent
# In a wheel the bundled models lie inside the package, in a checkout at its top.
BUNDLED_MODELS = next(
    (folder for folder in (_PACKAGE / "models", _PACKAGE.parents[1] / "models") if folder.is_dir()), Path("models")
)


@dataclass(frozen=True)
class Settings:
    """The settings of one server."""

    models: Path = option(BUNDLED_MODELS, "folder of bundles: <name>/<version>/manifest.json")
    default_models: tuple[str, ...] = option(
        (), "TASK=NAME pairs: the model that answers requests without a name, where a task has several: image=digits"
    )
    poll_interval_s: float = option(
        5.0, "how often the models folder is looked at for new and removed bundles; 0 never", unit="s", minimum=0
    )

    host: str = option("127.0.0.1", "address to listen on; 0.0.0.0 for every interface")
    grpc_port: int = option(8001, "port of gRPC; 0 takes a free one", minimum=0, maximum=65535)
    http_port: int = option(
        8002, "port of /metrics, /healthz and /readyz; 0 takes a free one", minimum=0, maximum=65535
    )
    reuse_port: bool = option(default=False, help="let several servers share the gRPC port (SO_REUSEPORT)")

    device: str = option("cpu", "where graphs run", choices=("cpu", "cuda"))
    runs_at_once: int = option(
        0,
        "runs of one graph at a time; 0 takes one, or up to four on as many cores if a run takes one row or one thread",
        minimum=0, maximum=64,
    )  # fmt: skip
    engine_threads: int = option(0, "threads of one engine's run; 0 takes one a core", minimum=0, maximum=1024)
    offload_threads: int = option(
        0, "threads that encode and decode media; 0 takes one a core", minimum=0, maximum=1024
    )
    max_batch_rows: int = option(64, "most rows in one run of a graph", unit="rows", minimum=1, maximum=65536)
    max_queue_rows: int = option(1024, "most rows that wait for one graph", unit="rows", minimum=1)
    max_delay_ms: float = option(
        0.0, "how long an idle engine waits for a fuller batch", unit="ms", minimum=0, maximum=10_000
    )
    busy_delay_ms: float = option(
        4.0, "the same, but only while five or more calls come less than a quarter of this apart", unit="ms", minimum=0,
        maximum=1000,
    )  # fmt: skip

    max_message_mib: int = option(32, "largest message, both ways", unit="MiB", minimum=1, maximum=1024)
    max_samples_per_call: int = option(256, "most samples that one call may ask for", minimum=1)
    max_pixels_per_call: int = option(2**24, "most pixels that one call may take or make", unit="pixels", minimum=1)
    max_pixels_in_work: int = option(
        2**25, "most pixels of images and answers that translations by one model hold at a time; other calls wait",
        unit="pixels", minimum=1,
    )  # fmt: skip
    max_series_per_call: int = option(1000, "most series that one call may bring", unit="series", minimum=1)
    max_points_per_series: int = option(10_000, "most values of one series, missing ones too", unit="values", minimum=1)
    max_midi_events: int = option(100_000, "most events of one MIDI file", unit="events", minimum=1)
    max_bars_per_call: int = option(
        8192, "most bars, over all pieces, that one call may ask for", unit="bars", minimum=1
    )
    max_question_bytes: int = option(8_000, "longest question, in UTF-8", unit="bytes", minimum=1)
    max_context_bytes: int = option(
        64_000, "longest text that one call may bring to be read, in UTF-8", unit="bytes", minimum=1
    )
    max_concurrent_calls: int = option(4096, "most calls in the server at a time", minimum=1)
    default_deadline_s: float = option(60.0, "deadline of calls that bring none", unit="s", minimum=0.001)
    max_connection_age_s: float = option(
        300.0, "age at which clients are asked to connect anew, so that they rebalance; 0 never", unit="s", minimum=0
    )

    drain_delay_s: float = option(
        5.0, "after SIGTERM: how long to go on serving while balancers notice", unit="s", minimum=0, maximum=3600
    )
    grace_s: float = option(
        30.0, "after that: how long running calls may take to finish", unit="s", minimum=0, maximum=3600
    )
    log_level: str = option("info", "least level that is logged", choices=("debug", "info", "warning", "error"))
    log_format: str = option("json", "one JSON object a line, or text for people", choices=("json", "text"))

    def __post_init__(self) -> None:
        """Checks what no single field shows.

        Raises:
            ConfigurationError: Settings contradict each other.
        """
        self.default_model_names()
        if not self.host:
            raise ConfigurationError("host is empty; it must be an address: 127.0.0.1, or 0.0.0.0 for every interface")
        for name in ("max_samples_per_call", "max_series_per_call"):
            if getattr(self, name) > self.max_queue_rows:
                raise ConfigurationError(
                    f"{name} is {getattr(self, name)}, but max_queue_rows is {self.max_queue_rows}: the largest call "
                    f"would never fit; raise max_queue_rows or lower {name}"
                )

    def default_model_names(self) -> dict[int, str]:
        """Returns the default model's name by `muserve.v1.Task`.

        Raises:
            ConfigurationError: An item is not TASK=NAME, or names no task.
        """
        names: dict[int, str] = {}
        tasks = {name.removeprefix("TASK_").lower(): number for name, number in common_pb2.Task.items() if number}
        for item in self.default_models:
            task, equals, name = item.partition("=")
            if not equals or not name:
                raise ConfigurationError(f"default_models has {item!r}; each item must be TASK=NAME: image=digits")
            if task not in tasks:
                raise ConfigurationError(f"default_models has the task {task!r}; {nearest(task, list(tasks))}")
            names[tasks[task]] = name
        return names

    def local_options(self) -> LocalOptions:
        """Returns how bundles are opened and run."""
        return LocalOptions(
            onnx=OnnxOptions(self.device, self.engine_threads),
            batcher=BatcherOptions(
                self.max_batch_rows, self.max_queue_rows, self.max_delay_ms / 1e3, self.busy_delay_ms / 1e3
            ),
            runs_at_once=self.runs_at_once,
            max_samples_per_call=self.max_samples_per_call,
            max_pixels_per_call=self.max_pixels_per_call,
            max_pixels_in_work=self.max_pixels_in_work,
            max_series_per_call=self.max_series_per_call,
            max_points_per_series=self.max_points_per_series,
            max_midi_events=self.max_midi_events,
            max_bars_per_call=self.max_bars_per_call,
            max_question_bytes=self.max_question_bytes,
            max_context_bytes=self.max_context_bytes,
            max_answer_values=self.max_message_mib * 2**20 // 8,
        )


def read_settings(arguments: Sequence[str] | None = None, environ: Mapping[str, str] = os.environ) -> Settings:
    """Reads the settings of this process.

    Args:
        arguments: The command line without the program's name; None takes the process's own.
        environ: The environment.

    Raises:
        ConfigurationError: A setting is unknown or wrong.
        SystemExit: The command line is wrong, or asks for help.
    """
    parser = argparse.ArgumentParser(
        prog="muserve-server",
        allow_abbrev=False,
        description="Serve trained generators over gRPC.",
        epilog=f"Each setting can also stand in a TOML file (grpc_port = 8001; --config, or {FILE_VARIABLE}) or in the "
        f"environment ({ENVIRONMENT_PREFIX}GRPC_PORT=8001). Command line > environment > file > default.",
    )
    parser.add_argument("--version", action="version", version=f"muserve-server {__version__}")
    parser.add_argument("--config", metavar="PATH", default=environ.get(FILE_VARIABLE), help="TOML file of settings")
    add_flags(parser, Settings)
    namespace = parse_flags(parser, arguments)
    file = read_toml(Path(namespace.config)) if namespace.config else {}
    environment = from_environment(Settings, ENVIRONMENT_PREFIX, environ)
    return build(Settings, file, environment, from_flags(Settings, namespace))
