"""Where an issuer publishes its keys, and reading them there: RFC 8414 §3, RFC 7517 §5."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from watchword.errors import WatchwordError
from watchword.ports.http import HttpRequest, HttpResponse
from watchword.protocol import names
from watchword.protocol.jwks import KeySet, parse_jwks
from watchword.protocol.kept_keys import read_freshness
from watchword.protocol.metadata import parse_server_metadata, well_known_url
from watchword.protocol.strict_json import parse_object

_ACCEPT: Final = {"accept": "application/json", "accept-encoding": "identity"}


class UnusableKeys(WatchwordError):
    """An issuer's answer cannot be used: keys.status, keys.json, keys.jwks_uri, keys.refused (every key of it).

    A set that is empty is used: an issuer may withdraw its last key.
    """


@dataclass(frozen=True, slots=True)
class FetchedKeys:
    """A key set as its issuer published it, and for how long it may be used without asking again."""

    keys: KeySet
    freshness: timedelta


class IssuerKeys:
    """Fetches one issuer's key set. Called by one thread at a time; holds where the keys stand and nothing else.

    Without a configured ``jwks_uri`` the issuer's metadata is asked, the first time and again after a failure.
    """

    def __init__(self, issuer: str, jwks_uri: str | None) -> None:
        self.issuer = issuer
        self._configured = jwks_uri
        self._discovered: str | None = None

    def fetch(self, send: Callable[[HttpRequest], HttpResponse]) -> FetchedKeys:
        """Return the key set.

        Raises:
            WatchwordError: of the transport, the metadata, the key set, or ``UnusableKeys``; never another.
        """
        uri = self._configured or self._discovered or self._discover(send)
        self._discovered = None
        document, headers = _get(send, uri)
        keys = parse_jwks(document)
        if keys.refused and not keys.keys:
            raise UnusableKeys("keys.refused", detail=", ".join(sorted(set(keys.refused))))
        self._discovered = uri
        return FetchedKeys(keys, read_freshness(headers))

    def _discover(self, send: Callable[[HttpRequest], HttpResponse]) -> str:
        document, _ = _get(send, well_known_url(self.issuer, names.PATH_AS_METADATA))
        uri = parse_server_metadata(document, issuer=self.issuer).jwks_uri
        if not uri:
            raise UnusableKeys("keys.jwks_uri", detail="the issuer's metadata names no jwks_uri")
        return uri


def _get(send: Callable[[HttpRequest], HttpResponse], url: str) -> tuple[Mapping[str, object], Mapping[str, str]]:
    response = send(HttpRequest(method="GET", url=url, headers=_ACCEPT))
    if response.status != 200:
        raise UnusableKeys("keys.status", detail=f"{url} answered {response.status}")
    try:
        return parse_object(response.body), response.headers
    except ValueError:
        raise UnusableKeys("keys.json", detail=f"{url} did not answer with a JSON object") from None
