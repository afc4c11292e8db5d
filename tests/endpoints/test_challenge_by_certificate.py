"""A challenge that is answered with the key of a certificate: ABUSE 6.5 M and H, without a TLS handshake."""

import base64
from datetime import datetime, timedelta

import pytest
from tests import rule
from tests.endpoints.test_challenge import ask, refused
from tests.endpoints.test_mutual_tls import NOW, ROOT, Trust, certify, started

from watchword.protocol import names
from watchword.protocol.challenge_login import Terms, build_answer
from watchword.protocol.private_keys import PrivateKey, read_private_key
from watchword.protocol.x5c import thumbprint_of
from watchword.testing.certificates import Authority, Held, self_signed
from watchword.testing.server import InProcessServer

METHODS = (names.WATCHWORD_CHALLENGE,)


@pytest.fixture
def server() -> InProcessServer:
    return started(Trust())


def add(server: InProcessServer, details: dict[str, object], name: str = "writer") -> str:
    client_id = server.add_agent(name, auth_methods=METHODS).client_id
    certify(server, client_id, details)
    return client_id


def key_of(held: Held) -> PrivateKey:
    return read_private_key(held.key_pem.decode())


def answer(
    server: InProcessServer, client_id: str, held: Held, *, asked_for: Held | None = None, key: PrivateKey | None = None
) -> str:
    """Ask with one certificate, answer with another where that is told."""
    x5t = thumbprint_of((asked_for or held).der)
    given = server.post({"client_id": client_id, "key_thumbprint": x5t}, path=names.PATH_CHALLENGE).json
    x5c = [base64.b64encode(der).decode() for der in (held.der, *held.chain_der)]
    ends = datetime.fromtimestamp(given["expires_at"], NOW.tzinfo)
    terms = Terms(issuer=server.issuer, client_id=client_id, thumbprint=x5t)
    return build_answer(given["challenge"], terms, expires_at=ends, key=key or key_of(held), named_by={"x5c": x5c})


def test_a_name_that_an_authority_vouches_for_logs_in(server: InProcessServer) -> None:
    client_id = add(server, {"subject_dn": "CN=writer"})
    held = ROOT.issue("writer")
    assert ask(server, answer(server, client_id, held)).status == 200
    event = server.last_event()
    assert (event["client_auth"], event["credential_id"]) == ("watchword_challenge", f"cert-{client_id}")
    below = Authority("Below", above=ROOT).issue("writer")
    assert ask(server, answer(server, client_id, below)).status == 200


def test_a_pinned_certificate_logs_in_without_any_authority(server: InProcessServer) -> None:
    held = self_signed("writer", now=NOW)
    client_id = add(server, {"x5t#S256": thumbprint_of(held.der)})
    assert ask(server, answer(server, client_id, held)).status == 200


@rule("H7")
def test_another_certificate_than_was_asked_for_does_not_answer(server: InProcessServer) -> None:
    client_id = add(server, {"subject_dn": "CN=writer"})
    first, second = ROOT.issue("writer"), ROOT.issue("writer")
    refused(server, ask(server, answer(server, client_id, second, asked_for=first)), "challenge.unknown")


@rule("H5", "M2", "M6")
def test_a_certificate_that_is_not_the_agents_answers_nothing(server: InProcessServer) -> None:
    client_id = add(server, {"subject_dn": "CN=writer"})
    other = add(server, {"subject_dn": "CN=other"}, "other")
    held = ROOT.issue("writer")
    refused(server, ask(server, answer(server, other, held)), "challenge.key")
    refused(server, ask(server, answer(server, client_id, self_signed("writer", now=NOW))), "certificate.authority")
    stranger = Authority(now=NOW).issue("writer")
    refused(server, ask(server, answer(server, client_id, stranger)), "certificate.chain")
    assert ask(server, answer(server, client_id, held)).status == 200


@rule("H5")
def test_the_certificate_alone_proves_nothing(server: InProcessServer) -> None:
    client_id = add(server, {"subject_dn": "CN=writer"})
    held, thief = ROOT.issue("writer"), key_of(ROOT.issue("thief"))
    refused(server, ask(server, answer(server, client_id, held, key=thief)), "jws.signature")


@rule("M1", "H5")
def test_a_certificate_that_is_over_answers_nothing(server: InProcessServer) -> None:
    held = self_signed("writer", now=NOW)
    client_id = add(server, {"x5t#S256": thumbprint_of(held.der)})
    server.advance(timedelta(days=31).total_seconds())
    refused(server, ask(server, answer(server, client_id, held)), "certificate.expired")


@rule("J4", "R7515-4-03")
def test_a_certificate_in_any_other_token_is_refused(server: InProcessServer) -> None:
    client_id = add(server, {"subject_dn": "CN=writer"})
    text = answer(server, client_id, ROOT.issue("writer"))
    refused(server, ask(server, text, client_assertion_type=names.ASSERTION_TYPE_JWT), "jws.key_in_header")


@pytest.mark.parametrize("x5c", [["MIIB"], ["not base64!"], [""]])
def test_what_is_no_certificate_is_refused(server: InProcessServer, x5c: list[str]) -> None:
    client_id = add(server, {"subject_dn": "CN=writer"})
    held = ROOT.issue("writer")
    x5t = thumbprint_of(held.der)
    given = server.post({"client_id": client_id, "key_thumbprint": x5t}, path=names.PATH_CHALLENGE).json
    terms = Terms(issuer=server.issuer, client_id=client_id, thumbprint=x5t)
    ends = datetime.fromtimestamp(given["expires_at"], NOW.tzinfo)
    text = build_answer(given["challenge"], terms, expires_at=ends, key=key_of(held), named_by={"x5c": x5c})
    answered = ask(server, text)
    assert (answered.status, server.last_event()["reason"].partition(".")[0]) in (
        (401, "challenge"),
        (401, "certificate"),
    )


def test_with_no_listener_for_mutual_tls_pins_work_and_names_do_not() -> None:
    server = InProcessServer()
    server.add_resource()
    held = self_signed("writer", now=server.clock())
    pinned = add(server, {"x5t#S256": thumbprint_of(held.der)})
    assert ask(server, answer(server, pinned, held)).status == 200
    named = add(server, {"subject_dn": "CN=writer"}, "named")
    refused(server, ask(server, answer(server, named, held)), "certificate.chain")
