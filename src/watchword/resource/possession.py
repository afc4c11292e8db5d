"""Who may use a token that is bound to a key: every member of its ``cnf`` is proved in the request, or nobody passes.

RFC 7800 §3.1, RFC 8705 §3, RFC 9449 §7.1 and §7.2. What cannot be checked here is refused, never taken for a bearer token.
"""

from __future__ import annotations

from typing import Final

from watchword.errors import BadSettings, InvalidToken
from watchword.protocol.confirmation import Confirmation
from watchword.resource.client_certificate import ClientCertificate, check_certificate
from watchword.resource.credentials import IncomingRequest
from watchword.resource.dpop import ProofCheck

BEARER: Final = "bearer"
DPOP: Final = "dpop"


class Possession:
    """The proofs that one API can check. Without ``proofs`` it knows no DPoP, without ``certificates`` no mutual TLS.

    Raises:
        BadSettings: verifier.require_possession: it can check none.
    """

    def __init__(
        self, *, proofs: ProofCheck | None, is_required: bool, certificates: ClientCertificate | None = None
    ) -> None:
        self._proofs = proofs
        self._certificates = certificates
        self._is_required = is_required
        if is_required and proofs is None and certificates is None:
            raise BadSettings(
                "verifier.require_possession", detail="name the base_url of this API: a proof is for one URL"
            )

    @property
    def is_required(self) -> bool:
        """Whether a token that is bound to nothing is refused."""
        return self._is_required

    @property
    def dpop_algorithms(self) -> tuple[str, ...]:
        """What proofs may be signed with, for challenges; nothing where no proof can be checked."""
        return tuple(sorted(self._proofs.algorithms)) if self._proofs is not None else ()

    def is_asked(self, scheme: str, confirmation: Confirmation) -> bool:
        """Say whether there is anything to prove, if scheme and token go together. RFC 9449 §7.2.

        Raises:
            InvalidToken: token.bound (it came as a bearer token), token.not_bound (and came under ``DPoP``), token.scheme (and no
                proof is taken here at all), token.unbound (only bound tokens are), token.no_proofs (bound to a DPoP key, and no
                proof is taken here at all), token.confirmation (bound to what cannot be checked here).
        """
        if not confirmation.is_bound:
            if scheme != BEARER:
                raise InvalidToken("token.not_bound" if self._proofs is not None else "token.scheme")
            if self._is_required:
                raise InvalidToken("token.unbound")
            return False
        if confirmation.x5t_s256 is not None and self._certificates is None:
            raise InvalidToken("token.confirmation")
        if confirmation.jkt is None:
            if scheme != BEARER:
                raise InvalidToken("token.not_bound" if self._proofs is not None else "token.scheme")
            return True
        if self._proofs is None:
            raise InvalidToken("token.no_proofs")
        if scheme != DPOP:
            raise InvalidToken("token.bound")
        return True

    async def prove(self, request: IncomingRequest, token: str, confirmation: Confirmation) -> str:
        """Return the nonce to hand out, or ``""``, if the request proves every key that its token is bound to.

        Raises:
            InvalidToken, InvalidDpopProof, ReplayUnavailable: as ``ProofCheck.check`` and ``check_certificate``;
                token.confirmation.
            InvalidRequest: certificate_header.*
        """
        if confirmation.x5t_s256 is not None:
            if self._certificates is None:
                raise InvalidToken("token.confirmation")
            check_certificate(self._certificates, request, confirmation.x5t_s256)
            if confirmation.jkt is None:
                return ""
        if self._proofs is None or confirmation.jkt is None:
            raise InvalidToken("token.confirmation")
        return await self._proofs.check(request, token, confirmation.jkt)
