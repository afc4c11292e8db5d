"""A workload's token from a real issuer over TLS, at a real server, on every store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests import rule
from tests.processes import PLAIN
from watchword.client.federated_token import FederatedToken
from watchword.client.login import Login
from watchword.protocol import names
from watchword.testing.oidc_issuer import OidcIssuer
from watchword.testing.process import FAIL_AT_WILL, ServerProcess

SUBJECT = "project:shop:branch:main"


class World:
    def __init__(self, folder: Path, issuer: OidcIssuer) -> None:
        self.issuer = issuer
        self.server = ServerProcess(folder, environment={**FAIL_AT_WILL, **issuer.settings})

    def set_up(self) -> None:
        self.server.create_agent("reader")
        body = {"name": "ci", "issuer": self.issuer.issuer}
        assert self.server.admin("POST", "/trusted-issuers", body)[0] == 201
        self.worker = self.add("worker", {"sub": SUBJECT})

    def add(self, name: str, claims: dict[str, object], **more: object) -> str:
        body = {
            "name": name,
            "auth_method": "federated",
            "federated": {"trusted_issuer": "ci", "claims": claims, **more},
            "permissions": [{"resource": "my-api", "scopes": ["read:data"]}],
        }
        status, made = self.server.admin("POST", "/agents", body)
        assert status == 201, made
        return str(made["client_id"])

    def token(self, **claims: object) -> str:
        return self.issuer.token(**{"sub": SUBJECT, "aud": self.server.issuer, **claims})

    def ask(self, token: str, **form: str) -> httpx2.Response:
        data = {"grant_type": names.JWT_BEARER, "assertion": token, "scope": "read:data", **form}
        return httpx2.post(
            self.server.issuer + names.PATH_TOKEN, data=data, headers={"connection": "close"}, verify=PLAIN
        )


@pytest.fixture(scope="module")
def world(place: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("federation")
    with OidcIssuer(folder / "issuer") as issuer:
        made = World(folder, issuer)
        with made.server:
            made.set_up()
            yield made


@rule("R7523-2.1-01", "MCPWIF-01", "MCPWIF-03")
def test_the_token_of_a_real_issuer_logs_in(world: World) -> None:
    login = Login(
        issuer=world.server.issuer, client=FederatedToken(lambda audience: world.token(aud=audience)), scope="read:data"
    )
    assert login.token().count(".") == 2
    metadata = httpx2.get(f"{world.server.issuer}{names.PATH_AS_METADATA}", verify=PLAIN).json()
    assert names.JWT_BEARER in metadata["grant_types_supported"]
    assert "none" in metadata["token_endpoint_auth_methods_supported"]


@rule("F4", "F5", "R7523-2.1-02")
@pytest.mark.parametrize(
    "claims",
    [
        {"sub": "project:shop:branch:main-evil"},
        {"aud": "https://other.example"},
        {"exp": 1},
        {"iss": "https://x.example"},
    ],
)
def test_another_workload_another_audience_and_an_old_token_do_not(world: World, claims: dict[str, object]) -> None:
    answer = world.ask(world.token(**claims))
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    assert world.ask(world.token()).status_code == 200


@rule("F8")
def test_after_the_issuer_has_changed_its_key_the_new_one_is_fetched(world: World) -> None:
    assert world.ask(world.token()).status_code == 200
    world.issuer.rotate()
    assert world.ask(world.token()).status_code == 200


@rule("F7")
def test_a_token_that_works_once_works_once(world: World) -> None:
    world.add("once", {"sub": "once"}, single_use=True)
    token = world.token(sub="once")
    answers = [world.ask(token) for _ in range(4)]
    while answers[0].status_code == 503:  # a memory that is younger than clocks may differ is not sure
        token = world.token(sub="once")
        answers = [world.ask(token) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 400, 400, 400]


def test_a_test_says_what_would_become_of_a_token_and_uses_nothing_up(world: World) -> None:
    status, report = world.server.admin("POST", "/trusted-issuers/test", {"token": world.token()})
    assert (status, report["accepted"], report["client_id"]) == (200, True, world.worker)
    _, report = world.server.admin(
        "POST", "/trusted-issuers/test", {"token": world.token(sub="project:shop:branch:dev")}
    )
    assert (report["accepted"], report["reason"]) == (False, "federated.no_agent")
    mismatch = next(one for one in report["rules"] if one["client_id"] == world.worker)["mismatches"][0]
    assert mismatch == {"claim": "sub", "problem": "value", "wanted": [SUBJECT], "found": "project:shop:branch:dev"}


@rule("F2", "F3", "G7", "TRAP-25")
@pytest.mark.parametrize("issuer", ["https://127.0.0.2:{port}", "https://169.254.169.254", "https://localhost:{port}"])
def test_an_issuer_whose_keys_cannot_be_had_is_not_trusted(world: World, issuer: str) -> None:
    body = {"name": "wrong", "issuer": issuer.format(port=world.issuer.port)}
    status, problem = world.server.admin("POST", "/trusted-issuers", body)
    assert (status, problem["reason"]) == (422, "trusted_issuer.keys")
    assert world.server.admin("GET", "/trusted-issuers/wrong")[0] == 404


@rule("F9", "KF-61")
def test_trust_that_is_taken_back_ends_with_the_next_request(world: World) -> None:
    assert world.server.admin("DELETE", "/trusted-issuers/ci")[1]["reason"] == "trusted_issuer.in_use"
    assert world.ask(world.token()).status_code == 200
    assert world.server.admin("DELETE", "/trusted-issuers/ci?with_credentials=true")[0] == 200
    answer = world.ask(world.token())
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
    events = world.server.admin("GET", "/audit/events?action=token.issue&newest_first=true&limit=1")[1]["items"]
    assert events[0]["event"]["reason"] == "federated.issuer"
    assert world.token()[:60] not in json.dumps(events)
