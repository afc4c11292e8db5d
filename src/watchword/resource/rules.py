"""Which scopes a request needs, by method and path: the first rule that covers it; none, and it is refused."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from watchword.errors import BadSettings, InvalidScope
from watchword.protocol.scope import check_scope_name

WEBSOCKET: Final = "WEBSOCKET"
"""Stands for the method in rules about websockets: whoever may GET may not therefore hold a conversation."""

_METHOD: Final = re.compile(r"[A-Z]+(?:-[A-Z]+)*")
_SEGMENT: Final = re.compile(r"[^/*{}%;\\?#\x00-\x1f\x7f]*")
_PARAMETER: Final = re.compile(r"\{[^/*{}:]+\}")
"""Without a converter: ``{file:path}`` of a framework takes many segments, and ``{id:int}`` not every one."""
_ANY: Final = None


@dataclass(frozen=True, slots=True)
class Rule:
    """Requests of these methods to this path need a token with all these scopes.

    ``path`` is compared segment by segment, decoded, case included. ``/items/{id}`` takes exactly one segment there,
    ``/items/*`` whatever is below ``/items/``. No ``methods`` means every one; ``GET`` includes ``HEAD``.
    """

    path: str
    scopes: Sequence[str] = ()
    methods: Sequence[str] = ()


@dataclass(frozen=True, slots=True)
class Needs:
    """What a request needs: nothing at all, or a token with these scopes."""

    scopes: tuple[str, ...]
    is_public: bool


class RuleBook:
    """Rules in the order they are asked; public paths come first.

    A path in another case or with a slash more or less at its end must also satisfy the rule that covers its other
    spelling: a router that is more generous than we are opens nothing.

    Raises:
        BadSettings: guard.rule.
    """

    def __init__(self, rules: Iterable[Rule], *, public: Iterable[str] = (), scopes: Iterable[str] = ()) -> None:
        if isinstance(public, str) or isinstance(scopes, str):
            raise BadSettings("guard.rule", detail="public paths and scopes are sequences, not one string")
        self._scopes = _check_scopes("*", tuple(scopes))
        opened = [_compile(Rule(path), is_public=True) for path in public]
        ruled = [_compile(rule, is_public=False) for rule in rules]
        self._exact = opened + (ruled or [_EVERYTHING])
        self._loose = [rule.loosened() for rule in self._exact]

    @property
    def scopes(self) -> tuple[str, ...]:
        """Every scope that any rule asks for, by name."""
        return tuple(sorted({*self._scopes, *(scope for rule in self._exact for scope in rule.scopes)}))

    def find_needs(self, method: str, path: str) -> Needs | None:
        """Return what the request needs, or nothing where no rule covers it.

        No rule covers a method in another spelling: an application that folds case would take ``post`` for the POST that
        an earlier rule asks more for.
        """
        if _METHOD.fullmatch(method) is None:
            return None
        exact = _first(self._exact, method, path.split("/")[1:])
        if exact is None:
            return None
        loose = _first(self._loose, method, _loosen(path.split("/")[1:])) or exact
        scopes = tuple(dict.fromkeys((*self._scopes, *exact.scopes, *loose.scopes)))
        return Needs(scopes, exact.is_public and loose.is_public)


@dataclass(frozen=True, slots=True)
class _Compiled:
    segments: tuple[str | None, ...]
    covers_below: bool
    methods: frozenset[str]
    scopes: tuple[str, ...]
    is_public: bool

    def covers(self, method: str, segments: Sequence[str]) -> bool:
        if self.methods and method not in self.methods:
            return False
        mine, theirs = len(self.segments), len(segments)
        if theirs <= mine if self.covers_below else theirs != mine:
            return False
        pairs = zip(self.segments, segments, strict=False)
        return all(bool(theirs) if mine is _ANY else mine == theirs for mine, theirs in pairs)

    def loosened(self) -> _Compiled:
        segments = self.segments[:-1] if self.segments[-1:] == ("",) else self.segments
        folded = tuple(each if each is _ANY else each.casefold() for each in segments)
        return _Compiled(folded, self.covers_below, self.methods, self.scopes, self.is_public)


_EVERYTHING: Final = _Compiled((), covers_below=True, methods=frozenset(), scopes=(), is_public=False)


def _first(rules: Iterable[_Compiled], method: str, segments: Sequence[str]) -> _Compiled | None:
    return next((rule for rule in rules if rule.covers(method, segments)), None)


def _compile(rule: Rule, *, is_public: bool) -> _Compiled:
    if isinstance(rule.scopes, str) or isinstance(rule.methods, str):
        raise BadSettings("guard.rule", detail=f"scopes and methods are sequences, not one string: {rule.path}")
    if not all(_METHOD.fullmatch(method) for method in rule.methods):
        raise BadSettings("guard.rule", detail=f"methods are upper case: {rule.path}")
    root, *segments = rule.path.split("/")
    covers_below = segments[-1:] == ["*"]
    segments = segments[:-1] if covers_below else segments
    if root or not (segments or covers_below) or not all(map(_is_segment, segments)) or not all(segments[:-1]):
        raise BadSettings("guard.rule", detail=f"not a path pattern, as /items, /items/{{id}} or /items/*: {rule.path}")
    methods = frozenset(rule.methods)
    return _Compiled(
        tuple(_ANY if _PARAMETER.fullmatch(segment) else segment for segment in segments),
        covers_below,
        methods | {"HEAD"} if "GET" in methods else methods,
        _check_scopes(rule.path, tuple(rule.scopes)),
        is_public,
    )


def _is_segment(text: str) -> bool:
    return text not in {".", ".."} and bool(_SEGMENT.fullmatch(text) or _PARAMETER.fullmatch(text))


def _check_scopes(path: str, scopes: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return tuple(map(check_scope_name, scopes))
    except InvalidScope:
        raise BadSettings("guard.rule", detail=f"not the name of a scope, for {path}") from None


def _loosen(segments: Sequence[str]) -> list[str]:
    kept = segments[:-1] if segments and not segments[-1] else segments
    return [segment.casefold() for segment in kept]
