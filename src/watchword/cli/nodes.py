"""``watchword node``: the servers on one store."""

from __future__ import annotations

from watchword.cli.options import new_group
from watchword.cli.output import View, documents
from watchword.cli.session import Session

GROUP = new_group("Nodes: the servers on one store.")
VIEW = View("name", ("id", "name", "state", "offices", "version", "schema_known", "started_at", "seen_at"))


@GROUP.command("list")
async def list_all(session: Session) -> None:
    """List the servers on this store, and which of them does the periodic work."""
    async with session.admin() as admin:
        session.show_list(documents(await admin.get("nodes")), VIEW)
