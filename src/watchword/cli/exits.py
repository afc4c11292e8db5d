"""How a command ends: one exit code and one sentence for everything that can go wrong.

The codes are an API; scripts branch on them.

==== ==========================================================================================
0    done
1    error: a bug, a disk, a server that failed
2    usage: the command line, a setting or a value has to be changed
4    authentication failed or is missing
5    denied: scope, target, role, policy
6    not found, or in conflict with what is stored
7    the server, or the store, cannot be reached now: try again later
8    findings: the check ran and found problems
130  interrupted
==== ==========================================================================================
"""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from enum import IntEnum
from pathlib import Path
from typing import Final

from watchword.cli.output import clean
from watchword.client.errors import LoginMisconfigured, LoginRefused, LoginUnavailable
from watchword.errors import (
    BadSettings,
    CacheUnavailable,
    OAuthError,
    Problem,
    ReplayUnavailable,
    StoreUnavailable,
    WatchwordError,
)
from watchword.ports.http import TransportError


class ExitCode(IntEnum):
    """See the table above."""

    OK = 0
    ERROR = 1
    USAGE = 2
    UNAUTHENTICATED = 4
    DENIED = 5
    MISSING = 6
    UNREACHABLE = 7
    FINDINGS = 8
    INTERRUPTED = 130


_BY_STATUS: Final[Mapping[int, ExitCode]] = {
    400: ExitCode.USAGE,
    401: ExitCode.UNAUTHENTICATED,
    403: ExitCode.DENIED,
    404: ExitCode.MISSING,
    409: ExitCode.MISSING,
    410: ExitCode.MISSING,
    412: ExitCode.MISSING,
    413: ExitCode.USAGE,
    422: ExitCode.USAGE,
    428: ExitCode.MISSING,
    502: ExitCode.UNREACHABLE,
    503: ExitCode.UNREACHABLE,
    504: ExitCode.UNREACHABLE,
}
_BY_OAUTH_ERROR: Final[Mapping[str, ExitCode]] = {
    "access_denied": ExitCode.DENIED,
    "insufficient_scope": ExitCode.DENIED,
    "invalid_client": ExitCode.UNAUTHENTICATED,
    "invalid_grant": ExitCode.UNAUTHENTICATED,
    "invalid_scope": ExitCode.DENIED,
    "invalid_target": ExitCode.DENIED,
    "invalid_token": ExitCode.UNAUTHENTICATED,
    "temporarily_unavailable": ExitCode.UNREACHABLE,
    "unauthorized_client": ExitCode.DENIED,
}

_BY_LOGIN_REASON: Final[Mapping[str, ExitCode]] = {
    "credentials.none": ExitCode.UNAUTHENTICATED,
    "file.missing": ExitCode.MISSING,
}

_COLLISIONS: Final = frozenset(
    {
        "backup.exists",
        "backup.missing",
        "init.occupied",
        "store.copy",
        "store.in_use",
        "store.missing",
        "store.wrong_issuer",
    }
)
"""Refusals of settings that are a collision with what is stored, or do not find it."""

_BROKEN: Final = frozenset(
    {"backup.damaged", "backup.unreadable", "backup.unwritable", "store.damaged", "store.read_only", "store.wal"}
)
"""Faults of the store that no waiting mends."""


class CommandError(WatchwordError):
    """A command ends here. ``sentence`` says what is wrong and what to do next; it holds no secret."""

    def __init__(self, code: ExitCode, sentence: str, *, reason: str = "cli.refused", trace_id: str = "") -> None:
        super().__init__(reason, detail=sentence)
        self.code = code
        self.sentence = sentence
        self.trace_id = trace_id


def usage(sentence: str) -> CommandError:
    """Return the error for a command line that has to be written differently."""
    return CommandError(ExitCode.USAGE, sentence, reason="cli.usage")


def code_of_status(status: int) -> ExitCode:
    """Return the exit code for a refusal with this HTTP status."""
    return _BY_STATUS.get(status, ExitCode.ERROR)


def code_of_oauth_error(error: str) -> ExitCode:
    """Return the exit code for this error code of an OAuth endpoint."""
    return _BY_OAUTH_ERROR.get(error, ExitCode.ERROR)


def code_of(error: Exception) -> ExitCode:
    """Return the exit code for anything a command may raise; what is not foreseen is an error."""
    match error:
        case CommandError():
            return error.code
        case Problem():
            return code_of_status(error.status)
        case OAuthError():
            return code_of_oauth_error(error.error)
        case LoginRefused():
            return code_of_oauth_error(error.error)
        case LoginMisconfigured():
            return _BY_LOGIN_REASON.get(error.reason, ExitCode.USAGE)
        case BadSettings():
            return ExitCode.MISSING if error.reason in _COLLISIONS else ExitCode.USAGE
        case StoreUnavailable() if error.reason in _BROKEN:
            return ExitCode.ERROR
        case StoreUnavailable() | ReplayUnavailable() | CacheUnavailable() | TransportError() | LoginUnavailable():
            return ExitCode.UNREACHABLE
        case _:
            return ExitCode.ERROR


def describe(error: Exception) -> str:
    """Return the one line for stderr: what is wrong, what to do, and where the server's audit trail tells more."""
    sentence = "\n".join(clean(line) for line in _sentence(error).splitlines())
    trace_id = getattr(error, "trace_id", "") or getattr(error, "request_id", "")
    return f"watchword: {sentence} [trace id {trace_id}]" if trace_id else f"watchword: {sentence}"


def describe_bug(bug: BaseException) -> str:
    """Return the one line for what nobody has foreseen: its kind and place alone, for its words may hold a secret."""
    while isinstance(bug, BaseExceptionGroup):
        bug = bug.exceptions[0]
    places = traceback.extract_tb(bug.__traceback__)
    own = [place for place in places if "watchword" in Path(place.filename).parts] or places
    place = f"{Path(own[-1].filename).name}:{own[-1].lineno}" if own else "an unknown place"
    return (
        f"watchword: This is a bug of watchword ({type(bug).__name__} at {place}). Please report it with the command you gave, "
        "without its secrets."
    )


def _sentence(error: Exception) -> str:
    match error:
        case CommandError():
            return error.sentence
        case Problem():
            return f"{error.title}: {error.detail}" if error.detail else f"{error.title} ({error.reason})."
        case LoginRefused():
            return f"{error.error}: {error.description}" if error.description else error.error
        case WatchwordError():
            return error.detail or f"It failed with {error.reason}."
        case OSError(filename=str() as name):
            return f"{name}: {error.strerror}."
        case _:
            return str(error) or type(error).__name__
