"""An agent replaces its own credentials, where that is allowed, and never with a weaker one."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from watchword.ports.agents import Credential, CredentialKind, CredentialState
from watchword.ports.store import Create
from watchword.protocol import names
from watchword.protocol.private_keys import generate_private_key
from watchword.testing.keyed_agents import add_keyed_agent, ask_with
from watchword.testing.server import Answer, InProcessServer, Registered

DAY = timedelta(days=1)
PATH = "/oauth/credentials"


@pytest.fixture
def trusted(server: InProcessServer) -> Registered:
    return server.add_agent("trusted", concessions=(names.OWN_CREDENTIALS,))


def rotate(server: InProcessServer, agent: Registered, **form: str) -> Answer:
    return server.post({"client_id": agent.client_id, **form}, agent.basic, path=PATH)


def refusal(server: InProcessServer, answer: Answer, status: int = 400) -> str:
    assert answer.status == status
    event = server.events("credential.rotate")[-1]
    assert event["outcome"] == "denied"
    return str(event["reason"])


def add_key(server: InProcessServer, agent: Registered) -> str:
    key = Credential(
        id="a-key",
        client_id=agent.client_id,
        kind=CredentialKind.PUBLIC_KEY,
        state=CredentialState.ACTIVE,
        created_at=server.clock(),
        details={"jwk": dict(generate_private_key("ES256").public_jwk)},
    )
    server.commit(Create(key))
    return key.id


def test_an_agent_that_may_gets_another_secret_and_the_old_one_goes_on_for_a_day(
    server: InProcessServer, trusted: Registered
) -> None:
    answer = rotate(server, trusted)
    assert answer.status == 200
    new = replace(trusted, secret=answer.json["client_secret"])
    assert answer.json.keys() == {"credential_id", "client_secret", "replaces", "replaces_until"}
    assert answer.json["replaces_until"] == int((server.clock() + DAY).timestamp())
    assert [server.token(one).status for one in (trusted, new)] == [200, 200]
    event = server.events("credential.rotate")[-1]
    assert (event["outcome"], event["reason"], event["actor"]) == ("success", "rotated", f"agent:{trusted.client_id}")
    assert (event["credential_id"], event["client_auth"]) == (answer.json["credential_id"], "client_secret_basic")
    server.clock.advance(DAY)
    assert [server.token(one).status for one in (trusted, new)] == [401, 200]


@pytest.mark.usefixtures("sane")
def test_no_other_agent_may(server: InProcessServer, reader: Registered) -> None:
    answer = rotate(server, reader)
    assert refusal(server, answer) == "rotation.not_allowed"
    assert answer.json["error"] == "unauthorized_client"
    assert len(server.run(server.store.credentials(reader.client_id)) or ()) == 1


def test_it_is_authenticated_as_at_the_token_endpoint(server: InProcessServer, trusted: Registered) -> None:
    answer = rotate(server, replace(trusted, secret="wws_wrong"))
    assert refusal(server, answer, 401) == "client.credential"
    assert answer.json["error"] == "invalid_client"
    assert refusal(server, server.post("x=y", path=PATH), 401) == "client.no_credentials"
    assert refusal(server, server.ask("GET", PATH), 405) == "request.method"


def test_a_secret_replaces_no_key(server: InProcessServer, trusted: Registered) -> None:
    jwk = json.dumps(dict(generate_private_key("ES256").public_jwk))
    answer = rotate(server, trusted, credential_id=add_key(server, trusted), public_key=jwk)
    assert refusal(server, answer) == "rotation.weaker"


def test_nothing_shortens_the_day_and_nothing_changes_the_kind(server: InProcessServer, trusted: Registered) -> None:
    jwk = json.dumps(dict(generate_private_key("ES256").public_jwk))
    assert refusal(server, rotate(server, trusted, public_key=jwk)) == "rotation.public_key"
    answer = rotate(server, trusted, overlap="1", expires_at="1", kind="public_key")
    assert answer.json["replaces_until"] == int((server.clock() + DAY).timestamp())


def test_one_that_is_being_replaced_is_not_replaced_again(server: InProcessServer, trusted: Registered) -> None:
    assert rotate(server, trusted).status == 200
    answer = rotate(server, trusted)
    assert refusal(server, answer) == "rotation.refused"
    assert server.events("credential.rotate")[-1]["details"]["detail"] == "credential.rotated"
    assert len(server.run(server.store.credentials(trusted.client_id)) or ()) == 2


def test_somebody_elses_credential_is_not_found(
    server: InProcessServer, trusted: Registered, reader: Registered
) -> None:
    answer = rotate(server, trusted, credential_id=reader.credential_id or "cred-x")
    assert refusal(server, answer) == "rotation.credential"


def test_a_key_replaces_a_key(server: InProcessServer) -> None:
    agent = add_keyed_agent(server, concessions=(names.OWN_CREDENTIALS,))
    fresh = generate_private_key("ES256")

    def ask(**form: str) -> Answer:
        proof = {"client_assertion_type": names.ASSERTION_TYPE_JWT, "client_assertion": agent.assertion(server)}
        return server.post({**proof, **form}, path=PATH)

    assert refusal(server, ask()) == "rotation.public_key"
    assert refusal(server, ask(public_key="{")) == "rotation.public_key"
    assert refusal(server, ask(public_key='{"kty":"oct","k":"c2VjcmV0"}')) == "rotation.refused"
    answer = ask(public_key=json.dumps(dict(fresh.public_jwk)))
    assert answer.status == 200
    assert "client_secret" not in answer.json
    for one in (agent, replace(agent, key=fresh)):
        assert ask_with(server, one.assertion(server)).status == 200
