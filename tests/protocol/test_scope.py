"""Scopes: RFC 6749 §3.3."""

import contextlib
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import rule
from watchword.errors import InvalidScope
from watchword.protocol.scope import MAX_SCOPES, build_scope, check_scope_name, parse_scope

LEGAL = "".join(chr(code) for code in (0x21, *range(0x23, 0x5C), *range(0x5D, 0x7F)))


def reason_of(text: str) -> str:
    with pytest.raises(InvalidScope) as caught:
        parse_scope(text)
    return caught.value.reason


@rule("R6749-3.3-01")
def test_every_character_of_the_grammar_is_accepted():
    assert parse_scope(LEGAL) == (LEGAL,)


@given(st.lists(st.text(LEGAL, min_size=1, max_size=20), min_size=1, max_size=MAX_SCOPES, unique=True))
@settings(max_examples=100)
def test_what_is_built_is_read_back_in_order(scopes):
    assert parse_scope(build_scope(scopes)) == tuple(scopes)


def test_no_scopes_build_an_empty_text():
    assert build_scope(()) == ""


@rule("R6749-3.3-01", "S2")
@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        " read",
        "read ",
        "read  write",
        "read\twrite",
        "read\nwrite",
        "read\n",
        'read"',
        "read\\",
        "read\x00",
        "read\x7f",
        "read\x1b[0m",
        "rëad",
        "read\u00a0write",
        "read\u3000write",
        "read\u200b",
        "ｒead",
        "x" * 257,
    ],
)
def test_anything_outside_the_grammar_is_refused(text):
    assert reason_of(text) == "scope.syntax"


@rule("S2")
@pytest.mark.parametrize("text", ["read read", "a b a", "a b c b"])
def test_a_scope_named_twice_is_refused(text):
    assert reason_of(text) == "scope.duplicate"


@rule("S2")
def test_more_than_a_hundred_names_are_refused_and_a_hundred_are_not():
    names = [f"s{number}" for number in range(MAX_SCOPES)]
    assert parse_scope(" ".join(names)) == tuple(names)
    assert reason_of(" ".join([*names, "more"])) == "scope.too_many"


@rule("S2", "KF-117", "E8")
@pytest.mark.parametrize("text", ["a " * 30_000, "a" * 65_000, " " * 65_000, "a" * 65_000 + '"'])
def test_the_worst_texts_are_refused_at_once(text):
    best = 60.0
    for _ in range(5):
        start = time.perf_counter()
        assert reason_of(text) in {"scope.too_many", "scope.syntax"}
        best = min(best, time.perf_counter() - start)
    assert best < 0.005


@rule("S3", "R6749-3.3-01")
def test_case_prefix_and_star_make_different_names():
    assert len({*parse_scope("read Read read:all read:* *")}) == 5


@pytest.mark.parametrize("text", ["", "a b", 'a"', "\\", "é", "x" * 257])
def test_a_name_outside_the_grammar_can_not_be_registered(text):
    with pytest.raises(InvalidScope) as caught:
        check_scope_name(text)
    assert caught.value.reason == "scope.syntax"


def test_building_refuses_what_would_not_be_read_back():
    with pytest.raises(InvalidScope):
        build_scope(["a b"])
    with pytest.raises(InvalidScope):
        build_scope(["a", "a"])


@given(st.text(max_size=60))
@settings(max_examples=200)
def test_whatever_comes_in_is_either_a_list_of_names_or_refused(text):
    with contextlib.suppress(InvalidScope):
        assert " ".join(parse_scope(text)) == text
