import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import rule
from watchword.protocol.strict_json import MAX_DEPTH, RepeatedMember, parse_object
from watchword.testing.forge_json import not_objects, with_repeated_members

GOOD: dict[str, object] = {"sub": "reader", "n": 1, "f": 1.5, "list": [1, None, True, {"a": "ü€😀"}]}
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(st.dictionaries(st.text(), VALUES, max_size=6), st.booleans())
@settings(max_examples=100)
def test_every_object_comes_back(value: dict[str, object], escaped: bool) -> None:
    assert parse_object(json.dumps(value, ensure_ascii=escaped).encode()) == value


@rule("R7515-5-04", "J18", "J19")
@pytest.mark.parametrize("name", not_objects(b"{}"))
def test_what_is_not_one_strict_object_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        parse_object(not_objects(json.dumps(GOOD).encode())[name])


@rule("R7515-5-02", "TRAP-06", "J17")
@pytest.mark.parametrize("name", with_repeated_members(GOOD))
def test_a_repeated_member_is_refused(name: str) -> None:
    with pytest.raises(RepeatedMember):
        parse_object(with_repeated_members(GOOD)[name])


@rule("R7515-5-04")
def test_the_deepest_nesting_allowed_is_read() -> None:
    nested = b'{"x":' + b"[" * (MAX_DEPTH - 1) + b"1" + b"]" * (MAX_DEPTH - 1) + b"}"
    assert parse_object(nested)["x"] is not None


def test_many_objects_side_by_side_are_not_deep() -> None:
    assert len(parse_object(json.dumps({str(n): [{}] for n in range(200)}).encode())) == 200


def test_an_escaped_pair_of_surrogates_is_a_character() -> None:
    assert parse_object(b'{"x":"\\ud83d\\ude00"}') == {"x": "😀"}


@rule("KF-33")
@given(st.binary(max_size=80) | st.text(alphabet='{}[]":,\\u0dDeE+-.19 naNIfty', max_size=60).map(str.encode))
@settings(max_examples=300)
def test_nothing_but_a_value_error_escapes(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        assert isinstance(parse_object(data), dict)


def test_white_space_around_an_object_is_nothing() -> None:
    assert parse_object(b' \r\n\t{"a" : 1 }\n') == {"a": 1}


@pytest.mark.parametrize("around", ["\u00a0", "\u2028", "\ufeff", "\0", "\x0b", "\x0c", "x", "{}", ","])
def test_anything_else_around_an_object_is_refused(around: str) -> None:
    for text in (around + "{}", "{}" + around):
        with pytest.raises(ValueError, match=r"."):
            parse_object(text.encode())
