from dataclasses import replace

import pytest

from tests import rule
from tests.operations.scene import Scene
from watchword.errors import StoreUnavailable
from watchword.operations.audit import (
    MAX_CURSOR,
    ExportEvents,
    ListEvents,
    VerifyAudit,
    export_events,
    list_events,
    verify_audit,
)
from watchword.ports.agents import Role
from watchword.server.audit_chain import Finding, Flaw

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
async def trail(scene):
    for name in ("a", "b", "c"):
        await scene.with_resource(name)


def cursors(page):
    return [event.cursor for event in page.items]


async def test_events_are_read_a_page_at_a_time(scene):
    context = scene.context(Role.AUDITOR)
    first = await list_events(context, ListEvents(limit=2))
    rest = await list_events(context, ListEvents(limit=2, after=2))
    assert (cursors(first), first.has_more) == ([1, 2], True)
    assert (cursors(rest), rest.has_more) == ([3], False)


async def test_events_are_read_backwards(scene):
    page = await list_events(scene.context(Role.AUDITOR), ListEvents(newest_first=True, after=3))
    assert cursors(page) == [2, 1]


async def test_events_are_found_by_exact_value(scene):
    found = ListEvents(filters={"action": "resource.create", "actor": "operator:manager"})
    assert len((await list_events(scene.context(Role.AUDITOR), found)).items) == 3
    part = ListEvents(filters={"action": "resource"})
    assert (await list_events(scene.context(Role.AUDITOR), part)).items == ()


@rule("A18")
@pytest.mark.parametrize(
    "value",
    ["' OR '1'='1", "%", "_%", "*", "resource.create' --", "{{7*7}}", '{"$ne": ""}', ")(uid=*", "resource.create;"],
)
async def test_a_filter_is_a_value_and_nothing_more(scene, value):
    page = await list_events(scene.context(Role.AUDITOR), ListEvents(filters={"action": value}))
    assert page.items == ()


@rule("A18")
@pytest.mark.parametrize("filters", [{"payload": "x"}, {"action": "a\x00"}, {"action": "a\n"}, {"reason": "x" * 257}])
async def test_a_filter_that_is_none_is_refused(scene, filters):
    assert await scene.refusal(list_events, ListEvents(filters=filters), Role.AUDITOR) == "audit.filter"


@rule("A7")
@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (ListEvents(after=-1), "page.after"),
        (ListEvents(after=MAX_CURSOR + 1), "page.after"),
        (ListEvents(limit=0), "page.limit"),
        (ListEvents(limit=10**9), "page.limit"),
    ],
)
async def test_a_page_that_is_none_is_refused(scene, command, reason):
    assert await scene.refusal(list_events, command, Role.AUDITOR) == reason


@rule("U9")
@pytest.mark.parametrize("operation", [list_events, export_events, verify_audit])
async def test_a_viewer_does_not_read_the_trail(scene, operation):
    command = {list_events: ListEvents, export_events: ExportEvents, verify_audit: VerifyAudit}[operation]()
    assert await scene.refusal(operation, command, Role.VIEWER) == "operator.role"


async def test_an_export_holds_everything_up_to_its_own_record(scene):
    exported = await export_events(scene.context(Role.AUDITOR), ExportEvents())
    await scene.with_resource("later")
    rows = [row async for row in exported]
    assert [row.cursor for row in rows] == [1, 2, 3, 4]
    assert b'"action":"audit.export"' in rows[-1].payload


async def test_a_sound_trail_is_found_sound(scene):
    found = await verify_audit(scene.context(Role.AUDITOR), VerifyAudit())
    assert (found.is_sound, found.events) == (True, 3)


async def test_an_empty_trail_is_sound():
    found = await verify_audit(Scene().context(Role.AUDITOR), VerifyAudit())
    assert (found.is_sound, found.events) == (True, 0)


@rule("U1")
async def test_an_altered_event_is_found_at_its_place(scene):
    stored = scene.store._events
    stored[1] = replace(stored[1], payload=stored[1].payload.replace(b"created", b"deleted"))
    found = await verify_audit(scene.context(Role.AUDITOR), VerifyAudit())
    assert found.findings == (Finding("memory", 2, Flaw.ALTERED),)


async def test_what_is_written_during_verification_is_no_finding(scene):
    read, context = scene.store.events, scene.context(Role.AUDITOR)

    async def read_while_others_write(**members):
        rows = await read(**members)
        await scene.with_resource(f"n{len(scene.store.trail)}")
        return rows

    scene.store.events = read_while_others_write
    found = await verify_audit(context, VerifyAudit())
    assert found.is_sound
    assert found.events >= 3


async def test_an_export_that_cannot_be_recorded_does_not_begin(scene):
    scene.store.fail_next(commits=1)
    with pytest.raises(StoreUnavailable):
        await export_events(scene.context(Role.AUDITOR), ExportEvents())
