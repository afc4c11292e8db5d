"""DPoP at the token endpoint: who proves a key gets a token bound to it. RFC 9449 §5, §8, §11.1."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from watchword.errors import InvalidDpopProof
from watchword.ports.replay import Verdict
from watchword.protocol import names
from watchword.protocol.confirmation import NO_CONFIRMATION, Confirmation
from watchword.protocol.dpop import DEFAULT_LEEWAY, DEFAULT_MAX_AGE, PROOF_ALGORITHMS, Proof, check_proof
from watchword.protocol.dpop_nonces import Nonces
from watchword.protocol.jose import LEGACY_EDDSA
from watchword.server.authentication import AuthenticatedAgent
from watchword.server.entry import Request
from watchword.server.single_use import SingleUse

NAMESPACE: Final = "dpop"
_HEADER: Final = names.DPOP_HEADER.encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class DpopRules:
    """How old a proof may be, how far ahead of our clock, whether it must repeat a nonce of ours, and how it may be signed.

    ``nodes_differ`` is how far the clocks of those may differ who read each other's nonces: nothing, on one machine.
    """

    max_age: timedelta = DEFAULT_MAX_AGE
    leeway: timedelta = DEFAULT_LEEWAY
    demand_nonce: bool = False
    nodes_differ: timedelta = timedelta(0)
    algorithms: frozenset[str] = PROOF_ALGORITHMS


class DpopPossession:
    """``urls`` are the configured names of the token endpoint: what a proof is for, whatever ``Host`` says."""

    def __init__(self, urls: tuple[str, ...], uses: SingleUse, nonces: Nonces, rules: DpopRules) -> None:
        self._urls = urls
        self._uses = uses
        self._nonces = nonces
        self._rules = rules

    async def prove(self, request: Request, client: AuthenticatedAgent) -> Confirmation:
        """Return the key that the request's proof is made with; ``NO_CONFIRMATION`` where it has none.

        Raises:
            InvalidDpopProof: dpop.several, dpop.replayed, and as ``check_proof``.
            UseDpopNonce: dpop.nonce_*, dpop.replay_unsure: it may have been used before memory was lost.
            ReplayUnavailable
        """
        values = request.header_values(_HEADER)
        if not values:
            return NO_CONFIRMATION
        if len(values) > 1:
            raise InvalidDpopProof("dpop.several")
        proof = check_proof(
            values[0].decode("latin-1"),
            method=request.method,
            urls=self._urls,
            now=request.received_at,
            max_age=self._rules.max_age,
            leeway=self._rules.leeway,
            algorithms=self._algorithms(client),
        )
        await self._use(request, proof, first=client.agent.created_at)
        return Confirmation(jkt=proof.jkt)

    async def _use(self, request: Request, proof: Proof, *, first: datetime) -> None:
        """Accept the proof this once. ``first``: nobody has accepted one of this agent before there was the agent.

        Who repeats a nonce shows that the proof is newer than the nonce.
        """
        since, now = max(proof.since, first), request.received_at
        if proof.nonce is not None or self._rules.demand_nonce:
            since = max(since, self._nonces.check(proof.nonce, now))
        identifier = f"{proof.jkt}:{proof.jti}"
        verdict = await self._uses.claim(request, NAMESPACE, identifier, since=since, until=proof.until)
        if verdict is Verdict.UNSURE:
            raise self._nonces.demand("dpop.replay_unsure", now)
        if verdict is not Verdict.FIRST:
            raise InvalidDpopProof("dpop.replayed")

    def _algorithms(self, client: AuthenticatedAgent) -> frozenset[str]:
        """RFC 9864: the old name of Ed25519 is for agents to whom it is conceded."""
        is_conceded = names.EDDSA_HEADER in client.agent.concessions
        return self._rules.algorithms | {LEGACY_EDDSA} if is_conceded else self._rules.algorithms
