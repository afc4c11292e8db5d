"""``private_key_jwt``: an assertion signed with a key that is registered for the client, once. RFC 7523 §2.2, §3, RFC 10070."""

from __future__ import annotations

from datetime import datetime

from watchword.errors import InvalidClient, ReplayUnavailable
from watchword.ports.agents import Credential
from watchword.ports.replay import Verdict
from watchword.protocol import names
from watchword.protocol.client_assertion import (
    ClientAssertion,
    UnverifiedAssertion,
    check_client_assertion,
    parse_client_assertion,
)
from watchword.protocol.foreign_token import comes_from_outside
from watchword.protocol.form import Form
from watchword.protocol.jose import LEGACY_EDDSA, PublicKey
from watchword.server.authentication import Presented, Proved
from watchword.server.authentication.assertions import read_assertion
from watchword.server.authentication.registered_keys import RegisteredKeys, registered_among
from watchword.server.entry import Request
from watchword.server.security_profile import DEFAULT, SecurityProfile
from watchword.server.single_use import SingleUse


class PrivateKeyJwt:
    """Agents that sign. What was registered says which key; the token says nothing but its name."""

    names = (names.PRIVATE_KEY_JWT,)

    def __init__(
        self, issuer: str, single_use: SingleUse, keys: RegisteredKeys, profile: SecurityProfile = DEFAULT
    ) -> None:
        self._issuer = issuer
        self._keys = keys
        self._audiences = frozenset({issuer, *([issuer + names.PATH_TOKEN] if profile.grants_concessions else [])})
        self._single_use = single_use
        self._profile = profile

    def present(self, request: Request, form: Form) -> Presented | None:  # noqa: ARG002 -- the method's signature
        """Read the assertion; whose it is stands in its ``sub``, which a ``client_id`` beside it must repeat.

        Raises:
            InvalidRequest: assertion.incomplete.
            InvalidClient: assertion.client_id, and what ``parse_client_assertion`` refuses.
        """
        text = read_assertion(form, names.ASSERTION_TYPE_JWT)
        if text is None or comes_from_outside(text):
            return None
        assertion = parse_client_assertion(text)
        if form.get(names.CLIENT_ID) not in (None, assertion.client_id):
            raise InvalidClient("assertion.client_id")
        return Presented(names.PRIVATE_KEY_JWT, assertion.client_id, assertion, is_assertion=True)

    async def check(self, presented: Presented, credentials: tuple[Credential, ...], request: Request) -> Proved | None:
        """Verify with the one key that the assertion names, judge the rest, and claim its ``jti``, in this order.

        Raises:
            InvalidClient: assertion.*, jws.*
            KeysUnavailable, ReplayUnavailable
        """
        assertion, now = presented.proof, request.received_at
        if not isinstance(assertion, UnverifiedAssertion):
            raise TypeError("proof")
        registered = registered_among(credentials)
        found = await self._keys.find(registered, kid=assertion.kid, algorithm=assertion.algorithm, now=now)
        if found is None:
            self._take_as_long(assertion, now)
            if not registered:
                return None
            raise InvalidClient("assertion.key", detail=f"{assertion.algorithm} {assertion.kid[:64]}")
        checked = self._check(assertion, found.key, now)
        self._check_strictly(checked, is_strict=found.registered.is_strict)
        await self._claim(checked, request, first=min(one.created_at for one in registered))
        return Proved(found.credential, self._conceded(checked))

    def _check(self, assertion: UnverifiedAssertion, key: PublicKey, now: datetime) -> ClientAssertion:
        return check_client_assertion(
            assertion,
            key=key,
            audiences=self._audiences,
            algorithms=self._profile.assertion_algorithms | {LEGACY_EDDSA},
            now=now,
            longest=self._profile.longest_assertion,
        )

    def _take_as_long(self, assertion: UnverifiedAssertion, now: datetime) -> None:
        """Verify with a key that is nobody's: who has no such key must not be told by the time it takes."""
        try:
            self._check(assertion, self._keys.stand_in(assertion.algorithm), now)
        except InvalidClient:
            return
        raise InvalidClient("assertion.key")  # nobody has the other half

    def _check_strictly(self, checked: ClientAssertion, *, is_strict: bool) -> None:
        if checked.is_listed and (is_strict or self._profile.demands_plain_audience):
            raise InvalidClient("assertion.audience")
        if is_strict and not checked.is_typed:
            raise InvalidClient("assertion.type")

    def _conceded(self, checked: ClientAssertion) -> tuple[str, ...]:
        conceded = []
        if checked.audience != self._issuer:
            conceded.append(names.TOKEN_ENDPOINT_AUDIENCE)
        if checked.algorithm == LEGACY_EDDSA and LEGACY_EDDSA not in self._profile.assertion_algorithms:
            conceded.append(names.EDDSA_HEADER)
        return tuple(conceded)

    async def _claim(self, checked: ClientAssertion, request: Request, *, first: datetime) -> None:
        """``first``: nobody has accepted an assertion of this client before it had a key."""
        verdict = await self._single_use.claim(
            request,
            f"client_assertion {checked.client_id}",
            checked.jti,
            since=max(checked.since, first),
            until=checked.until,
        )
        if verdict is Verdict.REPEATED:
            raise InvalidClient("assertion.repeated")
        if verdict is not Verdict.FIRST:
            raise ReplayUnavailable("replay.unsure", detail="memory may have been lost while this assertion was valid")
