"""The settings of a server, checked at the start. Command line > environment > file > default."""

from __future__ import annotations

import argparse
import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from muserve import __version__
from muserve.configuration import (
    ConfigurationError,
    add_flags,
    build,
    check_order,
    from_environment,
    from_flags,
    nearest,
    option,
    option_names,
    options_of,
    parse_flags,
    read_toml,
)
from muserve_server.engine import BatcherOptions, OnnxOptions
from muserve_server.limits import MAX_MESSAGE_MIB, MAX_SAMPLES_PER_CALL
from muserve_server.model import LocalOptions
from muserve_server.tasks import Kinds, installed_kinds

__all__ = ["Settings", "build_settings", "read_settings"]


def _find_bundled_models() -> Path:
    """Returns the models of the distribution muserve-models, or of the checkout that this file is part of."""
    checkout = Path(__file__).parents[2] / "models"
    if (checkout / "pyproject.toml").is_file():  # not just any folder of this name beside an installation
        return checkout
    try:
        return Path(str(distribution("muserve-models").locate_file("muserve_models")))
    except PackageNotFoundError:
        return Path("models")


BUNDLED = "bundled"
ENVIRONMENT_PREFIX = "MUSERVE_CONFIG_"
_OTHER_FLAGS = ("config", "help", "version")
FILE_VARIABLE = "MUSERVE_CONFIG"

BUNDLED_MODELS = _find_bundled_models()


