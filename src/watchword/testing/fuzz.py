"""Requests made to break a server: seeded mutation of good ones, in their bytes and in their grammar.

The same seed and templates give the same requests. ``watchword.testing.fuzz_driver`` sends them and judges the answers.
"""

from __future__ import annotations

import random
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Final
from urllib.parse import quote, quote_plus

from watchword.testing.doubtful_json import DOUBTFUL_JSON
from watchword.testing.naughty import NAUGHTY

FORM: Final = b"application/x-www-form-urlencoded"
JSON: Final = b"application/json"
LARGEST: Final = 100_000
"""Bytes of a body, so that one request cannot crowd out the others."""


@dataclass(frozen=True, slots=True)
class Template:
    """A request as parts. A good one is where mutation starts from."""

    method: bytes
    target: bytes
    headers: tuple[tuple[bytes, bytes], ...] = ()
    body: bytes = field(default=b"", repr=False)

    def to_bytes(self) -> bytes:
        """Return it as it travels, with its true length."""
        lines = [
            self.method + b" " + self.target + b" HTTP/1.1",
            *(name + b": " + value for name, value in self.headers),
        ]
        if self.body or self.method not in (b"GET", b"HEAD"):
            lines.append(b"Content-Length: %d" % len(self.body))
        return b"\r\n".join([*lines, b"", self.body])


@dataclass(frozen=True, slots=True)
class Case:
    """One request to send. ``is_framed``: where it ends is beyond doubt, so exactly one answer must come."""

    number: int
    raw: bytes = field(repr=False)
    is_framed: bool
    is_head: bool
    recipe: tuple[str, ...]


