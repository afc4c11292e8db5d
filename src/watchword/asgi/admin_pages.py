"""Cursors of the admin API's lists: opaque, authenticated, and good for the one list they were issued for."""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from watchword.asgi.admin_errors import BadRequest
from watchword.protocol.base64url import b64url_decode, b64url_encode
from watchword.protocol.client_secret import find_match

MAX_CURSOR: Final = 512
_MAC_SIZE: Final = hashlib.sha256().digest_size


class Cursors:
    """Issues and opens cursors under one key. ``query`` names the list and its filters: it is part of what is authenticated."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def issue(self, query: str, after: str) -> str:
        """Return a cursor that continues this very list behind the item with this key."""
        return b64url_encode(self._mac(query, after) + after.encode()).decode()

    def open(self, query: str, cursor: str | None) -> str:
        """Return the key behind which to continue; empty where there is no cursor.

        Raises:
            BadRequest: page.cursor, not issued here, altered, or issued for another list
        """
        if cursor is None:
            return ""
        if len(cursor) > MAX_CURSOR:
            raise _refusal()
        try:
            decoded = b64url_decode(cursor.encode())
            after = decoded[_MAC_SIZE:].decode()
        except ValueError:
            raise _refusal() from None
        if find_match(decoded[:_MAC_SIZE], [self._mac(query, after)]) is None:
            raise _refusal()
        return after

    def _mac(self, query: str, after: str) -> bytes:
        return hmac.digest(self._key, f"{len(query)}:{query}{after}".encode(), "sha256")


def _refusal() -> BadRequest:
    sentence = "The cursor is not one that this list has given. Begin again without cursor, with the same filters."
    return BadRequest("page.cursor", detail=sentence)
