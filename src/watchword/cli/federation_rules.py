"""Claim rules as they are typed: which tokens of a trusted issuer log an agent in."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Annotated

import typer

from watchword.cli.arguments import only_given
from watchword.cli.exits import usage
from watchword.protocol import names

TrustedIssuerName = Annotated[str, typer.Option("--trusted-issuer", metavar="NAME", help="The trusted issuer's name.")]
Claims = Annotated[
    list[str],
    typer.Option(
        "--claim", metavar="NAME=VALUE", help="A claim and its value, * for a segment; NAME:=JSON for other types."
    ),
]
FirstIssuer = Annotated[
    str | None, typer.Option("--trusted-issuer", metavar="NAME", help="Whose tokens log it in (--auth federated).")
]
FirstClaims = Annotated[
    list[str] | None, typer.Option("--claim", metavar="NAME=VALUE", help="Which tokens: a claim's value; repeatable.")
]
RulePreset = Annotated[
    str | None, typer.Option("--preset", metavar="PRESET", help="Which claims must be named; by the issuer, if known.")
]
MaxAge = Annotated[int | None, typer.Option("--max-age", metavar="SECONDS", help="How old a token may be, 1 to 86400.")]
SingleUse = Annotated[bool, typer.Option("--single-use", help="Each token logs in once.")]


def first_rule(
    auth: str, trusted_issuer: str | None, claims: list[str] | None, save_profile: str | None
) -> dict[str, object] | None:
    """Return the rule of a new agent, if it is to log in with tokens of a trusted issuer.

    Raises:
        CommandError: usage.
    """
    if auth != names.FEDERATED:
        if trusted_issuer or claims:
            raise usage(f"Claims are for agents that log in with another issuer's tokens: --auth {names.FEDERATED}.")
        return None
    if not trusted_issuer or not claims:
        raise usage("Say whose tokens log it in, and which: --trusted-issuer NAME --claim NAME=VALUE.")
    if save_profile:
        raise usage("There is no secret to keep: leave out --save-profile.")
    return rule_of(trusted_issuer, claims, preset=None, max_age=None, single_use=False)


def rule_of(
    trusted_issuer: str, claims: Iterable[str], *, preset: str | None, max_age: int | None, single_use: bool
) -> dict[str, object]:
    """Return the member ``federated`` of a request.

    Raises:
        CommandError: usage.
    """
    return {
        "trusted_issuer": trusted_issuer,
        "claims": claims_of(claims),
        **only_given({"preset": preset, "max_age": max_age, "single_use": single_use or None}),
    }


def claims_of(given: Iterable[str]) -> dict[str, object]:
    """Return ``name=value`` options as claims. ``name:=json`` is for numbers and booleans; a name that stands twice has a choice
    of values.

    Raises:
        CommandError: usage.
    """
    claims: dict[str, list[object]] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name.strip(":"):
            raise usage(f"{text!r} is no claim: write name=value, or name:=true for what is no text.")
        is_json = name.endswith(":")
        claims.setdefault(name.removesuffix(":"), []).append(_parse(text, value) if is_json else value)
    return {name: values[0] if len(values) == 1 else values for name, values in claims.items()}


def _parse(text: str, value: str) -> object:
    try:
        return json.loads(value)
    except ValueError:
        raise usage(f"{text!r}: after := stands JSON, such as true or 42.") from None
