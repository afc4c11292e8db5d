"""``watchword key``: the keys that tokens are signed with."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from watchword.cli import key_timeline
from watchword.cli.arguments import only_given
from watchword.cli.exits import usage
from watchword.cli.options import new_group
from watchword.cli.output import JSON, TABLE, YAML, Document, View, documents, print_facts, print_value, write
from watchword.cli.session import Session
from watchword.cli.times import in_words
from watchword.clock import system_clock

GROUP = new_group("Signing keys: what tokens are signed with.")
VIEW = View("kid", ("kid", "algorithm", "state", "custody", "published_at", "activated_at", "next_state", "next_at"))

Kid = Annotated[str, typer.Argument(metavar="KID", help="The key's kid, or how it begins; after -- if that is a dash.")]
Algorithm = Annotated[
    str | None, typer.Option("--alg", metavar="ALG", help="ES256, ES384, Ed25519, PS256, RS256; the server's if none.")
]


@GROUP.command("list")
async def list_all(session: Session) -> None:
    """List the signing keys, and what comes next for each."""
    async with session.admin() as admin:
        session.show_list(documents(await admin.get("keys")), VIEW)


@GROUP.command("timeline", forms=(TABLE, JSON, YAML))
async def timeline(session: Session) -> None:
    """Draw the life of the keys that are not yet gone, and what is to come if nobody interferes."""
    async with session.admin() as admin:
        found = await admin.get("keys")
    if session.form != TABLE:
        print_value(found, session.form)
        return
    for line in key_timeline.draw(documents(found), documents({"items": found.get("planned")}), now=system_clock()):
        write(line)


@GROUP.command("prepare")
async def prepare(session: Session, alg: Algorithm = None) -> None:
    """Make a key that nobody sees yet; `publish` puts it into the key set."""
    async with session.admin() as admin:
        session.show(await admin.post("keys", body=only_given({"algorithm": alg})), VIEW)


@GROUP.command("publish")
async def publish(
    session: Session,
    kid: Annotated[str | None, typer.Argument(metavar="KID", help="A prepared key; the next one if none.")] = None,
    alg: Algorithm = None,
) -> None:
    """Put the next key into the key set. It signs when its time comes, or when `rotate` asks for it."""
    async with session.admin() as admin:
        key = await admin.post("keys", "publish", body=only_given({"kid": kid, "algorithm": alg}))
        session.show(key, VIEW)
    _say_when(session, key)


@GROUP.command("rotate")
async def rotate(session: Session, alg: Algorithm = None) -> None:
    """Have the next key sign: now, if every verifier can have it, else by itself as soon as that is so."""
    async with session.admin() as admin:
        key = await admin.post("keys", "rotate", body=only_given({"algorithm": alg}))
        session.show(key, VIEW)
    _say_when(session, key)


@GROUP.command("migrate")
async def migrate(
    session: Session,
    to: Annotated[str, typer.Option("--to", metavar="CUSTODY", help="Where the next key is made: local, pkcs11, ...")],
    alg: Algorithm = None,
) -> None:
    """Have the next key made in another custody, and sign as soon as every verifier can have it."""
    async with session.admin() as admin:
        key = await admin.post("keys", "migrate", body=only_given({"custody": to, "algorithm": alg}))
        session.show(key, VIEW)
    _say_when(session, key)
    session.talk(f"Later keys are made where the setting `custody` says: name {to} there, too.")


@GROUP.command("retire")
async def retire(session: Session, kid: Kid) -> None:
    """Take a key out of the key set for ever, once no token of it can be valid."""
    session.confirm(f"Retire the key {kid} for ever?")
    async with session.admin() as admin:
        session.show(await admin.post("keys", kid, "retire"), VIEW)


@GROUP.command("compromise")
async def compromise(
    session: Session,
    kid: Kid,
    reason: Annotated[str | None, typer.Option("--reason", help="Why; goes into the audit trail.")] = None,
) -> None:
    """Take a key out of the key set at once, whatever it has signed; a new one signs in its place."""
    session.confirm(f"Give up the key {kid} for ever? Every token that it signed will be refused.")
    async with session.admin() as admin:
        done = await admin.post("keys", kid, "compromise", body=only_given({"reason": reason}))
    key, new = done.get("key"), done.get("replacement")
    shown = [one for one in (key, new) if isinstance(one, dict)]
    if session.form == TABLE:
        session.show_list(shown, VIEW)
    else:
        session.show(done, VIEW) if session.form in {JSON, YAML} else session.show_list(shown, VIEW)
    session.talk("Verifiers refuse its tokens when they have fetched the key set again: within 6 minutes.")


@GROUP.command("rewrap", forms=(TABLE, JSON, YAML))
async def rewrap(
    session: Session,
    new_master_key_file: Annotated[
        Path | None,
        typer.Option("--new-master-key-file", metavar="FILE", help="The new master key; made if it is not there yet."),
    ] = None,
    file_only: Annotated[
        bool, typer.Option("--file-only", help="Make the file, for all nodes to have; seal nothing under it yet.")
    ] = False,
) -> None:
    """Seal the keys of the store in --data under a new master key, while its servers run. Nothing is issued anew."""
    from watchword.cli.server import load_for
    from watchword.upkeep.rewrapping import rewrap as seal_anew

    if file_only and new_master_key_file is None:
        raise usage("--file-only makes a file: name it with --new-master-key-file.")
    data = session.local_data("watchword key rewrap")
    settings = load_for(session, {"data": data}).settings
    done = await seal_anew(settings, new_master_key_file, is_file_only=file_only)
    document: Document = {"made": done.is_new_file, "rewrapped": list(done.kids)}
    if session.form == TABLE:
        print_facts({"made": done.is_new_file, "rewrapped": " ".join(done.kids) or "-"})
    else:
        print_value(document, session.form)
    if new_master_key_file is not None:
        session.talk(
            f"Give every node {new_master_key_file} as its master key, and restart it, before the next rotation."
        )
        session.talk(
            "Repeat this then."
            if file_only
            else "Then run `watchword key rewrap` once more, and destroy the old master key."
        )


def _say_when(session: Session, key: Document) -> None:
    at = key.get("next_at")
    if key.get("state") == "published" and isinstance(at, str):
        moment = datetime.fromisoformat(at)
        session.talk(f"It signs {in_words(moment, now=system_clock())}: verifiers may hold the old set until then.")
