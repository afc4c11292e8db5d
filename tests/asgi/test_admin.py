"""What an operator does, end to end."""

import json

import pytest

from tests import rule
from tests.asgi.desk import ISSUER, check_problem
from watchword.operations.operators import LocalOperator
from watchword.ports.agents import Role
from watchword.protocol.client_secret import SECRET_PATTERN, looks_like_secret

pytestmark = pytest.mark.anyio

RESOURCE = {"name": "my-api", "scopes": ["read:data", "write:data"]}
READ = {"resource": "my-api", "scopes": ["read:data"]}
AGENT = {"name": "reader", "permissions": [READ]}


@pytest.fixture
async def admin(desk):
    async with desk.client() as client:
        yield client


@pytest.fixture
async def agent(admin):
    await admin.post("/resources", json=RESOURCE)
    return (await admin.post("/agents", json=AGENT)).json()


async def test_a_resource_is_created_and_shown(admin):
    response = await admin.post("/resources", json=RESOURCE)
    assert response.status_code == 201
    assert response.headers["location"] == f"{ISSUER}/admin/v1/resources/my-api"
    assert response.headers["etag"] == '"1"'
    assert response.json() == {
        "name": "my-api",
        "identifier": "my-api",
        "scopes": ["read:data", "write:data"],
        "token_lifetime": 600,
        "signing_algorithm": "ES256",
        "require_pop": False,
        "created_at": "2026-11-24T12:00:00.000000Z",
        "version": 1,
    }
    assert (await admin.get("/resources/my-api")).json() == response.json()
    assert (await admin.get("/resources")).json() == {"items": [response.json()]}


async def test_an_agent_is_created_with_all_it_needs_to_log_in(admin, agent):
    assert looks_like_secret(agent["client_secret"])
    assert agent["token_endpoint"] == f"{ISSUER}/oauth/token"
    assert agent["issuer"] == ISSUER
    assert agent["credential_id"].startswith("cred-")
    assert agent["default_resource"] == "my-api"
    assert [one["scopes"] for one in agent["permissions"]] == [["read:data"]]
    shown = await admin.get("/agents/reader")
    assert shown.json() == {
        "client_id": agent["client_id"],
        "name": "reader",
        "state": "active",
        "auth_methods": ["client_secret_basic", "client_secret_post"],
        "grant_types": ["client_credentials"],
        "owner": "",
        "purpose": "",
        "labels": {},
        "default_resource": "my-api",
        "created_at": "2026-11-24T12:00:00.000000Z",
        "dpop_bound": False,
        "mtls_bound": False,
        "concessions": [],
        "serves": [],
        "version": 1,
    }
    assert shown.headers["etag"] == '"1"'


@rule("P8")
async def test_a_repeated_create_shows_no_second_secret(admin, agent):
    again = await admin.post("/agents", json=AGENT)
    check_problem(again, 409, "agent.name")
    assert SECRET_PATTERN.search(again.text) is None


@rule("P8")
async def test_a_secret_is_shown_by_the_request_that_made_it_alone(admin, agent):
    made = await admin.post("/agents/reader/credentials", json={"kind": "client_secret", "label": "spare"})
    assert made.status_code == 201
    assert looks_like_secret(made.json()["client_secret"])
    for path in ("/agents", "/agents/reader", "/agents/reader/credentials", "/audit/events", "/audit/export"):
        text = (await admin.get(path)).text
        assert "spare" in text or path.startswith("/agents")
        assert SECRET_PATTERN.search(text) is None


async def test_the_kill_switch(admin, agent):
    suspended = await admin.post("/agents/reader/suspend", json={"reason": "it talks to strangers"})
    assert (suspended.status_code, suspended.json()["state"], suspended.headers["etag"]) == (200, "suspended", '"2"')
    listed = await admin.get("/agents", params={"state": "suspended"})
    assert [one["name"] for one in listed.json()["items"]] == ["reader"]
    resumed = await admin.post("/agents/reader/resume")
    assert resumed.json()["state"] == "active"


