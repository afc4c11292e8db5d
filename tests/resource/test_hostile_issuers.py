"""Keys fetched over real HTTP from a server that means harm: nothing is believed, nobody waits long, the last good set stays."""

from __future__ import annotations

import gzip
import json
import time
from datetime import timedelta

import pytest

from tests import rule
from tests.adapters.hostile_server import drip, flood, hostile_server, ok, raw
from tests.resource.issuers import Issuer
from watchword.adapters.outbound import OutboundTransport
from watchword.errors import VerifierUnavailable
from watchword.protocol.jose import generate_private_key
from watchword.protocol.jwks import build_jwks
from watchword.protocol.kept_keys import RETRY_DELAY
from watchword.resource import Verifier

JWKS = "/.well-known/jwks.json"
METADATA = "/.well-known/oauth-authorization-server"
HUGE = 3 * 1024 * 1024
CAP = timedelta(seconds=1)


class World:
    """An issuer behind a hostile server, and a verifier that reaches it over the real transport."""

    def __init__(self, server, transport) -> None:
        self.server = server
        self.issuer = Issuer(url=server.origin)
        self.jwks = json.dumps(build_jwks(self.issuer.published)).encode()
        metadata = {
            "issuer": server.origin,
            "token_endpoint": f"{server.origin}/oauth/token",
            "jwks_uri": f"{server.origin}{JWKS}",
        }
        server.answers[METADATA] = ok(json.dumps(metadata).encode())
        server.answers[JWKS] = ok(self.jwks)
        self.verifier = Verifier(issuer=server.origin, audience="my-api", transport=transport, clock=self.issuer.clock)

    def reason(self) -> str:
        with pytest.raises(VerifierUnavailable) as caught:
            self.verifier.verify_token_sync(self.issuer.token())
        return caught.value.reason


@pytest.fixture
def world(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    transport = OutboundTransport(total_timeout=CAP)
    with hostile_server() as server:
        yield World(server, transport)
        transport.close()


def hostile_answers(world) -> dict[str, tuple[object, str]]:
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n"
    elsewhere = world.server.origin.encode() + b"/elsewhere"
    return {
        "redirect": (
            raw(b"HTTP/1.1 302 Found\r\nlocation: %s\r\ncontent-length: 0\r\n\r\n" % elsewhere),
            "http.redirect",
        ),
        "redirect to a file": (
            raw(b"HTTP/1.1 307 T\r\nlocation: file:///etc/passwd\r\ncontent-length: 0\r\n\r\n"),
            "http.redirect",
        ),
        "huge": (flood(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % HUGE, HUGE), "http.too_large"),
        "huge, without a length": (flood(b"HTTP/1.1 200 OK\r\n\r\n", HUGE), "http.too_large"),
        "bomb": (ok(gzip.compress(bytes(HUGE)), b"content-encoding: gzip"), "http.protocol"),
        "slow": (drip(head), "http.timeout"),
        "slow head": (drip(b"HTTP/1.1 200 OK\r\nx: "), "http.timeout"),
        "cut off": (raw(head + b'{"keys":[', close=True), "http.protocol"),
        "no HTTP": (raw(b"SSH-2.0-OpenSSH_9.9\r\n", close=True), "http.protocol"),
        "garbage": (ok(b"\x00\xff" * 100), "keys.json"),
        "HTML": (ok(b"<html><body>login</body></html>", b"content-type: text/html"), "keys.json"),
        "500": (raw(b"HTTP/1.1 500 X\r\ncontent-length: 0\r\n\r\n"), "keys.status"),
        "private key": (
            ok(json.dumps({"keys": [{**world.issuer.published[0], "d": "AAAA"}]}).encode()),
            "keys.refused",
        ),
        "too many keys": (ok(json.dumps({"keys": [dict(world.issuer.published[0])] * 65}).encode()), "jwks.size"),
    }


NAMES = [
    *("redirect", "redirect to a file", "huge", "huge, without a length", "bomb", "slow", "slow head", "cut off"),
    *("no HTTP", "garbage", "HTML", "500", "private key", "too many keys"),
]


@rule("V4", "V6", "KF-36", "KF-120", "K13")
@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_answer_changes_nothing(world, name):
    answer, reason = hostile_answers(world)[name]
    good, token = world.server.answers[JWKS], world.issuer.token()
    world.server.answers["/elsewhere"] = good
    world.server.answers[JWKS] = answer
    begun = time.perf_counter()
    assert world.reason() == reason
    assert time.perf_counter() - begun < 5
    assert not [request for request in world.server.requests if b"elsewhere" in request]

    world.server.answers[JWKS] = good
    world.issuer.clock.advance(RETRY_DELAY)
    assert world.verifier.verify_token_sync(token).client_id == "reader-1"

    world.server.answers[JWKS] = answer
    world.issuer.clock.advance(timedelta(minutes=5))
    assert world.verifier.verify_token_sync(world.issuer.token()).client_id == "reader-1"
    if (flight := world.verifier._keys._flight) is not None:
        flight.result(10)
    assert world.verifier.keys_status().failure == reason
    assert world.verifier.verify_token_sync(token).client_id == "reader-1"


def test_all_hostile_answers_are_tried(world):
    assert sorted(hostile_answers(world)) == sorted(NAMES)


@rule("Q1", "V4")
def test_metadata_of_another_issuer_is_not_believed(world):
    metadata = {"issuer": "https://auth.example.com", "token_endpoint": "https://x/t", "jwks_uri": "https://x/j"}
    world.server.answers[METADATA] = ok(json.dumps(metadata).encode())
    assert world.reason() == "metadata.issuer"


@rule("V4")
def test_a_poisoned_key_beside_the_good_one_verifies_nothing_of_ours(world):
    """A key that takes the good one's kid: neither of them is used."""
    thief = generate_private_key("ES256")
    kid = str(world.issuer.published[0]["kid"])
    poisoned = {"keys": [dict(world.issuer.published[0]), {**thief.public_jwk, "kid": kid}]}
    world.server.answers[JWKS] = ok(json.dumps(poisoned).encode())
    assert world.reason() == "keys.refused"


def test_nobody_listening_is_a_fault_of_the_connection(world):
    world.server.close()
    assert world.reason() == "http.connect"
