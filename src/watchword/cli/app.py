"""The tree of commands, and the one place where a run ends: every error becomes an exit code and one line on stderr."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Final

import typer

from watchword.cli.exits import ExitCode, code_of, describe, describe_bug
from watchword.cli.options import Group, new_group
from watchword.environment import check_environment
from watchword.errors import WatchwordError

_HELP: Final = "Log in AI agents, bots and services: run the server, register agents, get and explain tokens."
_GROUPS: Final = {
    "resource": "resources",
    "agent": "agents",
    "credential": "credentials",
    "permission": "permissions",
    "federation": "federation",
    "operator": "operators",
    "key": "signing_keys",
    "node": "nodes",
    "token": "tokens",
    "audit": "audit",
    "config": "config",
    "store": "store",
}


def run(arguments: Sequence[str]) -> int:
    """Run one command line and return its exit code."""
    try:
        check_environment(os.environ)
        command = typer.main.get_command(build_app().app)
        result = command.main(list(arguments), prog_name="watchword", standalone_mode=False)
        sys.stdout.flush()
    except typer.TyperException as error:
        return _end(ExitCode(getattr(error, "exit_code", ExitCode.USAGE)), _usage_line(error))
    except (typer.Abort, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        return _end_quietly()
    except (WatchwordError, OSError) as error:
        return _end(code_of(error), describe(error))
    except Exception as bug:  # noqa: BLE001 -- the last resort: a traceback shows what was being worked on, secrets too
        return _end(ExitCode.ERROR, describe_bug(bug))
    return result if isinstance(result, int) else ExitCode.OK


def build_app() -> Group:
    """Return the whole tree. Each group lives in a module of its own, which imports what it needs late."""
    root = new_group(_HELP)
    root.app.info.context_settings = {"help_option_names": ["-h", "--help"]}
    from watchword.cli import completion, curl, revocations, server, upkeep, version

    server.add_commands(root)
    upkeep.add_commands(root)
    curl.add_commands(root)
    revocations.add_commands(root)
    completion.add_commands(root)
    version.add_commands(root)
    for name, module in _GROUPS.items():
        group: Group = import_module(f"watchword.cli.{module}").GROUP
        root.app.add_typer(group.app, name=name)
    return root


def _end(code: ExitCode, line: str) -> ExitCode:
    sys.stdout.flush()
    sys.stderr.write(line + "\n")
    return code


def _end_quietly() -> ExitCode:
    """The reader of the pipe has gone: there is nobody left to tell."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ExitCode.ERROR


def _usage_line(error: typer.TyperException) -> str:
    message = str(getattr(error, "format_message", lambda: str(error))())
    context = getattr(error, "ctx", None)
    if context is None or message.startswith("Usage:"):
        return message if message.startswith("Usage:") else f"watchword: {message}"
    return f"watchword: {message} Try `{context.command_path} --help`."
