"""The endpoints that judge tokens of this server: introspection and revocation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from watchword.protocol import names
from watchword.protocol.dpop_nonces import Nonces
from watchword.server.audit import Audit
from watchword.server.caller import Callers, TokenCallers
from watchword.server.introspection_endpoint import AnswerSigner, IntrospectionEndpoint
from watchword.server.own_tokens import OwnTokens
from watchword.server.possession.dpop import DpopRules
from watchword.server.registrations import Registrations
from watchword.server.revocation_endpoint import RevocationEndpoint
from watchword.server.revocations import LiveRevocations
from watchword.server.signing_keys import SigningKeys
from watchword.ways_in import build_binder

if TYPE_CHECKING:
    from watchword.compose import Core


def build_judging(
    core: Core,
    callers: Callers,
    *,
    audit: Audit,
    keys: SigningKeys,
    revocations: LiveRevocations,
    nonces: Nonces,
    dpop: DpopRules,
) -> tuple[IntrospectionEndpoint, RevocationEndpoint]:
    """Return both. They share who logs in, how often, and what works once, with the token endpoint."""
    tokens = OwnTokens(core.issuer, keys, Registrations(core.store), revocations)

    def at(path: str) -> TokenCallers:
        return TokenCallers(callers, build_binder(core, nonces, dpop, paths=(path,), is_demanded=False), core.uses)

    signer = AnswerSigner(core.issuer, core.default_algorithm, keys, core.signer)
    return (
        IntrospectionEndpoint(audit, at(names.PATH_INTROSPECT), tokens, signer),
        RevocationEndpoint(audit, at(names.PATH_REVOKE), tokens),
    )
