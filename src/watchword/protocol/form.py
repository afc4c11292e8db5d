"""The one door for ``application/x-www-form-urlencoded``: RFC 6749 §3.2 and appendix B, read strictly.

Nothing else is parsed: no multipart, no JSON, no ``;`` as separator. A name may stand once, wherever it stands.
"""

from __future__ import annotations

import re
import urllib.parse
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from watchword.errors import ContentTooLarge, InvalidRequest

MAX_BODY: Final = 65_536
"""Bytes. A longer body is refused before it is parsed."""

MAX_PARAMETERS: Final = 64
"""Pairs that are not empty."""

MEDIA_TYPE: Final = "application/x-www-form-urlencoded"

REPEATABLE: Final = frozenset({"resource", "audience"})
"""RFC 8707 §2, RFC 8693 §2.1."""

PARAMETERS: Final = frozenset(
    {
        "access_token",
        "actor_token",
        "actor_token_type",
        "assertion",
        "audience",
        "authorization_details",
        "client_assertion",
        "client_assertion_type",
        "client_id",
        "client_secret",
        "code",
        "code_verifier",
        "grant_type",
        "password",
        "redirect_uri",
        "refresh_token",
        "requested_token_type",
        "resource",
        "response_type",
        "scope",
        "state",
        "subject_token",
        "subject_token_type",
        "token",
        "token_type_hint",
        "username",
    }
)
"""The registered names. They never stand in a query string here, and only they are named in messages."""

_USUAL = MEDIA_TYPE.encode()
_PAIR = re.compile(rb"[^&]+")
_BROKEN_ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True, slots=True)
class Form:
    """The parameters of one request. The repr shows registered names only: a stray value may have become a name."""

    _values: Mapping[str, tuple[str, ...]] = field(repr=False)

    def get(self, name: str) -> str | None:
        """Return the value, or nothing where the parameter is missing or empty (RFC 6749 §3.2).

        Raises:
            InvalidRequest: form.duplicate, if a repeatable parameter has several values: read those with ``all``.
        """
        values = self._values.get(name, ())
        if len(values) > 1:
            values = self.all(name)
            if len(values) > 1:
                raise _duplicate(name)
        return (values[0] or None) if values else None

    def all(self, name: str) -> tuple[str, ...]:
        """Return every value that is not empty, in order."""
        values = self._values.get(name)
        return tuple(filter(None, values)) if values else ()

    def __repr__(self) -> str:
        known = sorted(PARAMETERS.intersection(self._values))
        return f"Form({', '.join(known)}; {len(self._values) - len(known)} unregistered)"


def parse_form(
    body: bytes, *, content_type: Sequence[bytes], query: bytes, repeatable: frozenset[str] = REPEATABLE
) -> Form:
    """Return the parameters of a form, each of which stands once and is clean UTF-8.

    ``content_type`` holds every value of that header. Parameters nobody registered are kept and harmless; in the query
    string they are ignored unless the body has the same name.

    Raises:
        ContentTooLarge: form.too_large.
        InvalidRequest: form.query, form.empty, form.content_type, form.too_many, form.encoding, form.duplicate.
    """
    if len(body) > MAX_BODY:
        raise ContentTooLarge("form.too_large", facts={"limit": str(MAX_BODY)})
    in_query = frozenset(decode_component(pair.partition(b"=")[0]) for pair in _pairs(query)) if query else frozenset()
    _refuse_in_query(PARAMETERS.intersection(in_query))
    if not body:
        raise InvalidRequest("form.empty")
    _check_content_type(content_type)
    values = _read(body, repeatable)
    _refuse_in_query(in_query.intersection(values))
    return Form(values)


def build_form(parameters: Iterable[tuple[str, str]]) -> bytes:
    """Return the body of a request with these parameters."""
    return urllib.parse.urlencode(list(parameters)).encode("ascii")


def decode_component(encoded: bytes) -> str:
    """Return the text that was form-encoded: ``+`` is a space, ``%XX`` a byte, the whole UTF-8 (RFC 6749 appendix B).

    Raises:
        InvalidRequest: form.encoding, for a broken escape, bytes that are not UTF-8, NUL and the byte order mark.
    """
    if b"%" in encoded:
        if _BROKEN_ESCAPE.search(encoded):
            raise InvalidRequest("form.encoding")
        encoded = urllib.parse.unquote_to_bytes(encoded.replace(b"+", b" "))
    elif b"+" in encoded:
        encoded = encoded.replace(b"+", b" ")
    try:
        text = encoded.decode("utf-8")
    except UnicodeDecodeError:
        raise InvalidRequest("form.encoding") from None
    if "\0" in text or _BYTE_ORDER_MARK in text:
        raise InvalidRequest("form.encoding")
    return text


def encode_component(text: str) -> str:
    """Return ``text`` form-encoded (RFC 6749 appendix B)."""
    return urllib.parse.quote_plus(text)


def _pairs(encoded: bytes) -> list[bytes]:
    """Split at ``&``; empty pairs do not count. Reads no further than the first pair too many."""
    if encoded.count(b"&") < MAX_PARAMETERS:
        return list(filter(None, encoded.split(b"&")))
    pairs = [match.group() for match in islice(_PAIR.finditer(encoded), MAX_PARAMETERS + 1)]
    if len(pairs) > MAX_PARAMETERS:
        raise InvalidRequest("form.too_many", facts={"limit": str(MAX_PARAMETERS)})
    return pairs


def _read(body: bytes, repeatable: frozenset[str]) -> dict[str, tuple[str, ...]]:
    values: dict[str, tuple[str, ...]] = {}
    for pair in _pairs(body):
        encoded_name, _, encoded_value = pair.partition(b"=")
        name, value = decode_component(encoded_name), decode_component(encoded_value)
        if not name:
            continue
        if name not in values:
            values[name] = (value,)
        elif name in repeatable:
            values[name] += (value,)
        else:
            raise _duplicate(name)
    if not values:
        raise InvalidRequest("form.empty")
    return values


def _refuse_in_query(names: frozenset[str]) -> None:
    if names:
        raise InvalidRequest("form.query", detail=" ".join(sorted(PARAMETERS.intersection(names))))


def _duplicate(name: str) -> InvalidRequest:
    return InvalidRequest("form.duplicate", facts={"name": name if name in PARAMETERS else "(not a registered name)"})


def _check_content_type(values: Sequence[bytes]) -> None:
    """Accept exactly one header: our media type, in UTF-8 where it names a charset."""
    if len(values) != 1:
        raise InvalidRequest("form.content_type")
    if values[0] == _USUAL:
        return
    media_type, *parameters = values[0].decode("latin-1").lower().split(";")
    if media_type.strip() != MEDIA_TYPE:
        raise InvalidRequest("form.content_type")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset" and value.strip().strip('"') not in ("utf-8", "utf8"):
            raise InvalidRequest("form.content_type")
