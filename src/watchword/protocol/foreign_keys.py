"""What is believed of a key set, or of a discovery document, that somebody else publishes. RFC 7517 §5, OIDC Discovery §4."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from watchword.errors import WatchwordError
from watchword.protocol.jwks import KeySet, parse_jwks
from watchword.protocol.strict_json import parse_object
from watchword.protocol.url import parse_url

OPENID_CONFIGURATION: Final = "/.well-known/openid-configuration"
MAX_DOCUMENT: Final = 65_536
"""Bytes of a document."""


class UnusableDocument(WatchwordError):
    """Not to be believed: keys.status, keys.content_type, keys.json, keys.issuer, keys.jwks_uri, keys.host, keys.refused."""


def discovery_url(issuer: str) -> str:
    """Return where an issuer's discovery document stands: appended, a slash at its end not counted. OIDC Discovery §4.

    RFC 8414 inserts the name between host and path instead; the issuers meant here keep to OpenID Connect.
    """
    return issuer.rstrip("/") + OPENID_CONFIGURATION


def read_document(status: int, headers: Mapping[str, str], body: bytes) -> Mapping[str, object]:
    """Return the JSON object that was answered, if it was answered as one.

    Raises:
        UnusableDocument: keys.status, keys.content_type, keys.json.
    """
    if status != 200:
        raise UnusableDocument("keys.status", detail=f"answered {status}")
    media_type = headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not (
        media_type.startswith("application/") and media_type.endswith("+json")
    ):
        raise UnusableDocument("keys.content_type", detail=media_type[:80])
    try:
        return parse_object(body)
    except ValueError:
        raise UnusableDocument("keys.json") from None


def read_jwks_uri(document: Mapping[str, object], *, issuer: str) -> str:
    """Return where the keys are, if the document is this issuer's, character by character, and names a place of its own host.

    Keys on another host are somebody's decision to make: an operator names their ``jwks_uri``.

    Raises:
        UnusableDocument: keys.issuer, keys.jwks_uri, keys.host.
        InvalidUrl
    """
    if document.get("issuer") != issuer:
        raise UnusableDocument("keys.issuer", detail="the document is of another issuer")
    jwks_uri = document.get("jwks_uri")
    if not isinstance(jwks_uri, str):
        raise UnusableDocument("keys.jwks_uri", detail="the document names none")
    if parse_url(jwks_uri).authority != parse_url(issuer).authority:
        raise UnusableDocument("keys.host", detail="jwks_uri is on another host than the issuer: name it yourself")
    return jwks_uri


def read_keys(document: Mapping[str, object], *, rsa_algorithm: str, use: str) -> KeySet:
    """Return the usable keys that are marked with this use, or, where it is ``sig``, with none.

    Raises:
        UnusableDocument: keys.refused: there are keys, and each of them is refused.
        InvalidKey: jwks.form, jwks.size.
    """
    keys = parse_jwks(document if use == "sig" else _only(document, use), rsa_algorithm=rsa_algorithm)
    if keys.refused and not keys.keys:
        raise UnusableDocument("keys.refused", detail=", ".join(sorted(set(keys.refused))))
    return keys


def _only(document: Mapping[str, object], use: str) -> Mapping[str, object]:
    """A SPIFFE bundle marks its keys with uses of its own; the others in it certify, and sign no token."""
    entries = document.get("keys")
    if not isinstance(entries, list):
        return document
    return {"keys": [{**one, "use": "sig"} for one in entries if isinstance(one, dict) and one.get("use") == use]}
