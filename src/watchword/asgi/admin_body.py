"""A JSON body read strictly: bounded, plain, one meaning. It is checked whole before any framework parses it."""

from __future__ import annotations

import re
from typing import Final

from watchword.asgi.admin_errors import BadRequest, TooLarge, WrongMediaType
from watchword.asgi.messages import Message, Receive, Scope, read_body
from watchword.protocol.strict_json import RepeatedMember, parse_object

MAX_BODY: Final = 65_536
_MEDIA_TYPE = re.compile(rb'application/json[ \t]*(?:;[ \t]*charset="?utf-8"?)?', re.IGNORECASE)
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})


async def read_json(scope: Scope, receive: Receive) -> bytes:
    """Return the body of a request, which is empty or one JSON object in UTF-8 (RFC 8259).

    Raises:
        WrongMediaType: body.content_type, body.content_encoding
        TooLarge: body.size, over 64 KiB
        BadRequest: body.json, body.duplicate, body.character
        ClientLeft
    """
    if scope["method"] not in _WITH_BODY:
        return b""
    headers = scope["headers"]
    if any(name == b"content-encoding" and value.strip().lower() != b"identity" for name, value in headers):
        raise WrongMediaType("body.content_encoding", detail="A compressed body is not read.")
    types = [value.strip() for name, value in headers if name == b"content-type"]
    if len(types) > 1 or any(_MEDIA_TYPE.fullmatch(value) is None for value in types):
        raise WrongMediaType("body.content_type", detail="The body must be application/json in UTF-8.")
    body = await read_body(scope, receive, MAX_BODY)
    if len(body) > MAX_BODY:
        raise TooLarge("body.size", detail=f"A body has at most {MAX_BODY} bytes.", headers={"connection": "close"})
    if body and not types:
        raise WrongMediaType("body.content_type", detail="The body must be application/json in UTF-8.")
    if body:
        check_json(body)
    return body


def replay(body: bytes, receive: Receive) -> Receive:
    """Return a ``receive`` that gives the body once, and then what really comes."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def receive_again() -> Message:
        return messages.pop() if messages else await receive()

    return receive_again


def check_json(body: bytes) -> None:
    """Pass if this is a JSON object in which every parser reads the same (``protocol/strict_json.py``), without NUL.

    Raises:
        BadRequest: body.json, body.duplicate, body.character
    """
    try:
        value = parse_object(body)
    except RepeatedMember:
        raise BadRequest("body.duplicate", detail="A member stands twice in the body.") from None
    except ValueError:
        raise BadRequest(
            "body.json", detail="The body is not a JSON object in UTF-8 that can have one meaning only."
        ) from None
    if rb"\u0000" in body and _has_nul(value):
        raise BadRequest("body.character", detail="The body has a NUL character.")


def _has_nul(value: object) -> bool:
    """No deeper than the parser has allowed."""
    if isinstance(value, dict):
        return any("\x00" in name or _has_nul(member) for name, member in value.items())
    if isinstance(value, list):
        return any(map(_has_nul, value))
    return isinstance(value, str) and "\x00" in value
