"""``watchword credential``: the ways in of an agent. Many may be valid at once, so that a change needs no stop."""

from __future__ import annotations

from typing import Annotated

import typer

from watchword.cli.arguments import AgentRef, only_given
from watchword.cli.options import new_group
from watchword.cli.output import TABLE, View, documents
from watchword.cli.session import Session
from watchword.cli.times import parse_moment, to_wire
from watchword.clock import system_clock

GROUP = new_group("Credentials of an agent.")
VIEW = View("id", ("id", "kind", "label", "state", "created_at", "expires_at", "last_used_at", "last_used_network"))

_WHEN = "30d, 12h, 90m, or RFC 3339."


@GROUP.command("add-secret")
async def add_secret(
    session: Session,
    agent: AgentRef,
    label: Annotated[str | None, typer.Option("--label", help="What tells it from the others.")] = None,
    not_before: Annotated[str | None, typer.Option("--not-before", metavar="WHEN", help=_WHEN)] = None,
    expires: Annotated[str | None, typer.Option("--expires", metavar="WHEN", help=_WHEN)] = None,
) -> None:
    """Add a secret beside those there are. It is shown once, now, and can never be shown again."""
    now = system_clock()
    body = {
        "kind": "client_secret",
        "label": label,
        "not_before": to_wire(parse_moment(not_before, now=now)) if not_before else None,
        "expires_at": to_wire(parse_moment(expires, now=now)) if expires else None,
    }
    async with session.admin() as admin:
        session.show(await admin.post("agents", agent, "credentials", body=only_given(body)), VIEW)
    if session.form == TABLE:
        session.talk("The secret is shown this once.")


@GROUP.command("list")
async def list_all(session: Session, agent: AgentRef) -> None:
    """List the credentials of an agent; secrets are not among what is shown."""
    async with session.admin() as admin:
        session.show_list(documents(await admin.get("agents", agent, "credentials")), VIEW)


@GROUP.command("revoke")
async def revoke(
    session: Session,
    agent: AgentRef,
    credential: Annotated[str, typer.Argument(metavar="ID", help="The credential's id.")],
) -> None:
    """Revoke one credential for ever; the others keep working."""
    session.confirm(f"Revoke the credential {credential} of {agent} for ever?")
    async with session.admin() as admin:
        session.show(await admin.delete("agents", agent, "credentials", credential), VIEW)
