"""What an examination finds: how bad, what, and the command that mends it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice
from typing import Final

MOST: Final = 20
"""Findings of one kind that are told one by one."""


class Severity(StrEnum):
    """A note is no finding that has to be mended: it says what this version cannot do better."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Finding:
    """``check`` names the kind. ``command`` mends it, or is the first step."""

    check: str
    severity: Severity
    finding: str
    command: str


def error(check: str, finding: str, command: str) -> Finding:
    """Return what stops the server, or endangers it now."""
    return Finding(check, Severity.ERROR, finding, command)


def warning(check: str, finding: str, command: str) -> Finding:
    """Return what should be mended."""
    return Finding(check, Severity.WARNING, finding, command)


def note(check: str, finding: str, command: str) -> Finding:
    """Return what should be known."""
    return Finding(check, Severity.NOTE, finding, command)


def some(findings: Iterable[Finding]) -> Iterator[Finding]:
    """Give the first of many findings of one kind, and the number of the others."""
    rest = iter(findings)
    last = None
    for last in islice(rest, MOST):
        yield last
    more = sum(1 for _ in rest)
    if more and last is not None:
        yield Finding(last.check, last.severity, f"{more} more of this kind: mend these first", last.command)
