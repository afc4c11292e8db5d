"""``watchword revoke``: the kill switch."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Final

import typer

from watchword.cli.arguments import labels_of, only_given
from watchword.cli.exits import ExitCode, usage
from watchword.cli.options import Group
from watchword.cli.output import View, documents
from watchword.cli.session import Session
from watchword.cli.times import parse_past, to_wire
from watchword.clock import system_clock

if TYPE_CHECKING:
    from watchword.cli.admin_client import AdminClient

VIEW: Final = View("effective_at", ("targets", "cutoff", "effective_at"))

_EVERYTHING: Final = "everything"
_TARGETS: Final = {
    "agent": "REF",
    "owner": "NAME",
    "label": "KEY=VALUE",
    "resource": "NAME",
    "scope": "RESOURCE SCOPE",
    "credential": "AGENT ID",
    "issuer": "NAME",
    "key": "KID",
    _EVERYTHING: "",
}
_SHOWN: Final = 5


def add_commands(root: Group) -> None:
    """Add ``revoke``."""
    root.command("revoke")(revoke)


async def revoke(
    session: Session,
    kind: Annotated[str, typer.Argument(metavar="KIND", help=f"{', '.join(_TARGETS)}.")],
    target: Annotated[list[str] | None, typer.Argument(metavar="[TARGET]...", help="Which one.")] = None,
    before: Annotated[
        str | None, typer.Option("--before", metavar="TIME", help="What was issued later lives: 10m ago, or RFC 3339.")
    ] = None,
    reason: Annotated[str | None, typer.Option("--reason", help="Why; goes into the audit trail.")] = None,
) -> None:
    """End what was issued until now, at once. Whoever it was issued to may log in again."""
    words = _checked(kind, target or [])
    cutoff = to_wire(parse_past(before, now=system_clock())) if before else None
    async with session.admin() as admin:
        sent = await _sent(admin, kind, words)
        if not session.choices.yes:
            hit = await _hit(admin, kind, words)
            until = f" before {cutoff}" if cutoff else " until now"
            session.demand(f"This ends every token that was issued{until} {hit}. Revoke?")
        body = {"kind": kind, "target": sent, "before": cutoff, "reason": reason}
        done = await admin.post("revocations", body=only_given(body))
    session.show(done, VIEW)
    if not done.get("targets"):
        session.talk("Nobody is meant by that: nothing was revoked.")
        raise typer.Exit(ExitCode.MISSING)
    session.talk(f"It took effect at {done['effective_at']}.")


def _checked(kind: str, words: list[str]) -> list[str]:
    """Return the words that name the target, if they are as many as this kind takes."""
    if kind not in _TARGETS:
        raise usage(f"{kind!r} is nothing that can be revoked: write one of {', '.join(_TARGETS)}.")
    if len(words) != len(_TARGETS[kind].split()) or not all(words):
        raise usage(f"Write `watchword revoke {f'{kind} {_TARGETS[kind]}'.strip()}`.")
    if kind == "label":
        labels_of(words)
    return words


async def _sent(admin: AdminClient, kind: str, words: list[str]) -> str:
    """Return the target as the server wants it; a credential only if it is that agent's."""
    if kind != "credential":
        return " ".join(words)
    agent, credential = words
    if credential not in {one.get("id") for one in documents(await admin.get("agents", agent, "credentials"))}:
        raise usage(f"The agent {agent} has no credential {credential}: see `watchword credential list {agent}`.")
    return credential


async def _hit(admin: AdminClient, kind: str, words: list[str]) -> str:
    """Return in words what would be hit, as it is now."""
    match kind:
        case "agent":
            return f"to the agent {(await admin.get('agents', words[0]))['client_id']}"
        case "owner" | "label":
            return await _agents(admin, kind, words[0])
        case "resource":
            return f"for {(await admin.get('resources', words[0]))['identifier']}"
        case "scope":
            return f"for {(await admin.get('resources', words[0]))['identifier']} with the scope {words[1]}"
        case "credential":
            return f"to the agent {words[0]} with the credential {words[1]}"
        case "issuer":
            return f"by the word of {words[0]}"
        case "key":
            return f"under the signing key {words[0]}"
        case _:
            return "to anybody"


async def _agents(admin: AdminClient, kind: str, word: str) -> str:
    """Return how many agents are so, and the names of the first."""
    name, _, value = word.partition("=")
    found = [
        str(one["name"])
        for one in await admin.pages("agents")
        if (one.get("owner") == word if kind == "owner" else _label(one.get("labels"), name) == value)
    ]
    more = ", ..." if len(found) > _SHOWN else ""
    return f"to {len(found)} agents ({', '.join(found[:_SHOWN])}{more})" if found else "to no agent at all"


def _label(labels: object, name: str) -> object:
    return labels.get(name) if isinstance(labels, dict) else None
