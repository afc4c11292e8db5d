"""Where an issuer's token endpoint is. RFC 8414 §3, in the order the Model Context Protocol prescribes."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Final

from watchword.client.errors import LoginMisconfigured
from watchword.ports.http import HttpResponse
from watchword.protocol import names
from watchword.protocol.metadata import InvalidMetadata, ServerMetadata, parse_server_metadata, well_known_url
from watchword.protocol.strict_json import parse_object
from watchword.protocol.url import InvalidUrl, check_secure_url

KEPT_FOR: Final = timedelta(hours=1)


def check_issuer(text: str) -> str:
    """Return the issuer as it is written: https, or http to this machine, without a query. RFC 8414 §2.

    Other people's issuers may end in a slash, so this is not refused.

    Raises:
        LoginMisconfigured: issuer.syntax, issuer.insecure.
    """
    try:
        url = check_secure_url(text or "", allow_loopback_http=True)  # None: an environment variable that is not set
    except InvalidUrl as error:
        if error.reason == "url.insecure":
            raise LoginMisconfigured(
                "issuer.insecure", detail="the issuer must be an https URL; http is for loopback addresses only"
            ) from None
        url = None
    if url is None or url.query is not None:
        raise LoginMisconfigured(
            "issuer.syntax",
            detail="the issuer must be a URL such as https://login.example.com: its host in lower case, without a default "
            "port, query, fragment, user name",
        )
    return text


def metadata_urls(issuer: str) -> tuple[str, ...]:
    """Return the places where the metadata may be, each once, in the order to ask."""
    appended = issuer.removesuffix("/") + names.PATH_OPENID_CONFIGURATION
    inserted = (well_known_url(issuer, suffix) for suffix in ("oauth-authorization-server", "openid-configuration"))
    return tuple(dict.fromkeys((*inserted, appended)))


def parse_metadata(response: HttpResponse, *, issuer: str, url: str) -> ServerMetadata:
    """Return the metadata if it is this issuer's own: the member ``issuer`` is compared byte by byte (RFC 8414 §3.3).

    Raises:
        LoginMisconfigured: discovery.form, discovery.issuer, discovery.endpoint.
    """
    try:
        return parse_server_metadata(parse_object(response.body), issuer=issuer)
    except InvalidMetadata as error:
        reason = error.reason
    except ValueError:
        reason = ""
    if reason == "metadata.issuer":
        raise LoginMisconfigured(
            "discovery.issuer",
            detail=f"the document at {url} is not that of {issuer}: its member issuer must be this very text",
        )
    if reason == "metadata.endpoint":
        raise LoginMisconfigured("discovery.endpoint", detail=f"an endpoint named at {url} is not https")
    raise LoginMisconfigured(
        "discovery.form", detail=f"what stands at {url} is not metadata of an authorization server"
    )


class KnownMetadata:
    """What was learned of one issuer, kept for ``KEPT_FOR``; older, it serves only where asking anew fails."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self._known: tuple[ServerMetadata, datetime] | None = None

    def keep(self, metadata: ServerMetadata, now: datetime) -> None:
        """Remember the metadata as of now."""
        self._known = (metadata, now)

    def forget(self) -> None:
        """Ask anew before the next token request."""
        self._known = None

    def fresh(self, now: datetime) -> ServerMetadata | None:
        """Return what needs no question."""
        return self._known[0] if self._known and timedelta(0) <= now - self._known[1] < KEPT_FOR else None

    def last(self) -> ServerMetadata | None:
        """Return what was known last, however old."""
        return self._known[0] if self._known else None
