"""Whom a token of an outside issuer logs in: exactly one agent, by the rules of its credentials, or nobody.

The issuer is looked up by its exact name before anything is fetched; its keys are those of its trust, and no others; the
claims are judged only once the signature has been verified.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Final

from watchword.errors import InvalidClient, ReplayUnavailable
from watchword.ports.agents import Credential, CredentialKind
from watchword.ports.foreign_keys import ForeignKeys, KeySource
from watchword.ports.issuers import TrustedIssuer
from watchword.ports.replay import Verdict
from watchword.ports.store import Store
from watchword.protocol import names
from watchword.protocol.claim_rules import ClaimRule
from watchword.protocol.federation_presets import ALGORITHMS, SPIFFE_SCHEME
from watchword.protocol.foreign_keys import read_keys
from watchword.protocol.foreign_token import (
    LEEWAY,
    ForeignToken,
    InvalidForeignToken,
    UnverifiedForeignToken,
    check_age,
    check_foreign_token,
)
from watchword.protocol.jose import PublicKey
from watchword.protocol.jwks import KeySet
from watchword.server.entry import Request
from watchword.server.single_use import SingleUse

MAX_CLIENT_ID: Final = 256
MAX_RULES: Final = 1000
"""Rules of one issuer that are tried for a token that does not say by ``client_id`` whom it means."""

RSA_ALGORITHMS: Final = (names.RS256, names.PS256)


@dataclass(frozen=True, slots=True)
class _Rule:
    credential: Credential
    rule: ClaimRule


@dataclass(frozen=True, slots=True)
class _View:
    """What is trusted, as of one count of the store's changes."""

    epoch: int
    issuers: Mapping[str, TrustedIssuer]
    rules: dict[str, Sequence[_Rule]]


class Federation:
    """Trusted issuers and the rules of all agents, read anew whenever the store's epoch has moved."""

    def __init__(self, issuer: str, store: Store, keys: ForeignKeys, single_use: SingleUse) -> None:
        self._issuer = issuer
        self._store = store
        self._keys = keys
        self._single_use = single_use
        self._view: _View | None = None

    async def identify(
        self, token: UnverifiedForeignToken, request: Request, *, trust_names: Sequence[str], client_id: str
    ) -> Credential:
        """Return the one credential that this token opens; ``client_id``, where one is named, must be its agent's.

        ``trust_names``: what the issuer may be called, in this order; the first that is trusted counts.

        Raises:
            InvalidClient: federated.*, jws.*
            KeysUnavailable, ReplayUnavailable, StoreUnavailable
        """
        view, now = await self._current(), request.received_at
        trusted = next((view.issuers[name] for name in trust_names if name in view.issuers), None)
        if trusted is None:
            raise InvalidClient("federated.issuer", detail=" ".join(trust_names)[:200])
        checked = await self._verify(token, trusted, now)
        fitting = [
            one
            for one in await self._rules(view, trusted, client_id)
            if one.credential.is_usable(now) and not one.rule.judge(checked.claims)
        ]
        chosen = _choose(fitting)
        await self._claim(checked, chosen, trusted, request)
        return await self._fresh(chosen.credential)

    async def _verify(self, token: UnverifiedForeignToken, trusted: TrustedIssuer, now: datetime) -> ForeignToken:
        algorithms = frozenset(trusted.algorithms or ALGORITHMS)
        if token.algorithm not in algorithms:
            raise InvalidClient("jws.algorithm", detail=token.algorithm)
        key = await find_key(token, trusted, self._keys, now)
        if key is None:
            raise InvalidClient("federated.key", detail=f"{trusted.name}: {token.algorithm} {token.kid[:64]}")
        audience = trusted.audience or self._issuer
        try:
            return check_foreign_token(token, key=key, audience=audience, algorithms=algorithms, now=now)
        except InvalidForeignToken as refused:
            facts = {"audience": audience, "skew": str(refused.skew)}
            raise InvalidClient(refused.reason, detail=refused.detail, facts=facts) from None

    async def _rules(self, view: _View, trusted: TrustedIssuer, client_id: str) -> Sequence[_Rule]:
        """Return the rules that may mean the token: those of the named client, or of everybody who trusts this issuer."""
        if client_id:
            own = (await self._store.credentials(client_id) if len(client_id) <= MAX_CLIENT_ID else None) or ()
            return [_parse(one) for one in own if _is_for(one, trusted)]
        if trusted.name not in view.rules:
            found = await self._store.federated(trusted.name, limit=MAX_RULES + 1)
            view.rules[trusted.name] = [_parse(one) for one in found]
        rules = view.rules[trusted.name]
        if len(rules) > MAX_RULES:
            raise InvalidClient("federated.too_many")
        return rules

    async def _claim(self, token: ForeignToken, chosen: _Rule, trusted: TrustedIssuer, request: Request) -> None:
        """Judge the age, and where the rule says so, let the token work once."""
        try:
            until = check_age(token, max_age=chosen.rule.max_age, now=request.received_at)
        except InvalidForeignToken as refused:
            facts = {"limit": str(int(chosen.rule.max_age.total_seconds()))}
            raise InvalidClient(refused.reason, detail=refused.detail, facts=facts) from None
        if not chosen.rule.single_use:
            return
        if not token.jti or token.issued_at is None:
            raise InvalidClient("federated.jti")
        since = max(token.issued_at - LEEWAY, chosen.credential.created_at)
        verdict = await self._single_use.claim(
            request, f"federated {trusted.issuer}", token.jti, since=since, until=until
        )
        if verdict is Verdict.REPEATED:
            raise InvalidClient("federated.repeated")
        if verdict is not Verdict.FIRST:
            raise ReplayUnavailable("replay.unsure", detail="memory may have been lost while this token was valid")

    async def _fresh(self, credential: Credential) -> Credential:
        """Return the credential with its last use as the store has it."""
        for one in await self._store.credentials(credential.client_id) or ():
            if one.id == credential.id:
                return one
        raise InvalidClient("federated.no_agent")

    async def _current(self) -> _View:
        epoch = await self._store.epoch()
        if self._view is None or self._view.epoch != epoch:
            trusted = await self._store.trusted_issuers()
            self._view = _View(epoch, {one.issuer: one for one in trusted}, {})
        return self._view


