"""``/keys``: the signing keys as they stand, and what is done with them."""

from datetime import timedelta

import pytest

from tests import rule
from tests.asgi.desk import check_problem
from watchword.ports.agents import Role
from watchword.ports.audit import format_time

pytestmark = pytest.mark.anyio


@rule("K4")
async def test_keys_are_listed_with_their_times_and_what_is_to_come(desk):
    now = desk.clock()
    async with desk.client() as admin:
        first = (await admin.post("/keys/rotate", json={})).json()
        following = (await admin.post("/keys/rotate", json={})).json()
    async with desk.client(Role.VIEWER) as viewer:
        answer = await viewer.get("/keys")
    at = format_time(now + timedelta(minutes=7))
    active = {
        "state": "active",
        "custody": "local",
        "published_at": format_time(now),
        "activated_at": format_time(now),
        "version": 1,
    }
    published = {
        "state": "published",
        "custody": "local",
        "published_at": format_time(now),
        "next_state": "active",
        "version": 1,
    }
    assert {item.pop("kid"): item for item in answer.json()["items"]} == {
        first["kid"]: {**active, "algorithm": "ES256", "created_at": format_time(now)}
        | {"next_state": "retiring", "next_at": at},
        following["kid"]: {**published, "algorithm": "ES256", "created_at": format_time(now), "next_at": at},
    }
    assert answer.json()["planned"] == [{"at": at, "algorithm": "ES256", "state": "active", "kid": following["kid"]}]
    assert "sealed" not in answer.text
    assert '"d"' not in answer.text


@rule("K2")
async def test_a_compromised_key_is_answered_with_the_one_in_its_place(desk):
    async with desk.client() as admin:
        key = (await admin.post("/keys/rotate", json={})).json()
        done = (await admin.post(f"/keys/{key['kid']}/compromise", json={"reason": "mailed"})).json()
        assert (done["key"]["kid"], done["key"]["state"]) == (key["kid"], "compromised")
        assert done["replacement"]["state"] == "active"
        check_problem(await admin.post(f"/keys/{key['kid']}/compromise", json={}), 409, "key.state")


async def test_an_unsafe_step_is_refused_with_the_time_from_which_it_is_not(desk):
    async with desk.client() as admin:
        for _ in range(2):
            await admin.post("/keys/rotate", json={})
        problem = check_problem(await admin.post("/keys/rotate", json={}), 409, "key.too_early")
    assert problem["detail"] == "Verifiers may still hold the old set until 2026-11-24T12:07:00Z."


async def test_a_key_is_made_published_and_retired_without_ever_signing(desk):
    async with desk.client() as admin:
        made = await admin.post("/keys", json={"algorithm": "PS256"})
        assert (made.status_code, made.json()["state"]) == (201, "prepared")
        kid = made.json()["kid"]
        assert (await admin.post("/keys/publish", json={"kid": kid})).json()["state"] == "published"
        assert (await admin.post(f"/keys/{kid}/retire")).json()["state"] == "retired"
        check_problem(await admin.post("/keys", json={"algorithm": "HS256"}), 422, "key.algorithm")
