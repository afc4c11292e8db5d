"""Several servers on one store: which there are, and which of them is charged with what one alone may do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """One server that runs, by its own words and its own clock. ``id`` is new at every start, ``name`` is for people.

    ``schema`` is the last step of the store's tables that its program knows (``ports.schema``).
    """

    id: str
    name: str
    version: str
    schema: int
    started_at: datetime
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Office:
    """Work that one node does for all. ``holder`` is a node's id, empty while nobody has it.

    ``term`` counts holdings and never goes down. ``until`` is by the holder's clock.
    """

    name: str
    holder: str
    term: int
    until: datetime


@dataclass(frozen=True, slots=True)
class InTerm:
    """Commit only in this term of an office: as long as nobody has taken it since, and it was not resigned.

    Who slept through the end of its term can therefore do nothing any more, whatever its clock says. Else ``Conflict``
    (office.term). Changes nothing, the epoch neither.
    """

    office: str
    term: int


@dataclass(frozen=True, slots=True)
class ForgetNode:
    """Forget a node that was last heard of before ``before``; else ``Conflict`` (node.missing). The epoch does not change."""

    node_id: str
    before: datetime


@dataclass(frozen=True, slots=True)
class NeedsStep:
    """Commit only if every node that was heard of after ``since`` knows this step of the tables, by name (``ports.schema``).

    For what a program that does not know it would not honour. Such a program is shut out from then on, as by a step that takes
    something away, and is in nobody's way any more. Else ``Conflict`` (node.older).
    """

    step: str
    since: datetime


class Cluster(Protocol):
    """Nodes and offices. Nothing here has an audit event, and nothing changes the epoch.

    Nodes may disagree about the time. Then an office may change hands too early or too late; but a term has one holder, and
    terms follow each other in one order for all: ``InTerm`` is what makes the work safe.

    Raises:
        StoreUnavailable
    """

    async def report(self, node: Node) -> None:
        """Remember that this node was there at ``seen_at``, known before or not."""
        ...

    async def leave(self, node_id: str) -> None:
        """Forget this node, and resign every office that it holds."""
        ...

    async def nodes(self) -> Sequence[Node]:
        """Return every node that has reported and was not forgotten, by name and id."""
        ...

    async def offices(self) -> Sequence[Office]:
        """Return every office that was ever held, by name."""
        ...

    async def hold(self, office: str, holder: str, *, now: datetime, until: datetime) -> int | None:
        """Take an office that is free at ``now``, or keep one that is held already; return the term, or nothing if refused.

        Atomic: of many that try at once one gets it. Renewing keeps the term; every new holding, also the same holder's after
        ``until`` has passed, has a higher one. ``holder`` is not empty.
        """
        ...

    async def resign(self, office: str, holder: str) -> None:
        """Give up an office, and its term with it; nothing happens if this is not the holder."""
        ...
