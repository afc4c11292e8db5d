"""What several commands read from their arguments in the same way."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated

import typer

from watchword.cli.exits import usage

AgentRef = Annotated[str, typer.Argument(metavar="AGENT", help="The agent's client_id or name.")]
Scopes = Annotated[
    list[str], typer.Option("--scope", metavar="SCOPE", help="A scope; repeatable, or several in quotes.")
]
DefaultScopes = Annotated[
    list[str] | None,
    typer.Option("--default-scope", metavar="SCOPE", help="Given when the agent asks for none; repeatable."),
]
ResourceName = Annotated[str, typer.Option("--resource", metavar="NAME", help="The name of a resource.")]


def scopes_of(values: Iterable[str] | None) -> list[str]:
    """Return the scopes of a repeatable option, each of which may hold several with spaces between, each once."""
    return list(dict.fromkeys(scope for value in values or () for scope in value.split()))


def labels_of(values: Iterable[str] | None) -> dict[str, str]:
    """Return ``key=value`` options as a mapping.

    Raises:
        CommandError: usage.
    """
    labels: dict[str, str] = {}
    for value in values or ():
        key, equals, text = value.partition("=")
        if not equals or not key:
            raise usage(f"{value!r} is not a label: write key=value.")
        labels[key] = text
    return labels


def only_given(members: Mapping[str, object]) -> dict[str, object]:
    """Return the members that were given: there are no nulls on the wire."""
    return {name: value for name, value in members.items() if value is not None}


def some_change(members: Mapping[str, object]) -> dict[str, object]:
    """Return the members that were given, if there are any.

    Raises:
        CommandError: usage.
    """
    given = only_given(members)
    if not given:
        raise usage("There is nothing to change: give at least one option.")
    return given
