"""``watchword store``: what is done to the store itself, on the machine that has it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from watchword.cli.arguments import only_given
from watchword.cli.exits import usage
from watchword.cli.losses import say_what_is_lost
from watchword.cli.options import new_group
from watchword.cli.output import JSON, TABLE, YAML, print_facts, print_value, talk
from watchword.cli.session import Session

GROUP = new_group("The store itself.")


@GROUP.command("move", forms=(TABLE, JSON, YAML))
async def move(
    session: Session,
    database: Annotated[
        str | None, typer.Option("--database", metavar="URL", help="An empty PostgreSQL database, postgresql://...")
    ] = None,
    database_file: Annotated[
        Path | None, typer.Option("--database-file", metavar="FILE", help="A file of mode 0600 that holds its URL.")
    ] = None,
) -> None:
    """Move the store in --data into a database, prove that all is there, and use that from now on. Stop its server first."""
    from watchword.stores import read_url
    from watchword.upkeep.moving import move_to_database

    if (database is None) == (database_file is None):
        raise usage("Where to? Give --database URL, or --database-file FILE.")
    data = session.local_data("watchword store move")
    done = await move_to_database(data, database or read_url(database_file or Path()))
    document = {"data": str(data), "database": done.database, "rows": dict(done.rows), "left": str(done.left)}
    if session.form == TABLE:
        rows = ", ".join(f"{table}: {number}" for table, number in done.rows.items())
        print_facts({**document, "rows": rows})
        session.talk(f"{done.left} is not used any more: keep it until there is a backup of the database.")
    else:
        print_value(document, session.form)


@GROUP.command("restored", forms=(TABLE, JSON, YAML))
async def restored(session: Session) -> None:
    """Go on from a copy that PostgreSQL's own means have put back: prove its trail, and begin another generation."""
    from watchword.cli.server import load_for
    from watchword.upkeep.restored import go_on_from_copy

    data = session.local_data("watchword store restored")
    done = await go_on_from_copy(load_for(session, {}).settings)
    document = {
        "data": str(data),
        "database": done.database,
        "issuer": done.identity.issuer or None,
        "generation": done.identity.generation,
        "events": done.events,
        "last_event": done.last_event or None,
        "master_key": done.has_master_key,
    }
    if session.form == TABLE:
        print_facts(only_given(document))
    else:
        print_value(only_given(document), session.form)
    say_what_is_lost(done.last_event)
    if not done.has_master_key:
        talk(f"Put the master key in its place before serving: {data}/master.key, mode 0600, or master_key_file.")
