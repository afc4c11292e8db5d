"""DPoP at a protected resource: a token bound to a key goes only with a fresh proof of that key. RFC 9449 §7, §9, §11.1."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final, Literal

from watchword.clock import Clock
from watchword.errors import BadSettings, InvalidDpopProof, InvalidToken
from watchword.ports.replay import Replay, Verdict
from watchword.protocol import names
from watchword.protocol.dpop import (
    DEFAULT_LEEWAY,
    DEFAULT_MAX_AGE,
    LONGEST_WINDOW,
    PROOF_ALGORITHMS,
    Proof,
    check_proof,
)
from watchword.protocol.dpop_nonces import LIFETIME, Nonces
from watchword.protocol.jose import LEGACY_EDDSA
from watchword.resource.credentials import IncomingRequest, header_values
from watchword.resource.proof_memory import ProofMemory
from watchword.resource.target import find_target
from watchword.resource.verifier_settings import check_base_url, check_period

_log = logging.getLogger("watchword.resource")

_HEADER: Final = names.DPOP_HEADER.encode()
_KEY_BYTES: Final = 32
ADVICE: Final = "tell its Verifier where callers find it, as in base_url='https://api.example.com'"
_CLOCKS_DIFFER: Final = timedelta(seconds=5)
"""How far the clocks of those who share a key may differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DpopRules:
    """How an API judges proofs.

    ``max_age`` and ``leeway`` are how old a proof may be and how far ahead of the clock here, 5 minutes at most. With
    ``demand_nonce`` every proof needs a nonce from here. ``replay`` remembers the proofs that were used: this process's own
    memory unless given, which is right for one process; several workers or machines share one, and then ``nonce_key``, 32
    secret octets, too.

    Raises:
        BadSettings: dpop.max_age, dpop.leeway, dpop.algorithms, dpop.nonce_key.
    """

    max_age: timedelta = DEFAULT_MAX_AGE
    leeway: timedelta = DEFAULT_LEEWAY
    algorithms: Iterable[str] = PROOF_ALGORITHMS
    demand_nonce: bool = False
    nonce_key: bytes | None = field(default=None, repr=False)
    replay: Replay | None = None

    def __post_init__(self) -> None:
        check_period("dpop.max_age", self.max_age, least=timedelta(seconds=1), most=LONGEST_WINDOW)
        check_period("dpop.leeway", self.leeway, least=timedelta(0), most=LONGEST_WINDOW)
        chosen = frozenset(() if isinstance(self.algorithms, str) else self.algorithms)
        if not chosen or not chosen <= PROOF_ALGORITHMS | {LEGACY_EDDSA}:
            raise BadSettings("dpop.algorithms", detail=f"some of {', '.join(sorted(PROOF_ALGORITHMS))}, EdDSA")
        object.__setattr__(self, "algorithms", chosen)
        if self.nonce_key is not None and len(self.nonce_key) != _KEY_BYTES:
            raise BadSettings("dpop.nonce_key", detail="32 octets that nobody else knows")


class ProofCheck:
    """Judges the proofs of one API, whose paths stand below ``base_url``."""

    def __init__(self, base_url: str, rules: DpopRules, clock: Clock) -> None:
        self._base_url = base_url
        self._rules = rules
        self._clock = clock
        self._replay = rules.replay if rules.replay is not None else ProofMemory(clock=clock)
        self._nonces = _build_nonces(rules.nonce_key, base_url)
        self._namespace = f"dpop {base_url}"
        self.algorithms: Final = frozenset(rules.algorithms)

    async def check(self, request: IncomingRequest, token: str, jkt: str) -> str:
        """Return the nonce to hand out with the answer, or ``""``, if the request proves possession of the key ``jkt``.

        Raises:
            InvalidDpopProof: dpop.missing, dpop.several, dpop.replayed, dpop.target (this kind of request does not tell its
                method and path), and as ``check_proof``.
            UseDpopNonce: dpop.nonce_*, dpop.replay_unsure (it may have been used before this process began).
            InvalidToken: token.other_key.
            ReplayUnavailable: nothing is accepted now.
        """
        now = self._clock()
        proof = self._read(request, token)
        if proof.jkt != jkt:
            raise InvalidToken("token.other_key")
        since, offered = proof.since, ""
        if proof.nonce is not None or self._rules.demand_nonce:
            learned_at = self._nonces.check(proof.nonce, now)
            since = max(since, learned_at)
            offered = self._nonces.make(now) if now - learned_at > LIFETIME / 2 else ""
        verdict = await self._replay.claim(self._namespace, f"{proof.jkt}:{proof.jti}", since=since, until=proof.until)
        if verdict is Verdict.UNSURE:
            raise self._nonces.demand("dpop.replay_unsure", now)
        if verdict is not Verdict.FIRST:
            raise InvalidDpopProof("dpop.replayed")
        return offered

    def _read(self, request: IncomingRequest, token: str) -> Proof:
        values = header_values(request, _HEADER)
        if not values:
            raise InvalidDpopProof("dpop.missing")
        if len(values) > 1:
            raise InvalidDpopProof("dpop.several")
        target = find_target(request)
        if target is None:
            raise InvalidDpopProof("dpop.target")
        method, path = target
        return check_proof(
            values[0].decode("latin-1"),
            method=method,
            urls=(self._base_url + path,),
            now=self._clock(),
            max_age=self._rules.max_age,
            leeway=self._rules.leeway,
            algorithms=self.algorithms,
            token=token,
        )


def build_proof_check(
    base_url: str | None, audience: str, rules: DpopRules | Literal[False] | None, clock: Clock
) -> ProofCheck | None:
    """Return what judges the proofs of this API, or nothing where its URL is not known: a proof is for one URL.

    What is called is never taken from the request: who relays a proof writes the ``Host``.

    Raises:
        BadSettings: verifier.base_url: it cannot be one, or is missing where there are rules.
    """
    own_url = check_base_url(base_url, audience)
    if rules is False:
        return None
    if own_url is not None:
        return ProofCheck(own_url, rules or DpopRules(), clock)
    if rules is not None:
        raise BadSettings("verifier.base_url", detail=f"{ADVICE}: a proof is for one URL")
    _log.warning(
        "the API %r refuses every token that is bound to a DPoP key, as those of agents with keys are: %s, or "
        "dpop=False if that is meant",
        audience,
        ADVICE,
    )
    return None


def _build_nonces(key: bytes | None, base_url: str) -> Nonces:
    purpose = f"resource {base_url}"
    return Nonces(key, purpose, _CLOCKS_DIFFER) if key else Nonces(secrets.token_bytes(_KEY_BYTES), purpose)
