"""What is said to a client whose bytes never became a request: the same shape as the errors of the OAuth endpoints."""

from __future__ import annotations

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

_SENTENCES: Final[Mapping[str, tuple[int, str]]] = {
    "unreadable": (400, "These bytes are no request that can be read in one way only."),
    "head_late": (408, "The head of the request did not arrive in time."),
    "body_late": (408, "The body of the request did not arrive in time."),
    "url_too_long": (414, "The URL is too long."),
    "head_too_large": (431, "There are too many headers, or they are too long."),
    "full": (503, "There are too many connections. Come again later."),
    "overloaded": (503, "There is more to do than can be done. Come again later."),
}


OPEN: Final = frozenset({"overloaded"})
"""The refusals after which the connection goes on."""


def render_early(reason: str) -> bytes:
    """Return the whole answer, after which the connection is closed, unless the reason is in ``OPEN``."""
    status, sentence = _SENTENCES[reason]
    is_ours = status == HTTPStatus.SERVICE_UNAVAILABLE
    members = {"error": "temporarily_unavailable" if is_ours else "invalid_request", "error_description": sentence}
    body = json.dumps(members, separators=(",", ":"))
    lines = [
        f"HTTP/1.1 {status} {HTTPStatus(status).phrase}",
        "content-type: application/json",
        "cache-control: no-store",
        *([] if reason in OPEN else ["connection: close"]),
        f"content-length: {len(body)}",
        *(["retry-after: 1"] if is_ours else []),
    ]
    return "\r\n".join([*lines, "", body]).encode()
