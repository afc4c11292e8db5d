"""What is said of a token to who may know: RFC 7662 §2.2, and RFC 9701 §5 where it is to be signed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Final

from watchword.protocol import names
from watchword.protocol.access_token import AccessToken
from watchword.protocol.scope import build_scope

MEDIA_TYPE: Final = "application/token-introspection+jwt"
TYP: Final = "token-introspection+jwt"
INACTIVE: Final[Mapping[str, object]] = MappingProxyType({"active": False})
"""All that is said of a token that is not active, or that the caller may know nothing of."""

_KEPT: Final = (names.ISS, names.SUB, names.CLIENT_ID, names.AUD, names.EXP, names.NBF, names.IAT, names.JTI, names.CNF)


def build_introspection(token: AccessToken) -> dict[str, object]:
    """Return the members of an active token, as it has them."""
    members: dict[str, object] = {"active": True}
    members |= {name: token.claims[name] for name in (*_KEPT, names.CREDENTIAL_ID) if name in token.claims}
    members[names.TOKEN_TYPE] = names.BEARER if token.confirmation.jkt is None else names.DPOP
    if token.scopes:
        members[names.SCOPE] = build_scope(token.scopes)
    return members


def build_signed_header(*, algorithm: str, kid: str) -> dict[str, str]:
    """Return the header of a signed answer: nobody takes it for an access token. RFC 9701 §5, §8.1."""
    return {names.ALG: algorithm, names.KID: kid, names.TYP: TYP}


def build_signed_claims(members: Mapping[str, object], *, issuer: str, caller: str, now: datetime) -> dict[str, object]:
    """Return the claims of a signed answer, which is for the caller alone and has neither ``sub`` nor ``exp``."""
    return {
        names.ISS: issuer,
        names.AUD: caller,
        names.IAT: int(now.timestamp()),
        "token_introspection": dict(members),
    }


def wants_signed(accept: Sequence[bytes]) -> bool:
    """Tell whether these ``Accept`` headers ask for a signed answer. RFC 9701 §4."""
    for one in b",".join(accept).decode("latin-1").lower().split(","):
        name, *parameters = (part.strip() for part in one.split(";"))
        if name == MEDIA_TYPE:
            return not any(part.replace(" ", "").rstrip("0.") == "q=" for part in parameters)
    return False
