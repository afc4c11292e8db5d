"""Tokens that are bound to a key without being asked: of agents with keys, where the issuer offers it. RFC 9449 §5."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

import httpx2
import jwt
import pytest

from tests import rule
from tests.client.test_dpop import API, Wire
from tests.client.world import AT_ONCE, AuthorizationServer, answer, token_answer
from tests.resource.test_guard import Application
from watchword.client.chain import default
from watchword.client.challenge_response import ChallengeResponse
from watchword.client.credentials import ClientCredential, ClientSecretBasic
from watchword.client.dpop_key import DPoPKey
from watchword.client.errors import LoginMisconfigured
from watchword.client.login import Login
from watchword.client.private_key_jwt import PrivateKeyJwt
from watchword.protocol import names
from watchword.protocol.private_keys import generate_private_key, to_pem
from watchword.resource import Guard, Verifier
from watchword.testing.clock import FrozenClock
from watchword.testing.keyed_agents import add_keyed_agent
from watchword.testing.server import ISSUER, InProcessServer

KEY = generate_private_key("ES256")


class Scene:
    """A server, an agent with a key, and its login with nothing said of DPoP."""

    def __init__(self, method: str = names.PRIVATE_KEY_JWT) -> None:
        self.server = InProcessServer()
        self.server.add_resource()
        self.agent = add_keyed_agent(self.server, auth_methods=(method,))
        self.wire = Wire(self.server)
        kind = PrivateKeyJwt if method == names.PRIVATE_KEY_JWT else ChallengeResponse
        self.login = self.log_in(kind(self.agent.client_id, self.agent.key))
        self.server.advance(120)

    def log_in(self, client: ClientCredential, dpop: bool | DPoPKey | None = None) -> Login:
        return Login(
            issuer=ISSUER,
            client=client,
            resource="my-api",
            scope="read:data",
            dpop=dpop,
            transport=self.wire,
            clock=self.server.clock,
            retry=AT_ONCE,
        )

    def verifier(self, **settings: object) -> Verifier:
        return Verifier(  # type: ignore[arg-type]  -- settings of any kind
            issuer=ISSUER, audience="my-api", transport=self.wire, clock=self.server.clock, **settings
        )

    def call(self, verifier: Verifier, login: Login | None = None) -> httpx2.Response:
        async def ask() -> httpx2.Response:
            transport = httpx2.ASGITransport(app=Guard(Application(), verifier))
            auth = (login or self.login).auth(origins=[API])
            async with httpx2.AsyncClient(transport=transport, auth=auth) as client:
                return await client.get(f"{API}/data")

        return asyncio.run(ask())


def bound_to(token: str) -> object:
    return jwt.decode(token, options={"verify_signature": False}).get("cnf")


@rule("R9449-5-01")
@pytest.mark.parametrize("method", [names.PRIVATE_KEY_JWT, names.WATCHWORD_CHALLENGE])
def test_who_logs_in_with_a_key_gets_bound_tokens_without_asking(method: str) -> None:
    scene = Scene(method)
    assert scene.login.dpop_key is None, "the issuer was not asked yet"
    token = scene.login.token()
    key = scene.login.dpop_key
    assert key is not None
    assert bound_to(token) == {"jkt": key.jkt}
    assert key.jkt != scene.agent.key.kid, "the key it logs in with signs nothing else"
    assert scene.call(scene.verifier(base_url=API)).status_code == 200


def test_who_says_no_gets_bearer_tokens() -> None:
    scene = Scene()
    login = scene.log_in(PrivateKeyJwt(scene.agent.client_id, scene.agent.key), dpop=False)
    assert bound_to(login.token()) is None
    assert (login.dpop_key, scene.wire.proofs) == (None, [])
    assert scene.call(scene.verifier(), login).status_code == 200


def test_who_logs_in_with_a_secret_is_asked_for_no_key() -> None:
    scene = Scene()
    other = scene.server.add_agent()
    login = scene.log_in(ClientSecretBasic(other.client_id, other.secret))
    assert bound_to(login.token()) is None


def keyed(world: AuthorizationServer) -> Login:
    client = PrivateKeyJwt("writer", KEY)
    return Login(issuer=world.issuer, client=client, transport=world, clock=FrozenClock(), retry=AT_ONCE)


@pytest.mark.parametrize("offered", [{}, {"dpop_signing_alg_values_supported": ["ES512"]}])
def test_an_issuer_that_offers_nothing_is_asked_for_a_bearer_token(offered: dict[str, object]) -> None:
    world = AuthorizationServer()
    world.metadata = answer(issuer=world.issuer, token_endpoint=f"{world.issuer}/oauth/token", **offered)
    login = keyed(world)
    assert login.token() == "token-1"
    assert login.headers("GET", API) == {"authorization": "Bearer token-1"}
    assert "dpop" not in world.token_requests[0].headers


OFFERED = {"dpop_signing_alg_values_supported": ["ES256"]}


@rule("R9449-5-01")
def test_a_bearer_token_in_place_of_one_that_was_offered_bound_is_not_used() -> None:
    world = AuthorizationServer()
    world.metadata = answer(issuer=world.issuer, token_endpoint=f"{world.issuer}/oauth/token", **OFFERED)
    with pytest.raises(LoginMisconfigured) as caught:
        keyed(world).token()
    assert caught.value.reason == "response.token_type"


def test_the_tokens_of_a_login_are_all_of_one_kind() -> None:
    world = AuthorizationServer()
    login = keyed(world)
    first = login.token()
    world.metadata = answer(issuer=world.issuer, token_endpoint=f"{world.issuer}/oauth/token", **OFFERED)
    login.invalidate(first)
    login._metadata.forget()
    assert login.headers("GET", API) == {"authorization": "Bearer token-2"}
    bound = keyed(world)
    world.script.append(token_answer("bound", token_type="DPoP"))
    assert bound.token() == "bound"
    world.metadata = answer(issuer=world.issuer, token_endpoint=f"{world.issuer}/oauth/token")
    bound.invalidate("bound")
    bound._metadata.forget()
    with pytest.raises(LoginMisconfigured, match=r"response\.token_type"):
        bound.token()


def test_an_api_that_takes_no_bound_tokens_says_what_to_set(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    with caplog.at_level(logging.WARNING, "watchword"):
        verifier = scene.verifier()
        assert "base_url='https://api.example.com'" in caplog.text, "before the first request"
        answers = [scene.call(verifier) for _ in range(2)]
    assert [one.status_code for one in answers] == [401, 401]
    assert "base_url" in answers[0].headers["www-authenticate"]
    assert "WATCHWORD_DPOP=off" in answers[0].json()["error_description"]
    said = [record.getMessage() for record in caplog.records if record.name == "watchword.client"]
    assert len(said) == 1, "once"
    assert said[0].startswith(f"{API} takes no tokens that are bound")


def test_an_api_that_takes_none_on_purpose_is_silent(caplog: pytest.LogCaptureFixture) -> None:
    scene = Scene()
    with caplog.at_level(logging.WARNING, "watchword"):
        verifiers = [scene.verifier(dpop=False), scene.verifier(dpop=False, base_url=API)]
        assert caplog.text == ""
        assert [scene.call(verifier).status_code for verifier in verifiers] == [401, 401]


def test_the_environment_can_say_no(tmp_path: Path) -> None:
    scene = Scene()
    file = tmp_path / "key.pem"
    file.write_text(to_pem(scene.agent.key))
    file.chmod(0o600)
    environ = {
        "WATCHWORD_CLIENT_ID": scene.agent.client_id,
        "WATCHWORD_PRIVATE_KEY_FILE": str(file),
        "WATCHWORD_ISSUER": ISSUER,
        "WATCHWORD_SCOPE": "read:data",
    }

    def kind(**more: str) -> object:
        return bound_to(default(environ={**environ, **more}, transport=scene.wire, clock=scene.server.clock).token())

    assert kind() is not None
    assert kind(WATCHWORD_DPOP="off") is None
    assert kind(WATCHWORD_DPOP="on") is not None