async def find_key(
    token: UnverifiedForeignToken, trusted: TrustedIssuer, keys: ForeignKeys, now: datetime
) -> PublicKey | None:
    """Return the issuer's own key that the token names, or nothing.

    Raises:
        KeysUnavailable
    """
    source = key_source(trusted)
    if not trusted.jwks:
        return await keys.find(source, token.kid, token.algorithm, now)
    stored = _stored_keys(json.dumps(dict(trusted.jwks), sort_keys=True), source)
    if token.kid:
        return stored.find(token.kid, token.algorithm)
    fitting = [key for key in stored.keys.values() if key.algorithm == token.algorithm]
    return fitting[0] if len(fitting) == 1 else None


def key_source(trusted: TrustedIssuer) -> KeySource:
    """Return where this issuer's keys are published."""
    rsa = next((one for one in trusted.algorithms if one in RSA_ALGORITHMS), names.RS256)
    use = "jwt-svid" if trusted.issuer.startswith(SPIFFE_SCHEME) else "sig"
    if trusted.jwks_uri:
        return KeySource(jwks_uri=trusted.jwks_uri, rsa_algorithm=rsa, use=use)
    return KeySource(issuer=trusted.issuer, rsa_algorithm=rsa, use=use)


def _choose(fitting: Sequence[_Rule]) -> _Rule:
    """Return the rule that means the token, if all that do are of one agent."""
    if not fitting:
        raise InvalidClient("federated.no_agent")
    if len({one.credential.client_id for one in fitting}) > 1:
        found = " ".join(sorted({one.credential.client_id for one in fitting}))
        raise InvalidClient("federated.ambiguous", detail=found[:200])
    return fitting[0]


def _is_for(credential: Credential, trusted: TrustedIssuer) -> bool:
    return credential.kind is CredentialKind.FEDERATED and credential.trusted_issuer == trusted.name


def _parse(credential: Credential) -> _Rule:
    return _Rule(credential, ClaimRule.from_details(credential.details))


@lru_cache(maxsize=64)
def _stored_keys(text: str, source: KeySource) -> KeySet:
    return read_keys(json.loads(text), rsa_algorithm=source.rsa_algorithm, use=source.use)
