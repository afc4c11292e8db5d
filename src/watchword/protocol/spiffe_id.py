"""SPIFFE ids, parsed strictly. SPIFFE-ID §2; draft-ietf-oauth-spiffe-client-auth."""

from __future__ import annotations

import re
from typing import Final

from watchword.errors import WatchwordError
from watchword.protocol.federation_presets import SPIFFE_SCHEME

MAX_ID: Final = 2048
MAX_TRUST_DOMAIN: Final = 255

_TRUST_DOMAIN: Final = re.compile(r"[a-z0-9._-]+")
_SEGMENT: Final = re.compile(r"[A-Za-z0-9._-]+")


class InvalidSpiffeId(WatchwordError):
    """Not a SPIFFE id as its specification writes them: spiffe.id."""


def trust_domain_of(text: str) -> str:
    """Return the id of the trust domain, ``spiffe://example.org``, of a workload's id.

    Nothing is folded or decoded: upper case in the domain, dot segments, empty ones, ports, queries and fragments are refused.

    Raises:
        InvalidSpiffeId: spiffe.id.
    """
    if not text.startswith(SPIFFE_SCHEME) or len(text) > MAX_ID:
        raise InvalidSpiffeId("spiffe.id")
    domain, slash, path = text.removeprefix(SPIFFE_SCHEME).partition("/")
    check_trust_domain(SPIFFE_SCHEME + domain)
    segments = path.split("/")
    if not slash or not all(_SEGMENT.fullmatch(one) and one not in {".", ".."} for one in segments):
        raise InvalidSpiffeId("spiffe.id")
    return SPIFFE_SCHEME + domain


def check_trust_domain(text: str) -> str:
    """Return the id of a trust domain, ``spiffe://example.org``, without a path.

    Raises:
        InvalidSpiffeId: spiffe.id.
    """
    domain = text.removeprefix(SPIFFE_SCHEME)
    if domain == text or len(domain) > MAX_TRUST_DOMAIN or not _TRUST_DOMAIN.fullmatch(domain):
        raise InvalidSpiffeId("spiffe.id")
    return text
