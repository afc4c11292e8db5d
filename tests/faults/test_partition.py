"""Two nodes on one database, and a network that fails between one of them and the database.

The other node suspends and resumes the agent that asks at both. What all were told is judged against the audit: no node gives
a token after a suspension was acknowledged, wherever that was; what cannot be known is 503.
"""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator

import pytest

from tests import rule
from tests.postgres import new_database, shared_server
from watchword.protocol.jose import parse_compact
from watchword.testing.history import RESUME, SUSPEND, TOKEN, Event, History, judge
from watchword.testing.process import FAIL_AT_WILL, ServerProcess, exchange
from watchword.testing.tcp_proxy import Break, Fault, FaultProxy, Way

DATABASE = "WATCHWORD_SERVER__DATABASE"
FAULTS = {
    "latency": Fault(latency=0.02),
    "throttle": Fault(bytes_per_second=50_000),
    "reset at once": Fault(breaks=Break.RESET),
    "reset in a question": Fault(breaks=Break.RESET, after=900, way=Way.REQUEST),
    "reset in an answer": Fault(breaks=Break.RESET, after=700),
    "cut in an answer": Fault(breaks=Break.CLOSE, after=1200),
    "half close of the questions": Fault(breaks=Break.HALF_CLOSE, after=400, way=Way.REQUEST),
    "half close of the answers": Fault(breaks=Break.HALF_CLOSE, after=400),
    "blackhole": Fault(breaks=Break.BLACKHOLE),
    "blackhole in a question": Fault(breaks=Break.BLACKHOLE, after=600, way=Way.REQUEST),
}
ROUNDS = 2
PAUSE = 0.4
SECONDS = 30


class Pair:
    """A node that is cut off from the database at will, one that is not, and an agent."""

    def __init__(self, cut_off: ServerProcess, well: ServerProcess, road: FaultProxy) -> None:
        self.cut_off, self.well, self.road = cut_off, well, road
        self.agent = well.create_agent("asker")
        self.history = History()
        self.statuses: Counter[tuple[bool, int]] = Counter()

    def ask(self, node: ServerProcess) -> int:
        with self.history.call(TOKEN, self.agent.client_id) as call:
            status, answer = node.token(self.agent)
            if status == 200:
                call.done(str(json.loads(parse_compact(answer["access_token"], typ="at+jwt").payload)["jti"]))
            elif status == 401:
                call.refused()
            # 503 may be said of an event that is written nevertheless: nobody has the token
        self.statuses[node is self.cut_off, status] += 1
        return status

    def set(self, action: str) -> None:
        with self.history.call(action, self.agent.client_id) as call:
            status, answer = self.well.admin("POST", f"/agents/{self.agent.client_id}/{action.rpartition('.')[2]}", {})
            assert status in (200, 503), answer
            if status == 200:
                call.done()

    def events(self) -> list[Event]:
        headers = {"Authorization": f"Bearer {self.well.operator_token}"}
        status, lines = exchange(self.well.connect(), "GET", "/admin/v1/audit/export", headers=headers)
        assert status == 200
        events = [json.loads(line)["event"] for line in lines.splitlines()]
        return [event for event in events if event.get("client_id") == self.agent.client_id]

    def is_well_again(self) -> bool:
        return self.ask(self.cut_off) == self.ask(self.well) == 200


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    folder, database = tmp_path_factory.mktemp("pair"), new_database()
    server = shared_server()
    with FaultProxy("127.0.0.1", server.port) as road:
        through = database.replace(f":{server.port}/", f":{road.port}/")
        assert through != database
        with ServerProcess(folder, environment={**FAIL_AT_WILL, DATABASE: database}) as well:
            environment = {**FAIL_AT_WILL, DATABASE: through}
            (folder / "other").mkdir()
            with ServerProcess(folder / "other", environment=environment, beside=well) as cut_off:
                yield Pair(cut_off, well, road)


@rule("N6", "DR-9", "DR-10")
@pytest.mark.parametrize("name", FAULTS)
def test_a_node_that_is_cut_off_gives_no_token_that_it_should_not(pair: Pair, name: str) -> None:
    assert pair.is_well_again()
    pair.statuses.clear()
    stop = threading.Event()

    def ask(node: ServerProcess) -> None:
        while not stop.is_set():
            pair.ask(node)

    threads = [threading.Thread(target=ask, args=(node,)) for node in (pair.cut_off, pair.cut_off, pair.well)]
    for thread in threads:
        thread.start()
    pair.road.impose(FAULTS[name])
    try:
        for _ in range(ROUNDS):
            pair.set(SUSPEND)
            time.sleep(PAUSE)
            pair.set(RESUME)
            time.sleep(PAUSE)
        if FAULTS[name].breaks is Break.BLACKHOLE:
            assert pair.ask(pair.cut_off) == 503
    finally:
        pair.road.heal()
        stop.set()
        for thread in threads:
            thread.join()
    deadline = time.monotonic() + SECONDS
    while not pair.is_well_again():
        assert time.monotonic() < deadline, pair.statuses
    assert {status for _, status in pair.statuses} <= {200, 401, 503}
    assert pair.statuses[False, 200]
    assert judge(pair.history.operations, pair.events()) == []
