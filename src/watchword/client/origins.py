"""Which servers may see a token: those of its resource, and nobody else. RFC 6750 §5.2, §5.3."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

from watchword.client.errors import LoginMisconfigured
from watchword.protocol.challenge import InvalidChallenge, parse_challenges
from watchword.protocol.url import InvalidUrl, Url, check_secure_url

_PINNED = "pinned"


def parse_origin(url: str) -> str:
    """Return scheme, host and port of a URL: https, or http to a loopback address.

    Raises:
        LoginMisconfigured: origin.syntax, origin.insecure.
    """
    parsed = _parse(url)
    return f"{parsed.scheme}://{parsed.authority}"


def _parse(url: str) -> Url:
    try:
        return check_secure_url(url, allow_loopback_http=True)
    except InvalidUrl as error:
        if error.reason == "url.insecure":
            raise LoginMisconfigured(
                "origin.insecure", detail="a token is sent over https only, or over http to a loopback address"
            ) from None
        raise LoginMisconfigured(
            "origin.syntax", detail="an origin is written like https://api.example.com, in lower case"
        ) from None


class OriginRule:
    """The origins a token may be sent to. Without any, the first one asked for is taken, for good."""

    def __init__(self, origins: Iterable[str] = ()) -> None:
        self._named = frozenset(map(parse_origin, origins))
        self._first: dict[str, str] = {}

    @classmethod
    def of_resource(cls, identifier: str | None) -> Self:
        """Return the rule that follows from a resource: its own origin if it is an http(s) URL, else the first one used."""
        is_url = identifier is not None and identifier.lower().startswith(("https:", "http:"))
        return cls((identifier,)) if is_url and identifier is not None else cls()

    def admit(self, url: str) -> str:
        """Return the origin of ``url`` if a token may be sent there.

        Raises:
            LoginMisconfigured: origin.refused, origin.syntax, origin.insecure.
        """
        origin = parse_origin(url)
        allowed = self._named or {self._first.setdefault(_PINNED, origin)}
        if origin not in allowed:
            raise LoginMisconfigured(
                "origin.refused",
                detail=f"the token is for {', '.join(sorted(allowed))} and is not sent to {origin}: name both in "
                "auth(origins=...), or use a login of its own for each",
            )
        return origin


def asks_for_another_token(status: int, challenges: str | None, scheme: str = "bearer") -> bool:
    """Say whether a new token may help: 401 with a challenge of ``invalid_token`` or of no error (RFC 6750 §3, RFC 9449 §7.1).

    Only the challenge of the ``scheme`` that was used tells anything of the token; it is in lower case.
    """
    if status != 401 or challenges is None:
        return False
    try:
        own = [found for found in parse_challenges(challenges) if found.scheme == scheme]
    except InvalidChallenge:
        return False
    return any(found.parameters.get("error", "invalid_token") == "invalid_token" for found in own)
