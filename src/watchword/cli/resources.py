"""``watchword resource``: the protected APIs and their scopes."""

from __future__ import annotations

from typing import Annotated

import typer

from watchword.cli.arguments import only_given, scopes_of, some_change
from watchword.cli.options import new_group
from watchword.cli.output import View
from watchword.cli.session import Session
from watchword.cli.times import parse_duration

GROUP = new_group("Protected APIs and the scopes they own.")
VIEW = View("name", ("name", "identifier", "scopes", "token_lifetime", "signing_algorithm", "created_at"))

Name = Annotated[str, typer.Argument(metavar="NAME", help="The name of the resource.")]
Lifetime = Annotated[str | None, typer.Option("--lifetime", metavar="TIME", help="Of its tokens: 600, 10m.")]
Algorithm = Annotated[str | None, typer.Option("--alg", metavar="ALG", help="ES256, ES384, Ed25519, PS256, RS256.")]
RequirePop = Annotated[
    bool | None, typer.Option("--require-pop/--no-require-pop", help="Only for tokens bound to a key of the agent.")
]


@GROUP.command("create")
async def create(
    session: Session,
    name: Name,
    scope: Annotated[list[str], typer.Option("--scope", metavar="SCOPE", help="A scope it owns; repeatable.")],
    identifier: Annotated[
        str | None, typer.Option("--identifier", metavar="AUD", help="What stands in aud; the name unless given.")
    ] = None,
    lifetime: Lifetime = None,
    alg: Algorithm = None,
    require_pop: RequirePop = None,
) -> None:
    """Register a protected API."""
    body = {"name": name, "identifier": identifier, **_settings(scope, lifetime, alg, require_pop)}
    async with session.admin() as admin:
        session.show(await admin.post("resources", body=only_given(body)), VIEW)


@GROUP.command("list")
async def list_all(session: Session) -> None:
    """List the resources."""
    async with session.admin() as admin:
        session.show_list(await admin.pages("resources"), VIEW)


@GROUP.command("show")
async def show(session: Session, name: Name) -> None:
    """Show one resource."""
    async with session.admin() as admin:
        session.show(await admin.get("resources", name), VIEW)


@GROUP.command("update")
async def update(
    session: Session,
    name: Name,
    scope: Annotated[
        list[str] | None, typer.Option("--scope", metavar="SCOPE", help="All scopes it owns from now on; repeatable.")
    ] = None,
    lifetime: Lifetime = None,
    alg: Algorithm = None,
    require_pop: RequirePop = None,
) -> None:
    """Change a resource; what is not given stays. Its name and identifier never change."""
    body = some_change(_settings(scope, lifetime, alg, require_pop))
    async with session.admin() as admin:
        before = await admin.get("resources", name)
        session.show(await admin.patch("resources", name, body=body, version=before["version"]), VIEW)


@GROUP.command("delete")
async def delete(session: Session, name: Name) -> None:
    """Delete a resource that no permission names."""
    session.confirm(f"Delete the resource {name}?")
    async with session.admin() as admin:
        await admin.delete("resources", name)
    session.talk(f"The resource {name} is deleted.")


def _settings(
    scope: list[str] | None, lifetime: str | None, alg: str | None, require_pop: bool | None
) -> dict[str, object]:
    return {
        "scopes": scopes_of(scope) or None,
        "token_lifetime": int(parse_duration(lifetime).total_seconds()) if lifetime else None,
        "signing_algorithm": alg,
        "require_pop": require_pop,
    }
