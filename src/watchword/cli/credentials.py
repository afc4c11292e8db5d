"""``watchword credential``: the ways in of an agent. Many may be valid at once, so that a change needs no stop."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from watchword.cli import rotation
from watchword.cli.arguments import AgentRef, only_given
from watchword.cli.certificates import NO_CERTIFICATE, CertificateOptions
from watchword.cli.exits import usage
from watchword.cli.federation_rules import Claims, MaxAge, RulePreset, SingleUse, TrustedIssuerName, rule_of
from watchword.cli.keys import KEY_ALGORITHM, JwksUri, KeyAlgorithm, PublicKeyFile, Strict, Way, first_way
from watchword.cli.options import new_group
from watchword.cli.output import TABLE, View, documents
from watchword.cli.profiles import AgentProfile, check_free, write_profile
from watchword.cli.session import Session
from watchword.cli.times import parse_duration, parse_moment, to_wire
from watchword.clock import system_clock
from watchword.protocol import names

GROUP = new_group("Credentials of an agent.")
VIEW = View(
    "id",
    ("id", "kind", "label", "state", "created_at", "expires_at", "ends", "last_used_at", "last_used_network", "uses"),
)

_WHEN = "30d, 12h, 90m, or RFC 3339."
Label = Annotated[str | None, typer.Option("--label", help="What tells it from the others.")]
NotBefore = Annotated[str | None, typer.Option("--not-before", metavar="WHEN", help=_WHEN)]
Expires = Annotated[str | None, typer.Option("--expires", metavar="WHEN", help=_WHEN)]


@GROUP.command("add-secret")
async def add_secret(
    session: Session,
    agent: AgentRef,
    label: Label = None,
    not_before: NotBefore = None,
    expires: Expires = None,
) -> None:
    """Add a secret beside those there are. It is shown once, now, and can never be shown again."""
    body = {"kind": "client_secret", **_facts(label, not_before, expires)}
    async with session.admin() as admin:
        session.show(await admin.post("agents", agent, "credentials", body=only_given(body)), VIEW)
    if session.form == TABLE:
        session.talk("The secret is shown this once.")


@GROUP.command("add-key")
async def add_key(
    session: Session,
    agent: AgentRef,
    public_key: PublicKeyFile = None,
    jwks_uri: JwksUri = None,
    algorithm: KeyAlgorithm = None,
    strict: Strict = False,
    label: Label = None,
    not_before: NotBefore = None,
    expires: Expires = None,
    save_profile: Annotated[
        str | None, typer.Option("--save-profile", metavar="NAME", help="Make a key here and keep it in a new profile.")
    ] = None,
) -> None:
    """Add a key beside those there are: its public half, or where it is published. With --save-profile one is made here."""
    if (public_key or jwks_uri) and save_profile:
        raise usage("A profile is for a key that is made here: leave out --save-profile, or the key.")
    if not (public_key or jwks_uri or save_profile):
        raise usage("Say which key: --public-key FILE, --jwks-uri URL, or --save-profile NAME to make one here.")
    if save_profile:
        check_free(save_profile)
    way = first_way(names.PRIVATE_KEY_JWT, public_key, jwks_uri, algorithm, is_strict=strict)
    body = {"kind": "public_key", **way.said, **_facts(label, not_before, expires)}
    async with session.admin() as admin:
        added = await admin.post("agents", agent, "credentials", body=only_given(body))
        server = await admin.get("server") if save_profile else {}
    session.show(added, VIEW)
    if save_profile:
        write_profile(
            save_profile,
            AgentProfile(
                issuer=str(server["issuer"]),
                client_id=str(added["client_id"]),
                auth_method=names.PRIVATE_KEY_JWT,
                private_key=way.private_key,
                algorithm=way.kept[KEY_ALGORITHM],
            ),
        )
        session.talk(f"The private key is in the profile {save_profile}. A token: watchword token {save_profile}")


@GROUP.command("add-certificate")
async def add_certificate(
    session: Session,
    agent: AgentRef,
    certificate: CertificateOptions = NO_CERTIFICATE,
    label: Label = None,
    not_before: NotBefore = None,
    expires: Expires = None,
) -> None:
    """Add a rule on certificates: the certificate itself (--certificate), or one name that an authority has put into it."""
    rule = certificate.rule()
    if rule is None:
        raise usage("Which one? Give --certificate FILE, --subject-dn DN, or one of the --san-... options.")
    body = {"kind": "certificate", "certificate": rule, **_facts(label, not_before, expires)}
    async with session.admin() as admin:
        session.show(await admin.post("agents", agent, "credentials", body=only_given(body)), VIEW)


@GROUP.command("add-federation")
async def add_federation(
    session: Session,
    agent: AgentRef,
    trusted_issuer: TrustedIssuerName,
    claim: Claims,
    preset: RulePreset = None,
    max_age: MaxAge = None,
    single_use: SingleUse = False,
    label: Label = None,
    not_before: NotBefore = None,
    expires: Expires = None,
) -> None:
    """Let tokens of a trusted issuer log the agent in, if all these claims fit. No secret is made."""
    rule = rule_of(trusted_issuer, claim, preset=preset, max_age=max_age, single_use=single_use)
    body = {"kind": "federated", "federated": rule, **_facts(label, not_before, expires)}
    async with session.admin() as admin:
        session.show(await admin.post("agents", agent, "credentials", body=only_given(body)), VIEW)


def _facts(label: str | None, not_before: str | None, expires: str | None) -> dict[str, object]:
    now = system_clock()
    return {
        "label": label,
        "not_before": to_wire(parse_moment(not_before, now=now)) if not_before else None,
        "expires_at": to_wire(parse_moment(expires, now=now)) if expires else None,
    }


@GROUP.command("list")
async def list_all(session: Session, agent: AgentRef) -> None:
    """List the credentials of an agent; secrets are not among what is shown."""
    async with session.admin() as admin:
        found = documents(await admin.get("agents", agent, "credentials"))
    if session.form == TABLE:
        now = system_clock()
        found = [{**one, "ends": rotation.countdown(one, now=now)} for one in found]
    session.show_list(found, VIEW)


@GROUP.command("rotate")
async def rotate(
    session: Session,
    agent: AgentRef,
    credential: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Which one, if the agent has several.")
    ] = None,
    overlap: Annotated[
        str, typer.Option("--overlap", metavar="DURATION", help="How long the old one goes on.")
    ] = "24h",
    silence: Annotated[
        str | None,
        typer.Option(
            "--silence", metavar="DURATION", help="It ends once it was not used for so long, and the new one was."
        ),
    ] = None,
    public_key: PublicKeyFile = None,
    jwks_uri: JwksUri = None,
    algorithm: KeyAlgorithm = None,
    strict: Strict = False,
    certificate: CertificateOptions = NO_CERTIFICATE,
    label: Label = None,
    expires: Expires = None,
    save_profile: Annotated[
        str | None, typer.Option("--save-profile", metavar="NAME", help="Keep the new secret or key in a profile.")
    ] = None,
) -> None:
    """Put another credential in the place of one, which goes on for a while and then ends by itself.

    A new secret is made by the server and shown once; a new key is made here and kept in a profile, unless one is given.
    """
    async with session.admin() as admin:
        page = await admin.get("agents", agent, "credentials")
        old = rotation.choose(documents(page), credential, now=system_clock())
        way = _new_way(str(old["kind"]), public_key, jwks_uri, algorithm, is_strict=strict, profile=save_profile)
        kept = await rotation.find_place(admin, save_profile, old) if save_profile else None
        body = {
            **way.said,
            "certificate": certificate.rule(),
            "overlap": int(parse_duration(overlap).total_seconds()),
            "silence": int(parse_duration(silence).total_seconds()) if silence else None,
            **_facts(label, None, expires),
        }
        new = await admin.post("agents", agent, "credentials", str(old["id"]), "rotate", body=only_given(body))
    rotation.show(session, new, VIEW)
    if kept:
        rotation.keep(kept, new, way)
        session.talk(f"It is in the profile {kept.name}.")


def _new_way(
    kind: str,
    public_key: Path | None,
    jwks_uri: str | None,
    algorithm: str | None,
    *,
    is_strict: bool,
    profile: str | None,
) -> Way:
    if kind == rotation.PUBLIC_KEY:
        way = first_way(names.PRIVATE_KEY_JWT, public_key, jwks_uri, algorithm, is_strict=is_strict)
        if way.private_key and not profile:
            raise usage("A key made here is kept in a profile: --save-profile NAME. Or give one, or say where it is.")
        return way
    if public_key or jwks_uri or algorithm or is_strict:
        raise usage(f"This credential is a {kind}, not a key: leave out --public-key, --jwks-uri, --alg and --strict.")
    return Way({})


@GROUP.command("revoke")
async def revoke(
    session: Session,
    agent: AgentRef,
    credential: Annotated[str, typer.Argument(metavar="ID", help="The credential's id.")],
) -> None:
    """Revoke one credential for ever; the others keep working."""
    session.confirm(f"Revoke the credential {credential} of {agent} for ever?")
    async with session.admin() as admin:
        session.show(await admin.delete("agents", agent, "credentials", credential), VIEW)
