"""The challenge-response login: the server says a word, the agent signs it. For agents whose clock is wrong, or none.

The private key is a registered one, or that of a certificate. Nothing but the answer leaves.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import ClassVar, Final, Literal

from watchword.client.credentials import ClientCredential, Sealed
from watchword.client.errors import LoginMisconfigured, LoginUnavailable
from watchword.client.private_key_jwt import KeySource, read_key
from watchword.ports.http import HttpResponse
from watchword.protocol import names
from watchword.protocol.challenge_login import PURPOSE_TOKEN, Terms, build_answer
from watchword.protocol.client_secret import redact
from watchword.protocol.held_key import HeldKey, kid_of
from watchword.protocol.jose import import_public_jwk, thumbprint
from watchword.protocol.strict_json import parse_object

MAX_CHALLENGE: Final = 1024
"""Characters of a challenge that are ever repeated."""


@dataclass(frozen=True, slots=True, repr=False)
class ChallengeResponse(Sealed):
    """A client that signs a challenge. ``key`` and the rest as in ``PrivateKeyJwt``.

    ``certificate`` is the file of a certificate of this key (PEM, the intermediates behind it): the answer brings it, and the
    server finds by it whose it is.

    Raises:
        LoginMisconfigured: credential.client_id, credential.private_key, credential.certificate, file.*.
    """

    holds_key: ClassVar[Literal[True]] = True

    client_id: str
    key: KeySource = field(repr=False)
    certificate: Path | str | None = None
    algorithm: str = ""
    kid: str = ""
    _named_by: Mapping[str, object] = field(init=False, repr=False)
    _thumbprint: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        if not self.client_id or not self.client_id.isprintable():
            raise LoginMisconfigured(
                "credential.client_id", detail="client_id is empty or has control characters in it"
            )
        key = read_key(self.key, self.algorithm)
        object.__setattr__(self, "key", key)
        if self.certificate is None:
            object.__setattr__(self, "_named_by", {names.KID: self.kid or kid_of(key)})
            object.__setattr__(self, "_thumbprint", thumbprint(key.public_jwk))
        else:
            x5c, x5t = _read_chain(Path(self.certificate), key)
            object.__setattr__(self, "_named_by", {names.X5C: x5c})
            object.__setattr__(self, "_thumbprint", x5t)

    def __repr__(self) -> str:
        return f"ChallengeResponse(client_id={self.client_id!r}, key_thumbprint={self._thumbprint!r})"

    def challenge_form(self) -> dict[str, str]:
        """Return what to ask for: who will answer, and with which key."""
        return {names.CLIENT_ID: self.client_id, names.KEY_THUMBPRINT: self._thumbprint, names.PURPOSE: PURPOSE_TOKEN}

    def with_challenge(self, answer: HttpResponse, *, issuer: str) -> ClientCredential:
        """Return the answer to this challenge, signed for this issuer."""
        challenge, expires_at = _parse(answer)
        if not isinstance(self.key, HeldKey):  # never after __post_init__
            raise TypeError("key")
        terms = Terms(issuer=issuer, client_id=self.client_id, thumbprint=self._thumbprint)
        signed = build_answer(challenge, terms, expires_at=expires_at, key=self.key, named_by=self._named_by)
        return _Answered(self.client_id, signed)

    def apply(self, form: dict[str, str], headers: dict[str, str], *, issuer: str, now: datetime) -> None:  # noqa: ARG002 -- the protocol's shape
        """Refuse: there is nothing to show before the server was asked."""
        raise LoginMisconfigured("challenge.not_asked", detail="a challenge is asked for first")

    def hide(self, text: str) -> str:
        """Return the text without what looks like an answer or a token."""
        return redact(text)


@dataclass(frozen=True, slots=True)
class _Answered(Sealed):
    """An answer, for one attempt."""

    client_id: str
    answer: str = field(repr=False)

    def apply(self, form: dict[str, str], headers: dict[str, str], *, issuer: str, now: datetime) -> None:  # noqa: ARG002 -- the protocol's shape
        form[names.CLIENT_ASSERTION_TYPE] = names.ASSERTION_TYPE_CHALLENGE
        form[names.CLIENT_ASSERTION] = self.answer

    def hide(self, text: str) -> str:
        return redact(text)


def _parse(answer: HttpResponse) -> tuple[str, datetime]:
    try:
        document = parse_object(answer.body)
    except ValueError:
        document = {}
    challenge, ends = document.get(names.CHALLENGE), document.get("expires_at")
    is_text = isinstance(challenge, str) and challenge.isascii() and challenge.isprintable()
    if not is_text or not 0 < len(str(challenge)) <= MAX_CHALLENGE or type(ends) is not int or not 0 <= ends < math.inf:
        raise LoginUnavailable("challenge.form", detail="the answer of the challenge endpoint is none")
    try:
        return str(challenge), datetime.fromtimestamp(ends, UTC)
    except (OverflowError, OSError, ValueError):
        raise LoginUnavailable("challenge.form", detail="the challenge ends at no time") from None


def _read_chain(path: Path, key: HeldKey) -> tuple[list[str], str]:
    """Return the ``x5c`` of a file and the ``x5t#S256`` of its first certificate, which must be of this key."""
    from watchword.protocol.x5c import read_chain

    try:
        chain = read_chain(path.read_bytes())
    except (OSError, ValueError):
        raise LoginMisconfigured("credential.certificate", detail=f"{path} holds no certificate in PEM") from None
    if chain.key != import_public_jwk(key.public_jwk, algorithm=key.algorithm).key:
        raise LoginMisconfigured("credential.certificate", detail=f"{path} is not a certificate of this private key")
    return list(chain.x5c), chain.thumbprint
