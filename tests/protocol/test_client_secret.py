"""Machine secrets: form, keeping, comparing, and the Basic header of RFC 6749 §2.3.1."""

import base64
import hashlib
import hmac
import random
import string
import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import rule
from watchword.errors import BadSettings, InvalidClient
from watchword.protocol import client_secret
from watchword.protocol.client_secret import (
    SECRET_PATTERN,
    SecretKind,
    build_basic,
    find_match,
    generate_secret,
    hash_secret,
    looks_like_secret,
    parse_basic,
    redact,
)

PEPPER = bytes(range(32))
OUR_CHARACTERS = set(string.ascii_letters + string.digits)


def basic(decoded: bytes) -> bytes:
    return b"Basic " + base64.b64encode(decoded)


def reason_of(value: bytes) -> str:
    with pytest.raises(InvalidClient) as caught:
        parse_basic(value)
    return caught.value.reason


# Published examples


@rule("R6749-2.3-04")
def test_the_example_of_rfc_6749():
    header = "Basic czZCaGRSa3F0Mzo3RmpmcDBaQnIxS3REUmJuZlZkbUl3"
    assert build_basic("s6BhdRkqt3", "7Fjfp0ZBr1KtDRbnfVdmIw") == header
    assert parse_basic(header.encode()) == ("s6BhdRkqt3", "7Fjfp0ZBr1KtDRbnfVdmIw")


def test_the_keyed_hash_is_hmac_sha_256_of_rfc_4231_kind():
    expected = hmac.new(PEPPER, b"wws_x", hashlib.sha256).digest()
    assert hash_secret("wws_x", pepper=PEPPER) == expected


# The form of a secret


@rule("P9", "R6749-10-01")
@pytest.mark.parametrize("kind", SecretKind)
def test_a_secret_has_prefix_256_bits_and_checksum(kind):
    secret = generate_secret(kind)
    prefix, _, rest = secret.partition("_")
    assert (prefix, len(rest), set(rest) <= OUR_CHARACTERS) == (kind.value, 49, True)
    assert 62**43 >= 2**256
    assert looks_like_secret(secret)
    assert SECRET_PATTERN.search(f"curl -u 'reader:{secret}' https://x") is not None


@rule("P9")
def test_the_checksum_is_the_crc_32_of_all_before_it_in_base62():
    secret = generate_secret(SecretKind.CLIENT)
    number = 0
    for character in secret[-6:]:
        number = number * 62 + (string.digits + string.ascii_uppercase + string.ascii_lowercase).index(character)
    assert number == zlib.crc32(secret[:-6].encode())


@rule("R6749-10-01")
def test_no_two_secrets_are_alike():
    assert len({generate_secret(SecretKind.CLIENT) for _ in range(2000)}) == 2000


@rule("R6749-10-01")
def test_every_character_position_varies():
    bodies = [generate_secret(SecretKind.CLIENT)[4:47] for _ in range(400)]
    assert all(len(set(column)) > 20 for column in list(zip(*bodies, strict=True))[1:])


@rule("TRAP-05")
def test_a_secret_reads_the_same_form_encoded_or_not():
    secret = generate_secret(SecretKind.CLIENT)
    unencoded = basic(f"reader-k7q2m9xw:{secret}".encode())
    assert build_basic("reader-k7q2m9xw", secret).encode() == unencoded


@rule("KF-85", "P1", "P3")
def test_every_truncation_extension_and_single_change_breaks_the_checksum():
    secret = generate_secret(SecretKind.API_KEY)
    assert not any(looks_like_secret(secret[:end]) for end in range(len(secret)))
    assert not any(looks_like_secret(secret[start:]) for start in range(1, len(secret)))
    assert not any(looks_like_secret(changed) for changed in single_changes(secret))
    assert looks_like_secret(secret)


def single_changes(secret: str) -> list[str]:
    changed = [secret + more for more in ("0", "a", " ", "\n", "=", "\0", secret)] + [" " + secret, "w" + secret]
    for index, character in enumerate(secret):
        for bit in range(8):
            other = chr(ord(character) ^ (1 << bit))
            changed.append(secret[:index] + other + secret[index + 1 :])
        if character.isalpha():
            changed.append(secret[:index] + character.swapcase() + secret[index + 1 :])
    return changed


# Keeping and comparing


