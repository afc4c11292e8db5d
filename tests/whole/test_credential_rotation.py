"""A credential is replaced while it is in use, on a whole server: both open, then one; a silence ends it earlier."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from tests import rule
from watchword.testing.process import FAIL_AT_WILL, ServerProcess

NETWORK = "127.0.0.0/24"
SECOND = timedelta(seconds=1)


@rule("C10", "TRAP-22")
def test_both_open_during_the_overlap_and_only_the_new_one_after_it(tmp_path: Path, place: str) -> None:
    """The end is kept to the second, by every worker, without anybody's work; what was used is counted."""
    with ServerProcess(tmp_path, environment=FAIL_AT_WILL, options=["--workers", "2"]) as server:
        agent = server.create_agent("reader")
        (first,) = server.admin("GET", f"/agents/{agent.client_id}/credentials")[1]["items"]
        path = f"/agents/{agent.client_id}/credentials"
        status, made = server.admin("POST", f"{path}/{first['id']}/rotate", {"overlap": 3})
        assert status == 201
        rotated = replace(agent, client_secret=made["client_secret"])
        for _ in range(8):
            assert [server.token(one)[0] for one in (agent, rotated)] == [200, 200]
        assert server.admin("POST", f"{path}/{first['id']}/rotate", {})[1]["reason"] == "credential.rotated"
        end = datetime.fromisoformat(made["replaces"]["expires_at"])
        asked = datetime.now(UTC)
        while server.token(agent)[0] == 200:
            assert asked < end + SECOND
            asked = datetime.now(UTC)
        assert datetime.now(UTC) > end - SECOND
        assert [server.token(rotated)[0] for _ in range(8)] == [200] * 8
        server.stop()
        server.start()
        listed = server.admin("GET", path)[1]["items"]
        assert {one["id"]: one["uses"] for one in listed}[made["id"]] == 16, (
            "counted by both workers, written as they stopped"
        )
        assert [one["last_used_network"] for one in listed] == [NETWORK] * 2
        events = server.admin("GET", "/audit/events?action=token.issue&limit=100&outcome=denied")[1]["items"]
        assert {event["event"]["reason"] for event in events} == {"client.credential"}