@dataclass(frozen=True)
class Settings:
    """The settings of one server."""

    models: tuple[Path, ...] = option(
        (BUNDLED_MODELS,),
        f"folder of bundles: <name>/<version>/manifest.json. Several may be given; {BUNDLED!r} stands for the models "
        "that come with Muserve. If two have the same name and version, the first one is used",
    )
    default_models: tuple[str, ...] = option(
        (), "TASK=NAME pairs: the default model of a task that has several, for requests without a model: image=digits"
    )
    default_versions: tuple[str, ...] = option(
        (), "MODEL=VERSION pairs: the default version of a model, if not the highest that passes verification: digits=1"
    )
    poll_interval_s: float = option(
        5.0,
        "interval at which the model folders are scanned for new and removed bundles; 0 disables scanning",
        unit="s",
        minimum=0,
    )

    front: str = option(
        "auto",
        "who speaks HTTP/2: envoy (JSON, browsers and gRPC on one port), or grpcio (gRPC alone); auto takes Envoy "
        "where it is installed",
        choices=("auto", "envoy", "grpcio"),
    )
    host: str = option("127.0.0.1", "address or name to listen on; 0.0.0.0 for every interface")
    grpc_port: int = option(8001, "gRPC port; 0 picks a free one", minimum=0, maximum=65535)
    http_port: int = option(
        8002, "port of /metrics, /healthz and /readyz; 0 picks a free one", minimum=0, maximum=65535
    )
    reuse_port: bool = option(default=False, help="let several servers share the gRPC port (SO_REUSEPORT)")
    grpcio_servers: int = option(
        4,
        "servers of grpcio in this process that share its port; each takes one call at a time from its connections",
        minimum=1, maximum=64,
    )  # fmt: skip

    allowed_hosts: tuple[str, ...] = option(
        ("localhost",),
        "front envoy: names by which JSON and gRPC-Web calls may address this server, beside IP addresses; * for any",
    )
    cors_origins: tuple[str, ...] = option(
        (), "front envoy: origins of web pages that may call, https://example.org, beside this server's own; * for any"
    )
    device: str = option("cpu", "device that graphs run on", choices=("cpu", "cuda"))
    runs_at_once: int = option(
        0,
        "concurrent runs of one graph; 0 means one, or up to four (one a core) if a run takes one row or one thread",
        minimum=0, maximum=64,
    )  # fmt: skip
    engine_threads: int = option(0, "threads of each run of a graph; 0 means one a core", minimum=0, maximum=1024)
    offload_threads: int = option(
        0, "threads that encode and decode media; 0 means one a core", minimum=0, maximum=1024
    )
    max_batch_rows: int = option(64, "maximum batch size of a graph", unit="rows", minimum=1, maximum=65536)
    max_queue_rows: int = option(1024, "maximum rows in the queue of a graph", unit="rows", minimum=1)
    max_delay_ms: float = option(
        0.0, "batching delay: how long an idle graph waits for a fuller batch", unit="ms", minimum=0, maximum=10_000
    )
    busy_delay_ms: float = option(
        4.0,
        "batching delay under load: how long it waits while five or more calls are in progress and new ones arrive "
        "less than a quarter of this apart",
        unit="ms",
        minimum=0,
        maximum=1000,
    )

    max_message_mib: int = MAX_MESSAGE_MIB
    max_samples_per_call: int = MAX_SAMPLES_PER_CALL
    max_free_size: int = option(
        2048,
        "Open Inference Protocol: maximum size of each dimension that a graph leaves free, such as a length in tokens",
        minimum=1,
    )
    max_concurrent_calls: int = option(4096, "maximum concurrent calls", minimum=1)
    default_deadline_s: float = option(60.0, "deadline of calls without one", unit="s", minimum=0.001)
    max_streams: int = option(
        1024, "maximum concurrent calls of one connection; its further ones wait in the client", minimum=1
    )
    max_connections: int = option(4096, "front envoy: maximum connections", minimum=1)
    receive_timeout_s: float = option(
        60.0, "front envoy: how long a request may take to arrive", unit="s", minimum=0.001, maximum=3600
    )
    max_connection_age_s: float = option(
        300.0,
        "connection age after which clients reconnect, so that they rebalance; 0 disables it",
        unit="s",
        minimum=0,
    )

    drain_delay_s: float = option(
        5.0, "after SIGTERM: how long to keep serving until load balancers notice", unit="s", minimum=0, maximum=3600
    )
    grace_s: float = option(
        30.0, "after drain_delay_s: how long running calls may take to finish", unit="s", minimum=0, maximum=3600
    )
    log_level: str = option("info", "minimum level to log", choices=("debug", "info", "warning", "error"))
    log_format: str = option("json", "JSON lines, or human-readable text", choices=("json", "text"))

    kinds: Kinds = field(default_factory=installed_kinds)
    """The task kinds that are served."""
    limits: Mapping[str, Any] = field(default_factory=lambda: installed_kinds().limits())
    """The limits of each kind by its name."""

    def __post_init__(self) -> None:
        """Checks the settings against each other.

        Raises:
            ConfigurationError: Settings contradict each other.
        """
        self.default_model_names()
        self.default_version_numbers()
        if not self.models:
            raise ConfigurationError(f"models is empty; name a folder of bundles, or {BUNDLED!r}")
        if not self.host or re.search(r"[\s/]|^\w+:(?!.*:)", self.host):
            raise ConfigurationError(
                f"host is {self.host!r}; it must be an address or a name of this machine: 127.0.0.1, ::1, or 0.0.0.0 "
                "for every interface. Sockets of files are not served, and ports have settings of their own"
            )
        for limits in (self, *self.limits.values()):
            check_order(limits, self)

    def default_model_names(self) -> dict[str, str]:
        """Returns the default model's name by task kind.

        Raises:
            ConfigurationError: An item is not TASK=NAME, or names no task kind.
        """
        names: dict[str, str] = {}
        for item in self.default_models:
            task, equals, name = item.partition("=")
            if not equals or not name:
                raise ConfigurationError(f"default_models has {item!r}; each item must be TASK=NAME: image=digits")
            if task not in self.kinds:
                raise ConfigurationError(f"default_models has the task {task!r}; {nearest(task, list(self.kinds))}")
            names[task] = name
        return names

    def default_version_numbers(self) -> dict[str, int]:
        """Returns the default version by model's name, where one is set.

        Raises:
            ConfigurationError: An item is not MODEL=VERSION, or a model has two.
        """
        versions: dict[str, int] = {}
        for item in self.default_versions:
            name, _, number = item.partition("=")
            if not name or not (number.isascii() and number.isdecimal() and len(number) <= 10 and int(number)):
                raise ConfigurationError(f"default_versions has {item!r}; each item must be MODEL=VERSION: digits=1")
            if versions.setdefault(name, int(number)) != int(number):
                raise ConfigurationError(f"default_versions has the versions {versions[name]} and {number} of {name!r}")
        return versions

    def local_options(self) -> LocalOptions:
        """Returns how bundles are opened and run."""
        return LocalOptions(
            onnx=OnnxOptions(self.device, self.engine_threads),
            batcher=BatcherOptions(
                self.max_batch_rows, self.max_queue_rows, self.max_delay_ms / 1e3, self.busy_delay_ms / 1e3
            ),
            runs_at_once=self.runs_at_once,
            kinds=self.kinds,
            limits=self.limits,
        )


