"""``watchword federation``: issuers outside whose word is taken for who an agent is."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from watchword.cli.arguments import only_given, some_change
from watchword.cli.exits import CommandError, ExitCode, usage
from watchword.cli.options import new_group
from watchword.cli.output import TABLE, Document, View, documents, print_facts
from watchword.cli.session import Session

GROUP = new_group("Trusted issuers: clusters, CI systems and clouds whose tokens log agents in.")
VIEW = View("name", ("name", "issuer", "audience", "algorithms", "jwks_uri", "created_at"))

MAX_INPUT = 65_536
STDIN = "-"

IssuerName = Annotated[str, typer.Argument(metavar="NAME", help="How you call it.")]
JwksUri = Annotated[
    str | None, typer.Option("--jwks-uri", metavar="URL", help="Where its keys are, if not found by discovery.")
]
Jwks = Annotated[
    Path | None, typer.Option("--jwks", metavar="FILE", help="Its key set, kept here; nothing is fetched.")
]
Algorithms = Annotated[
    list[str] | None, typer.Option("--alg", metavar="ALG", help="How its tokens may be signed; repeatable.")
]
Audience = Annotated[
    str | None, typer.Option("--audience", metavar="AUD", help="What its tokens are for; else this server's issuer.")
]


@GROUP.command("trust")
async def trust(
    session: Session,
    name: IssuerName,
    issuer: Annotated[
        str | None, typer.Option("--issuer", metavar="ISS", help="What stands in iss, or spiffe:// and a trust domain.")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(
            "--preset", metavar="PRESET", help="github, gitlab, google, kubernetes, azure, aws, spiffe, oidc."
        ),
    ] = None,
    jwks_uri: JwksUri = None,
    jwks: Jwks = None,
    alg: Algorithms = None,
    audience: Audience = None,
) -> None:
    """Trust an issuer, as far as credentials say for whom. Its keys are fetched first."""
    if not issuer and not preset:
        raise usage("Say whom to trust: --issuer ISS, or --preset github for an issuer that all the world has.")
    body = {"name": name, "issuer": issuer, "preset": preset, **_facts(jwks_uri, jwks, alg, audience)}
    async with session.admin() as admin:
        session.show(await admin.post("trusted-issuers", body=only_given(body)), VIEW)


@GROUP.command("list")
async def list_all(session: Session) -> None:
    """List the trusted issuers."""
    async with session.admin() as admin:
        session.show_list(documents(await admin.get("trusted-issuers")), VIEW)


@GROUP.command("show")
async def show(session: Session, name: IssuerName) -> None:
    """Show one trusted issuer."""
    async with session.admin() as admin:
        session.show(await admin.get("trusted-issuers", name), VIEW)


@GROUP.command("update")
async def update(
    session: Session,
    name: IssuerName,
    jwks_uri: JwksUri = None,
    jwks: Jwks = None,
    alg: Algorithms = None,
    audience: Audience = None,
) -> None:
    """Change where its keys are, how its tokens are signed, or for whom they are; what is not given stays."""
    body = some_change(_facts(jwks_uri, jwks, alg, audience))
    async with session.admin() as admin:
        before = await admin.get("trusted-issuers", name)
        session.show(await admin.patch("trusted-issuers", name, body=body, version=before["version"]), VIEW)


@GROUP.command("remove")
async def remove(
    session: Session,
    name: IssuerName,
    with_credentials: Annotated[
        bool, typer.Option("--with-credentials", help="Revoke all credentials that name it, too.")
    ] = False,
) -> None:
    """Trust an issuer no more, from the next request on."""
    session.confirm(f"Trust {name} no more{', and revoke all that depend on it' if with_credentials else ''}?")
    query = {"with_credentials": "true"} if with_credentials else None
    async with session.admin() as admin:
        await admin.delete("trusted-issuers", name, query=query)
    session.talk(f"{name} is not trusted any more.")


@GROUP.command("test")
async def explain(
    session: Session,
    token: Annotated[str, typer.Argument(metavar="JWT", help="A token; - reads it from standard input.")] = STDIN,
    file: Annotated[Path | None, typer.Option("--file", metavar="FILE", help="Read it from a file.")] = None,
) -> None:
    """Say which agent a token would log in, or which claim differs. Nothing is issued, and nothing is used up."""
    text = _read_token(token, file)
    async with session.admin() as admin:
        report = await admin.post("trusted-issuers", "test", body={"token": text})
    if session.form == TABLE:
        print_facts({name: value for name, value in report.items() if name != "rules"})
        for rule in documents({"items": report.get("rules")}):
            session.talk(_in_words(rule))
    else:
        session.show(report, VIEW)
    if not report.get("accepted"):
        raise CommandError(ExitCode.FINDINGS, f"This token logs nobody in: {report.get('reason')}.")


def _facts(
    jwks_uri: str | None, jwks: Path | None, alg: list[str] | None, audience: str | None
) -> dict[str, object | None]:
    return {
        "jwks_uri": jwks_uri,
        "jwks": _read_jwks(jwks) if jwks else None,
        "algorithms": alg or None,
        "audience": audience,
    }


def _read_jwks(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise usage(f"{path} holds no JSON: a key set is an object with the member keys.") from None


def _read_token(token: str, file: Path | None) -> str:
    if file is not None:
        return file.read_text(encoding="utf-8")[:MAX_INPUT].strip()
    return (sys.stdin.read(MAX_INPUT) if token == STDIN else token).strip()


def _in_words(rule: Document) -> str:
    who = f"{rule['client_id']} ({rule['credential_id']})"
    lines = [
        f"  {one['claim']}: {one['problem']}; wanted {_choice(one.get('wanted'))}, found {json.dumps(one.get('found'))}"
        for one in documents({"items": rule.get("mismatches")})
    ]
    if rule.get("problem"):
        lines.append(f"  {rule['problem']}")
    return "\n".join([f"{who}: {'fits' if rule.get('matches') else 'does not fit'}", *lines])


def _choice(values: object) -> str:
    return " or ".join(json.dumps(value) for value in values) if isinstance(values, list) else str(values)