async def test_a_deleted_agent_is_shown_by_its_client_id_alone(admin, agent):
    deleted = await admin.delete("/agents/reader")
    assert (deleted.status_code, deleted.json()["state"]) == (200, "deleted")
    check_problem(await admin.get("/agents/reader"), 404, "agent.missing")
    assert (await admin.get(f"/agents/{agent['client_id']}")).json()["state"] == "deleted"
    check_problem(await admin.post(f"/agents/{agent['client_id']}/resume"), 409, "agent.deleted")


async def test_credentials_are_added_listed_and_revoked(admin, agent):
    made = (await admin.post("/agents/reader/credentials", json={"expires_at": "2027-01-01T00:00:00+01:00"})).json()
    assert made["expires_at"] == "2026-12-31T23:00:00.000000Z"
    revoked = await admin.delete(f"/agents/reader/credentials/{made['id']}")
    assert (revoked.status_code, revoked.json()["state"]) == (200, "revoked")
    listed = (await admin.get("/agents/reader/credentials")).json()["items"]
    assert {one["id"]: one["state"] for one in listed} == {agent["credential_id"]: "active", made["id"]: "revoked"}
    check_problem(await admin.delete("/agents/reader/credentials/cred-none"), 404, "credential.missing")


async def test_permissions_are_granted_listed_and_revoked(admin, agent):
    conditions = {"source_networks": ["10.0.0.0/8"], "hours": "08:00-18:00", "maximum_lifetime": 60}
    body = {"resource": "my-api", "scopes": ["write:data"], "default_scopes": ["write:data"], "conditions": conditions}
    made = await admin.post("/agents/reader/permissions", json=body)
    assert made.status_code == 201
    assert {name: made.json()[name] for name in body} == body
    gone = await admin.delete(f"/agents/reader/permissions/{made.json()['id']}")
    assert (gone.status_code, gone.content) == (204, b"")
    assert len((await admin.get("/agents/reader/permissions")).json()["items"]) == 1


async def test_a_resource_in_use_is_neither_narrowed_nor_deleted(admin, agent):
    problem = check_problem(
        await admin.patch("/resources/my-api", json={"scopes": ["write:data"]}), 409, "resource.scopes_in_use"
    )
    assert "read:data" in problem["detail"]
    check_problem(await admin.delete("/resources/my-api"), 409, "resource.in_use")
    await admin.delete("/agents/reader")
    assert (await admin.delete("/resources/my-api")).status_code == 204


async def test_what_may_be_empty_is_emptied_by_null(admin, agent):
    changed = await admin.patch("/agents/reader", json={"default_resource": None, "labels": {"env": "prod"}})
    assert "default_resource" not in changed.json()
    assert changed.json()["labels"] == {"env": "prod"}


@rule("A15")
async def test_of_two_changes_to_the_same_version_one_is_refused(admin, agent):
    tag = (await admin.get("/agents/reader")).headers["etag"]
    first = await admin.patch("/agents/reader", json={"owner": "first"}, headers={"if-match": tag})
    assert (first.status_code, first.headers["etag"]) == (200, '"2"')
    for path, method in (("/agents/reader", "PATCH"), ("/agents/reader/suspend", "POST")):
        second = await admin.request(method, path, json={}, headers={"if-match": tag})
        check_problem(second, 412, "version.changed")
    check_problem(await admin.delete("/agents/reader", headers={"if-match": tag}), 412, "version.changed")
    check_problem(await admin.delete("/resources/my-api", headers={"if-match": '"7"'}), 412, "version.changed")
    assert (await admin.get("/agents/reader")).json()["owner"] == "first"


@rule("A15")
@pytest.mark.parametrize("tag", ['W/"1"', '"x"', '"2", "3"', '"01"'])
async def test_a_tag_that_is_not_the_stored_versions_matches_nothing(admin, agent, tag):
    check_problem(await admin.patch("/agents/reader", json={}, headers={"if-match": tag}), 412, "version.changed")


