"""``watchword agent``: registering agents, and stopping them."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from watchword.cli.arguments import AgentRef, DefaultScopes, labels_of, only_given, scopes_of, some_change
from watchword.cli.certificates import NO_CERTIFICATE, CertificateOptions, MtlsBound, PrivateKeyFile
from watchword.cli.exits import describe, usage
from watchword.cli.federation_rules import FirstClaims, FirstIssuer, first_rule
from watchword.cli.keys import (
    KEY_ALGORITHM,
    PRIVATE_KEY,
    Allow,
    JwksUri,
    KeyAlgorithm,
    PublicKeyFile,
    Strict,
    conceded,
    first_way,
)
from watchword.cli.options import new_group
from watchword.cli.output import TABLE, Document, View, documents, print_facts, talk, write
from watchword.cli.profiles import AgentProfile, check_free, write_profile
from watchword.cli.session import Session
from watchword.cli.times import parse_moment, to_wire
from watchword.client.dpop_key import DPoPKey
from watchword.client.profiles import profile_path
from watchword.clock import system_clock
from watchword.errors import WatchwordError
from watchword.protocol import names

if TYPE_CHECKING:
    from watchword.cli.admin_client import AdminClient

GROUP = new_group("Agents: who may log in.")
VIEW = View("client_id", ("client_id", "name", "state", "owner", "default_resource", "created_at", "expires_at"))

Owner = Annotated[str | None, typer.Option("--owner", help="Who answers for it.")]
Purpose = Annotated[str | None, typer.Option("--purpose", help="What it is for.")]
Labels = Annotated[list[str] | None, typer.Option("--label", metavar="KEY=VALUE", help="Repeatable.")]
Expires = Annotated[str | None, typer.Option("--expires", metavar="WHEN", help="30d, 12h, 90m, or RFC 3339.")]
Reason = Annotated[str | None, typer.Option("--reason", help="Why; goes into the audit trail.")]
DefaultResource = Annotated[
    str | None, typer.Option("--default-resource", metavar="NAME", help="Meant when a request names none.")
]
DpopBound = Annotated[
    bool | None, typer.Option("--dpop-bound/--no-dpop-bound", help="Tokens only with a DPoP proof, bound to its key.")
]
Serves = Annotated[
    list[str] | None,
    typer.Option("--serves", metavar="RESOURCE", help="It is the server of this API. Repeatable; * is every one."),
]
Auth = Annotated[str, typer.Option("--auth", metavar="METHOD", help="How it authenticates.")]
SaveProfile = Annotated[
    str | None, typer.Option("--save-profile", metavar="NAME", help="Keep the credential in a profile, mode 0600.")
]


@GROUP.command("create")
async def create(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Its name; the client_id is made from it.")],
    resource: Annotated[str | None, typer.Option("--resource", metavar="NAME", help="What it may use.")] = None,
    scope: Annotated[list[str] | None, typer.Option("--scope", metavar="SCOPE", help="Repeatable.")] = None,
    default_scope: DefaultScopes = None,
    auth: Auth = names.CLIENT_SECRET_BASIC,
    public_key: PublicKeyFile = None,
    jwks_uri: JwksUri = None,
    algorithm: KeyAlgorithm = None,
    strict: Strict = False,
    allow: Allow = None,
    trusted_issuer: FirstIssuer = None,
    claim: FirstClaims = None,
    pin_auth: Annotated[bool, typer.Option("--pin-auth", help="Accept this very method only.")] = False,
    certificate: CertificateOptions = NO_CERTIFICATE,
    private_key: PrivateKeyFile = None,
    mtls_bound: MtlsBound = None,
    owner: Owner = None,
    purpose: Purpose = None,
    label: Labels = None,
    expires: Expires = None,
    default_resource: DefaultResource = None,
    dpop_bound: DpopBound = None,
    serves: Serves = None,
    save_profile: SaveProfile = None,
) -> None:
    """Register an agent. Its secret is shown once, now, and can never be shown again.

    With --auth private_key_jwt and no key, one is made here and kept in a profile: the server never sees its private half.
    """
    way = first_way(auth, public_key, jwks_uri, algorithm, is_strict=strict)
    save_profile = _free_profile(save_profile or (name if way.private_key else None))
    files = certificate.kept(auth, private_key, save_profile)
    body = {
        **way.said,
        "name": name,
        "auth_method": auth,
        "pin_auth_method": pin_auth or None,
        "certificate": certificate.rule(auth),
        "permissions": _first_permission(resource, scope, default_scope),
        "default_resource": default_resource,
        **_ties(allow, serves, is_dpop_bound=dpop_bound, is_mtls_bound=mtls_bound),
        "federated": first_rule(auth, trusted_issuer, claim, save_profile),
        **_facts(owner, purpose, label, expires),
    }
    async with session.admin() as admin:
        agent = {**await admin.post("agents", body=only_given(body)), **way.kept}
        saved = await _save(admin, save_profile, agent, scope, auth, files) if save_profile else None
    _show_new(session, agent, scopes_of(default_scope or scope), saved)


@GROUP.command("list")
async def list_all(
    session: Session,
    state: Annotated[str | None, typer.Option("--state", metavar="STATE", help="active, suspended or deleted.")] = None,
) -> None:
    """List the agents; without --state, all that are not deleted."""
    async with session.admin() as admin:
        session.show_list(await admin.pages("agents", query={"state": state} if state else None), VIEW)


@GROUP.command("show")
async def show(session: Session, agent: AgentRef) -> None:
    """Show one agent."""
    async with session.admin() as admin:
        session.show(await admin.get("agents", agent), VIEW)


@GROUP.command("update")
async def update(
    session: Session,
    agent: AgentRef,
    owner: Owner = None,
    purpose: Purpose = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", metavar="KEY=VALUE", help="All its labels from now on; repeatable.")
    ] = None,
    expires: Expires = None,
    default_resource: DefaultResource = None,
    dpop_bound: DpopBound = None,
    mtls_bound: MtlsBound = None,
    serves: Serves = None,
    no_serves: Annotated[bool, typer.Option("--no-serves", help="It is no API's server any more.")] = False,
    allow: Allow = None,
    disallow: Annotated[
        list[str] | None, typer.Option("--disallow", metavar="NAME", help="Allow it no more. Repeatable.")
    ] = None,
) -> None:
    """Change an agent; what is not given stays."""
    bound = {"dpop_bound": dpop_bound, "mtls_bound": mtls_bound}
    said = {"default_resource": default_resource, **bound, **_facts(owner, purpose, label, expires)}
    said["serves"] = [] if no_serves else serves
    body = some_change({**said, "concessions": [*(allow or ()), *(disallow or ())] or None})
    async with session.admin() as admin:
        before = await admin.get("agents", agent)
        if allow or disallow:
            body["concessions"] = conceded(before, allow or [], disallow or [])
        session.show(await admin.patch("agents", agent, body=body, version=before["version"]), VIEW)


@GROUP.command("suspend")
async def suspend(session: Session, agent: AgentRef, reason: Reason = None) -> None:
    """Stop an agent: from now on it gets no token by any way in. `resume` ends it."""
    async with session.admin() as admin:
        session.show(await admin.post("agents", agent, "suspend", body=only_given({"reason": reason})), VIEW)


@GROUP.command("resume")
async def resume(session: Session, agent: AgentRef, reason: Reason = None) -> None:
    """Let a suspended agent log in again."""
    async with session.admin() as admin:
        session.show(await admin.post("agents", agent, "resume", body=only_given({"reason": reason})), VIEW)


@GROUP.command("delete")
async def delete(session: Session, agent: AgentRef) -> None:
    """Delete an agent for ever; its client_id is never given again."""
    session.confirm(f"Delete the agent {agent} for ever?")
    async with session.admin() as admin:
        await admin.delete("agents", agent)
    session.talk(f"The agent {agent} is deleted.")


def _free_profile(name: str | None) -> str | None:
    """Return the name of the profile to write, if there is none of that name: asked before anybody is registered."""
    if name:
        check_free(name)
    return name


def _facts(owner: str | None, purpose: str | None, label: list[str] | None, expires: str | None) -> dict[str, object]:
    return {
        "owner": owner,
        "purpose": purpose,
        "labels": labels_of(label) or None,
        "expires_at": to_wire(parse_moment(expires, now=system_clock())) if expires else None,
    }


def _ties(
    allow: list[str] | None, serves: list[str] | None, *, is_dpop_bound: bool | None, is_mtls_bound: bool | None
) -> dict[str, object | None]:
    return {"dpop_bound": is_dpop_bound, "mtls_bound": is_mtls_bound, "concessions": allow, "serves": serves}


def _first_permission(
    resource: str | None, scope: list[str] | None, default_scope: list[str] | None
) -> list[dict[str, object]] | None:
    if resource is None:
        if scope or default_scope:
            raise usage("A scope belongs to a resource: say which with --resource NAME.")
        return None
    if not scope:
        raise usage(f"Nothing is granted silently: say with --scope what the agent may do at {resource}.")
    permission = {"resource": resource, "scopes": scopes_of(scope), "default_scopes": scopes_of(default_scope) or None}
    return [only_given(permission)]


async def _save(
    admin: AdminClient, name: str, agent: Document, scope: list[str] | None, auth: str, files: dict[str, str]
) -> Path | None:
    """Keep the credential in a profile; that it cannot be kept must not lose it, for it is shown only now."""
    try:
        resource = str(agent.get("default_resource", ""))
        identifier = str((await admin.get("resources", resource))["identifier"]) if resource else ""
        profile = AgentProfile(
            issuer=str(agent["issuer"]),
            client_id=str(agent["client_id"]),
            auth_method=auth if files or PRIVATE_KEY in agent else names.CLIENT_SECRET_BASIC,
            client_secret=str(agent.get("client_secret", "")),
            private_key=str(agent.get(PRIVATE_KEY, "")),
            algorithm=str(agent.get(KEY_ALGORITHM, "")),
            resource=identifier,
            scope=" ".join(scopes_of(scope)),
            dpop_key_file=_dpop_key_file(name) if agent.get("dpop_bound") else "",
            certificate_file=files.get("certificate_file", ""),
            private_key_file=files.get("private_key_file", ""),
        )
        return write_profile(name, profile)
    except (WatchwordError, OSError) as error:
        talk(f"{describe(error)} The profile was not saved; what it was to hold is printed instead.")
        return None


def _dpop_key_file(profile: str) -> str:
    """Make a key for proofs beside the profile, and return where it is."""
    path = profile_path(profile, os.environ).with_suffix(".dpop.pem")
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    path.parent.chmod(0o700)
    DPoPKey.from_file(path, create=True)
    return str(path)


def _show_new(session: Session, agent: Document, scopes: list[str], saved: Path | None) -> None:
    kept = {"client_secret", PRIVATE_KEY, KEY_ALGORITHM} if session.form == TABLE else {PRIVATE_KEY, KEY_ALGORITHM}
    shown = {name: value for name, value in agent.items() if saved is None or name not in kept}
    if session.form != TABLE:
        session.show(shown, VIEW)
        return
    print_facts({**shown, "permissions": [_in_words(one) for one in documents({"items": agent.get("permissions")})]})
    what = "private key" if PRIVATE_KEY in agent else "secret"
    if saved is not None and not agent.get("client_secret") and PRIVATE_KEY not in agent:
        session.talk(f"The profile {saved.stem} names the certificate. A token: watchword token {saved.stem}")
    elif saved is not None:
        session.talk(f"The {what} is in the profile {saved.stem}. A token: watchword token {saved.stem}")
    elif agent.get("client_secret") or PRIVATE_KEY in agent:
        session.talk(f"The {what} is shown this once.")
    if not scopes:
        name = agent.get("name")
        session.talk(f"It may do nothing yet: watchword permission grant {name} --resource NAME --scope SCOPE")
    elif saved is None and agent.get("dpop_bound"):
        session.talk("It gets tokens with a DPoP proof alone: Login(..., dpop=True), or WATCHWORD_DPOP=on.")
    elif saved is None and agent.get("client_secret"):
        session.talk("A token, with the secret in the arguments of no process:")
        write("")
        write(curl_line(agent, scopes))


def _in_words(permission: Document) -> str:
    scopes = permission["scopes"]
    return f"{permission['resource']}: {' '.join(scopes) if isinstance(scopes, list) else scopes}"


def curl_line(agent: Document, scopes: list[str]) -> str:
    """Return a shell line that gets a token; curl reads the secret from its standard input."""
    credential = shlex.quote(f'user = "{agent["client_id"]}:{agent["client_secret"]}"')
    parts = ["curl", "-sS", "-K", "-", "-d", f"grant_type={names.CLIENT_CREDENTIALS}"]
    if scopes:
        parts += ["-d", f"scope={' '.join(scopes)}"]
    return f"echo {credential} | {shlex.join([*parts, str(agent['token_endpoint'])])}"
