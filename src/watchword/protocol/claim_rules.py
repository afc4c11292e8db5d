"""Which of an outside issuer's tokens log an agent in: rules on claims, compared whole, or segment by segment, never by pattern.

A value is a text, a whole number or a boolean, and equals only its own kind. In a text, ``*`` stands for exactly one
segment, ``**`` at the end for one or more; what separates segments is told by the claim (``SEPARATORS``). There are no
regular expressions, no prefixes and no substrings: ``repo:org/*`` does not admit ``repo:org-evil/app``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from watchword.errors import WatchwordError
from watchword.protocol.federation_presets import GENERIC, PRESETS, SPIFFE, Preset

Value = str | int | bool

SEPARATORS: Final[Mapping[str, str]] = {"email": "@", "job_workflow_ref": "/@", "workflow_ref": "/@", "sub": ":/"}
"""What separates the segments of a claim's value."""
DEFAULT_SEPARATORS: Final = ":/"
ONE: Final = "*"
REST: Final = "**"

JUDGED_ELSEWHERE: Final = frozenset({"iss", "aud", "exp", "nbf", "iat", "jti"})
"""Claims that every token is judged by; a rule says nothing of them."""

MAX_CLAIMS: Final = 20
MAX_VALUES: Final = 50
MAX_TEXT: Final = 512
MAX_AGE: Final = timedelta(days=1)


class InvalidRule(WatchwordError):
    """A rule that must not be stored; ``detail`` is a sentence for who wrote it.

    Reasons: federated.claims, federated.value, federated.unbound, federated.preset, federated.max_age, federated.single_use.
    """


