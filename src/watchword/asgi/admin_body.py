"""A JSON body read strictly: bounded, plain, one meaning. It is checked whole before any framework parses it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Final

from watchword.asgi.admin_errors import BadRequest, TooLarge, WrongMediaType
from watchword.asgi.messages import Message, Receive, Scope, read_body

MAX_BODY: Final = 65_536
MAX_DEPTH: Final = 16
_MEDIA_TYPE = re.compile(rb'application/json[ \t]*(?:;[ \t]*charset="?utf-8"?)?', re.IGNORECASE)
_WITH_BODY: Final = frozenset({"POST", "PUT", "PATCH"})


async def read_json(scope: Scope, receive: Receive) -> bytes:
    """Return the body of a request, which is empty or one JSON text in UTF-8 (RFC 8259).

    Raises:
        WrongMediaType: body.content_type, body.content_encoding
        TooLarge: body.size, over 64 KiB
        BadRequest: body.json, body.duplicate, body.depth, body.character
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
    """Pass if every parser reads the same in this text: no member twice, no NaN, no NUL, not deep.

    Raises:
        BadRequest: body.json, body.duplicate, body.depth, body.character
    """
    try:
        value = json.loads(body.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse_constant)
    except RecursionError:
        raise BadRequest("body.depth", detail=f"A body nests at most {MAX_DEPTH} deep.") from None
    except ValueError:
        raise BadRequest("body.json", detail="The body is not a JSON text in UTF-8.") from None
    _check_values([value])


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    members = dict(pairs)
    if len(members) != len(pairs):
        raise BadRequest("body.duplicate", detail="A member stands twice in the body.")
    return members


def _refuse_constant(_name: str) -> object:
    raise ValueError


def _check_values(level: list[object]) -> None:
    for _ in range(MAX_DEPTH):
        following: list[object] = []
        for value in level:
            if isinstance(value, dict):
                _check_characters(value)
                following.extend(value.values())
            elif isinstance(value, list):
                following.extend(value)
            elif isinstance(value, str):
                _check_characters((value,))
        level = following
    if level:
        raise BadRequest("body.depth", detail=f"A body nests at most {MAX_DEPTH} deep.")


def _check_characters(texts: Iterable[str]) -> None:
    for text in texts:
        if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
            raise BadRequest("body.character", detail="The body has a NUL character, or half of a surrogate pair.")
