"""What somebody has to know who goes on from a copy of a store."""

from __future__ import annotations

from typing import Final

from watchword.cli.output import talk

_LOST: Final = (
    "agents and operators stopped since, secrets revoked and permissions taken away since work again",
    "agents, secrets and operators made since are gone; tokens from before are refused, for no key of the backup is used again",
)


def say_what_is_lost(last_event: str) -> None:
    """Tell it on stderr, also to who wants it quiet."""
    talk(f"What came after {last_event or 'the backup'} is lost, and is not known to this store:")
    for line in _LOST:
        talk(f"- {line}")
