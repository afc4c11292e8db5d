"""The decision of a protected API: whether a token speaks for somebody here, now, for this. RFC 9068 §4, RFC 6750.

A token is checked without asking anybody: against the issuer's published keys, this API's own name, and the clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

from watchword.clock import Clock, system_clock
from watchword.errors import BadSettings, InsufficientScope, InvalidToken
from watchword.ports.http import Transport
from watchword.protocol import names
from watchword.protocol.access_token import (
    DEFAULT_LEEWAY,
    MAX_LEEWAY,
    check_access_token,
    check_expiry,
    parse_access_token,
    validity,
)
from watchword.protocol.jose import PublicKey, UnverifiedToken
from watchword.resource.caller import Caller, build_caller
from watchword.resource.client_certificate import ClientCertificate
from watchword.resource.credentials import IncomingRequest, find_token
from watchword.resource.dpop import DpopRules, build_proof_check
from watchword.resource.issuer_keys import IssuerKeys
from watchword.resource.jwks_cache import MAX_STALE, JwksCache, KeysStatus
from watchword.resource.possession import Possession
from watchword.resource.revocation import Watch
from watchword.resource.steps import Steps, run, run_at_once, run_blocking
from watchword.resource.verified_cache import CAPACITY, Verified, VerifiedCache
from watchword.resource.verifier_settings import (
    check_algorithms,
    check_audience,
    check_clients,
    check_jwks_uri,
    check_period,
    check_verifier_issuer,
    check_watch,
)


@dataclass(frozen=True, slots=True)
class Admission:
    """Who was let in, and what the answer must carry besides: a ``DPoP-Nonce`` for the next proof."""

    caller: Caller
    nonce: str = ""


class Verifier:
    """Accepts the access tokens of one issuer that are meant for one audience. Thread-safe; make one, and keep it.

    ``issuer`` and ``audience`` are compared character by character. Keys come from ``jwks_uri``, or from where the
    issuer's metadata says. ``leeway`` (at most 60 s) is what the clocks may differ. ``allowed_clients``, where given, are
    the only agents let in: an issuer's other agents have valid tokens, too. ``max_stale`` is how old a key set may get
    while the issuer cannot be reached. ``cached_tokens`` bounds the memory of tokens whose signature was verified.

    ``base_url`` is the URL below which callers find this API's paths: the audience's origin unless given. With it, tokens bound
    to a key are taken under the scheme ``DPoP`` with a proof, judged by ``dpop``. Without it they are refused, and a line in
    the log says so now, unless ``dpop=False`` says that it is meant. Tokens bound to a certificate are taken where
    ``client_certificate`` says which one the caller has shown. With ``require_possession`` no other tokens are taken.

    ``revocation`` says how it is known that a token was taken back: a ``RevocationFeed``, for one. Without it a token is good
    until it expires.

    Raises:
        BadSettings: verifier.issuer, verifier.audience, verifier.algorithms, verifier.leeway, verifier.allowed_clients,
            verifier.jwks_uri, verifier.max_stale, verifier.cached_tokens, verifier.base_url, verifier.require_possession,
            verifier.revocation.
    """

    def __init__(
        self,
        *,
        issuer: str,
        audience: str,
        algorithms: Iterable[str] = names.SIGNING_ALGORITHMS,
        leeway: timedelta = DEFAULT_LEEWAY,
        allowed_clients: Iterable[str] | None = None,
        jwks_uri: str | None = None,
        transport: Transport | None = None,
        clock: Clock = system_clock,
        max_stale: timedelta = MAX_STALE,
        cached_tokens: int = CAPACITY,
        base_url: str | None = None,
        dpop: DpopRules | Literal[False] | None = None,
        client_certificate: ClientCertificate | None = None,
        require_possession: bool = False,
        revocation: Watch | None = None,
    ) -> None:
        self.issuer: Final = check_verifier_issuer(issuer)
        self.audience: Final = check_audience(audience)
        self._algorithms = check_algorithms(algorithms)
        self._leeway = check_period("verifier.leeway", leeway, least=timedelta(0), most=MAX_LEEWAY)
        self._allowed_clients = None if allowed_clients is None else check_clients(allowed_clients)
        self._clock = clock
        check_period("verifier.max_stale", max_stale, least=timedelta(minutes=1), most=timedelta(days=1))
        source = IssuerKeys(issuer, check_jwks_uri(jwks_uri))
        self._keys = JwksCache(source, transport=transport, clock=clock, max_stale=max_stale)
        if cached_tokens < 0:
            raise BadSettings("verifier.cached_tokens", detail="not negative")
        self._verified = VerifiedCache(f"{issuer}\n{audience}", capacity=cached_tokens)
        self._watch: Watch = check_watch(revocation, issuer)
        self.possession: Final = Possession(
            proofs=build_proof_check(base_url, audience, dpop, clock),
            is_required=require_possession,
            certificates=client_certificate,
        )

    async def verify(self, request: IncomingRequest, scopes: str | Iterable[str] = ()) -> Caller:
        """Return the caller of a request, if its token is good here and has all these scopes.

        ``request`` is an ASGI scope, a WSGI environment, an object with ``headers``, or a mapping of headers.

        Raises:
            InvalidToken: 401: token.missing, token.scheme, as ``verify_token``, and where token and scheme do not go together or
                possession is not proved, as ``Possession``.
            InvalidDpopProof: 401: as ``ProofCheck.check``; UseDpopNonce: the next proof needs its nonce.
            InvalidRequest: 400: authorization.several, authorization.syntax.
            InsufficientScope: 403: caller.scope, caller.client.
            VerifierUnavailable, ReplayUnavailable: 503: there are no keys, or there is no memory of proofs, to check with, or it
                cannot be known whether the token was revoked.
        """
        return (await self.admit(request, scopes)).caller

    async def admit(self, request: IncomingRequest, scopes: str | Iterable[str] = ()) -> Admission:
        """``verify``, for who answers the request, too: what the answer must carry comes with the caller."""
        scheme, token = find_token(request)
        caller = await self._identify(token)
        nonce = ""
        if self.possession.is_asked(scheme, caller.confirmation):
            nonce = await self.possession.prove(request, token, caller.confirmation)
        return Admission(self._admit(caller, scopes), nonce)

    async def verify_token(self, token: str, scopes: str | Iterable[str] = ()) -> Caller:
        """Return the caller a bare token speaks for.

        Raises:
            InvalidToken: token.revoked, token.unknown_key, token.unbound, token.actor, token.confirmation (bound to a key: there
                is no request that could prove it), and the reasons of ``protocol/access_token.py``.
            InsufficientScope: caller.scope, caller.client.
            VerifierUnavailable: there are no keys to check a token with.
        """
        return self._admit(self._check_bare(await self._identify(token)), scopes)

    def verify_sync(self, request: IncomingRequest, scopes: str | Iterable[str] = ()) -> Caller:
        """``verify`` for a thread that may block: WSGI frameworks, jobs.

        A memory of used proofs that has to be waited for cannot be asked here: then the answer is ``VerifierUnavailable``.
        """
        scheme, token = find_token(request)
        caller = self._identify_sync(token)
        if self.possession.is_asked(scheme, caller.confirmation):
            run_at_once(self.possession.prove(request, token, caller.confirmation))
        return self._admit(caller, scopes)

    def verify_token_sync(self, token: str, scopes: str | Iterable[str] = ()) -> Caller:
        """``verify_token`` for a thread that may block."""
        return self._admit(self._check_bare(self._identify_sync(token)), scopes)

    def keys_status(self) -> KeysStatus:
        """Return how the issuer's keys stand here, for health pages and alerts; nothing is fetched."""
        return self._keys.status()

    async def _identify(self, token: str) -> Caller:
        """Return whom a token speaks for; what it is bound to is not proved yet."""
        digest = self._verified.digest(token)
        caller = self._recall(digest)
        return caller if caller is not None else await run(self._settle(token, digest))

    def _identify_sync(self, token: str) -> Caller:
        digest = self._verified.digest(token)
        caller = self._recall(digest)
        return caller if caller is not None else run_blocking(self._settle(token, digest))

    def _check_bare(self, caller: Caller) -> Caller:
        if caller.confirmation.is_bound:
            raise InvalidToken("token.confirmation")
        if self.possession.is_required:
            raise InvalidToken("token.unbound")
        return caller

    def _recall(self, digest: bytes) -> Caller | None:
        """Return the caller of a token seen before, if everything that was known then is all that is known now."""
        found = self._verified.get(digest)
        if found is None or found.held is not self._keys.held or found.stamp != self._watch.stamp:
            return None
        return found.caller if found.begins <= self._clock() < found.ends else None

    def _settle(self, token: str, digest: bytes) -> Steps[Caller]:
        """Return whom a token speaks for, and remember it, after looking at all that may have changed."""
        found = self._look_again(digest)
        if found is None:
            unverified, key = self._find_key(token)
            if key is None:
                key = yield from self._await_key(unverified)
            found = self._accept(unverified, key)
        try:
            standing = yield from self._watch.confirm(token, found.token, found.key.kid)
            check_expiry(found.token, now=self._clock(), leeway=self._leeway)  # it may have taken a while
        except InvalidToken:
            self._verified.drop(digest)
            raise
        found = found.with_standing(standing)
        self._verified.put(digest, found)
        return found.caller

    def _look_again(self, digest: bytes) -> Verified | None:
        """Return a token seen before, if the key that signed it is still published and it has not expired."""
        found = self._verified.get(digest)
        now = self._clock()
        held = self._keys.current(now) if found is not None else None
        if found is None or held is None:
            return None
        key = held.keys.find(found.key.kid, found.key.algorithm)
        if key is None or (key is not found.key and key.jwk != found.key.jwk):
            self._verified.drop(digest)
            return None
        try:
            check_expiry(found.token, now=now, leeway=self._leeway)
        except InvalidToken:
            self._verified.drop(digest)
            raise
        begins, ends = validity(found.token, leeway=self._leeway)
        begins, ends = max(begins, held.fetched_at), min(ends, held.fresh_until)
        caller = found.caller if len(found.caller.scopes) == len(found.token.scopes) else build_caller(found.token)
        return Verified(found.token, key, caller, held, begins, ends)

    def _find_key(self, token: str) -> tuple[UnverifiedToken, PublicKey | None]:
        """Return what may be a token of ours, and the key it names, if that is at hand.

        Nothing is fetched for what cannot be a token of ours.
        """
        unverified = parse_access_token(token)
        kid, algorithm = _key_named(unverified)
        if algorithm not in self._algorithms:
            raise InvalidToken("jws.algorithm")
        return unverified, self._keys.at_hand(kid, algorithm, self._clock())

    def _await_key(self, unverified: UnverifiedToken) -> Steps[PublicKey]:
        key = yield from self._keys.find(*_key_named(unverified))
        if key is None:
            raise InvalidToken("token.unknown_key")
        return key

    def _accept(self, unverified: UnverifiedToken, key: PublicKey) -> Verified:
        """Check everything that a token says of itself."""
        checked = check_access_token(
            unverified,
            key=key,
            issuer=self.issuer,
            audience=self.audience,
            algorithms=self._algorithms,
            now=self._clock(),
            leeway=self._leeway,
        )
        return Verified(checked, key, build_caller(checked))

    def _admit(self, caller: Caller, scopes: str | Iterable[str]) -> Caller:
        """Apply what is decided anew at every request, for remembered tokens as for new ones."""
        if self._allowed_clients is not None and caller.client_id not in self._allowed_clients:
            raise InsufficientScope("caller.client", scope=())
        if scopes:
            caller.require(*(scopes.split() if isinstance(scopes, str) else scopes))
        return caller


def _key_named(token: UnverifiedToken) -> tuple[str, str]:
    return str(token.header[names.KID]), str(token.header[names.ALG])
