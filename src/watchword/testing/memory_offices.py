"""Nodes and offices in the memory store."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import assert_never

from watchword.errors import Conflict
from watchword.ports.cluster import ForgetNode, InTerm, NeedsStep, Node, Office

Offices = dict[str, Office]


def hold(offices: Offices, name: str, holder: str, *, now: datetime, until: datetime) -> int | None:
    """Take or keep an office; return the term, or nothing if somebody else has it."""
    before = offices.get(name) or Office(name, "", 0, now)
    is_free = not before.holder or before.until <= now
    if not is_free and before.holder != holder:
        return None
    term = before.term + is_free
    offices[name] = Office(name, holder, term, until)
    return term


def resign(offices: Offices, name: str, holder: str) -> None:
    """Give up an office, if this is its holder; its number stays."""
    office = offices.get(name)
    if office is not None and office.holder == holder:
        offices[name] = replace(office, holder="")


def apply(offices: Offices, nodes: dict[str, Node], change: InTerm | ForgetNode | NeedsStep) -> None:
    """Refuse the commit out of its term, or beside a node that does not know the only tables there are; forget a node.

    Raises:
        Conflict: office.term, node.older, node.missing
    """
    match change:
        case InTerm():
            office = offices.get(change.office)
            if office is None or not office.holder or office.term != change.term:
                raise Conflict("office.term")
        case NeedsStep():
            if any(node.schema < 1 and node.seen_at > change.since for node in nodes.values()):
                raise Conflict("node.older")
        case ForgetNode():
            found = nodes.get(change.node_id)
            if found is None or found.seen_at >= change.before:
                raise Conflict("node.missing")
            del nodes[found.id]
        case _:
            assert_never(change)
