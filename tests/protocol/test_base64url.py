import base64
import string
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import rule
from watchword.protocol.base64url import b64url_decode, b64url_encode


@pytest.mark.parametrize(
    ("data", "text"), [(b"", b""), (b"f", b"Zg"), (b"fo", b"Zm8"), (b"foo", b"Zm9v"), (b"\xfb\xff", b"-_8")]
)
def test_the_vectors_of_rfc_4648_without_padding(data: bytes, text: bytes) -> None:
    assert (b64url_encode(data), b64url_decode(text)) == (text, data)


@given(st.binary(max_size=200))
@settings(max_examples=100)
def test_what_was_encoded_is_decoded(data: bytes) -> None:
    assert b64url_encode(data) == base64.urlsafe_b64encode(data).rstrip(b"=")
    assert b64url_decode(b64url_encode(data)) == data


def is_read(text: bytes) -> bool:
    try:
        b64url_decode(text)
    except ValueError:
        return False
    return True


@rule("R7515-5-01", "KF-26")
@pytest.mark.parametrize(
    "text",
    [
        b"Zg==",
        b"Zg=",
        b"Zm8=",
        b"=",
        b"Zh",
        b"Zm9",
        b"Z",
        b"Zm9vZ",
        b"+/8",
        b"-_8\n",
        b" Zg",
        b"Z g",
        b"Zg\0",
        b"Zm9v!",
        b"\xffZg",
    ],
)
def test_any_other_spelling_is_refused(text: bytes) -> None:
    with pytest.raises(ValueError, match=r"."):
        b64url_decode(text)


@rule("KF-26")
def test_of_all_short_texts_exactly_those_are_read_that_encoding_gives() -> None:
    canonical = {b64url_encode(bytes([first])) for first in range(256)}
    assert {text for text in map(bytes, product(range(256), repeat=2)) if is_read(text)} == canonical
    assert not any(is_read(bytes([only])) for only in range(256))


@rule("KF-26")
def test_of_all_texts_of_three_letters_exactly_those_are_read_that_encoding_gives() -> None:
    letters = string.ascii_letters + string.digits + "-_+/= "
    canonical = {b64url_encode(bytes(pair)) for pair in product(range(256), repeat=2)}
    assert {text for text in map(bytes, product(letters.encode(), repeat=3)) if is_read(text)} == canonical


@rule("KF-26")
@given(st.binary(max_size=40))
@settings(max_examples=300)
def test_no_two_texts_decode_to_the_same(text: bytes) -> None:
    try:
        data = b64url_decode(text)
    except ValueError:
        return
    assert b64url_encode(data) == text