@pytest.mark.parametrize("tag", ["*", '"1"', '"9", "1"'])
async def test_a_tag_of_the_stored_version_matches(admin, agent, tag):
    assert (await admin.patch("/agents/reader", json={}, headers={"if-match": tag})).status_code == 200


@pytest.mark.parametrize("tag", ["1", '"1', "", '*, "1"'])
async def test_a_tag_that_is_none_is_refused(admin, agent, tag):
    check_problem(await admin.patch("/agents/reader", json={}, headers={"if-match": tag}), 400, "request.if_match")


async def test_the_trail_is_searched(admin, agent):
    found = (await admin.get("/audit/events", params={"client_id": agent["client_id"]})).json()
    assert [one["event"]["action"] for one in found["items"]] == ["agent.create"]
    assert found["items"][0]["event"]["actor"].startswith("operator:op-")
    assert found["items"][0]["event"]["peer"] == "192.0.2.7"
    first = (await admin.get("/audit/events", params={"limit": 2})).json()
    second = (await admin.get("/audit/events", params={"limit": 2, "after": first["next_after"]})).json()
    assert [one["cursor"] for one in first["items"] + second["items"]] == [1, 2, 3, 4]
    newest = (await admin.get("/audit/events", params={"newest_first": True, "limit": 1})).json()
    assert newest["items"][0]["event"]["client_id"] == agent["client_id"]


async def test_the_export_holds_the_bytes_that_were_hashed(desk, admin, agent):
    response = await admin.get("/audit/export")
    assert response.headers["content-type"] == "application/jsonl"
    lines = response.text.splitlines()
    assert len(lines) == len(desk.store.trail)
    for line, event, position in zip(lines, desk.store.trail, range(1, 99), strict=False):
        assert line.endswith(f',"event":{event.canonical_bytes().decode()}}}')
        assert json.loads(line)["position"] == position


@rule("U1")
async def test_the_trail_is_verified_and_the_first_bad_place_named(desk, admin, agent):
    found = (await admin.get("/audit/verify")).json()
    assert (found["ok"], found["events"], found["findings"]) == (True, len(desk.store.trail), [])
    assert found["chains"] == [{"chain": "memory", "events": 6, "hash": desk.store._events[-1].hash.hex()}]
    del desk.store._events[2]
    found = (await admin.get("/audit/verify")).json()
    assert (found["ok"], found["findings"]) == (False, [{"chain": "memory", "position": 3, "problem": "missing"}])


async def test_the_server_says_where_everything_is(admin):
    shown = (await admin.get("/server")).json()
    assert shown["token_endpoint"] == f"{ISSUER}/oauth/token"
    assert shown["role"] == "admin"


@rule("A13")
@pytest.mark.parametrize(
    "path", ["/setup", "/init", "/bootstrap", "/operators/first", "/login", "/docs", "/redoc", "/metrics"]
)
async def test_there_is_no_way_to_become_an_operator_over_the_network(desk, admin, path):
    for method in ("GET", "POST"):
        check_problem(await admin.request(method, path), 404, "request.path")
    async with desk.client(None) as anybody:
        check_problem(await anybody.get(path), 401, "operator.credential")


async def test_who_holds_the_store_needs_no_credential_and_is_named_in_the_trail(desk):
    async with desk.client(None, authenticate=LocalOperator("alice")) as local:
        assert (await local.post("/resources", json=RESOURCE)).status_code == 201
    assert desk.last.actor == "local:alice"


async def test_no_answer_has_a_null(desk, admin, agent):
    paths = ["/server", "/resources", "/agents", "/agents/reader", "/agents/reader/credentials", "/audit/events"]
    for path in [*paths, "/agents/reader/permissions", "/agents/nobody"]:
        assert "null" not in (await admin.get(path)).text


@rule("U4")
async def test_a_role_below_the_least_is_told_what_is_needed(desk):
    async with desk.client(Role.VIEWER) as viewer:
        problem = check_problem(await viewer.post("/resources", json=RESOURCE), 403, "operator.role")
    assert "manager" in problem["detail"]
    assert (desk.last.action, desk.last.reason) == ("resource.create", "operator.role")
