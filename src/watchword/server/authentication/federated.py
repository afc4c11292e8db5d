"""Agents that log in with the token of an outside issuer: as client assertion, as JWT-SVID, or as the grant itself.

RFC 7523 §2.1 and §2.2, draft-ietf-oauth-spiffe-client-auth. Who asks, ``server/federation.py`` finds out of the token.
"""

from __future__ import annotations

from collections.abc import Sequence

from watchword.errors import InvalidAssertion, InvalidClient, InvalidRequest
from watchword.ports.agents import Credential
from watchword.protocol import names
from watchword.protocol.foreign_token import (
    InvalidForeignToken,
    UnverifiedForeignToken,
    comes_from_outside,
    parse_foreign_token,
)
from watchword.protocol.form import Form
from watchword.server.authentication import Presented, Proved
from watchword.server.authentication.assertions import read_assertion
from watchword.server.entry import Request
from watchword.server.federation import Federation


class _Federated:
    """What the three have in common: the token says who asks."""

    names = (names.FEDERATED,)

    def __init__(self, federation: Federation) -> None:
        self._federation = federation

    async def find(self, presented: Presented, request: Request) -> Proved:
        """Return the credential that the token opens; with a ``client_id``, only one of this client.

        Raises:
            InvalidClient: federated.*, jws.*
            Fault
        """
        token = presented.proof
        if not isinstance(token, UnverifiedForeignToken):
            raise TypeError("proof")
        trust_names = [name for name in self._trust_names(token) if name]
        credential = await self._federation.identify(
            token, request, trust_names=trust_names, client_id=presented.client_id
        )
        return Proved(credential)

    async def check(self, presented: Presented, credentials: tuple[Credential, ...], request: Request) -> Proved | None:  # noqa: ARG002 -- the method's signature
        """Return the credential that the token opens."""
        return await self.find(presented, request)

    def _trust_names(self, token: UnverifiedForeignToken) -> Sequence[str]:
        return (token.issuer,)


class FederatedAssertion(_Federated):
    """The token is the ``client_assertion`` of a client authentication. RFC 7523 §2.2."""

    def present(self, request: Request, form: Form) -> Presented | None:  # noqa: ARG002 -- the method's signature
        """Read the assertion, if it is not one that a client has signed for itself.

        Raises:
            InvalidRequest: assertion.incomplete.
            InvalidClient: federated.form, jws.*
        """
        text = read_assertion(form, names.ASSERTION_TYPE_JWT)
        return _present(text, form) if text is not None and comes_from_outside(text) else None


class SpiffeAssertion(_Federated):
    """The token is a JWT-SVID: who it is for, its trust domain says, and ``iss`` says nothing."""

    def present(self, request: Request, form: Form) -> Presented | None:  # noqa: ARG002 -- the method's signature
        """Read the assertion.

        Raises:
            InvalidRequest: assertion.incomplete.
            InvalidClient: federated.form, jws.*
        """
        text = read_assertion(form, names.ASSERTION_TYPE_SPIFFE)
        return None if text is None else _present(text, form)

    def _trust_names(self, token: UnverifiedForeignToken) -> Sequence[str]:
        return (token.trust_domain,)


class FederatedGrant(_Federated):
    """The token is the grant, and there is no client authentication beside it. RFC 7523 §2.1."""

    def present(self, request: Request, form: Form) -> Presented | None:  # noqa: ARG002 -- the method's signature
        """Read the assertion of the grant.

        Raises:
            InvalidRequest: grant.assertion_missing.
            InvalidAssertion: federated.form, jws.*
        """
        if form.get(names.GRANT_TYPE) != names.JWT_BEARER:
            return None
        text = form.get(names.ASSERTION)
        if text is None:
            raise InvalidRequest("grant.assertion_missing")
        try:
            presented = _present(text, form)
        except InvalidClient as refused:
            raise InvalidAssertion(refused.reason) from None
        return Presented(
            presented.method, presented.client_id, presented.proof, claimed_name=presented.claimed_name, is_grant=True
        )

    def _trust_names(self, token: UnverifiedForeignToken) -> Sequence[str]:
        return (token.issuer, token.trust_domain)


def federated_methods(federation: Federation) -> tuple[FederatedAssertion, SpiffeAssertion, FederatedGrant]:
    """Return all three."""
    return FederatedAssertion(federation), SpiffeAssertion(federation), FederatedGrant(federation)


def _present(text: str, form: Form) -> Presented:
    try:
        token = parse_foreign_token(text)
    except InvalidForeignToken as refused:
        raise InvalidClient(refused.reason) from None
    return Presented(
        names.FEDERATED,
        form.get(names.CLIENT_ID) or "",
        token,
        is_assertion=True,
        claimed_name=f"{token.issuer} {token.subject}",
    )
