from __future__ import annotations

import base64
import copy
import pickle
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import rule
from watchword.client.credentials import ClientSecretBasic, ClientSecretPost
from watchword.client.errors import LoginMisconfigured
from watchword.protocol.client_secret import SecretKind, generate_secret, parse_basic

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
PRINTABLE = st.text(st.characters(exclude_categories=["C", "Z"]) | st.just(" "), min_size=1, max_size=80)
either = pytest.mark.parametrize("kind", [ClientSecretBasic, ClientSecretPost])


def _apply(credential: ClientSecretBasic | ClientSecretPost) -> tuple[dict[str, str], dict[str, str]]:
    form: dict[str, str] = {}
    headers: dict[str, str] = {}
    credential.apply(form, headers, issuer="https://login.example.com", now=NOW)
    return form, headers


@rule("R6749-2.3-04")
def test_the_basic_header_of_the_standard() -> None:
    # RFC 6749 §2.3.1: client s6BhdRkqt3, secret 7Fjfp0ZBr1KtDRbnfVdmIw
    form, headers = _apply(ClientSecretBasic("s6BhdRkqt3", "7Fjfp0ZBr1KtDRbnfVdmIw"))
    assert (form, headers) == ({}, {"authorization": "Basic czZCaGRSa3F0Mzo3RmpmcDBaQnIxS3REUmJuZlZkbUl3"})


@rule("R6749-2.3-04")
def test_both_halves_are_form_encoded_before_base64() -> None:
    _, headers = _apply(ClientSecretBasic("a:b c", "p+q%é"))
    assert base64.b64decode(headers["authorization"][6:]) == b"a%3Ab+c:p%2Bq%25%C3%A9"


@rule("R6749-2.3-04", "TRAP-05")
@given(PRINTABLE, PRINTABLE)
@settings(max_examples=200)
def test_the_server_reads_what_the_client_meant(client_id: str, secret: str) -> None:
    _, headers = _apply(ClientSecretBasic(client_id, secret))
    assert parse_basic(headers["authorization"].encode("ascii")) == (client_id, secret)


def test_the_body_carries_both_where_that_is_the_method() -> None:
    form, headers = _apply(ClientSecretPost("reader", "hush"))
    assert (form, headers) == ({"client_id": "reader", "client_secret": "hush"}, {})


@either
@rule("Q6")
def test_the_secret_is_not_in_a_repr(kind: type[ClientSecretBasic]) -> None:
    credential = kind("reader", "hush")
    assert "hush" not in repr(credential) + str(credential) + f"{[credential]}"
    assert "reader" in repr(credential)


@either
@rule("Q6")
def test_a_credential_is_not_pickled_and_copies_are_itself(kind: type[ClientSecretBasic]) -> None:
    credential = kind("reader", "hush")
    with pytest.raises(TypeError) as refused:
        pickle.dumps(credential)
    assert "hush" not in str(refused.value)
    assert copy.copy(credential) is credential
    assert copy.deepcopy([credential])[0] is credential


@either
@rule("Q6")
def test_what_a_server_echoes_is_hidden(kind: type[ClientSecretBasic]) -> None:
    other = generate_secret(SecretKind.CLIENT)
    said = kind("reader", "p4ss").hide(f"bad secret p4ss or {other} for reader")
    assert said == "bad secret [redacted] or [redacted] for reader"


@either
@rule("Q6", "KF-95")
@pytest.mark.parametrize(
    "echo",
    [
        "header Basic cmVhZGVyOnA0c3MrJUMzJUJDJTJG",  # reader:p4ss+%C3%BC%2F
        "header Basic cmVhZGVyOnA0c3Mgw7wv",  # reader:p4ss ü/
        "body client_secret=p4ss+%C3%BC%2F&x=1",
        "body client_secret=p4ss%20%C3%BC%2F&x=1",
        "body client_secret=p4ss%20%c3%bc%2f&x=1",
    ],
)
def test_so_is_what_it_echoes_as_it_was_sent(kind: type[ClientSecretBasic], echo: str) -> None:
    said = kind("reader", "p4ss ü/").hide(echo)
    assert (said.count("[redacted]"), said[:6], "p4ss" in said) == (1, echo[:6], False)
    assert "cmVhZ" not in said


@either
@pytest.mark.parametrize(
    ("client_id", "secret", "reason"),
    [
        ("", "hush", "credential.client_id"),
        ("reader\n", "hush", "credential.client_id"),
        ("reader", "", "credential.client_secret"),
        ("reader", "hush\n", "credential.client_secret"),
        ("reader", "hu\x00sh", "credential.client_secret"),
    ],
)
def test_an_empty_or_broken_half_is_refused(
    kind: type[ClientSecretBasic], client_id: str, secret: str, reason: str
) -> None:
    with pytest.raises(LoginMisconfigured) as refused:
        kind(client_id, secret)
    assert refused.value.reason == reason
    assert "hush" not in str(refused.value)
