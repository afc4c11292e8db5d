"""Rows of the PostgreSQL store: the values of the SQLite store's rows, with text that PostgreSQL can hold.

Text here has no U+0000. So that every name stays one, in its place in the order, it is written as U+0001 U+0001, and U+0001 as
U+0001 U+0002.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final, TypeAlias

from watchword.adapters import sqlite_rows as rows
from watchword.adapters.sqlite_values import duration_value as duration_value
from watchword.adapters.sqlite_values import moment as moment
from watchword.adapters.sqlite_values import optional_moment
from watchword.adapters.sqlite_values import time_value as time_value
from watchword.ports.agents import Agent, Credential, Operator, Permission, Registration, Resource
from watchword.ports.audit import StoredEvent
from watchword.ports.cluster import Node, Office
from watchword.ports.keys import SigningKey
from watchword.ports.store import StoreIdentity

Value: TypeAlias = "str | int | float | bytes | None"
Values: TypeAlias = "tuple[Value, ...]"

AGENT: Final = rows.AGENT
CREDENTIAL: Final = rows.CREDENTIAL
RESOURCE: Final = rows.RESOURCE
PERMISSION: Final = rows.PERMISSION
OPERATOR: Final = rows.OPERATOR
SIGNING_KEY: Final = rows.SIGNING_KEY
EVENT: Final = rows.EVENT
IDENTITY: Final = "issuer, generation, restored_at, version"
FILTERS: Final = ("action", "outcome", "reason", "actor", "client_id", "request_id", "jti")
"""The members of an event that are columns, to be searched for."""

agent_values = rows.agent_values
credential_values = rows.credential_values
resource_values = rows.resource_values
permission_values = rows.permission_values
operator_values = rows.operator_values
signing_key_values = rows.signing_key_values


def held(text: str) -> str:
    """Return the text as PostgreSQL can hold it."""
    return text.replace("\x01", "\x01\x02").replace("\x00", "\x01\x01") if "\x00" in text or "\x01" in text else text


def _text(text: str) -> str:
    return text.replace("\x01\x01", "\x00").replace("\x01\x02", "\x01") if "\x01" in text else text


def columns(values: Iterable[Value]) -> Values:
    """Return values as they are stored."""
    return tuple(held(value) if isinstance(value, str) else value for value in values)


def given(stored: Sequence[Value]) -> Values:
    """Return a row's values as they were stored from."""
    return tuple(_text(value) if isinstance(value, str) else value for value in stored)


def searched(text: str) -> str | None:
    """Return the column of an event's member: nothing for one that is empty; what is no character, by its number."""
    return held(text.encode("utf-8", "backslashreplace").decode()) or None


def build_agent(stored: Sequence[Value]) -> Agent:
    """Return the agent of a row with the columns ``AGENT``."""
    return rows.build_agent(given(stored))


def build_credential(stored: Sequence[Value]) -> Credential:
    """Return the credential of a row with the columns ``CREDENTIAL``."""
    return rows.build_credential(given(stored))


def build_resource(stored: Sequence[Value]) -> Resource:
    """Return the resource of a row with the columns ``RESOURCE``."""
    return rows.build_resource(given(stored))


def build_permission(stored: Sequence[Value]) -> Permission:
    """Return the permission of a row with the columns ``PERMISSION``."""
    return rows.build_permission(given(stored))


def build_operator(stored: Sequence[Value]) -> Operator:
    """Return the operator of a row with the columns ``OPERATOR``."""
    return rows.build_operator(given(stored))


def build_signing_key(stored: Sequence[Value]) -> SigningKey:
    """Return the key of a row with the columns ``SIGNING_KEY``."""
    return rows.build_signing_key(given(stored))


def build_event(stored: Sequence[Value]) -> StoredEvent:
    """Return the event of a row with the columns ``EVENT``; its payload is ASCII and stands as it is."""
    return rows.build_event(stored)


def build_identity(stored: Sequence[Value]) -> StoreIdentity:
    """Return the identity of a row with the columns ``IDENTITY``."""
    issuer, generation, restored_at, version = given(stored)
    if not isinstance(issuer, str) or not isinstance(generation, int) or not isinstance(version, int):
        raise TypeError("the identity is not one")
    return StoreIdentity(
        issuer=issuer, generation=generation, restored_at=optional_moment(restored_at), version=version
    )


def build_node(stored: Sequence[Value]) -> Node:
    """Return the node of a row with its members in their order."""
    node_id, name, version, schema, started_at, seen_at = given(stored)
    if not isinstance(schema, int):
        raise TypeError("the schema is no number")
    return Node(
        id=str(node_id),
        name=str(name),
        version=str(version),
        schema=schema,
        started_at=moment(started_at),
        seen_at=moment(seen_at),
    )


def build_office(stored: Sequence[Value]) -> Office:
    """Return the office of a row with its members in their order."""
    name, holder, term, until = given(stored)
    if not isinstance(term, int):
        raise TypeError("the term is no number")
    return Office(str(name), str(holder), term, moment(until))


def build_registration(
    agent: Sequence[Value],
    credentials: Iterable[Sequence[Value]],
    permissions: Iterable[Sequence[Value]],
    resources: Iterable[Sequence[Value]],
) -> Registration:
    """Return a registration of the rows of its parts."""
    named = {resource.name: resource for resource in map(build_resource, resources)}
    granted = tuple(map(build_permission, permissions))
    if missing := {permission.resource for permission in granted} - named.keys():
        raise ValueError(f"a permission names the missing resource {min(missing)!r}")
    return Registration(build_agent(agent), tuple(map(build_credential, credentials)), granted, named)
