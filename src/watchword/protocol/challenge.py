"""``Authorization`` and ``WWW-Authenticate``: RFC 9110 §11, RFC 6750 §2.1 and §3."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from watchword.errors import InvalidRequest, WatchwordError

MAX_HEADER: Final = 16_384
"""Bytes of one header value that is looked at."""

_TOKEN = r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+"  # noqa: S105 -- a grammar's name
_TOKEN68 = r"[A-Za-z0-9\-._~+/]+=*"
_AUTHORIZATION = re.compile(rf"({_TOKEN}) +({_TOKEN68})".encode())
_END = r"[ \t]*(?=,|\Z)"
_SCHEME_AT = re.compile(rf"({_TOKEN})(?: +|{_END})")
_TOKEN68_AT = re.compile(rf"({_TOKEN68}){_END}")
_PARAMETER_AT = re.compile(rf'({_TOKEN})[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.)*)"|({_TOKEN})){_END}')
_COMMAS_AT = re.compile(r"[ \t]*(?:,[ \t]*)*")
_NAME = re.compile(_TOKEN)
_QUOTABLE = re.compile(r"[\x20-\x7E]*")
_QUOTED_PAIR = re.compile(r"\\(.)")


class InvalidChallenge(WatchwordError):
    """A server's ``WWW-Authenticate`` cannot be read: challenge.syntax, challenge.duplicate."""


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge. ``scheme`` and the names of ``parameters`` are in lower case."""

    scheme: str
    parameters: Mapping[str, str] = field(default_factory=dict)
    token68: str = ""


def parse_authorization(values: Sequence[bytes]) -> tuple[str, str] | None:
    """Return scheme (in lower case) and credentials of a request, or nothing where it has no such header.

    ``values`` holds every value of the header. Only the ``token68`` form is read: no scheme of ours has parameters.

    Raises:
        InvalidRequest: authorization.several, authorization.syntax.
    """
    if not values:
        return None
    if len(values) > 1:
        raise InvalidRequest("authorization.several")
    match = _AUTHORIZATION.fullmatch(values[0]) if len(values[0]) <= MAX_HEADER else None
    if match is None:
        raise InvalidRequest("authorization.syntax")
    return match[1].decode("ascii").lower(), match[2].decode("ascii")


def build_challenge(scheme: str, parameters: Mapping[str, str]) -> str:
    """Return one challenge; every value is a quoted string, whatever it holds.

    Raises:
        ValueError: a name that is no token, or a value beyond printable ASCII: nothing can break out of the header.
    """
    for name in (scheme, *parameters):
        if _NAME.fullmatch(name) is None:
            raise ValueError("a challenge needs tokens as names")
    quoted = ", ".join(f"{name}={_quote(value)}" for name, value in parameters.items())
    return f"{scheme} {quoted}" if quoted else scheme


def parse_challenges(value: str) -> list[Challenge]:
    """Return the challenges in a ``WWW-Authenticate`` header, whose repetitions may have been joined with commas.

    Raises:
        InvalidChallenge: challenge.syntax, challenge.duplicate.
    """
    if len(value) > MAX_HEADER:
        raise InvalidChallenge("challenge.syntax")
    challenges: list[Challenge] = []
    position = _skip_commas(value, 0)
    while position < len(value):
        challenge, end = _read_challenge(value, position)
        challenges.append(challenge)
        position = _skip_commas(value, end)
    return challenges


def _read_challenge(value: str, position: int) -> tuple[Challenge, int]:
    """Return the challenge that begins here, and where it ends: at a comma or at the end of the text."""
    scheme = _SCHEME_AT.match(value, position)
    if scheme is None:
        raise InvalidChallenge("challenge.syntax")
    name, end = scheme[1].lower(), scheme.end()
    if end == len(value) or value[end] == ",":
        return Challenge(name), end
    token68 = _TOKEN68_AT.match(value, end)
    if token68 is not None:
        return Challenge(name, token68=token68[1]), token68.end()
    parameters, end = _read_parameters(value, end)
    return Challenge(name, parameters), end


def _read_parameters(value: str, position: int) -> tuple[dict[str, str], int]:
    """Return the parameters up to the next scheme, and where the last of them ends."""
    parameters: dict[str, str] = {}
    end = position
    while (match := _PARAMETER_AT.match(value, position)) is not None:
        name, quoted, bare = match.groups()
        if name.lower() in parameters:
            raise InvalidChallenge("challenge.duplicate")
        parameters[name.lower()] = bare if quoted is None else _QUOTED_PAIR.sub(r"\1", quoted)
        end = match.end()
        position = _skip_commas(value, end)
    if not parameters:
        raise InvalidChallenge("challenge.syntax")
    return parameters, end


def _skip_commas(value: str, position: int) -> int:
    match = _COMMAS_AT.match(value, position)
    return match.end() if match else position


def _quote(value: str) -> str:
    if _QUOTABLE.fullmatch(value) is None:
        raise ValueError("a challenge carries printable ASCII only")
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
