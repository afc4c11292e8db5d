"""The kinds of credentials: which ways of authentication each opens, and what must be said of one to be stored.

A kind is a line in ``KINDS``; what it takes is checked by a function of its own.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from watchword.errors import Invalid
from watchword.operations.certificate_kind import check_certificate, opened_by_certificate
from watchword.operations.checked import Check, Checked
from watchword.operations.context import OperationContext
from watchword.operations.federated_rules import check_federated
from watchword.operations.public_keys import check_public_key
from watchword.ports.agents import Credential, CredentialKind
from watchword.protocol import names


@dataclass(frozen=True, slots=True)
class Kind:
    """``auth_methods`` are the ``token_endpoint_auth_method`` values that it opens. ``check`` is given what the caller said of
    the credential, and raises ``Invalid`` with a sentence, or ``Missing``; of a secret, which the server makes, nothing is said.
    """

    auth_methods: tuple[str, ...]
    check: Check | None = None
    grant_types: tuple[str, ...] = (names.CLIENT_CREDENTIALS,)


SECRET_METHODS: Final = (names.CLIENT_SECRET_BASIC, names.CLIENT_SECRET_POST)
"""A secret opens both ways, unless the agent is pinned to one."""

CERTIFICATE_METHODS: Final = (names.TLS_CLIENT_AUTH, names.SELF_SIGNED_TLS_CLIENT_AUTH)

KINDS: Final[Mapping[CredentialKind, Kind]] = MappingProxyType(
    {
        CredentialKind.CLIENT_SECRET: Kind(SECRET_METHODS),
        CredentialKind.PUBLIC_KEY: Kind((names.PRIVATE_KEY_JWT, names.WATCHWORD_CHALLENGE), check_public_key),
        CredentialKind.CERTIFICATE: Kind(CERTIFICATE_METHODS, check_certificate),
        CredentialKind.FEDERATED: Kind(
            (names.FEDERATED,), check_federated, (names.CLIENT_CREDENTIALS, names.JWT_BEARER)
        ),
    }
)

AUTH_METHODS: Final = tuple(method for kind in KINDS.values() for method in kind.auth_methods)


def kind_of(auth_method: str) -> CredentialKind:
    """Return the kind of credential that a method needs.

    Raises:
        Invalid: agent.auth_method
    """
    for name, kind in KINDS.items():
        if auth_method in kind.auth_methods:
            return name
    raise Invalid("agent.auth_method", detail=f"The authentication method is one of {', '.join(AUTH_METHODS)}.")


def opened_by(credential: Credential) -> tuple[str, ...]:
    """Return the methods that this very credential opens."""
    if credential.kind is CredentialKind.CERTIFICATE:
        return (*opened_by_certificate(credential.details), names.WATCHWORD_CHALLENGE)
    return KINDS[credential.kind].auth_methods


def methods_with(credential: Credential, auth_method: str, *, is_pinned: bool) -> tuple[str, ...]:
    """Return the methods of an agent whose first way in this is: all that it opens, or the very one that was named.

    Raises:
        Invalid: credential.method: it does not open that one.
    """
    opened = opened_by(credential)
    if auth_method not in opened:
        sentence = f"What is said of the credential is for {', '.join(opened)}, not for {auth_method}."
        raise Invalid("credential.method", detail=sentence)
    return (auth_method,) if is_pinned else opened


async def check_details(context: OperationContext, kind: CredentialKind, said: Mapping[str, object]) -> Checked:
    """Return what is to be stored of a credential.

    Raises:
        Invalid: credential.kind: there is no such one here; credential.details: something is said of a secret; those of the kind
        Missing: those of the kind
    """
    rule = KINDS.get(kind)
    if rule is None:
        raise Invalid("credential.kind", detail=f"The kind is one of {', '.join(KINDS)}.")
    if rule.check is not None:
        return await rule.check(context, said)
    if said:
        raise Invalid("credential.details", detail="A secret is made by the server: nothing else can be said of it.")
    return Checked()


def check_auth_methods(methods: tuple[str, ...]) -> tuple[str, ...]:
    """Return the methods, if each is one that is there, and stands once.

    Raises:
        Invalid: agent.auth_method
    """
    if not methods or len(set(methods)) != len(methods) or not set(methods) <= set(AUTH_METHODS):
        known = ", ".join(AUTH_METHODS)
        raise Invalid("agent.auth_method", detail=f"The authentication method is one of {known}, each named once.")
    return methods


def check_concessions(concessions: tuple[str, ...]) -> tuple[str, ...]:
    """Return what is conceded, each once.

    Raises:
        Invalid: agent.concession
    """
    if not set(concessions) <= set(names.CONCESSIONS):
        raise Invalid("agent.concession", detail=f"What can be conceded is one of {', '.join(names.CONCESSIONS)}.")
    return tuple(name for name in names.CONCESSIONS if name in concessions)
