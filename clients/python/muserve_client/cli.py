"""The command `muserve`: what the SDK does, from a shell. Its subcommands are those of all installed calls."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from muserve import __version__
from muserve.configuration import ConfigurationError, parse_flags
from muserve.errors import MuserveError, UnavailableError
from muserve_client.calls.registry import installed_calls
from muserve_client.flags import add_connection_flags
from muserve_client.flows import InvalidFlowError

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        arguments: The command line without the program's name; None takes the process's own.

    Returns:
        The exit code: 0, or 1 if the command failed.

    Raises:
        SystemExit: The command line is wrong (2) or asks for help (0).
    """
    parser = argparse.ArgumentParser(
        prog="muserve",
        allow_abbrev=False,
        description="Call a Muserve server: images, music, translations, answers, forecasts, models, determinism.",
    )
    parser.add_argument("--version", action="version", version=f"muserve {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    installed = installed_calls()
    for problem in installed.problems.values():
        print(f"muserve: warning: {problem}", file=sys.stderr)
    for command in installed.commands:
        text = command.description.replace("%", "%%")  # which argparse takes for a placeholder
        subparser = commands.add_parser(command.name, help=text, description=command.description, allow_abbrev=False)
        add_connection_flags(subparser)
        command.add_flags(subparser)
        subparser.set_defaults(run=command.run)
    namespace = parse_flags(parser, arguments)
    try:
        return int(namespace.run(namespace))
    except ConfigurationError as error:
        return _fail(str(error), code=2)
    except UnavailableError as error:
        # An error with a request id comes from a server that is there.
        hint = "" if error.request_id else "\nStart one with: muserve-server   (or name another: --server HOST:PORT)"
        return _fail(f"{error}{hint}")
    except MuserveError as error:
        return _fail(str(error) + (f" (request {error.request_id})" if error.request_id else ""))
    except InvalidFlowError as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error))
    except KeyboardInterrupt:
        return 130


def _fail(text: str, *, code: int = 1) -> int:
    sys.stdout.flush()
    print(f"muserve: error: {text}", file=sys.stderr)
    return code
