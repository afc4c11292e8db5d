"""``watchword permission``: what an agent may do, and under which conditions."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import typer

from watchword.cli.arguments import AgentRef, DefaultScopes, ResourceName, Scopes, only_given, scopes_of
from watchword.cli.exits import usage
from watchword.cli.options import new_group
from watchword.cli.output import View, documents
from watchword.cli.session import Session
from watchword.cli.times import parse_duration, parse_moment, to_wire
from watchword.clock import system_clock

GROUP = new_group("Permissions of an agent. No permission, no scope.")
VIEW = View("id", ("id", "resource", "scopes", "default_scopes", "conditions", "created_at"))

_WHEN = "30d, 12h, 90m from now, or RFC 3339."


@GROUP.command("grant")
async def grant(
    session: Session,
    agent: AgentRef,
    resource: ResourceName,
    scope: Scopes,
    default_scope: DefaultScopes = None,
    not_before: Annotated[str | None, typer.Option("--not-before", metavar="WHEN", help=_WHEN)] = None,
    not_after: Annotated[str | None, typer.Option("--not-after", metavar="WHEN", help=_WHEN)] = None,
    for_: Annotated[str | None, typer.Option("--for", metavar="TIME", help="For so long from now: 1h.")] = None,
    source_network: Annotated[
        list[str] | None, typer.Option("--source-network", metavar="CIDR", help="Only from there; repeatable.")
    ] = None,
    hours: Annotated[
        str | None, typer.Option("--hours", metavar="HH:MM-HH:MM", help="Only then, in UTC; may pass midnight.")
    ] = None,
    maximum_lifetime: Annotated[
        str | None, typer.Option("--maximum-lifetime", metavar="TIME", help="Of its tokens: 300, 5m.")
    ] = None,
    require_sender_constraint: Annotated[
        bool, typer.Option("--require-sender-constraint", help="Only tokens bound to a key of the agent.")
    ] = False,
) -> None:
    """Allow an agent scopes of one resource."""
    now = system_clock()
    conditions = {
        "not_before": to_wire(parse_moment(not_before, now=now)) if not_before else None,
        "not_after": _end(not_after, for_, now),
        "source_networks": source_network or None,
        "hours": hours,
        "maximum_lifetime": int(parse_duration(maximum_lifetime).total_seconds()) if maximum_lifetime else None,
        "require_sender_constraint": require_sender_constraint or None,
    }
    body = {
        "resource": resource,
        "scopes": scopes_of(scope),
        "default_scopes": scopes_of(default_scope) or None,
        "conditions": only_given(conditions) or None,
    }
    async with session.admin() as admin:
        session.show(await admin.post("agents", agent, "permissions", body=only_given(body)), VIEW)


@GROUP.command("list")
async def list_all(session: Session, agent: AgentRef) -> None:
    """List the permissions of an agent."""
    async with session.admin() as admin:
        session.show_list(documents(await admin.get("agents", agent, "permissions")), VIEW)


@GROUP.command("revoke")
async def revoke(
    session: Session,
    agent: AgentRef,
    permission: Annotated[str, typer.Argument(metavar="ID", help="The permission's id.")],
) -> None:
    """Take a permission away."""
    async with session.admin() as admin:
        await admin.delete("agents", agent, "permissions", permission)
    session.talk(f"The permission {permission} of {agent} is revoked.")


def _end(not_after: str | None, duration: str | None, now: datetime) -> str | None:
    if not_after and duration:
        raise usage("--not-after and --for both say when it ends: give one of them.")
    if duration:
        return to_wire(now + parse_duration(duration))
    return to_wire(parse_moment(not_after, now=now)) if not_after else None
