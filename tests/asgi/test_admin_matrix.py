"""Every route that the OpenAPI document names, for every role and for everybody else."""

import pytest

from tests import rule
from tests.asgi.desk import Desk, check_problem
from watchword.operations.roles import LEAST_ROLE
from watchword.ports.agents import Role
from watchword.protocol.client_secret import SecretKind, generate_secret
from watchword.protocol.jose import generate_private_key

pytestmark = pytest.mark.anyio

ORDER = (Role.VIEWER, Role.AUDITOR, Role.MANAGER, Role.ADMIN)
ACTIONS = {
    "compromise_key": "key.compromise",
    "create_agent": "agent.create",
    "create_credential": "credential.create",
    "create_operator": "operator.create",
    "create_resource": "resource.create",
    "delete_agent": "agent.delete",
    "delete_resource": "resource.delete",
    "disable_operator": "operator.disable",
    "distrust_issuer": "trusted_issuer.delete",
    "export_events": "audit.export",
    "grant_permission": "permission.grant",
    "list_agents": "agent.list",
    "list_credentials": "credential.list",
    "list_events": "audit.list",
    "list_keys": "key.list",
    "list_nodes": "node.list",
    "list_operators": "operator.list",
    "list_permissions": "permission.list",
    "list_resources": "resource.list",
    "list_trusted_issuers": "trusted_issuer.list",
    "migrate_key": "key.migrate",
    "prepare_key": "key.prepare",
    "publish_key": "key.publish",
    "resume_agent": "agent.resume",
    "retire_key": "key.retire",
    "revoke_credential": "credential.revoke",
    "revoke_issued": "revocation.create",
    "revoke_permission": "permission.revoke",
    "rotate_credential": "credential.rotate",
    "rotate_key": "key.rotate",
    "show_agent": "agent.show",
    "show_resource": "resource.show",
    "show_server": "server.show",
    "show_trusted_issuer": "trusted_issuer.show",
    "suspend_agent": "agent.suspend",
    "test_token": "trusted_issuer.test",
    "trust_issuer": "trusted_issuer.create",
    "update_agent": "agent.update",
    "update_resource": "resource.update",
    "update_trusted_issuer": "trusted_issuer.update",
    "verify_audit": "audit.verify",
}
"""operationId -> action. A new route fails these tests until it stands here."""

JWKS = {"keys": [dict(generate_private_key("ES256").public_jwk)]}
BODIES = {
    "create_agent": {"name": "fresh"},
    "revoke_issued": {"kind": "agent", "target": "reader"},
    "create_credential": {},
    "create_operator": {"name": "fresh", "role": "viewer"},
    "create_resource": {"name": "fresh", "scopes": ["r"]},
    "migrate_key": {"custody": "local", "algorithm": "PS256"},
    "prepare_key": {},
    "publish_key": {},
    "rotate_credential": {},
    "rotate_key": {},
    "compromise_key": {},
    "grant_permission": {"resource": "my-api", "scopes": ["read:data"]},
    "test_token": {"token": "a.b.c"},
    "trust_issuer": {"name": "fresh", "issuer": "https://fresh.example", "jwks": JWKS},
    "update_agent": {"owner": "x"},
    "update_resource": {"token_lifetime": 60},
    "update_trusted_issuer": {"audience": "api://x"},
}
ACCESS_TOKEN = "eyJ0eXAiOiJhdCtqd3QiLCJhbGciOiJFUzI1NiJ9.eyJzY29wZSI6ImFkbWluIG1hbmFnZXIifQ.c2lnbmF0dXJl"


async def furnish(desk: Desk) -> dict[str, str]:
    """Make what the routes name; return the values of the path parameters."""
    async with desk.client() as admin:
        await admin.post("/resources", json={"name": "my-api", "scopes": ["read:data"]})
        await admin.post("/resources", json={"name": "unused", "scopes": ["r"]})
        grant = {"resource": "my-api", "scopes": ["read:data"]}
        await admin.post("/trusted-issuers", json={"name": "unused", "issuer": "https://a.example", "jwks": JWKS})
        key = (await admin.post("/keys", json={"algorithm": "ES384"})).json()
        agent = (await admin.post("/agents", json={"name": "reader", "permissions": [grant]})).json()
    return {
        "kid": key["kid"],
        "ref": "reader",
        "name": "unused",
        "credential_id": agent["credential_id"],
        "permission_id": agent["permissions"][0]["id"],
        "operator": f"the-{Role.AUDITOR}",
    }


async def routes(client):
    document = (await client.get("/openapi.json")).json()
    return [
        (method.upper(), path.removeprefix("/admin/v1"), description)
        for path, methods in document["paths"].items()
        for method, description in methods.items()
    ]


