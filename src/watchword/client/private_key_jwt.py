"""``private_key_jwt``: the client signs a short-lived assertion with a key that never leaves it. RFC 7523 §2.2, RFC 10070."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import ClassVar, Literal

from watchword.client.credential_file import CredentialFromFiles
from watchword.client.credentials import Sealed
from watchword.client.errors import LoginMisconfigured
from watchword.client.private_file import OTHERS, read_private_file
from watchword.protocol import names
from watchword.protocol.client_assertion import build_client_assertion
from watchword.protocol.client_secret import redact
from watchword.protocol.held_key import HeldKey, kid_of
from watchword.protocol.jose import InvalidKey, import_public_jwk
from watchword.protocol.private_keys import read_private_key

KeySource = HeldKey | Path | str | Mapping[str, object]
"""A key, a file, the text of a file (PEM or JWK), or a private JWK."""

_ADVICE: Mapping[str, str] = {
    "key.encoding": "it is neither PEM nor a private JWK",
    "key.encrypted": "it is encrypted: keep it without a passphrase in a file of mode 0600, or in a PKCS #11 token",
    "key.public": "there is only a public key in it: the private half is needed",
    "key.algorithm": "the algorithm is not one for this key: EC keys sign ES256 or ES384, RSA keys PS256 or RS256",
    "key.size": "an RSA key has 2048 to 4096 bits",
    "key.curve": "the curve is not one of P-256, P-384 and Ed25519",
}


@dataclass(frozen=True, slots=True, repr=False)
class PrivateKeyJwt(Sealed):
    """A client that signs: ``key`` is read when this is made, from a file only if nobody else can read that.

    ``key`` may be one that another keeps, as in a PKCS #11 token: whatever has ``algorithm``, ``public_jwk`` and
    ``sign(message)``. What its ``sign`` raises is raised by the login.

    ``algorithm`` is needed for RSA keys that are to sign RS256: they sign PS256 otherwise. ``kid`` is the name under which
    the server knows the key; by default the one that its JWK gives it, or its RFC 7638 thumbprint.

    Raises:
        LoginMisconfigured: credential.client_id, credential.private_key, file.*.
    """

    holds_key: ClassVar[Literal[True]] = True

    client_id: str
    key: KeySource = field(repr=False)
    algorithm: str = ""
    kid: str = ""

    def __post_init__(self) -> None:
        if not self.client_id or not self.client_id.isprintable():
            raise LoginMisconfigured(
                "credential.client_id", detail="client_id is empty or has control characters in it"
            )
        object.__setattr__(self, "key", read_key(self.key, self.algorithm))

    @classmethod
    def from_file(cls, client_id: str, path: Path | str, *, algorithm: str = "", kid: str = "") -> CredentialFromFiles:
        """Return this credential with the key that is in a file, which may be replaced while it is in use.

        Raises:
            LoginMisconfigured: credential.client_id, credential.private_key, file.*
        """
        file = Path(path)
        return CredentialFromFiles(lambda: cls(client_id, file, algorithm, kid), file)

    def __repr__(self) -> str:
        return f"PrivateKeyJwt(client_id={self.client_id!r}, kid={self.kid or kid_of(self._signer)!r})"

    @property
    def _signer(self) -> HeldKey:
        if not isinstance(self.key, HeldKey):  # never after __post_init__
            raise TypeError("key")
        return self.key

    def apply(self, form: dict[str, str], headers: dict[str, str], *, issuer: str, now: datetime) -> None:  # noqa: ARG002 -- the protocol's shape
        """Set the assertion in the form: a new one, for this attempt alone, addressed to the issuer."""
        form[names.CLIENT_ASSERTION_TYPE] = names.ASSERTION_TYPE_JWT
        form[names.CLIENT_ASSERTION] = build_client_assertion(
            client_id=self.client_id,
            audience=issuer,
            jti=secrets.token_urlsafe(16),
            issued_at=now,
            key=self._signer,
            kid=self.kid or None,
        )

    def hide(self, text: str) -> str:
        """Return the text without what looks like an assertion or a token."""
        return redact(text)


def read_key(source: KeySource, algorithm: str) -> HeldKey:
    """Return the key, whatever it came as.

    Raises:
        LoginMisconfigured: credential.private_key, file.*.
    """
    if isinstance(source, HeldKey):
        return _checked(source, algorithm)
    place = "the private key"
    if isinstance(source, Mapping):
        text = json.dumps(dict(source))
    elif isinstance(source, str) and source.lstrip().startswith(("{", "-----BEGIN ")):
        text = source
    else:
        place, text = str(source), read_private_file(Path(source), forbidden=OTHERS)
    try:
        return read_private_key(text, algorithm=algorithm)
    except InvalidKey as error:
        why = _ADVICE.get(error.reason, f"it cannot be used ({error.reason})")
        raise LoginMisconfigured("credential.private_key", detail=f"{place}: {why}") from None


def _checked(key: HeldKey, algorithm: str) -> HeldKey:
    """Return a key that was given as such, if its public half is one for its algorithm, and for the one that is asked for."""
    if algorithm not in ("", key.algorithm):
        raise LoginMisconfigured("credential.private_key", detail=f"the key: {_ADVICE['key.algorithm']}")
    try:
        import_public_jwk(key.public_jwk, algorithm=key.algorithm)
    except InvalidKey as error:
        why = _ADVICE.get(error.reason, f"it cannot be used ({error.reason})")
        raise LoginMisconfigured("credential.private_key", detail=f"the key: {why}") from None
    return key
