"""One text in every place of a request where a text can stand, one place at a time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import replace
from urllib.parse import quote, quote_plus

from watchword.testing.fuzz import Case, Template


def in_every_field(template: Template, text: str) -> Iterator[Template]:
    """Give the request with ``text`` as each value and each name of its body, as part of its path and in its query."""
    octets = text.encode("utf-8", "surrogatepass")
    encoded = quote_plus(octets).encode()
    if template.body.startswith(b"{"):
        yield from (replace(template, body=_to_json(changed)) for changed in _changed(json.loads(template.body), text))
    elif template.body:
        pairs = template.body.split(b"&")
        for place, pair in enumerate(pairs):
            name, _, value = pair.partition(b"=")
            for new in (name + b"=" + encoded, encoded + b"=" + value):
                yield replace(template, body=b"&".join([*pairs[:place], new, *pairs[place + 1 :]]))
    path, _, query = template.target.partition(b"?")
    step = quote(octets, safe="").encode()
    yield replace(template, target=path + b"?x=" + encoded + b"&" + encoded + b"=x")
    yield replace(template, target=path.rpartition(b"/")[0] + b"/" + step)
    for pair in filter(None, query.split(b"&")):
        name, _, _ = pair.partition(b"=")
        yield replace(template, target=path + b"?" + query.replace(pair, name + b"=" + encoded))


def as_cases(templates: Iterable[Template], *, name: str) -> Iterator[Case]:
    """Give requests as cases for the driver."""
    for number, template in enumerate(templates, 1):
        yield Case(number, template.to_bytes(), is_framed=True, is_head=template.method == b"HEAD", recipe=(name,))


def _changed(value: object, text: str) -> list[object]:
    """Return copies of a JSON document, each with one text or name in it replaced."""
    if isinstance(value, dict):
        changed: list[object] = [{**value, name: new} for name, old in value.items() for new in _changed(old, text)]
        return [*changed, *({**{key: value[key] for key in value if key != name}, text: value[name]} for name in value)]
    if isinstance(value, list):
        return [[*value[:at], new, *value[at + 1 :]] for at, old in enumerate(value) for new in _changed(old, text)]
    return [text] if isinstance(value, str) else []


def _to_json(value: object) -> bytes:
    """Half of the world escapes all that is not ASCII; a lone surrogate can be sent no other way."""
    return json.dumps(value).encode()
