"""A disk that is full, read-only or broken under a running server: 503, nothing half done, and well again by itself."""

import resource
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests import rule
from watchword.testing.process import FAIL_AT_WILL, AgentSecret, ServerProcess

PROGRAM = Path(__file__).with_name("faulty_server.py")
SECONDS = 30


class Disk:
    """A server on a disk that obeys."""

    def __init__(self, folder: Path) -> None:
        self._switch = folder / "switch"
        program = (sys.executable, str(PROGRAM), str(self._switch))
        self.server = ServerProcess(folder, program=program, environment=FAIL_AT_WILL)
        self._orders = iter(range(1_000_000))

    def fail(self, order: str) -> None:
        """``ENOSPC``: every write from now; ``ENOSPC 3``: the third from now."""
        draft = self._switch.with_suffix(".new")
        draft.write_text(f"{order} {next(self._orders)}" if " " in order else order)
        draft.replace(self._switch)

    def heal(self) -> None:
        self._switch.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    disk = Disk(tmp_path_factory.mktemp("disk"))
    with disk.server:
        yield disk


@pytest.fixture(scope="module")
def agent(disk: Disk) -> AgentSecret:
    return disk.server.create_agent("agent")


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def issued(server: ServerProcess) -> int:
    return len(server.admin("GET", "/audit/events?action=token.issue&outcome=success&limit=500")[1]["items"])


def names(server: ServerProcess) -> set[str]:
    return {one["name"] for one in server.admin("GET", "/agents?limit=500")[1]["items"]}


@rule("O3", "FI-17", "DR-10", "U5")
@pytest.mark.parametrize("error", ["ENOSPC", "EDQUOT", "EROFS", "EIO"])
def test_a_disk_that_cannot_be_written_gives_503_and_all_is_well_when_it_can(
    disk: Disk, agent: AgentSecret, error: str
) -> None:
    server = disk.server
    before = issued(server)
    disk.fail(error)
    statuses = {server.token(agent)[0] for _ in range(5)}
    statuses |= {server.token(AgentSecret("nobody", "x"))[0]}
    statuses |= {server.admin("POST", "/agents", {"name": f"lost-{error.lower()}"})[0]}
    statuses |= {server.admin("POST", f"/agents/{agent.client_id}/suspend", {})[0]}
    statuses |= {server.management("/readyz")[0]}
    assert statuses == {503}
    assert server.management("/livez")[0] == 200
    disk.heal()
    assert server.token(agent)[0] == 200
    assert server.management("/readyz")[0] == 200
    assert issued(server) == before + 1
    assert f"lost-{error.lower()}" not in names(server)
    assert server.admin("GET", "/audit/verify")[1]["ok"] is True


@rule("O3", "FI-3", "DR-9")
def test_whichever_write_fails_a_token_has_its_event_and_a_change_is_whole(disk: Disk, agent: AgentSecret) -> None:
    server = disk.server
    before, received, made = issued(server), 0, set()
    statuses = set()
    for nth in range(1, 9):
        disk.fail(f"ENOSPC {nth}")
        for turn in range(4):
            status = server.token(agent)[0]
            received += status == 200
            name = f"nth-{nth}-{turn}"
            created = server.admin("POST", "/agents", {"name": name})[0]
            made |= {name} if created == 201 else set()
            statuses |= {status, created}
    disk.heal()
    assert statuses == {200, 201, 503}
    assert issued(server) == before + received
    assert {name for name in names(server) if name.startswith("nth-")} == made
    assert server.admin("GET", "/audit/verify")[1]["ok"] is True


@rule("O3", "FI-17")
def test_a_disk_that_fills_up_under_load_stops_tokens_and_nothing_else_and_they_come_back(tmp_path: Path) -> None:
    """No injection: the process may not make a file longer, so the write-ahead log, and its own log, fill up."""
    with ServerProcess(tmp_path, environment=FAIL_AT_WILL) as server:
        agent = server.create_agent("agent")
        limit = resource.prlimit(server.pid, resource.RLIMIT_FSIZE)
        pids = server.pids
        largest = max(path.stat().st_size for path in [*server.data.iterdir(), server.log])
        for pid in pids:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (largest + 100_000, limit[1]))
        stop, statuses, received = threading.Event(), set[int](), list[str]()

        def ask() -> None:
            connection = server.connect()
            while not stop.is_set():
                status, answer = server.token(agent, connection)
                statuses.add(status)
                received.extend([answer["access_token"]] if status == 200 else [])
            connection.close()

        threads = [threading.Thread(target=ask) for _ in range(3)]
        for thread in threads:
            thread.start()
        wait_until(lambda: 503 in statuses)  # from then on the log may be emptied into the database, and full again
        for pid in pids:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, limit)
        wait_until(lambda: server.management("/readyz")[0] == 200)
        stop.set()
        for thread in threads:
            thread.join()
        assert statuses == {200, 503}
        assert server.token(agent)[0] == 200
        found = server.command("--data", str(server.data), "audit", "export", "--format", "jsonl")
        assert found.count('"reason":"issued"') == len(received) + 1
        assert server.admin("GET", "/audit/verify")[1]["ok"] is True