@rule("KF-85", "C7", "P1")
def test_no_truncated_extended_or_altered_secret_matches():
    secret = generate_secret(SecretKind.CLIENT)
    stored = [hash_secret(secret, pepper=PEPPER)]
    wrong = [secret[:end] for end in range(len(secret))] + single_changes(secret) + [stored[0].hex(), secret.upper()]
    assert [text for text in wrong if find_match(hash_secret(text, pepper=PEPPER), stored) is not None] == []
    assert find_match(hash_secret(secret, pepper=PEPPER), stored) == 0


@rule("KF-125")
def test_long_secrets_that_differ_only_at_the_end_differ():
    stem = "x" * 10_000
    stored = [hash_secret(stem + "a", pepper=PEPPER)]
    assert find_match(hash_secret(stem + "b", pepper=PEPPER), stored) is None
    assert find_match(hash_secret(stem + "a", pepper=PEPPER), stored) == 0


@rule("KF-125", "C7", "R6749-10-01")
def test_what_is_stored_is_worth_nothing_without_the_pepper():
    secret = generate_secret(SecretKind.CLIENT)
    stored = hash_secret(secret, pepper=PEPPER)
    assert stored != hash_secret(secret, pepper=bytes(32))
    assert stored != hashlib.sha256(secret.encode()).digest()
    assert find_match(hash_secret(stored.hex(), pepper=PEPPER), [stored]) is None


@rule("KF-11")
@pytest.mark.parametrize("pepper", [b"", bytes(31)])
def test_a_short_pepper_is_refused(pepper):
    with pytest.raises(BadSettings) as caught:
        hash_secret("wws_x", pepper=pepper)
    assert caught.value.reason == "pepper.short"


@rule("C10")
def test_a_match_is_found_wherever_it_stands():
    stored = [hash_secret(text, pepper=PEPPER) for text in ("old", "new", "next")]
    assert [find_match(hash_secret(text, pepper=PEPPER), stored) for text in ("old", "new", "next", "other")] == [
        0,
        1,
        2,
        None,
    ]


@rule("KF-11", "C11")
@pytest.mark.parametrize("presented", [bytes(32), b"", hash_secret("", pepper=PEPPER)])
def test_nothing_matches_where_nothing_is_stored(presented):
    assert find_match(presented, []) is None


@rule("KF-6", "KF-92", "R6749-2.3-06", "C8")
@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("position", [0, 2, None])
def test_every_entry_is_compared_in_constant_time_and_a_dummy_where_there_is_none(monkeypatch, count, position):
    compared = []
    real = hmac.compare_digest
    monkeypatch.setattr(client_secret.hmac, "compare_digest", lambda a, b: compared.append(b) or real(a, b))
    stored = [bytes([number]) * 32 for number in range(count)]
    presented = stored[position] if position is not None and position < count else b"?" * 32
    find_match(presented, stored)
    assert len(compared) == max(count, 1)


# The Basic header


@rule("R6749-2.3-03", "R6749-2.3-04", "C5", "TRAP-05")
@pytest.mark.parametrize(
    "text", [":", "%", "+", " ", "a:b:c", "100%", "a+b c", "%41", "é", "密", "wws_x=", "&=;", '"', "~"]
)
def test_what_is_built_is_read_back(text):
    assert parse_basic(build_basic(text, text).encode()) == (text, text)


@rule("R6749-2.3-03", "C5", "TRAP-05")
@pytest.mark.parametrize(
    ("decoded", "pair"),
    [
        (b"id:se%2Bcret", ("id", "se+cret")),
        (b"id:se+cret", ("id", "se cret")),
        (b"id:se%20cret", ("id", "se cret")),
        (b"id:se%3Acret", ("id", "se:cret")),
        (b"id:se:cret", ("id", "se:cret")),
        (b"id%3A1:secret", ("id:1", "secret")),
        (b"id:a%25b", ("id", "a%b")),
        (b"id:%C3%A9", ("id", "é")),
        (b"id:&=", ("id", "&=")),
        (b" id : s ", (" id ", " s ")),
    ],
)
def test_the_pair_is_split_at_the_first_colon_then_form_decoded(decoded, pair):
    assert parse_basic(basic(decoded)) == pair


@rule("C4", "R6750-2-01", "TRAP-11")
@pytest.mark.parametrize("scheme", [b"Basic ", b"basic ", b"BASIC ", b"bAsIc   "])
def test_the_scheme_has_no_case(scheme):
    assert parse_basic(scheme + base64.b64encode(b"id:secret")) == ("id", "secret")


