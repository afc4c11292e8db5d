"""Whether a program may work on a store's tables, which steps they still need, and who must leave before one is taken.

Programs of several ages work side by side on one store while an installation is brought forward or back. A step that only adds
is taken under them; one that takes away waits until those that do not know it have left, and shuts them out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from watchword.errors import BadSettings, StoreUnavailable
from watchword.ports.cluster import Node
from watchword.ports.schema import Migration, Schema
from watchword.server.offices import LEASE

OUTDATED: Final = "the tables are those of a later version, which this one would misread: upgrade watchword"


@dataclass(frozen=True, slots=True)
class Plan:
    """What has to be done to the tables of a store, and the nodes that were heard of lately."""

    schema: Schema
    missing: tuple[Migration, ...]
    nodes: tuple[Node, ...]

    @property
    def older(self) -> tuple[Node, ...]:
        """The nodes whose program knows less than this one."""
        return tuple(node for node in self.nodes if node.schema < self.schema.known)

    @property
    def in_the_way(self) -> tuple[Node, ...]:
        """The nodes that must leave before all steps can be taken."""
        return tuple(node for node in self.nodes if any(node.schema < step.compatible_from for step in self.missing))

    @property
    def is_additive(self) -> bool:
        """Whether programs that know no more than the present tables go on working after all steps."""
        return all(step.compatible_from <= self.schema.present for step in self.missing)


def compare(
    applied: Sequence[tuple[int, str]], known: Sequence[Migration], *, compatible_from: int, place: str
) -> Schema:
    """Return how a program that knows some steps stands to tables to which steps were ``applied``: their number and checksum.

    Raises:
        BadSettings: store.newer, store.checksum.
    """
    present = applied[-1][0] if applied else 0
    if compatible_from > len(known):
        detail = f"{place} has schema {present}, this version knows {len(known)}: upgrade watchword"
        raise BadSettings("store.newer", detail=detail)
    is_whole = [number for number, _ in applied] == list(range(1, len(applied) + 1))
    ours = [(step.number, step.checksum) for step in known[: len(applied)]]
    if not is_whole or list(applied[: len(known)]) != ours:
        detail = f"the recorded checksums of the schema are not this version's: {place} was altered; restore a backup"
        raise BadSettings("store.checksum", detail=detail)
    return Schema(present, len(known), compatible_from)


def floor_of(steps: Iterable[Migration]) -> int:
    """Return what a program has to know, at the least, to work on tables that these steps have made."""
    return max((step.compatible_from for step in steps), default=0)


def numbered(name: str, steps: Iterable[Migration]) -> int:
    """Return the number of the step of this name.

    Raises:
        KeyError: there is none.
    """
    return {step.name: step.number for step in steps}[name]


def heard_of(nodes: Iterable[Node], *, now: datetime) -> tuple[Node, ...]:
    """Return the nodes that are there. One that was killed counts as there for the length of a lease."""
    return tuple(node for node in nodes if node.seen_at > now - LEASE)


def check_way(step: Migration, nodes: Iterable[Node]) -> None:
    """Return if every one of these nodes goes on working when the step is taken.

    Raises:
        StoreUnavailable: store.older_nodes
    """
    older = [node for node in nodes if node.schema < step.compatible_from]
    if older:
        detail = (
            f"step {step.number} ({step.name}) waits until these have left, whose version does not know it:"
            f" {', '.join(map(describe, older))}. Stop them, and run this again"
        )
        raise StoreUnavailable("store.older_nodes", detail=detail)


def describe(node: Node) -> str:
    """Return in words which node that is, and when it counts as gone if it was killed."""
    gone = node.seen_at + LEASE
    return f"{node.name} (version {node.version}, schema {node.schema}; if it was killed, gone at {gone:%H:%M:%S} UTC)"
