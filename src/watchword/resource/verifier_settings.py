"""The settings of a verifier, judged once, when it is made."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta

from watchword.errors import BadSettings
from watchword.protocol import names
from watchword.protocol.metadata import InvalidMetadata, check_issuer
from watchword.protocol.url import InvalidUrl, check_secure_url, parse_url
from watchword.resource.revocation import Unwatched, Watch


def check_verifier_issuer(issuer: str) -> str:
    """Return the issuer as it will be compared: an https URL, or http to loopback."""
    try:
        return check_issuer(issuer or "", allow_loopback_http=True)  # None: an environment variable that is not set
    except InvalidMetadata as error:
        raise BadSettings(
            "verifier.issuer", detail=f"{error.reason}: an https URL (http to loopback) without a slash at its end"
        ) from None


def check_watch(watch: Watch | None, issuer: str) -> Watch:
    """Return what knows of this issuer's revocations; nothing is known where none was given."""
    if watch is None:
        return Unwatched()
    if watch.issuer != issuer:
        raise BadSettings("verifier.revocation", detail=f"its login is at {watch.issuer}, not at {issuer}")
    return watch


def check_audience(audience: object) -> str:
    """Without a name of our own, any token of the issuer would do: refused at construction."""
    if not isinstance(audience, str) or not audience.strip():
        raise BadSettings("verifier.audience", detail="name this API as it stands in the aud of its tokens")
    return audience


def check_algorithms(algorithms: Iterable[str]) -> frozenset[str]:
    """Return the algorithms, none of them unknown."""
    chosen = frozenset(() if isinstance(algorithms, str) else algorithms)
    if not chosen or not chosen <= frozenset(names.SIGNING_ALGORITHMS):
        raise BadSettings("verifier.algorithms", detail=f"some of {', '.join(names.SIGNING_ALGORITHMS)}")
    return chosen


def check_clients(clients: Iterable[str]) -> frozenset[str]:
    """Return the clients, of which there is at least one."""
    chosen = frozenset(() if isinstance(clients, str) else clients)
    if not chosen or "" in chosen:
        raise BadSettings("verifier.allowed_clients", detail="a set of client_ids, not empty; None admits every client")
    return chosen


def check_period(reason: str, period: object, *, least: timedelta, most: timedelta) -> timedelta:
    """Return the period if it is within bounds."""
    if not isinstance(period, timedelta) or not least <= period <= most:
        raise BadSettings(reason, detail=f"a timedelta from {least} to {most}")
    return period


def check_jwks_uri(jwks_uri: str | None) -> str | None:
    """Return where the keys are, if that is given: https, or http to loopback."""
    if jwks_uri is None:
        return None
    try:
        return check_secure_url(jwks_uri, allow_loopback_http=True).text
    except InvalidUrl as error:
        raise BadSettings("verifier.jwks_uri", detail=f"{error.reason}: an https URL") from None


def check_base_url(base_url: str | None, audience: str) -> str | None:
    """Return under which URL the paths of this API stand, without a slash at its end; the audience's origin unless given.

    Nothing where the audience is a plain name: then no proof of possession can be checked.
    """
    if base_url is None:
        try:
            url = parse_url(audience)
        except InvalidUrl:
            return None
        return f"{url.scheme}://{url.authority}"
    try:
        url = check_secure_url(base_url, allow_loopback_http=True)
    except InvalidUrl as error:
        raise BadSettings("verifier.base_url", detail=f"{error.reason}: an https URL (http to loopback)") from None
    if url.query is not None:
        raise BadSettings("verifier.base_url", detail="without a query")
    return base_url.rstrip("/")
