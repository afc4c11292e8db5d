"""Which key the sender of a token must prove to hold. RFC 7800 §3.1, RFC 9449 §6.1, RFC 8705 §3.1."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

from watchword.errors import InvalidToken
from watchword.protocol import names
from watchword.protocol.base64url import b64url_encode

_SHA256_TEXT: Final = re.compile(r"[A-Za-z0-9_-]{42}[AEIMQUYcgkosw048]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """What a token is bound to: a DPoP key's RFC 7638 thumbprint, a certificate's SHA-256, both, or nothing.

    Both are base64url, without padding, of 32 octets.
    """

    jkt: str | None = None
    x5t_s256: str | None = None

    @property
    def is_bound(self) -> bool:
        """Whether the bearer has anything to prove."""
        return self.jkt is not None or self.x5t_s256 is not None


NO_CONFIRMATION: Final = Confirmation()


def x5t_s256(der: bytes) -> str:
    """Return the thumbprint of a certificate: base64url, without padding, of the SHA-256 of its DER. RFC 8705 §3.1."""
    return b64url_encode(hashlib.sha256(der).digest()).decode()


def build_cnf(confirmation: Confirmation) -> dict[str, str]:
    """Return the value of the ``cnf`` claim; empty when the token is bound to nothing, and then the claim is left out."""
    members = {names.JKT: confirmation.jkt, names.X5T_S256: confirmation.x5t_s256}
    return {name: value for name, value in members.items() if value is not None}


def parse_cnf(value: object) -> Confirmation:
    """Return the confirmation, if every member of it is one that we can enforce.

    Raises:
        InvalidToken: token.confirmation: not an object, empty, a member we do not know, or a value that is no SHA-256.
    """
    if not isinstance(value, dict) or not value or not value.keys() <= {names.JKT, names.X5T_S256}:
        raise InvalidToken("token.confirmation")
    if not all(isinstance(text, str) and _SHA256_TEXT.fullmatch(text) for text in value.values()):
        raise InvalidToken("token.confirmation")
    return Confirmation(jkt=value.get(names.JKT), x5t_s256=value.get(names.X5T_S256))