def in_order(found):
    """What deletes comes last, and what it deletes from after that."""
    return sorted(found, key=lambda route: (route[0] == "DELETE", -route[1].count("/")))


@rule("A1", "KF-97")
async def test_every_route_has_an_action_in_the_table(desk):
    async with desk.client(None) as anybody:
        named = {description["operationId"] for _, _, description in await routes(anybody)}
    assert named == ACTIONS.keys()
    assert set(ACTIONS.values()) <= LEAST_ROLE.keys()


@rule("A1", "A4", "KF-90", "KF-97")
@pytest.mark.parametrize("role", ORDER)
async def test_a_role_may_do_exactly_what_the_table_says(desk, role):
    values = await furnish(desk)
    async with desk.client(role) as client:
        for method, path, description in in_order(await routes(client)):
            operation = description["operationId"]
            before = len(desk.store.trail)
            response = await client.request(method, path.format(**values), json=BODIES.get(operation))
            if ORDER.index(role) >= ORDER.index(LEAST_ROLE[ACTIONS[operation]]):
                assert response.is_success, (operation, response.text)
            else:
                check_problem(response, 403, "operator.role")
                assert (desk.last.action, str(desk.last.outcome)) == (ACTIONS[operation], "denied")
                assert len(desk.store.trail) == before + 1


@rule("A3", "C16", "KF-97")
async def test_no_route_answers_without_an_operators_credential(desk):
    values = await furnish(desk)
    epoch = await desk.store.epoch()
    wrong = [None, "Basic YTpi", "Bearer", "Bearer x", f"Bearer {generate_secret(SecretKind.OPERATOR)}"]
    wrong += [f"Bearer {generate_secret(SecretKind.CLIENT)}", f"Bearer {desk.tokens[Role.ADMIN].swapcase()}"]
    wrong += [f"Basic {desk.tokens[Role.ADMIN]}"]
    async with desk.client(None) as anybody:
        for method, path, description in await routes(anybody):
            for authorization in wrong:
                headers = {} if authorization is None else {"authorization": authorization}
                body = BODIES.get(description["operationId"])
                response = await anybody.request(method, path.format(**values), json=body, headers=headers)
                check_problem(response, 401, "operator.credential")
                assert response.headers["www-authenticate"] == 'Bearer realm="watchword admin"'
    assert await desk.store.epoch() == epoch


@rule("A3", "KF-90")
async def test_no_route_answers_an_agents_token(desk):
    values = await furnish(desk)
    async with desk.client(None) as agent:
        for method, path, description in await routes(agent):
            headers = {"authorization": f"Bearer {ACCESS_TOKEN}"}
            body = BODIES.get(description["operationId"])
            response = await agent.request(method, path.format(**values), json=body, headers=headers)
            check_problem(response, 403, "operator.agent_token")


@rule("A3")
async def test_all_who_are_not_operators_are_told_the_same_and_recorded_apart(desk):
    async with desk.client(None) as anybody:
        told, recorded = set(), []
        for authorization in (None, "Bearer x", "Basic YTpi", f"Bearer {generate_secret(SecretKind.CLIENT)}"):
            headers = {} if authorization is None else {"authorization": authorization}
            response = await anybody.get("/agents", headers=headers)
            told.add(response.text.replace(response.headers["x-request-id"], ""))
            recorded.append((desk.last.action, desk.last.actor, desk.last.reason))
    assert len(told) == 1
    assert recorded == [
        ("operator.authenticate", "anonymous", reason)
        for reason in ("operator.missing", "operator.credential", "operator.scheme", "operator.agent_secret")
    ]


@rule("A2", "KF-96", "A18")
@pytest.mark.parametrize(
    "reference", ["nobody", "%27%20OR%201=1--", "..%2freader", "reader%00", "READER", "%F0%9F%A4%96", "*"]
)
async def test_no_route_finds_what_is_not_there(desk, reference):
    await furnish(desk)
    async with desk.client() as admin:
        for method, path, description in await routes(admin):
            if "{" not in path:
                continue
            values = dict.fromkeys(("ref", "name", "credential_id", "permission_id", "operator", "kid"), reference)
            response = await admin.request(method, path.format(**values), json=BODIES.get(description["operationId"]))
            assert response.status_code == 404
            check_problem(response, 404, response.json()["reason"])


@rule("KF-97")
async def test_an_unknown_route_is_nobodys(desk):
    async with desk.client(None) as anybody:
        for path in ("/agents/reader/secret", "/", "", "/v2", "/openapi.json/"):
            check_problem(await anybody.get(path), 401, "operator.credential")
        check_problem(await anybody.post("/openapi.json"), 401, "operator.credential")
