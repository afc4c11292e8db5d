"""Nodes and offices in the memory store."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from watchword.errors import Conflict
from watchword.ports.cluster import ForgetNode, InTerm, Node, Office

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


def check_term(offices: Offices, change: InTerm) -> None:
    """Return while this term lasts.

    Raises:
        Conflict: office.term
    """
    office = offices.get(change.office)
    if office is None or not office.holder or office.term != change.term:
        raise Conflict("office.term")


def forget(nodes: dict[str, Node], change: ForgetNode) -> None:
    """Forget a node that was not heard of.

    Raises:
        Conflict: node.missing
    """
    node = nodes.get(change.node_id)
    if node is None or node.seen_at >= change.before:
        raise Conflict("node.missing")
    del nodes[node.id]
