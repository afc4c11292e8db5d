"""A key that is given up: replaced at the next request, and refused by every verifier within the bound that is promised."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests import rule

from watchword.compose import local_context
from watchword.errors import InvalidToken
from watchword.operations.key_rotation import CompromiseSigningKey, compromise_signing_key
from watchword.ports.http import HttpRequest, HttpResponse
from watchword.protocol.jose import parse_compact
from watchword.resource import Verifier
from watchword.resource.jwks_cache import GRACE
from watchword.testing.server import ISSUER, InProcessServer

SECOND = timedelta(seconds=1)
PROMISED = timedelta(minutes=6)
"""What docs/features/signing-keys.md says."""


class Wire:
    """Carries a verifier's requests to the server."""

    def __init__(self, server: InProcessServer) -> None:
        self._server = server
        self.fetches = 0

    def send(self, request: HttpRequest) -> HttpResponse:
        self.fetches += 1
        answer = self._server.ask(request.method, request.url.removeprefix(ISSUER))
        return HttpResponse(status=answer.status, headers=dict(answer.headers), body=answer.body)


class Scene:
    def __init__(self) -> None:
        self.server = InProcessServer()
        self.server.add_resource(token_lifetime=timedelta(hours=1))
        self.agent = self.server.add_agent()
        self.verifier = Verifier(
            issuer=ISSUER,
            audience="my-api",
            jwks_uri=f"{ISSUER}/.well-known/jwks.json",
            transport=Wire(self.server),
            clock=self.server.clock,
        )

    def token(self) -> str:
        return str(self.server.token(self.agent).json["access_token"])

    def give_up(self, token: str) -> str:
        command = CompromiseSigningKey(kid=kid_of(token))
        done = self.server.run(compromise_signing_key(local_context(self.server.core), command))
        assert done.replacement is not None
        return done.replacement.kid

    def refusal(self, token: str) -> str:
        with pytest.raises(InvalidToken) as caught:
            self.verifier.verify_token_sync(token)
        return caught.value.reason

    def published(self) -> list[str]:
        return [key["kid"] for key in self.server.ask("GET", "/.well-known/jwks.json").json["keys"]]


def kid_of(token: str) -> str:
    return str(parse_compact(token, typ="at+jwt").header["kid"])


@pytest.fixture
def scene() -> Scene:
    return Scene()


@rule("K2")
def test_the_next_token_is_signed_with_another_key_and_the_old_one_is_gone(scene: Scene):
    old = scene.token()
    replacement = scene.give_up(old)
    assert scene.published() == [replacement]
    assert kid_of(scene.token()) == replacement


@rule("K2")
def test_the_first_token_of_the_new_key_ends_the_old_one(scene: Scene):
    old = scene.token()
    scene.verifier.verify_token_sync(old)
    scene.give_up(old)
    assert scene.verifier.verify_token_sync(scene.token()).client_id == scene.agent.client_id
    assert scene.refusal(old) == "token.unknown_key"


@rule("K2")
def test_a_verifier_that_hears_of_no_new_key_refuses_the_old_one_within_the_bound(scene: Scene):
    old = scene.token()
    scene.verifier.verify_token_sync(old)
    scene.give_up(old)
    assert timedelta(seconds=scene.server.core.key_times.max_age.total_seconds()) + GRACE == PROMISED
    scene.server.clock.advance(PROMISED)
    assert scene.refusal(old) == "token.unknown_key"


def test_before_its_key_set_is_old_a_verifier_cannot_know(scene: Scene):
    old = scene.token()
    scene.verifier.verify_token_sync(old)
    scene.give_up(old)
    scene.server.clock.advance(scene.server.core.key_times.max_age - SECOND)
    assert scene.verifier.verify_token_sync(old).client_id == scene.agent.client_id
