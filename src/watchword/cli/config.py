"""``watchword config``: which settings the server would run with, and who said so."""

from __future__ import annotations

from operator import attrgetter
from typing import Annotated

import typer

from watchword.cli.arguments import only_given
from watchword.cli.options import new_group
from watchword.cli.output import JSON, TABLE, YAML, View, print_facts, print_value
from watchword.cli.session import Session

GROUP = new_group("Settings of the server.")
VIEW = View("name", ("name", "value"))
VIEW_WITH_ORIGIN = View("name", ("name", "value", "origin"))


@GROUP.command("show")
async def show(
    session: Session,
    origin: Annotated[bool, typer.Option("--origin", help="Say of each value where it comes from.")] = False,
) -> None:
    """Show the settings `watchword serve` would run with here; secrets are not shown."""
    from watchword.adapters.postgres_url import masked
    from watchword.cli.server import load_for

    loaded = load_for(session, {})
    rows = []
    for name, where in loaded.origins.items():
        value = attrgetter(name)(loaded.settings)
        if value is not None:
            shown = masked(value.get_secret_value()) if name == "database" else value
            row = {"name": name, "value": _value(shown)}
            rows.append({**row, "origin": where} if origin else row)
    if session.form == TABLE:
        session.show_list(rows, VIEW_WITH_ORIGIN if origin else VIEW)
    elif origin:
        print_value({str(row.pop("name")): row for row in rows}, session.form)
    else:
        print_value({str(row["name"]): row["value"] for row in rows}, session.form)


@GROUP.command("set-issuer", forms=(TABLE, JSON, YAML))
async def set_issuer(
    session: Session,
    issuer: Annotated[str, typer.Argument(metavar="URL", help="The public URL of the server from now on.")],
) -> None:
    """Move the store in --data to another issuer. Agents and APIs know the old one, and have to be told."""
    from watchword.upkeep.issuer import move_store

    data = session.local_data("watchword config set-issuer")
    session.confirm(f"Move the store in {data} to {issuer}? Every agent and API that knows it has to be told.")
    before = await move_store(data, issuer)
    document = only_given({"data": str(data), "issuer": issuer, "before": before or None})
    if session.form == TABLE:
        print_facts(document)
        session.talk(
            "Agents and APIs that know the old issuer have to be told. Tokens of the old one are not accepted any more."
        )
    else:
        print_value(document, session.form)


def _value(value: object) -> object:
    return value if isinstance(value, bool | int | list | tuple) else str(value)
