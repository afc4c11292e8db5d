"""The one place where a token comes into being. RFC 9068."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from watchword.ports.keys import Signer
from watchword.protocol import names
from watchword.protocol.access_token import build_claims, build_header
from watchword.protocol.confirmation import Confirmation
from watchword.protocol.jose import assemble, signing_input
from watchword.server.abreast import abreast
from watchword.server.policy import Permit
from watchword.server.revocations import SECOND, LiveRevocations, whole_second
from watchword.server.signing_keys import SigningKeys
from watchword.server.status_places import StatusPlaces, status_claim


@dataclass(frozen=True, slots=True, kw_only=True)
class MintedToken:
    """A signed token and what the record says of it."""

    token: str = field(repr=False)
    jti: str
    kid: str
    algorithm: str
    scopes: tuple[str, ...]
    audience: str
    confirmation: Confirmation
    lifetime: timedelta
    expires_at: datetime
    issued_at: datetime
    status: int | None = None


class Minter:
    """Turns a permit into a token. It takes the confirmation as an argument, so none can be forgotten."""

    def __init__(
        self,
        issuer: str,
        keys: SigningKeys,
        signer: Signer,
        revocations: LiveRevocations,
        places: StatusPlaces | None = None,
    ) -> None:
        self._issuer = issuer
        self._places = places
        self._revocations = revocations
        self._keys = keys
        self._signer = signer

    async def mint(self, permit: Permit, confirmation: Confirmation, now: datetime) -> MintedToken:
        """Return the token; ``iat`` is ``now`` in whole seconds, ``exp`` is ``now`` plus the permit's lifetime.

        After a revocation that would hit the token ``iat`` is the second after its cut-off, which may lie a little ahead: what
        was revoked stays dead, and what is issued since lives. ``exp`` does not move with it.

        Raises:
            NoSigningKey, StoreUnavailable
        """
        key = await self._keys.active(permit.resource.signing_algorithm)
        place = None if self._places is None else await self._places.take()
        revoked = await self._revocations.current()
        begins = now.replace(microsecond=0)
        ends = begins + timedelta(seconds=int(permit.lifetime.total_seconds()))
        jti = secrets.token_urlsafe(16)
        claims = build_claims(
            issuer=self._issuer,
            client_id=permit.client_id,
            audience=permit.resource.identifier,
            scopes=permit.scopes,
            issued_at=begins,
            expires_at=ends,
            jti=jti,
            confirmation=confirmation,
            credential_id=permit.credential_id,
        )
        if place is not None:
            claims[names.STATUS] = status_claim(self._issuer, place)
        cutoff = revoked.cutoff(claims, key.kid)
        if cutoff is not None and begins <= cutoff:
            begins = whole_second(cutoff) + SECOND
            ends = max(ends, begins + SECOND)
            claims |= {names.IAT: int(begins.timestamp()), names.EXP: int(ends.timestamp())}
        unsigned = signing_input(build_header(algorithm=key.algorithm, kid=key.kid), claims)
        await abreast()
        signature = await self._signer.sign(key, unsigned)
        await abreast()
        return MintedToken(
            token=assemble(unsigned, signature),
            jti=jti,
            kid=key.kid,
            algorithm=key.algorithm,
            scopes=permit.scopes,
            audience=permit.resource.identifier,
            confirmation=confirmation,
            lifetime=ends - now.replace(microsecond=0),
            expires_at=ends,
            issued_at=begins,
            status=place,
        )
