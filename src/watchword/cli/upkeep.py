"""``watchword backup``, ``restore``, ``doctor`` and ``migrate``: keeping a data directory well, on the machine itself."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from watchword.cli.arguments import only_given
from watchword.cli.exits import ExitCode, usage
from watchword.cli.losses import say_what_is_lost
from watchword.cli.options import Group
from watchword.cli.output import JSON, TABLE, YAML, Document, clean, print_facts, print_value, talk, write
from watchword.cli.session import Session, names_database
from watchword.clock import system_clock

if TYPE_CHECKING:
    from watchword.server.schema import Plan


def add_commands(root: Group) -> None:
    """Add the commands to the tree."""
    root.command("backup", forms=(TABLE, JSON, YAML))(backup)
    root.command("restore", forms=(TABLE, JSON, YAML))(restore)
    root.command("doctor", forms=(TABLE, JSON, YAML))(doctor)
    root.command("migrate", forms=(TABLE, JSON, YAML))(migrate)


async def backup(
    session: Session,
    target: Annotated[Path, typer.Argument(metavar="FILE|DIR", help="A file that is not there yet, or a directory.")],
    with_master_key: Annotated[
        bool, typer.Option("--with-master-key", help="Put the master key into it: who has the file has everything.")
    ] = False,
) -> None:
    """Copy the store in --data, as of one moment, while its server goes on working. The copy is proved whole."""
    from watchword.cli.server import load_for
    from watchword.upkeep.backup import back_up

    session.local_data("watchword backup")
    done = await back_up(load_for(session, {}).settings, target, with_master_key=with_master_key)
    document = {
        "file": str(done.file),
        "bytes": done.size,
        "events": done.copied.events,
        "last_event": done.copied.last_event or None,
        "master_key": done.has_master_key,
    }
    _show(session, only_given(document))
    if done.problem:
        talk(f"The audit trail does not tell of it: {done.problem}.")
    if done.has_master_key:
        talk(
            "The master key is in it: who has this file can sign tokens as this server. Encrypt it, or keep it locked away."
        )
    else:
        session.talk("The master key is not in it: keep a copy of that elsewhere; without it the backup is of no use.")


async def restore(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A backup.")],
) -> None:
    """Put a backup back into --data, a directory that is not there yet or is empty. What is newer than it is lost."""
    from watchword.upkeep.backup import put_back

    data = session.choices.data or Path(os.environ.get("WATCHWORD_DATA") or "")
    if data == Path():
        raise usage("Where to? Give --data DIR, a directory that is not there yet, or is empty.")
    done = await put_back(file, data)
    document = {
        "data": str(data),
        "issuer": done.identity.issuer or None,
        "generation": done.identity.generation,
        "events": done.copied.events,
        "last_event": done.copied.last_event or None,
        "master_key": done.has_master_key,
    }
    _show(session, only_given(document))
    say_what_is_lost(done.copied.last_event)
    if not done.has_master_key:
        talk(f"Put the master key in its place before serving: {data}/master.key, mode 0600, or master_key_file.")


async def doctor(
    session: Session,
    prod: Annotated[bool, typer.Option("--prod", help="Ask for what a server that others rely on must have.")] = False,
) -> None:
    """Examine the deployment in --data; of everything found it names the command that mends it. Exit 8 if there is something."""
    from watchword.cli.server import load_for
    from watchword.upkeep.doctor import examine

    session.local_data("watchword doctor")
    found = await examine(load_for(session, {}).settings, is_production=prod)
    if session.form == TABLE:
        for one in found.findings:
            write(f"{one.severity}: {clean(one.finding)}")
            write(f"  {clean(one.command)}")
        session.talk("All is well." if found.is_well else f"Findings: {len(found.findings)}.")
    else:
        members = ("check", "severity", "finding", "command")
        rows = [{name: str(getattr(one, name)) for name in members} for one in found.findings]
        print_value({"ok": found.is_well, "findings": rows}, session.form)
    if not found.is_well:
        raise typer.Exit(ExitCode.FINDINGS)


async def migrate(
    session: Session,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit 8 if there is something to do.")] = False,
) -> None:
    """Bring the store in --data up to this version, under running servers; refused while one runs that would misread it."""
    from watchword.cli.server import load_for
    from watchword.stores import find_database, newest_schema, plan_upgrade, upgrade_store

    data = session.local_data("watchword migrate")
    database = find_database(load_for(session, {"data": data}).settings) if names_database(data) else None
    if not check:
        steps = await upgrade_store(data, database, clock=system_clock)
        _show(session, {"data": str(data), "schema": newest_schema(database), "applied": steps})
        return
    plan = await plan_upgrade(data, database, clock=system_clock)
    _show_plan(session, data, plan)
    if plan.missing:
        raise typer.Exit(ExitCode.FINDINGS)


def _show_plan(session: Session, data: Path, plan: Plan) -> None:
    from watchword.server.schema import describe

    document: Document = {
        "data": str(data),
        "schema": plan.schema.known,
        "present": plan.schema.present,
        "missing": len(plan.missing),
        "under_traffic": plan.is_additive,
        "older_nodes": [describe(node) for node in plan.older],
        "in_the_way": [describe(node) for node in plan.in_the_way],
    }
    if session.form != TABLE:
        steps = [
            {"number": step.number, "name": step.name, "compatible_from": step.compatible_from} for step in plan.missing
        ]
        print_value({**document, "steps": steps}, session.form)
        return
    print_facts(document)
    for step in plan.missing:
        kind = "only adds" if step.compatible_from < step.number else "takes away or gives another meaning"
        session.talk(
            f"Step {step.number} ({step.name}) {kind}: versions that know schema {step.compatible_from} go on."
        )
    if plan.schema.is_newer:
        session.talk("The store is of a later version, which lets this one go on. Upgrade watchword.")
    elif plan.missing:
        session.talk("Stop the nodes that are in the way first." if plan.in_the_way else "Servers may go on meanwhile.")


def _show(session: Session, document: Document) -> None:
    if session.form == TABLE:
        print_facts(document)
    else:
        print_value(document, session.form)
