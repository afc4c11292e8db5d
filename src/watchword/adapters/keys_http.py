"""Asking a custody over HTTP: JSON there and back, and what did not come back as a reason of ours."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from watchword.adapters.keys_remote import refuse_answer, refused
from watchword.errors import CustodyUnavailable
from watchword.ports.http import HttpRequest, Transport, TransportError
from watchword.protocol.strict_json import parse_object

_SAID: Final = 300
"""Characters of a refusal that are kept for the log."""

_BROKEN: Final = frozenset({"http.connect", "http.protocol"})
"""As a kept connection may that the other side closed meanwhile."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a custody said. ``content`` is empty where it said nothing in JSON."""

    status: int
    content: Mapping[str, object]
    text: str = ""

    @property
    def is_good(self) -> bool:
        """Whether it did what it was asked."""
        return 200 <= self.status < 300


async def ask(
    transport: Transport,
    custody: str,
    method: str,
    url: str,
    headers: Mapping[str, str],
    content: Mapping[str, object] | None = None,
    form: Mapping[str, str] | None = None,
) -> Answer:
    """Return what the custody answers to ``content``, sent as JSON, or to a ``form``; asked once more where a connection broke.

    To ask twice for a signature does no harm; a key that is made twice is one that nobody uses.

    Raises:
        CustodyUnavailable: custody.timeout, custody.unreachable: it does not.
    """
    body, told = b"", dict(headers)
    if content is not None:
        body, told["content-type"] = json.dumps(content, separators=(",", ":")).encode(), "application/json"
    elif form is not None:
        body, told["content-type"] = urlencode(form).encode(), "application/x-www-form-urlencoded"
    request = HttpRequest(method=method, url=url, headers=told, body=body)
    try:
        try:
            response = await transport.asend(request)
        except TransportError as error:
            if error.reason not in _BROKEN:
                raise
            response = await transport.asend(request)
    except TransportError as error:
        reason = "custody.timeout" if error.reason == "http.timeout" else "custody.unreachable"
        raise CustodyUnavailable(reason, detail=f"{custody}: {error}") from error
    try:
        said: Mapping[str, object] = parse_object(response.body)
    except ValueError:
        said = {}
    return Answer(response.status, said, response.body[:_SAID].decode(errors="replace"))


def refuse(custody: str, answer: Answer, reasons: Mapping[int, str]) -> Exception:
    """Return the fault of an answer that is none, by its status; of one that is not listed ``custody.failed``."""
    reason = reasons.get(answer.status, "custody.failed")
    return refused(reason, f"{custody} answered {answer.status}: {answer.text}")


def member(answer: Mapping[str, object], *path: str) -> object:
    """Return what stands there in an answer, or None."""
    value: object = answer
    for name in path:
        value = value.get(name) if isinstance(value, Mapping) else None
    return value


def text_member(custody: str, answer: Mapping[str, object], *path: str) -> str:
    """Return the text that stands there.

    Raises:
        CustodyUnavailable: custody.answer: there is none.
    """
    value = member(answer, *path)
    if not isinstance(value, str) or not value:
        refuse_answer(f"an answer of {custody} has no {'.'.join(path)}")
    return value


def from_base64(text: str) -> bytes:
    """Return what a service wrote in plain base64.

    Raises:
        ValueError: it is none.
    """
    return base64.b64decode(text, validate=True)