class Fuzzer:
    """An endless iterator of cases."""

    def __init__(self, templates: Sequence[Template], *, seed: int, wild: float = 0.1) -> None:
        """``wild`` is the share of requests whose very framing is attacked."""
        self._dice = random.Random(seed)  # noqa: S311 -- to be repeated by its seed
        self._templates = tuple(templates)
        self._wild = wild
        self._number = 0
        self._grammar: Sequence[Callable[[Template], Template]] = (
            self._change_field,
            self._change_field,
            self._change_field,
            self._change_body,
            self._splice_bodies,
            self._swap_bodies,
            self._change_header,
            self._change_credentials,
            self._repeat_header,
            self._drop_header,
            self._change_target,
            self._change_method,
        )

    def __iter__(self) -> Iterator[Case]:
        return self

    def __next__(self) -> Case:
        """Return the next request."""
        self._number += 1
        template, recipe = self._dice.choice(self._templates), []
        for _ in range(self._dice.choice((1, 1, 1, 2, 2, 3, 5))):
            mutate = self._dice.choice(self._grammar)
            template = mutate(template)
            recipe.append(mutate.__name__.strip("_"))
        raw, is_wild = template.to_bytes(), self._dice.random() < self._wild
        if is_wild:
            raw = self._break_bytes(raw)
            recipe.append("break_bytes")
        return Case(self._number, raw, not is_wild, template.method == b"HEAD", tuple(recipe))

    def _change_field(self, template: Template) -> Template:
        """Give one value of the form or the JSON object another text, its name too at times; or repeat, drop, add one."""
        if template.body[:1] in (b"{", b"["):
            return replace(template, body=self._change_json(template.body)[:LARGEST])
        pairs = template.body.split(b"&")
        place = self._dice.randrange(len(pairs))
        name, _, value = pairs[place].partition(b"=")
        match self._dice.randrange(8):
            case 0 | 1 | 2:
                pairs[place] = name + b"=" + self._encode(self._text())
            case 3:
                pairs[place] = self._encode(self._text()) + b"=" + value
            case 4:
                pairs.insert(self._dice.randrange(len(pairs) + 1), pairs[place])
            case 5:
                pairs.pop(place)
            case 6:
                pairs.append(self._encode(self._text()) + b"=" + self._encode(self._text()))
            case _:
                pairs *= self._dice.choice((2, 7, 40))
        return replace(template, body=b"&".join(pairs)[:LARGEST])

    def _change_json(self, body: bytes) -> bytes:
        places = [index for index, octet in enumerate(body) if octet in b'"{}[],:']
        start, end = sorted(self._dice.choices(places, k=2))
        match self._dice.randrange(6):
            case 0:
                return self._dice.choice(tuple(DOUBTFUL_JSON.values()))
            case 1:
                return body[: start + 1] + self._utf8(self._text()) + body[end:]
            case 2:
                return body[:end] + body[start:]
            case 3:
                inner = self._dice.choice((b"null", b"1e400", b"[]", b"{}", b'"x"', b"true", b"-0", b"9" * 30))
                return body[: start + 1] + inner + body[end:]
            case 4:
                levels = self._dice.choice((3, 63, 64, 65, 2000))
                return body[: start + 1] + b"[" * levels + b"]" * levels + body[end:]
            case _:
                return body[:start] + body[end:]

    def _change_body(self, template: Template) -> Template:
        return replace(template, body=self._break_bytes(template.body)[:LARGEST])

    def _splice_bodies(self, template: Template) -> Template:
        other = self._dice.choice(self._templates).body
        cut, entry = self._dice.randrange(len(template.body) + 1), self._dice.randrange(len(other) + 1)
        return replace(template, body=(template.body[:cut] + other[entry:])[:LARGEST])

    def _swap_bodies(self, template: Template) -> Template:
        return replace(template, body=self._dice.choice(self._templates).body)

    def _change_header(self, template: Template) -> Template:
        names = (b"Accept", b"Content-Encoding", b"Content-Type", b"Cookie", b"If-Match", b"If-None-Match", b"Origin")
        more = (b"X-Forwarded-For", b"X-HTTP-Method-Override", b"DPoP", b"Forwarded", b"Range", b"Sec-Fetch-Site", b"X")
        name = self._dice.choice(names + more)
        value = self._dice.choice((FORM, JSON, b"gzip", b"*", b"", b'"1"', b"multipart/form-data; boundary=x", None))
        return self._with_header(template, name, self._visible(self._text()) if value is None else value)

    def _change_credentials(self, template: Template) -> Template:
        known = [value for name, value in template.headers if name == b"Authorization"]
        text = self._utf8(self._text())
        choices = [
            b"Basic " + b64encode(text),
            b"Basic " + b64encode(b"a:" + text),
            b"Bearer " + self._visible(self._text()),
            self._visible(self._text()),
            *(self._visible(self._break_bytes(value).decode("latin-1")) for value in known),
        ]
        return self._with_header(template, b"Authorization", self._dice.choice(choices)[:9000])

    def _repeat_header(self, template: Template) -> Template:
        chosen = self._dice.choice(template.headers)
        return replace(template, headers=(*template.headers, *[chosen] * self._dice.choice((1, 2, 30))))

    def _drop_header(self, template: Template) -> Template:
        place = self._dice.randrange(len(template.headers))
        return replace(template, headers=template.headers[:place] + template.headers[place + 1 :] or template.headers)

    def _change_target(self, template: Template) -> Template:
        text = quote(self._utf8(self._text()), safe="/;:@!$&'()*+,=~.%")[:2000].encode()
        path, _, query = template.target.partition(b"?")
        other = self._dice.choice(self._templates).target
        suffix = b"?" + query if query else b""
        choices = (
            *(path + b"/" + text, path + text, b"/" + text, path + b"?" + text, path + b"?" + text + b"=" + text),
            *(
                other,
                path + b"/",
                b"/" + path,
                path.upper(),
                path.replace(b"/", b"/./"),
                path + b"?" + template.body[:500],
            ),
            *(path.replace(b"o", b"%6f") + suffix, path.rpartition(b"/")[0] + b"/" + text + suffix),
        )
        target = bytes(octet for octet in self._dice.choice(choices) if 0x21 <= octet <= 0x7E and octet != 0x23)
        return replace(template, target=target if target.startswith(b"/") else b"/" + target)

    def _change_method(self, template: Template) -> Template:
        methods = (b"GET", b"HEAD", b"PUT", b"PATCH", b"DELETE", b"OPTIONS", b"TRACE", b"PROPFIND", b"SEARCH", b"POST")
        return replace(template, method=self._dice.choice(methods))

    def _break_bytes(self, raw: bytes) -> bytes:
        """Flip, insert, delete, double, cut, splice: a few times, anywhere."""
        octets = bytearray(raw or b"\x00")
        for _ in range(self._dice.choice((1, 1, 2, 4, 16))):
            start = self._dice.randrange(len(octets) + 1)
            end = min(len(octets), start + self._dice.choice((1, 1, 2, 8, 64)))
            match self._dice.randrange(7):
                case 0 if end > start:
                    octets[start] ^= 1 << self._dice.randrange(8)
                case 1:
                    octets[start:start] = self._dice.randbytes(self._dice.choice((1, 2, 9)))
                case 2:
                    octets[start:start] = self._utf8(self._text())[:300]
                case 3:
                    octets[start:start] = octets[start:end] * self._dice.choice((1, 2, 50))
                case 4:
                    octets[start:start] = self._dice.choice(_FRAMING)
                case 5 if self._dice.random() < 0.2:
                    del octets[start:]
                case _:
                    del octets[start:end]
        return bytes(octets[:LARGEST])

    def _with_header(self, template: Template, name: bytes, value: bytes) -> Template:
        kept = tuple(pair for pair in template.headers if pair[0] != name)
        return replace(template, headers=(*kept, (name, value.strip())))

    def _text(self) -> str:
        text = self._dice.choice(NAUGHTY)
        if self._dice.random() < 0.1:
            text = (text or "x") * self._dice.choice((2, 10, 100))
        return text[:20_000]

    def _encode(self, text: str) -> bytes:
        """Return a form component: encoded, encoded twice, or as it is."""
        octets = self._utf8(text)
        once = quote_plus(octets).encode()
        return self._dice.choice((once, once, once, quote_plus(once).encode(), octets))

    def _utf8(self, text: str) -> bytes:
        return text.encode("utf-8", "surrogatepass")

    def _visible(self, text: str) -> bytes:
        """Return what may stand in a header's value: nothing in it ends the line."""
        return bytes(octet for octet in self._utf8(text) if octet >= 0x20 and octet != 0x7F)[:3000].strip()


_FRAMING: Final = (
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n\r\n",
        b"\x00",
        b" ",
        b"\t",
        b"\r\n ",
        b":",
        b": ",
        b"HTTP/1.1",
        b"HTTP/1.0",
        b"HTTP/2.0",
    ),
    *(
        b"Content-Length: 0\r\n",
        b"Content-Length: 99999\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: x\r\n",
    ),
    *(
        b"0\r\n\r\n",
        b"5\r\nhello\r\n",
        b"ffffffffffffffff\r\n",
        b"Connection: close\r\n",
        b"Connection: upgrade\r\nUpgrade: h2c\r\n",
    ),
    *(
        b"Expect: 100-continue\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
    ),
)