@rule("C4", "C11", "TRAP-05")
@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"Basic",
        b"Basic ",
        b"Bearer aWQ6c2VjcmV0",
        b"Basic\taWQ6c2VjcmV0",
        b"Basic \taWQ6c2VjcmV0",
        b"Basic aWQ6c2VjcmV0 ",
        b"Basic aWQ6c2VjcmV0\n",
        b" Basic aWQ6c2VjcmV0",
        b"Basic aWQ6c2VjcmV0, Basic aWQ6c2VjcmV0",
        b"Basic aWQ6c2VjcmV0=",
        b"Basic aWQ6c2VjcmV",
        b"Basic aWQ6cw",
        b"Basic aWQ6cx==",
        b"Basic aWQ6c2Vj_mV0",
        b"Basic aWQ6 c2VjcmV0",
        b"Basic !!!!",
        b"Basic \xff\xfe",
        basic(b""),
        basic(b"id"),
        basic(b":"),
        basic(b":secret"),
        basic(b"id:"),
        basic(b"id:a%"),
        basic(b"id:a%zz"),
        basic(b"id:%00"),
        basic(b"id:\x00"),
        basic(b"id:%c0%af"),
        basic(b"id:%ff"),
        basic("id:é".encode()),
        basic("id:é".encode("latin-1")),
        basic(b"id:" + b"x" * 4096),
        b"Basic " + b"A" * 100_000,
    ],
)
def test_a_malformed_header_is_refused(value):
    assert reason_of(value) == "basic.syntax"


@rule("TRAP-24", "C13", "KF-95")
@pytest.mark.parametrize("decoded", [b"canary", b"id:canary%zz", b":canary", b"id:canary\xff"])
def test_a_refusal_echoes_nothing(decoded):
    with pytest.raises(InvalidClient) as caught:
        parse_basic(basic(decoded))
    assert "canary" not in f"{caught.value} {caught.value.facts} {caught.value.__cause__}"


@rule("T26")
@given(st.one_of(st.binary(max_size=60), st.binary(max_size=60).map(basic)))
@settings(max_examples=300)
def test_whatever_comes_in_is_two_texts_or_refused(value):
    try:
        client_id, secret = parse_basic(value)
    except InvalidClient:
        return
    assert client_id
    assert secret


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff"), min_size=1, max_size=40))
@settings(max_examples=100)
def test_any_text_survives_the_header(text):
    assert parse_basic(build_basic("id", text).encode()) == ("id", text)


# Redaction

TOKEN = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJyZWFkZXIifQ.c2lnbmF0dXJl"


@rule("TRAP-24", "C13", "KF-95", "KF-35")
@pytest.mark.parametrize("before", ["", "Bearer ", "token=", "%20", "x", '{"a":"', "(", "v1."])
@pytest.mark.parametrize("after", ["", "&x=1", '"}', " and more", "\n", ","])
def test_secrets_and_tokens_are_taken_out_of_any_text(before, after):
    for secret in (
        generate_secret(SecretKind.CLIENT),
        generate_secret(SecretKind.OPERATOR),
        TOKEN,
        TOKEN.rpartition(".")[0],
    ):
        text = redact(before + secret + after)
        assert text == before + "[redacted]" + after


def test_truncated_and_extended_secrets_are_taken_out_too():
    secret = generate_secret(SecretKind.API_KEY)
    assert redact(secret[:-9] + " " + secret + "abc") == "[redacted] [redacted]"
    assert redact(f"{secret.swapcase()} {secret.upper()} {secret.lower()}") == "[redacted] [redacted] [redacted]"


@pytest.mark.parametrize(
    "text", ["", "read:data my-api", "https://auth.example.com/main", "wws_", "eyJ", "watchword", "a.b.c"]
)
def test_other_text_is_left_alone(text):
    assert redact(text) == text


@rule("KF-117")
@pytest.mark.parametrize("piece", ["eyJ", "wws_", "wws_0", "eyJ.", ".", "wwwwww", "a"])
def test_redacting_is_linear(piece):
    text = piece * (200_000 // len(piece))
    assert len(redact(text)) <= len(text) * 4


def test_random_texts_without_secrets_stay_whole():
    rng = random.Random(7)
    for _ in range(200):
        text = "".join(rng.choice("abc xyz:/?") for _ in range(80))
        assert redact(text) == text
