"""Trusted issuers: whose word is taken for who an agent is, and what that word would do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from watchword.errors import Conflict, Invalid, KeysUnavailable, WatchwordError
from watchword.operations.checks import check_name, check_version
from watchword.operations.context import OperationContext, details
from watchword.operations.federated_rules import find_trusted_issuer
from watchword.operations.operation import operation
from watchword.ports import store
from watchword.ports.issuers import DeleteTrustedIssuer, TrustedIssuer
from watchword.protocol.federation_presets import ALGORITHMS, PRESETS, SPIFFE_SCHEME, preset_of
from watchword.protocol.foreign_keys import MAX_DOCUMENT, read_keys
from watchword.protocol.jose import InvalidKey
from watchword.protocol.spiffe_id import check_trust_domain
from watchword.protocol.url import check_secure_url
from watchword.server.federation import MAX_RULES, key_source

MAX_AUDIENCE: Final = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustIssuer:
    """``issuer`` is what stands in ``iss``, or ``spiffe://`` and a trust domain. ``preset`` fills what the world knows of it."""

    name: str
    issuer: str = ""
    preset: str = ""
    jwks_uri: str = ""
    jwks: Mapping[str, object] = field(default_factory=dict)
    algorithms: tuple[str, ...] = ()
    audience: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UpdateTrustedIssuer:
    """``None`` leaves a member. What stands in ``iss`` never changes."""

    name: str
    jwks_uri: str | None = None
    jwks: Mapping[str, object] | None = None
    algorithms: tuple[str, ...] | None = None
    audience: str | None = None
    expected: frozenset[int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NameTrustedIssuer:
    """One trusted issuer. ``with_credentials`` revokes those that name it, when it is distrusted."""

    name: str
    with_credentials: bool = False
    expected: frozenset[int] | None = None


@dataclass(frozen=True, slots=True)
class ListTrustedIssuers:
    """All of them."""


@operation("trusted_issuer.create")
async def trust_issuer(context: OperationContext, command: TrustIssuer) -> TrustedIssuer:
    """Take this issuer's word from now on, as far as credentials say for whom. Its keys are fetched first, or nothing is trusted.

    Raises:
        Invalid: trusted_issuer.*
        Conflict: trusted_issuer.exists, trusted_issuer.issuer
    """
    preset = PRESETS.get(command.preset or preset_of(command.issuer))
    if preset is None:
        raise Invalid("federated.preset", detail=f"The preset is one of {', '.join(PRESETS)}.")
    if command.preset and command.issuer and preset_of(command.issuer) not in {command.preset, "oidc"}:
        raise Invalid("federated.preset", detail=f"{command.issuer} is of the preset {preset_of(command.issuer)}.")
    trusted = TrustedIssuer(
        name=check_name(command.name, "trusted_issuer"),
        issuer=_check_issuer(command.issuer or preset.issuer),
        created_at=context.now,
        jwks_uri=command.jwks_uri or ("" if command.jwks else preset.jwks_uri),
        jwks=command.jwks,
        algorithms=command.algorithms,
        audience=command.audience,
    )
    await _check(context, trusted)
    if await context.store.trusted_issuer(trusted.name) is not None:
        raise Conflict("trusted_issuer.exists", detail="A trusted issuer of this name exists.")
    await context.commit("created", store.Create(trusted), **_facts(trusted))
    return trusted


@operation("trusted_issuer.update")
async def update_trusted_issuer(context: OperationContext, command: UpdateTrustedIssuer) -> TrustedIssuer:
    """Change where its keys are, how its tokens are signed, or for whom they are.

    Raises:
        Missing: trusted_issuer.missing
        PreconditionFailed: version.changed
        Invalid: trusted_issuer.*
    """
    old = await find_trusted_issuer(context, command.name)
    check_version(old.version, command.expected)
    new = replace(
        old,
        jwks_uri=old.jwks_uri if command.jwks_uri is None else command.jwks_uri,
        jwks=old.jwks if command.jwks is None else command.jwks,
        algorithms=old.algorithms if command.algorithms is None else command.algorithms,
        audience=old.audience if command.audience is None else command.audience,
        version=old.version + 1,
    )
    await _check(context, new)
    await context.commit("updated", store.Replace(new), **_facts(new))
    return new


@operation("trusted_issuer.list")
async def list_trusted_issuers(context: OperationContext, command: ListTrustedIssuers) -> Sequence[TrustedIssuer]:  # noqa: ARG001 -- an operation takes a command
    """Return all trusted issuers, by name."""
    return await context.store.trusted_issuers()


@operation("trusted_issuer.show")
async def show_trusted_issuer(context: OperationContext, command: NameTrustedIssuer) -> TrustedIssuer:
    """Return one trusted issuer.

    Raises:
        Missing: trusted_issuer.missing
    """
    return await find_trusted_issuer(context, command.name)


@operation("trusted_issuer.delete")
async def distrust_issuer(context: OperationContext, command: NameTrustedIssuer) -> TrustedIssuer:
    """Take its word no more, from the next request on, on every node.

    Raises:
        Missing: trusted_issuer.missing
        PreconditionFailed: version.changed
        Conflict: trusted_issuer.in_use
    """
    trusted = await find_trusted_issuer(context, command.name)
    check_version(trusted.version, command.expected)
    using = await context.store.federated(trusted.name, limit=MAX_RULES) if command.with_credentials else ()
    await context.commit(
        "deleted",
        *(store.RevokeCredential(one.client_id, one.id) for one in using),
        DeleteTrustedIssuer(trusted.name, trusted.version),
        **_facts(trusted, revoked_credentials=len(using)),
    )
    return trusted


def _check_issuer(issuer: str) -> str:
    try:
        if issuer.startswith(SPIFFE_SCHEME):
            return check_trust_domain(issuer)
        url = check_secure_url(issuer, allow_loopback_http=False)
    except WatchwordError as error:
        sentence = "An issuer is an https URL, exactly as it stands in iss, or spiffe:// and a trust domain."
        raise Invalid("trusted_issuer.issuer", detail=sentence) from error
    if url.query is not None:
        raise Invalid("trusted_issuer.issuer", detail="An issuer has no query.")
    return issuer


async def _check(context: OperationContext, trusted: TrustedIssuer) -> None:
    """Refuse what can never work, and fetch the keys once, so that a mistake shows now."""
    if trusted.issuer == context.issuer:
        raise Invalid("trusted_issuer.issuer", detail="This is the server itself: its tokens are no credentials here.")
    if not set(trusted.algorithms) <= set(ALGORITHMS) or len(set(trusted.algorithms)) != len(trusted.algorithms):
        raise Invalid(
            "trusted_issuer.algorithms", detail=f"Algorithms are of {', '.join(ALGORITHMS)}, each named once."
        )
    if len(trusted.audience) > MAX_AUDIENCE or not trusted.audience.isprintable():
        raise Invalid("trusted_issuer.audience", detail=f"An audience is printable, at most {MAX_AUDIENCE} characters.")
    if trusted.jwks and trusted.jwks_uri:
        raise Invalid("trusted_issuer.keys", detail="The keys are in jwks, or at jwks_uri: give one of them.")
    if trusted.issuer.startswith(SPIFFE_SCHEME) and not trusted.jwks and not trusted.jwks_uri:
        raise Invalid(
            "trusted_issuer.keys",
            detail="A trust domain has no discovery: give the jwks_uri of its bundle, or jwks.",
        )
    try:
        source = key_source(trusted)
        if trusted.jwks:
            _check_size(trusted.jwks)
            if not read_keys(trusted.jwks, rsa_algorithm=source.rsa_algorithm, use=source.use).keys:
                raise InvalidKey("key.missing")
        else:
            await context.foreign_keys.find(source, "", ALGORITHMS[0], context.now)
    except KeysUnavailable as error:
        sentence = f"Its keys cannot be had ({error.reason}): nothing is trusted that cannot be checked."
        raise Invalid("trusted_issuer.keys", detail=sentence) from error
    except WatchwordError as error:
        raise Invalid("trusted_issuer.keys", detail=f"There is no usable key in jwks ({error.reason}).") from error


def _check_size(jwks: Mapping[str, object]) -> None:
    if len(str(jwks)) > MAX_DOCUMENT:
        raise Invalid("trusted_issuer.keys", detail=f"jwks has more than {MAX_DOCUMENT} characters.")


def _facts(trusted: TrustedIssuer, **more: object) -> dict[str, object]:
    return {
        "details": details(
            name=trusted.name,
            issuer=trusted.issuer,
            jwks_uri=trusted.jwks_uri,
            algorithms=" ".join(trusted.algorithms),
            audience=trusted.audience,
            **more,
        )
    }
