"""The challenge-response login: a challenge of this server, signed with a registered key or with that of a certificate, once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Protocol

from watchword.errors import InvalidClient, ReplayUnavailable
from watchword.ports.agents import Credential
from watchword.ports.replay import Verdict
from watchword.protocol import names
from watchword.protocol.challenge_login import (
    LIFETIME,
    PURPOSE_TOKEN,
    Answer,
    UnverifiedAnswer,
    check_answer,
    parse_answer,
)
from watchword.protocol.form import Form
from watchword.protocol.jose import PublicKey, thumbprint
from watchword.server.authentication import Presented, Proved
from watchword.server.authentication.assertions import read_assertion
from watchword.server.authentication.registered_keys import RegisteredKeys
from watchword.server.entry import Request
from watchword.server.security_profile import DEFAULT, SecurityProfile
from watchword.server.single_use import SingleUse

NODES_DIFFER: Final = timedelta(seconds=10)
"""How far the clocks of two nodes may be apart: so much before its time a challenge may have been answered."""


@dataclass(frozen=True, slots=True)
class Signer:
    """Who may answer: a credential, its key, and the name that a challenge was given for."""

    credential: Credential
    key: PublicKey
    thumbprint: str


class CertificateKeys(Protocol):
    """Finds the credential whose rule holds for a certificate that an answer brings."""

    def find(
        self, credentials: Sequence[Credential], x5c: Sequence[str], algorithm: str, now: datetime
    ) -> Signer | None:
        """Return the signer, if one of the usable credentials is for this certificate and it is valid now.

        Raises:
            InvalidClient: certificate.*
        """
        ...


class ChallengeResponse:
    """Agents that answer a challenge."""

    names = (names.WATCHWORD_CHALLENGE,)

    def __init__(
        self,
        issuer: str,
        secret: bytes,
        single_use: SingleUse,
        keys: RegisteredKeys,
        certificates: CertificateKeys | None = None,
        profile: SecurityProfile = DEFAULT,
    ) -> None:
        self._issuer = issuer
        self._secret = secret
        self._single_use = single_use
        self._keys = keys
        self._certificates = certificates
        self._algorithms = profile.assertion_algorithms

    def present(self, request: Request, form: Form) -> Presented | None:  # noqa: ARG002 -- the method's signature
        """Read the answer; whose it is stands in its ``sub``, which a ``client_id`` beside it must repeat.

        Raises:
            InvalidRequest: assertion.incomplete.
            InvalidClient: assertion.client_id, and what ``parse_answer`` refuses.
        """
        text = read_assertion(form, names.ASSERTION_TYPE_CHALLENGE)
        if text is None:
            return None
        answer = parse_answer(text)
        if form.get(names.CLIENT_ID) not in (None, answer.client_id):
            raise InvalidClient("assertion.client_id")
        return Presented(names.WATCHWORD_CHALLENGE, answer.client_id, answer, is_assertion=True)

    async def check(self, presented: Presented, credentials: tuple[Credential, ...], request: Request) -> Proved | None:
        """Verify with the one key that the answer names, judge the challenge, and claim it, in this order.

        Raises:
            InvalidClient: challenge.*, assertion.*, jws.*, certificate.*
            KeysUnavailable, ReplayUnavailable
        """
        answer, now = presented.proof, request.received_at
        if not isinstance(answer, UnverifiedAnswer):
            raise TypeError("proof")
        signer = await self._find(answer, credentials, now)
        if signer is None:
            self._take_as_long(answer, now)
            if not credentials:
                return None
            raise InvalidClient("challenge.key", detail=f"{answer.algorithm} {answer.kid[:64]}")
        checked = self._check(answer, signer.key, signer.thumbprint, now)
        await self._claim(checked, request, first=min(one.created_at for one in credentials))
        return Proved(signer.credential)

    async def _find(self, answer: UnverifiedAnswer, credentials: Sequence[Credential], now: datetime) -> Signer | None:
        if answer.x5c:
            if self._certificates is None:
                return None
            return self._certificates.find(credentials, answer.x5c, answer.algorithm, now)
        found = await self._keys.find(credentials, kid=answer.kid, algorithm=answer.algorithm, now=now)
        return None if found is None else Signer(found.credential, found.key, thumbprint(found.key.jwk))

    def _check(self, answer: UnverifiedAnswer, key: PublicKey, name: str, now: datetime) -> Answer:
        return check_answer(
            answer,
            key=key,
            thumbprint=name,
            secret=self._secret,
            issuer=self._issuer,
            purpose=PURPOSE_TOKEN,
            algorithms=self._algorithms,
            now=now,
        )

    def _take_as_long(self, answer: UnverifiedAnswer, now: datetime) -> None:
        key = self._keys.stand_in(answer.algorithm)
        try:
            self._check(answer, key, thumbprint(key.jwk), now)
        except InvalidClient:
            return
        raise InvalidClient("challenge.key")  # nobody has the other half

    async def _claim(self, checked: Answer, request: Request, *, first: datetime) -> None:
        since = max(checked.expires_at - LIFETIME - NODES_DIFFER, first)
        verdict = await self._single_use.claim(
            request, "challenge", checked.challenge, since=since, until=checked.expires_at
        )
        if verdict is Verdict.REPEATED:
            raise InvalidClient("challenge.repeated")
        if verdict is not Verdict.FIRST:
            raise ReplayUnavailable("replay.unsure", detail="memory may have been lost while this challenge was valid")
