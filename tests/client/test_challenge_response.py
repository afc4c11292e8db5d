from __future__ import annotations

import copy
import pickle
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID

from tests import rule
from tests.client.world import AT_ONCE, ISSUER, AuthorizationServer, answer, form
from tests.vectors import ecdsa_key, key_for
from watchword.client.challenge_response import ChallengeResponse
from watchword.client.errors import LoginError, LoginMisconfigured, LoginRefused, LoginUnavailable
from watchword.client.login import Login
from watchword.ports.http import HttpRequest
from watchword.protocol import names
from watchword.protocol.challenge_login import Terms, check_answer, make_challenge, parse_answer
from watchword.protocol.jose import thumbprint
from watchword.protocol.private_keys import to_pem
from watchword.protocol.x5c import parse_x5c, thumbprint_of
from watchword.testing.clock import FrozenClock

NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
SECRET = bytes(32)
KEY = key_for("ES256")
ENDPOINT = f"{ISSUER}/oauth/challenge"


class Challenging(AuthorizationServer):
    """Gives real challenges before it gives tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.metadata = answer(
            issuer=ISSUER, token_endpoint=f"{ISSUER}/oauth/token", watchword_challenge_endpoint=ENDPOINT
        )
        self.challenges: list[object] = []

    @property
    def asked(self) -> list[HttpRequest]:
        return [request for request in self.requests if request.url == ENDPOINT]

    def _answer(self, request: HttpRequest):
        if request.url != ENDPOINT:
            return super()._answer(request)
        self.requests.append(request)
        if self.challenges:
            return self.challenges.pop(0)
        said = form(request)
        terms = Terms(issuer=ISSUER, client_id=said["client_id"], thumbprint=said["key_thumbprint"])
        made = make_challenge(SECRET, terms, NOW)
        return answer(challenge=made.text, expires_at=int(made.expires_at.timestamp()), expires_in=60)


def login(server: AuthorizationServer, client: ChallengeResponse) -> Login:
    return Login(issuer=ISSUER, client=client, transport=server, clock=FrozenClock(NOW), retry=AT_ONCE)


def sent(server: Challenging) -> list[dict[str, str]]:
    return [form(request) for request in server.requests if request.url == f"{ISSUER}/oauth/token"]


@rule("H3", "H7")
def test_a_challenge_is_asked_for_and_answered() -> None:
    server = Challenging()
    login(server, ChallengeResponse("writer", KEY)).token(scope="read:data")
    assert form(server.asked[0]) == {
        "client_id": "writer",
        "key_thumbprint": thumbprint(KEY.public_jwk),
        "purpose": "token",
    }
    (said,) = sent(server)
    assert said["client_assertion_type"] == names.ASSERTION_TYPE_CHALLENGE
    found = check_answer(
        parse_answer(said["client_assertion"]),
        key=KEY.public_key(),
        thumbprint=thumbprint(KEY.public_jwk),
        secret=SECRET,
        issuer=ISSUER,
        purpose="token",
        algorithms=frozenset({"ES256"}),
        now=NOW,
    )
    assert found.expires_at == NOW + timedelta(seconds=60)


@rule("Q7", "H1")
def test_every_attempt_answers_a_challenge_of_its_own() -> None:
    server = Challenging()
    server.script.append(answer(503))
    login(server, ChallengeResponse("writer", KEY)).token(scope="read:data")
    assert len(server.asked) == 2
    assert len({said["client_assertion"] for said in sent(server)}) == 2


async def _atoken(server: Challenging) -> str:
    return await login(server, ChallengeResponse("writer", KEY)).atoken(scope="read:data")


def test_a_task_does_the_same() -> None:
    import asyncio

    assert asyncio.run(_atoken(Challenging())) == "token-1"


@pytest.mark.parametrize(
    ("given", "error", "reason"),
    [
        (answer(400, error="invalid_request", error_description="no"), LoginRefused, "refused.invalid_request"),
        (answer(404), LoginUnavailable, "response.missing"),
        (answer(), LoginUnavailable, "challenge.form"),
        (answer(challenge="", expires_at=1), LoginUnavailable, "challenge.form"),
        (answer(challenge="x" * 1025, expires_at=1), LoginUnavailable, "challenge.form"),
        (answer(challenge="a\nb", expires_at=1), LoginUnavailable, "challenge.form"),
        (answer(challenge="x", expires_at="soon"), LoginUnavailable, "challenge.form"),
        (answer(challenge="x", expires_at=True), LoginUnavailable, "challenge.form"),
        (answer(challenge="x", expires_at=10**30), LoginUnavailable, "challenge.form"),
    ],
)
def test_what_is_no_challenge_is_not_signed(given: object, error: type[LoginError], reason: str) -> None:
    server = Challenging()
    server.challenges.append(given)
    with pytest.raises(error) as caught:
        login(server, ChallengeResponse("writer", KEY)).token(scope="read:data")
    assert caught.value.reason == reason
    assert sent(server) == []


def test_a_server_that_gives_none_is_not_guessed_at() -> None:
    server = AuthorizationServer()
    with pytest.raises(LoginMisconfigured) as caught:
        login(server, ChallengeResponse("writer", KEY)).token(scope="read:data")
    assert caught.value.reason == "challenge.not_offered"
    assert server.token_requests == []


def certificate_of(key, directory: Path) -> Path:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "writer")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.key.public_key())
        .serial_number(1)
        .not_valid_before(NOW)
        .not_valid_after(NOW + timedelta(days=1))
        .sign(key.key, hashes.SHA256())
    )
    path = directory / "writer.crt"
    path.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    return path


@rule("H7")
def test_the_key_of_a_certificate_answers_with_it(tmp_path: Path) -> None:
    server = Challenging()
    login(server, ChallengeResponse("writer", to_pem(KEY), certificate_of(KEY, tmp_path))).token(scope="read:data")
    parsed = parse_answer(sent(server)[0]["client_assertion"])
    (der,) = parse_x5c(parsed.x5c)
    assert (parsed.kid, form(server.asked[0])["key_thumbprint"]) == ("", thumbprint_of(der))
    assert x509.load_der_x509_certificate(der).public_key() == KEY.key.public_key()


def test_a_certificate_of_another_key_and_a_file_that_is_none_are_refused(tmp_path: Path) -> None:
    for path in (certificate_of(ecdsa_key(7, "ES256"), tmp_path), tmp_path / "nothing"):
        with pytest.raises(LoginMisconfigured) as caught:
            ChallengeResponse("writer", KEY, path)
        assert caught.value.reason == "credential.certificate"


@pytest.mark.parametrize("value", ["MIIB\n", "MIIB=", "MI-B", "\u00e9", "MIIC MIIC", "M"])
def test_a_certificate_in_a_header_is_canonical_base64(value: str) -> None:
    with pytest.raises(ValueError, match="base64"):
        parse_x5c([value])


@rule("Q6", "TRAP-24")
def test_the_key_does_not_leave() -> None:
    credential = ChallengeResponse("writer", to_pem(KEY))
    assert "PRIVATE" not in repr(credential)
    assert copy.deepcopy(credential) is credential
    with pytest.raises(TypeError):
        pickle.dumps(credential)
    with pytest.raises(LoginMisconfigured, match="asked for first"):
        credential.apply({}, {}, issuer=ISSUER, now=NOW)