def build_settings(*layers: Mapping[str, Any], kinds: Kinds | None = None) -> Settings:
    """Builds settings from layers of values, those of the kinds' limits among them; later layers win.

    Args:
        layers: Setting to value, as its own type or as text.
        kinds: The task kinds; those that are installed if None. One whose limits clash with other settings is left out.

    Raises:
        ConfigurationError: A setting is unknown, or its value cannot be used.
    """
    kinds = _without_clashes(installed_kinds() if kinds is None else kinds)
    values = vars(build(_all_settings(kinds), *map(_with_bundled_models, layers)))
    limits = {name: values[name] for kind in kinds.values() for name in option_names(kind.limits)}
    shared = {name: values[name] for name in option_names(Settings)}
    shared["host"] = re.sub(r"^\[(.*)\]$", r"\1", shared["host"])  # [::1], as URLs have it
    return Settings(**shared, kinds=kinds, limits=kinds.limits(**limits))


def _with_bundled_models(layer: Mapping[str, Any]) -> Mapping[str, Any]:
    """Puts the folder in place of the word `bundled`, as it was written: ./bundled is a folder of that name."""
    if "models" not in layer:
        return layer
    given = layer["models"]
    items = [given] if isinstance(given, str | Path) else list(given)
    parts = [part for item in items for part in (item.split(os.pathsep) if isinstance(item, str) else [item])]
    return {**layer, "models": [BUNDLED_MODELS if part == BUNDLED else part for part in parts]}


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
        epilog=f"Each setting can also be in a TOML file (grpc_port = 8001; --config, or {FILE_VARIABLE}) or in the "
        f"environment ({ENVIRONMENT_PREFIX}GRPC_PORT=8001). Command line > environment > file > default.",
    )
    parser.add_argument("--version", action="version", version=f"muserve-server {__version__}")
    parser.add_argument("--config", metavar="PATH", default=environ.get(FILE_VARIABLE), help="TOML file of settings")
    kinds = _without_clashes(installed_kinds())
    every = _all_settings(kinds)
    add_flags(parser, every)
    namespace = parse_flags(parser, arguments)
    try:
        file = read_toml(Path(namespace.config)) if namespace.config else {}
        environment = from_environment(every, ENVIRONMENT_PREFIX, environ)
        return build_settings(file, environment, from_flags(every, namespace), kinds=kinds)
    except ConfigurationError as error:
        if not kinds.problems:
            raise
        reasons = "; ".join(kinds.problems.values())
        raise ConfigurationError(
            f"{error}. Task kinds that were passed over, with their settings: {reasons}"
        ) from error


def _all_settings(kinds: Kinds) -> type[Any]:
    """Makes one class of the server's own settings and the limits of all kinds, each once."""
    fields = {name: (type_, field) for name, type_, field in options_of(Settings)}
    for kind in kinds.values():
        fields |= {name: (type_, field) for name, type_, field in options_of(kind.limits)}
    rows = [(name, type_, field) for name, (type_, field) in fields.items()]
    return dataclasses.make_dataclass("AllSettings", rows, frozen=True)


def _without_clashes(kinds: Kinds) -> Kinds:
    """Leaves out each kind that has a limit of the name of another setting, unless both are declared as one."""
    fields: dict[str, tuple[str, Any]] = dict.fromkeys(_OTHER_FLAGS, ("the command line", None))
    fields |= {name: ("the server itself", (type_, field.metadata)) for name, type_, field in options_of(Settings)}
    bounds = {"", *option_names(Settings)}
    problems = {}
    for kind in kinds.values():
        limits = {name: (type_, field.metadata) for name, type_, field in options_of(kind.limits)}
        what = f"task kind {kind.name!r} of the distribution {kinds.origin(kind.name)!r}"
        clashes = [name for name, of in limits.items() if name in fields and not _are_one(fields[name][1], of)]
        unbounded = [name for name, (_, metadata) in limits.items() if metadata["at_most"] not in bounds]
        if clashes:
            problems[kind.name] = (
                f"{what}: its limit {clashes[0]!r} has the name of a setting of {fields[clashes[0]][0]}; rename it, or "
                "share one of muserve_server.limits"
            )
        elif unbounded:
            problems[kind.name] = (
                f"{what}: its limit {unbounded[0]!r} is at most {limits[unbounded[0]][1]['at_most']!r}, which is not a "
                "setting of the server"
            )
        else:
            fields |= {name: (f"the task kind {kind.name!r}", of) for name, of in limits.items()}
    return kinds.without(problems)


def _are_one(setting: Any, limit: tuple[Any, Mapping[str, Any]]) -> bool:
    """Whether both are declared by one `option`, with one type; a flag of the command line has none."""
    return setting is not None and setting[0] == limit[0] and setting[1]["identity"] is limit[1]["identity"]
