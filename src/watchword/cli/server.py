"""``watchword init``, ``dev`` and ``serve``: making a server and running it."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from watchword.cli.arguments import only_given
from watchword.cli.exits import usage
from watchword.cli.options import Group
from watchword.cli.output import JSON, TABLE, YAML, print_facts, print_value
from watchword.cli.session import Session, check_store

if TYPE_CHECKING:
    from watchword.config import Loaded

Database = Annotated[
    str | None,
    typer.Option("--database", metavar="URL", help="A PostgreSQL database, postgresql://..., in place of a file."),
]
DEFAULT_ISSUER: Final = "http://127.0.0.1:8020"

Listen = Annotated[str | None, typer.Option("--listen", metavar="H:P", help="Where to listen.")]
Management = Annotated[str | None, typer.Option("--management", metavar="H:P", help="Where probes and metrics are.")]


def add_commands(root: Group) -> None:
    """Add the commands to the tree."""
    from watchword.cli.dev import dev

    root.command("dev", forms=(TABLE, JSON), serves=True)(dev)
    root.command("init", forms=(TABLE, JSON, YAML))(init)
    root.command("serve", forms=(TABLE,), serves=True)(serve)


async def init(
    session: Session,
    issuer: Annotated[
        str, typer.Option("--issuer", metavar="URL", help="The public URL of the server.")
    ] = DEFAULT_ISSUER,
    database: Database = None,
    no_print: Annotated[
        bool, typer.Option("--no-print", help="Do not show the operator's credential; the profile holds it.")
    ] = False,
) -> None:
    """Make a store in --data with its first signing key and its first operator, whose credential is shown once."""
    from watchword.bootstrap import initialise
    from watchword.cli.first_operator import save_operator
    from watchword.cli.profiles import check_free

    data = session.choices.data or Path(os.environ.get("WATCHWORD_DATA") or "")
    if data == Path():
        raise usage("Where? Give --data DIR, a directory for the store that is not there yet, or is empty.")
    if session.choices.profile:
        check_free(session.choices.profile)
    made = await initialise(data, issuer, database=database)
    profile = save_operator(session, issuer, made.operator_token, data)
    document: dict[str, object] = {
        "data": str(data),
        "issuer": issuer,
        "operator_token": None if no_print and profile else made.operator_token,
        "profile": profile,
        "signing_key": {"kid": made.kid, "alg": made.algorithm},
    }
    if session.form == TABLE:
        print_facts(only_given(document))
        session.talk(f"Run it: watchword serve --data {data}")
    else:
        print_value(only_given(document), session.form)


def serve(
    session: Session,
    issuer: Annotated[str | None, typer.Option("--issuer", metavar="URL", help="Instead of the one of init.")] = None,
    listen: Listen = None,
    management: Management = None,
    database: Database = None,
    mtls_listen: Annotated[
        str | None, typer.Option("--mtls-listen", metavar="H:P", help="Where clients show certificates.")
    ] = None,
    client_ca: Annotated[
        Path | None, typer.Option("--client-ca", metavar="FILE", help="Authorities of clients' certificates, PEM.")
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option("--tls-cert", metavar="FILE", help="Certificate chain, PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", metavar="FILE", help="Its private key, PEM.")] = None,
    insecure_http: Annotated[
        bool | None, typer.Option("--insecure-http", help="Plain HTTP for others, with no proxy in front.")
    ] = None,
    trusted_proxy: Annotated[
        list[str] | None, typer.Option("--trusted-proxy", metavar="CIDR", help="The TLS proxy in front; repeatable.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option("--workers", metavar="N", help="Processes that serve; 1 unless you say so.")
    ] = None,
    cache: Annotated[
        str | None, typer.Option("--cache", metavar="URL", help="The Redis or Valkey that nodes share, redis://...")
    ] = None,
) -> None:
    """Run the server until it is told to stop."""
    from watchword.cli.options import fast_loop
    from watchword.serving import supervise

    flags = {
        "issuer": issuer,
        "listen": listen,
        "management": management,
        "database": database,
        "mtls_listen": mtls_listen,
        "client_ca": client_ca,
        "tls_cert": tls_cert,
        "tls_key": tls_key,
        "insecure_http": insecure_http,
        "trusted_proxies": tuple(trusted_proxy) if trusted_proxy else None,
        "workers": workers,
        "cache": cache,
    }
    data = session.choices.data or os.environ.get("WATCHWORD_DATA")
    if data and database is None:
        check_store(Path(data))
    supervise(load_for(session, flags).settings, new_loop=fast_loop)


def load_for(session: Session, flags: Mapping[str, object]) -> Loaded:
    """Return the settings for the server in ``--data``, with these flags."""
    from watchword.config import load_settings

    return load_settings({"data": session.choices.data, **flags})
