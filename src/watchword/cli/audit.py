"""``watchword audit``: reading the trail, taking it out, and proving that nobody has changed it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from watchword.cli.arguments import only_given
from watchword.cli.exits import CommandError, ExitCode, usage
from watchword.cli.options import new_group
from watchword.cli.output import (
    JSON,
    TABLE,
    YAML,
    Document,
    View,
    clean,
    documents,
    print_facts,
    print_table,
    print_value,
    to_json,
    write,
)
from watchword.cli.session import Session

if TYPE_CHECKING:
    from watchword.cli.admin_client import AdminClient

GROUP = new_group("The audit trail.")
VIEW = View("id", ("time", "action", "outcome", "reason", "actor", "client_id", "resource", "scope", "request_id"))

JSONL: Final = "jsonl"
POLL_SECONDS: Final = 1.0
_MOST: Final = 1000


@GROUP.command("tail")
async def tail(
    session: Session,
    number: Annotated[int, typer.Option("-n", "--lines", min=1, max=_MOST, help="How many of the newest.")] = 20,
    follow: Annotated[
        bool, typer.Option("-f", "--follow", help="Keep printing new ones; JSON then is a line each.")
    ] = False,
    action: Annotated[str | None, typer.Option("--action")] = None,
    outcome: Annotated[str | None, typer.Option("--outcome", help="success, denied or failed.")] = None,
    reason: Annotated[str | None, typer.Option("--reason")] = None,
    client_id: Annotated[str | None, typer.Option("--client-id")] = None,
    request_id: Annotated[str | None, typer.Option("--request-id")] = None,
) -> None:
    """Print the newest events, oldest of them first."""
    filters = only_given(
        {"action": action, "outcome": outcome, "reason": reason, "client_id": client_id, "request_id": request_id}
    )
    query = {name: str(value) for name, value in filters.items()}
    async with session.admin() as admin:
        newest = await _newest(admin, query, number)
        if not follow:
            session.show_list([event_of(item) for item in newest], VIEW)
            return
        await _follow(session, admin, query, newest)


@GROUP.command("export", forms=(JSONL,))
async def export(
    session: Session,
    format_: Annotated[str, typer.Option("--format", metavar="FORMAT", help="jsonl.")] = JSONL,
) -> None:
    """Print the whole trail, one event a line, with its place and hash in its chain."""
    if format_ != JSONL:
        raise usage(f"{format_!r} is no format of an export: write --format jsonl.")
    async with session.admin() as admin:
        async for line in admin.lines("audit", "export"):
            write(line)


@GROUP.command("verify", forms=(TABLE, JSON, YAML))
async def verify(
    session: Session,
    file: Annotated[
        Path | None, typer.Option("--file", metavar="FILE", help="Verify an export (jsonl) instead, asking no server.")
    ] = None,
) -> None:
    """Recompute every chain. Exit 8 if an event was altered, moved or removed; the first bad place is named."""
    if file is not None:
        from watchword.cli.exported_trail import verify_export

        report = verify_export(file)
        session.talk("An export does not tell whether its end was cut off: compare the counts with the server's own.")
    else:
        async with session.admin() as admin:
            report = await admin.get("audit", "verify")
    if session.form == TABLE:
        _print_report(report)
    else:
        print_value(report, session.form)
    if report.get("ok") is not True:
        raise typer.Exit(ExitCode.FINDINGS)


def event_of(item: Document) -> Document:
    """Return the event of a stored event.

    Raises:
        CommandError: the answer has another form.
    """
    event = item.get("event")
    if not isinstance(event, dict):
        raise CommandError(ExitCode.ERROR, "The server's audit events have a form this version does not know.")
    return event


async def _newest(admin: AdminClient, query: Mapping[str, str], number: int) -> Sequence[Document]:
    found: list[Document] = []
    wanted = {**query, "newest_first": "true"}
    while len(found) < number:
        page = await admin.get("audit", "events", query={**wanted, "limit": str(min(100, number - len(found)))})
        found.extend(documents(page))
        if not page.get("next_after"):
            break
        wanted["after"] = str(page["next_after"])
    return list(reversed(found))


async def _follow(session: Session, admin: AdminClient, query: Mapping[str, str], newest: Sequence[Document]) -> None:
    after = 0
    while True:
        for item in newest:
            after = max(after, int(str(item["cursor"])))
            print_live(session, event_of(item))
        if len(newest) < 100:
            await asyncio.sleep(POLL_SECONDS)
        newest = documents(await admin.get("audit", "events", query={**query, "after": str(after), "limit": "100"}))


def print_live(session: Session, event: Document) -> None:
    """Print one event as it happens."""
    if session.form == TABLE:
        write("  ".join(clean(str(event[name])) for name in VIEW.columns if event.get(name)))
    elif session.form == JSON:
        write(to_json(event))
    else:
        session.show(event, VIEW)
    import sys

    sys.stdout.flush()


def _print_report(report: Document) -> None:
    chains, findings = report.get("chains"), report.get("findings")
    print_facts({"ok": report.get("ok"), "events": report.get("events")})
    if isinstance(chains, list):
        print_table(["CHAIN", "EVENTS", "HASH"], [_row(item, ("chain", "events", "hash")) for item in chains])
    if isinstance(findings, list) and findings:
        rows = [_row(item, ("chain", "position", "problem")) for item in findings]
        print_table(["CHAIN", "POSITION", "PROBLEM"], rows)


def _row(item: object, members: Sequence[str]) -> list[str]:
    return [str(item.get(name, "")) if isinstance(item, dict) else "" for name in members]
