"""``watchword operator``: who administers, and as what."""

from __future__ import annotations

from typing import Annotated

import typer

from watchword.cli.arguments import only_given
from watchword.cli.options import new_group
from watchword.cli.output import TABLE, View, documents
from watchword.cli.session import Session
from watchword.cli.times import parse_moment, to_wire
from watchword.clock import system_clock

GROUP = new_group("Operators: who administers.")
VIEW = View("name", ("id", "name", "role", "state", "created_at", "expires_at"))


@GROUP.command("create")
async def create(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The name of the person or job.")],
    role: Annotated[str, typer.Option("--role", metavar="ROLE", help="viewer, auditor, manager or admin.")],
    expires: Annotated[
        str | None, typer.Option("--expires", metavar="WHEN", help="30d, 12h, 90m, or RFC 3339.")
    ] = None,
) -> None:
    """Let somebody administer. The credential is shown once, now, and can never be shown again."""
    expires_at = to_wire(parse_moment(expires, now=system_clock())) if expires else None
    body = only_given({"name": name, "role": role, "expires_at": expires_at})
    async with session.admin() as admin:
        session.show(await admin.post("operators", body=body), VIEW)
    if session.form == TABLE:
        session.talk("The credential is shown this once.")


@GROUP.command("list")
async def list_all(session: Session) -> None:
    """List all operators, disabled ones too."""
    async with session.admin() as admin:
        session.show_list(documents(await admin.get("operators")), VIEW)


@GROUP.command("disable")
async def disable(
    session: Session,
    operator: Annotated[str, typer.Argument(metavar="OPERATOR", help="The operator's id or name.")],
    reason: Annotated[str | None, typer.Option("--reason", help="Why; goes into the audit trail.")] = None,
) -> None:
    """Refuse an operator from now on, for ever."""
    session.confirm(f"Disable the operator {operator} for ever?")
    async with session.admin() as admin:
        session.show(await admin.post("operators", operator, "disable", body=only_given({"reason": reason})), VIEW)