@dataclass(frozen=True, slots=True)
class Mismatch:
    """A claim that does not fit: it is missing, of another kind, or has another value."""

    claim: str
    problem: str
    wanted: tuple[Value, ...] = field(default=(), compare=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRule:
    """``claims`` says for each claim which values it may have; all of them must fit.

    A name that begins with a slash is a JSON pointer (RFC 6901) into claims that are objects. ``max_age`` bounds the time since
    ``iat``. With ``single_use`` each token logs in once, by its ``jti``.
    """

    claims: Mapping[str, tuple[Value, ...]]
    preset: str = GENERIC
    max_age: timedelta = field(default=timedelta(hours=1))
    single_use: bool = False

    def judge(self, claims: Mapping[str, object]) -> tuple[Mismatch, ...]:
        """Return every claim that does not fit; none means: this token is meant."""
        return tuple(self._mismatches(claims))

    def _mismatches(self, claims: Mapping[str, object]) -> Iterator[Mismatch]:
        for name, allowed in self.claims.items():
            value = find_claim(claims, name)
            if value is None:
                yield Mismatch(name, "missing", allowed)
            elif type(value) not in {type(one) for one in allowed}:
                yield Mismatch(name, "type", allowed)
            elif not any(fits(value, one, separators_of(name)) for one in allowed):
                yield Mismatch(name, "value", allowed)

    def to_details(self) -> dict[str, object]:
        """Return the JSON object that is stored."""
        details: dict[str, object] = {
            "preset": self.preset,
            "claims": {name: values[0] if len(values) == 1 else list(values) for name, values in self.claims.items()},
            "max_age": int(self.max_age.total_seconds()),
        }
        return {**details, "single_use": True} if self.single_use else details

    @classmethod
    def from_details(cls, details: Mapping[str, object]) -> ClaimRule:
        """Return the rule that was stored, or that somebody wants to store.

        Raises:
            InvalidRule
        """
        unknown = details.keys() - {"preset", "claims", "max_age", "single_use"}
        if unknown:
            raise InvalidRule("federated.claims", detail=f"A rule has no member {min(unknown)!r:.80}.")
        preset = _read_preset(details.get("preset", GENERIC))
        single_use = details.get("single_use", False)
        if not isinstance(single_use, bool) or (single_use and not preset.has_jti):
            raise InvalidRule(
                "federated.single_use",
                detail=f"single_use is true or false, and false where tokens are reused: {preset.name}.",
            )
        claims = _read_claims(details.get("claims"))
        if preset.name == SPIFFE:
            claims = {name: tuple(map(_spiffe_rest, values)) for name, values in claims.items()}
        _check_bound(claims, preset)
        return cls(
            claims=claims,
            preset=preset.name,
            max_age=_read_age(details.get("max_age"), preset),
            single_use=single_use,
        )


def separators_of(claim: str) -> str:
    """Return the characters that separate the segments of this claim."""
    return SEPARATORS.get(claim, DEFAULT_SEPARATORS)


def fits(value: object, allowed: Value, separators: str) -> bool:
    """Say whether a claim's value is the one that is allowed: of the same type, and the same, segment by segment."""
    if type(value) is not type(allowed):
        return False
    if not isinstance(value, str) or not isinstance(allowed, str) or ONE not in allowed:
        return value == allowed
    wanted, found = split(allowed, separators), split(value, separators)
    if wanted[-1] != REST:
        return len(wanted) == len(found) and _same(wanted, found)
    head = len(wanted) - 1
    return len(found) > head and all(found[head::2]) and _same(wanted[:head], found[:head])


def split(text: str, separators: str) -> tuple[str, ...]:
    """Return the segments, and between them the separators, so that these are compared too."""
    return tuple(re.split(f"([{re.escape(separators)}])", text))


def find_claim(claims: Mapping[str, object], name: str) -> object:
    """Return the claim of this name, or what a JSON pointer leads to; nothing where there is none."""
    if not name.startswith("/"):
        return claims.get(name)
    value: object = claims
    for token in name[1:].split("/"):
        if not isinstance(value, Mapping):
            return None
        value = value.get(token.replace("~1", "/").replace("~0", "~"))
    return value


def _same(wanted: Sequence[str], found: Sequence[str]) -> bool:
    return all(part if pattern == ONE else pattern == part for pattern, part in zip(wanted, found, strict=True))


def _read_preset(name: object) -> Preset:
    preset = PRESETS.get(name) if isinstance(name, str) else None
    if preset is None:
        raise InvalidRule("federated.preset", detail=f"The preset is one of {', '.join(PRESETS)}.")
    return preset


def _read_age(value: object, preset: Preset) -> timedelta:
    if value is None:
        return preset.max_age
    if type(value) is not int or not 1 <= value <= MAX_AGE.total_seconds():
        raise InvalidRule("federated.max_age", detail="max_age is 1 to 86400 seconds.")
    return timedelta(seconds=value)


def _read_claims(value: object) -> dict[str, tuple[Value, ...]]:
    if not isinstance(value, Mapping) or not 1 <= len(value) <= MAX_CLAIMS:
        raise InvalidRule("federated.claims", detail=f"claims is an object of 1 to {MAX_CLAIMS} claims.")
    return {_check_name(name): _read_values(str(name), allowed) for name, allowed in value.items()}


def _spiffe_rest(value: Value) -> Value:
    """Where others write ``spiffe://domain/path/*`` they mean everything below: draft-ietf-oauth-spiffe-client-auth."""
    return f"{value}*" if isinstance(value, str) and value.endswith("/*") else value


def _check_name(name: object) -> str:
    if not isinstance(name, str) or not 1 <= len(name) <= MAX_TEXT or not name.isprintable():
        raise InvalidRule("federated.claims", detail="A claim's name is printable text.")
    if name in JUDGED_ELSEWHERE:
        raise InvalidRule("federated.claims", detail=f"{name} is judged anyway: leave it out of the rule.")
    return name


def _read_values(name: str, allowed: object) -> tuple[Value, ...]:
    values = allowed if isinstance(allowed, list) else [allowed]
    if not 1 <= len(values) <= MAX_VALUES:
        raise InvalidRule("federated.value", detail=f"{name:.80} has 1 to {MAX_VALUES} values.")
    return tuple(_check_value(name, value) for value in values)


def _check_value(name: str, value: object) -> Value:
    if type(value) is bool or type(value) is int:
        return value
    if not isinstance(value, str) or not 1 <= len(value) <= MAX_TEXT or not value.isprintable():
        raise InvalidRule("federated.value", detail=f"A value of {name:.80} is text, a whole number, true or false.")
    parts = split(value, separators_of(name))
    stars = [part for part in parts if ONE in part]
    if any(part not in {ONE, REST} for part in stars) or REST in parts[:-1]:
        sentence = (
            f"In {name:.80}, * stands for one whole segment and ** for the rest at the end; segments are separated by"
        )
        raise InvalidRule("federated.value", detail=f"{sentence} {' or '.join(separators_of(name))}.")
    if stars and len(stars) == len(parts[::2]):
        raise InvalidRule("federated.value", detail=f"{name:.80} would admit anything: name a segment.")
    return value


def _check_bound(claims: Mapping[str, tuple[Value, ...]], preset: Preset) -> None:
    """A rule says whom it means: by the claims that its preset demands."""
    missing = [name for name in preset.demanded if name not in claims]
    if missing:
        raise InvalidRule("federated.unbound", detail=f"A rule for {preset.name} names {', '.join(missing)}.")
    loose = [name for name in preset.exact if any(ONE in str(value) for value in claims.get(name, ()))]
    if loose:
        raise InvalidRule("federated.unbound", detail=f"A rule for {preset.name} names {', '.join(loose)} without *.")
    if preset.one_of and not any(all(name in claims for name in names) for names in preset.one_of):
        ways = "; or ".join(" and ".join(names) for names in preset.one_of)
        raise InvalidRule("federated.unbound", detail=f"A rule for {preset.name} also names {ways}.")
