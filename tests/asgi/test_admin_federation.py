"""Trusted issuers and federated credentials as operators make them: what is refused is refused before it is stored."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from tests import rule
from tests.asgi.desk import Desk, check_problem
from watchword.ports.agents import Role
from watchword.protocol.jose import generate_private_key

pytestmark = pytest.mark.anyio

KEY = generate_private_key("ES256")
JWKS = {"keys": [dict(KEY.public_jwk)]}
BUNDLE = {"keys": [{**KEY.public_jwk, "use": "jwt-svid"}]}
GOOD = {"name": "ci", "issuer": "https://ci.example.com", "jwks": JWKS}


async def test_an_issuer_is_trusted_shown_changed_and_distrusted(desk: Desk) -> None:
    async with desk.client() as admin:
        made = (await admin.post("/trusted-issuers", json={**GOOD, "algorithms": ["ES256"]})).json()
        assert {name: made[name] for name in ("name", "issuer", "algorithms", "version")} == {
            "name": "ci",
            "issuer": "https://ci.example.com",
            "algorithms": ["ES256"],
            "version": 1,
        }
        changed = await admin.patch("/trusted-issuers/ci", json={"audience": "api://x"}, headers={"if-match": '"1"'})
        assert (changed.json()["audience"], changed.json()["algorithms"]) == ("api://x", ["ES256"])
        check_problem(
            await admin.patch("/trusted-issuers/ci", json={"audience": "y"}, headers={"if-match": '"1"'}),
            412,
            "version.changed",
        )
        assert [one["name"] for one in (await admin.get("/trusted-issuers")).json()["items"]] == ["ci"]
        assert (await admin.delete("/trusted-issuers/ci")).status_code == 200
        check_problem(await admin.get("/trusted-issuers/ci"), 404, "trusted_issuer.missing")


@rule("F1", "F2")
@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"issuer": "http://ci.example.com"}, "trusted_issuer.issuer"),
        ({"issuer": "http://127.0.0.1"}, "trusted_issuer.issuer"),
        ({"issuer": "https://ci.example.com?x"}, "trusted_issuer.issuer"),
        ({"issuer": "ci"}, "trusted_issuer.issuer"),
        ({"issuer": ""}, "trusted_issuer.issuer"),
        ({"issuer": "spiffe://Example.org", "jwks": BUNDLE}, "trusted_issuer.issuer"),
        ({"issuer": "spiffe://example.org/a", "jwks": BUNDLE}, "trusted_issuer.issuer"),
        ({"issuer": "SELF"}, "trusted_issuer.issuer"),
        ({"name": "C I"}, "trusted_issuer.name"),
        ({"preset": "nobody"}, "federated.preset"),
        ({"preset": "google", "issuer": "https://token.actions.githubusercontent.com"}, "federated.preset"),
        ({"algorithms": ["HS256"]}, "trusted_issuer.algorithms"),
        ({"algorithms": ["none"]}, "trusted_issuer.algorithms"),
        ({"algorithms": ["ES256", "ES256"]}, "trusted_issuer.algorithms"),
        ({"audience": "a\nb"}, "trusted_issuer.audience"),
        ({"jwks": {"keys": []}}, "trusted_issuer.keys"),
        ({"jwks": {"keys": [{**KEY.public_jwk, "d": "AAAA"}]}}, "trusted_issuer.keys"),
        ({"jwks": {"keys": [{"kty": "oct", "k": "AAAA"}]}}, "trusted_issuer.keys"),
        ({"jwks_uri": "https://ci.example.com/keys"}, "trusted_issuer.keys"),
        ({"jwks": {}}, "trusted_issuer.keys"),
        ({"issuer": "spiffe://example.org", "jwks": {}}, "trusted_issuer.keys"),
    ],
)
async def test_an_issuer_that_cannot_be_trusted_is_refused(
    desk: Desk, changes: Mapping[str, object], reason: str
) -> None:
    body = {**GOOD, **changes}
    async with desk.client() as admin:
        if body["issuer"] == "SELF":
            body["issuer"] = (await admin.get("/server")).json()["issuer"]
        check_problem(await admin.post("/trusted-issuers", json=body), 422, reason)
        assert (await admin.post("/trusted-issuers", json=GOOD)).status_code == 201


async def test_neither_a_name_nor_an_issuer_is_trusted_twice(desk: Desk) -> None:
    async with desk.client() as admin:
        await admin.post("/trusted-issuers", json=GOOD)
        check_problem(await admin.post("/trusted-issuers", json=GOOD), 409, "trusted_issuer.exists")
        check_problem(
            await admin.post("/trusted-issuers", json={**GOOD, "name": "again"}), 409, "trusted_issuer.issuer"
        )


@rule("F4", "F6")
@pytest.mark.parametrize(
    ("federated", "status", "reason"),
    [
        ({"trusted_issuer": "nobody", "claims": {"sub": "a"}}, 404, "trusted_issuer.missing"),
        ({"claims": {"sub": "a"}}, 422, "federated.trusted_issuer"),
        ({"trusted_issuer": 7, "claims": {"sub": "a"}}, 422, "federated.trusted_issuer"),
        ({"trusted_issuer": "ci", "claims": {"email": "a@b"}}, 422, "federated.unbound"),
        ({"trusted_issuer": "ci", "claims": {"sub": "repo:org*"}}, 422, "federated.value"),
        ({"trusted_issuer": "ci", "claims": {"sub": "a"}, "regex": True}, 422, "federated.claims"),
        ({"trusted_issuer": "gh", "claims": {"sub": "repo:o/a:ref:refs/heads/main"}}, 422, "federated.unbound"),
        ({"trusted_issuer": "gh", "claims": {"sub": "a"}, "preset": "oidc"}, 422, "federated.preset"),
        ({"trusted_issuer": "td", "claims": {"sub": "spiffe://other.example/a"}}, 422, "federated.value"),
        ({"trusted_issuer": "td", "claims": {"sub": "spiffe://example.org.evil/a"}}, 422, "federated.value"),
    ],
)
async def test_a_rule_that_is_too_wide_or_of_nobody_is_not_stored(
    desk: Desk, federated: Mapping[str, object], status: int, reason: str
) -> None:
    async with desk.client() as admin:
        for name, issuer, jwks in (
            ("ci", "https://ci.example.com", JWKS),
            ("gh", "https://token.actions.githubusercontent.com", JWKS),
            ("td", "spiffe://example.org", BUNDLE),
        ):
            assert (
                await admin.post("/trusted-issuers", json={"name": name, "issuer": issuer, "jwks": jwks})
            ).status_code == 201
        body = {"name": "worker", "auth_method": "federated", "federated": federated}
        check_problem(await admin.post("/agents", json=body), status, reason)
        good = {"trusted_issuer": "td", "claims": {"sub": "spiffe://example.org/ns/*"}}
        made = (await admin.post("/agents", json={**body, "federated": good})).json()
        assert (made["auth_methods"], len(made["grant_types"])) == (["federated"], 2)
        assert "client_secret" not in made
        (shown,) = (await admin.get("/agents/worker/credentials")).json()["items"]
        assert shown["federated"] == {
            "trusted_issuer": "td",
            "preset": "spiffe",
            "claims": {"sub": "spiffe://example.org/ns/**"},
            "max_age": 3600,
        }


async def test_an_agent_with_a_secret_may_get_a_federated_way_in_beside_it(desk: Desk) -> None:
    async with desk.client() as admin:
        await admin.post("/trusted-issuers", json=GOOD)
        await admin.post("/agents", json={"name": "reader"})
        body = {"kind": "federated", "federated": {"trusted_issuer": "ci", "claims": {"sub": "a"}}}
        assert (await admin.post("/agents/reader/credentials", json=body)).status_code == 201
        agent = (await admin.get("/agents/reader")).json()
        assert "federated" in agent["auth_methods"]
        assert "client_secret_basic" in agent["auth_methods"]
        assert len(agent["grant_types"]) == 2


@rule("F9")
async def test_what_credentials_depend_on_goes_with_them_or_not_at_all(desk: Desk) -> None:
    async with desk.client() as admin:
        await admin.post("/trusted-issuers", json=GOOD)
        body = {"name": "w", "auth_method": "federated", "federated": {"trusted_issuer": "ci", "claims": {"sub": "a"}}}
        await admin.post("/agents", json=body)
        check_problem(await admin.delete("/trusted-issuers/ci"), 409, "trusted_issuer.in_use")
        assert (await admin.delete("/trusted-issuers/ci?with_credentials=true")).status_code == 200
        assert [one["state"] for one in (await admin.get("/agents/w/credentials")).json()["items"]] == ["revoked"]


async def test_a_test_of_rubbish_is_an_answer_and_no_error(desk: Desk) -> None:
    async with desk.client(Role.VIEWER) as viewer:
        answer = await viewer.post("/trusted-issuers/test", json={"token": "a.b.c"})
        assert (answer.status_code, answer.json()["accepted"], answer.json()["reason"][:4]) == (200, False, "jws.")
