import base64

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import rule
from tests.asgi.desk import check_problem
from watchword.asgi.admin_errors import BadRequest
from watchword.asgi.admin_pages import Cursors

CURSORS = Cursors(b"k" * 32)


@given(st.text(), st.text(max_size=80))
@settings(max_examples=50)
def test_a_cursor_opens_where_it_was_issued(query, after):
    assert CURSORS.open(query, CURSORS.issue(query, after)) == after


def test_no_cursor_begins_at_the_beginning():
    assert CURSORS.open("agents", None) == ""


@rule("A7", "KF-84")
@given(st.data())
@settings(max_examples=100)
def test_a_cursor_with_any_character_altered_is_refused(data):
    cursor = CURSORS.issue("agents", "reader-k7q2m9xw")
    place = data.draw(st.integers(0, len(cursor) - 1))
    other = data.draw(st.characters(min_codepoint=32, max_codepoint=0x2FF).filter(lambda one: one != cursor[place]))
    refused(CURSORS, "agents", cursor[:place] + other + cursor[place + 1 :])


def refused(cursors, query, cursor):
    with pytest.raises(BadRequest) as caught:
        cursors.open(query, cursor)
    assert (caught.value.reason, caught.value.status) == ("page.cursor", 400)


@rule("A7", "KF-84")
@pytest.mark.parametrize(
    "cursor",
    [
        "",
        "reader",
        "' OR 1=1 --",
        base64.urlsafe_b64encode(b"reader").decode(),
        base64.urlsafe_b64encode(bytes(32) + b"' OR 1=1 --").decode(),
        base64.urlsafe_b64encode(bytes(32) + b"\xff").decode(),
        "A" * 10_000,
        CURSORS.issue("agents", "a") + "=",
        CURSORS.issue("agents", "a") + "\n",
        CURSORS.issue("agents", "a")[:-1],
        "é",
    ],
)
def test_a_cursor_that_we_did_not_issue_is_refused(cursor):
    refused(CURSORS, "agents", cursor)


@rule("A7")
def test_a_cursor_of_another_list_is_refused():
    refused(CURSORS, "agents?state=deleted", CURSORS.issue("agents?state=", "a"))
    refused(CURSORS, "agents", CURSORS.issue("resources", "a"))
    refused(CURSORS, "ag", CURSORS.issue("agents", "a"))
    refused(CURSORS, "agent", CURSORS.issue("agents", "a"))


@rule("A7")
def test_a_cursor_of_another_server_is_refused():
    refused(CURSORS, "agents", Cursors(b"x" * 32).issue("agents", "a"))


@rule("A7", "KF-84", "P11")
@pytest.mark.anyio
async def test_a_list_is_walked_through_and_left_by_no_forged_cursor(desk):
    async with desk.client() as admin:
        for number in range(5):
            await admin.post("/agents", json={"name": f"agent-{number}"})
            await admin.post("/resources", json={"name": f"api-{number}", "scopes": ["r"]})
        for path in ("/agents", "/resources"):
            seen, params = [], {"limit": 2}
            while params:
                page = (await admin.get(path, params=params)).json()
                seen += [one["name"] for one in page["items"]]
                last = params
                params = {"limit": 2, "cursor": page["next_cursor"]} if "next_cursor" in page else None
            assert [name[-1] for name in seen] == list("01234")
            cursor = last["cursor"]
            other = "/resources" if path == "/agents" else "/agents"
            for forged in (cursor[::-1], cursor[:-2], "x"):
                check_problem(await admin.get(path, params={"cursor": forged}), 400, "page.cursor")
            check_problem(await admin.get(other, params={"cursor": cursor}), 400, "page.cursor")
        check_problem(await admin.get("/agents", params={"cursor": cursor, "state": "active"}), 400, "page.cursor")
        check_problem(await admin.get("/agents", params={"cursor": "x" * 600}), 400, "query.invalid")


@rule("A7", "KF-84")
def test_the_end_of_the_query_cannot_be_moved_into_the_key():
    issued = base64.urlsafe_b64decode(CURSORS.issue("agents?state=x", "a") + "=")
    refused(CURSORS, "agents?state=", base64.urlsafe_b64encode(issued[:32] + b"xa").rstrip(b"=").decode())
