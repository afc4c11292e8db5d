from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests import rule
from tests.forks import is_right_in_a_child, needs_fork
from watchword.client import single_flight
from watchword.client.single_flight import SingleFlight


class Work:
    """Counts its runs and lasts until it is let go."""

    def __init__(self, result: str = "done", failure: Exception | None = None) -> None:
        self.runs = 0
        self.entered = threading.Event()
        self.gate = threading.Event()
        self._result, self._failure = result, failure
        self._lock = threading.Lock()

    def __call__(self) -> str:
        with self._lock:
            self.runs += 1
        self.entered.set()
        assert self.gate.wait(10)
        if self._failure:
            raise self._failure
        return self._result

    async def later(self) -> str:
        return await asyncio.to_thread(self)


def _wait_until(is_so: Callable[[], bool]) -> None:
    turn = threading.Event()
    for _ in range(2000):
        if is_so():
            return
        turn.wait(0.005)
    pytest.fail("it never came to be")


def _waiters(flights: SingleFlight[str], key: str = "key") -> int:
    flight = flights._flights.get(key)
    if flight is None:
        return 0
    with flight.future._condition:
        return len(flight.future._waiters) + len(flight.future._done_callbacks)


@rule("Q3", "Q8")
def test_threads_and_tasks_of_several_loops_share_one_flight() -> None:
    flights: SingleFlight[str] = SingleFlight()
    work = Work()

    async def crowd() -> list[str]:
        return await asyncio.gather(*(flights.arun("key", work.later) for _ in range(20)))

    with ThreadPoolExecutor(24) as pool:
        leader = pool.submit(flights.run, "key", work)
        assert work.entered.wait(5)
        threads = [pool.submit(flights.run, "key", work) for _ in range(20)]
        loops = [pool.submit(asyncio.run, crowd()) for _ in range(3)]
        _wait_until(lambda: _waiters(flights) == 80)
        work.gate.set()
        results = [
            leader.result(),
            *(one.result() for one in threads),
            *(one for loop in loops for one in loop.result()),
        ]
    assert (set(results), len(results), work.runs) == ({"done"}, 81, 1)


@rule("Q3")
def test_different_keys_do_not_wait_for_each_other() -> None:
    flights: SingleFlight[str] = SingleFlight()
    slow, quick = Work(), Work("quick")
    quick.gate.set()
    with ThreadPoolExecutor(1) as pool:
        leader = pool.submit(flights.run, "slow", slow)
        assert slow.entered.wait(5)
        assert flights.run("quick", quick) == "quick"
        slow.gate.set()
        assert leader.result() == "done"


def test_a_landed_flight_is_gone() -> None:
    flights: SingleFlight[str] = SingleFlight()
    work = Work()
    work.gate.set()
    flights.run("key", work)
    assert not flights.is_flying("key")
    flights.run("key", work)
    assert work.runs == 2


def test_a_failure_is_everybodys_and_the_next_call_tries_again() -> None:
    flights: SingleFlight[str] = SingleFlight()
    work = Work(failure=ValueError("no"))
    with ThreadPoolExecutor(2) as pool:
        leader = pool.submit(flights.run, "key", work)
        assert work.entered.wait(5)
        waiter = pool.submit(asyncio.run, flights.arun("key", work.later))
        _wait_until(lambda: _waiters(flights) == 1)
        work.gate.set()
        assert [type(one.exception()) for one in (leader, waiter)] == [ValueError, ValueError]
    assert work.runs == 1
    with pytest.raises(ValueError, match="no"):
        flights.run("key", work)
    assert work.runs == 2


@rule("Q8")
def test_a_cancelled_waiter_breaks_nobody() -> None:
    flights: SingleFlight[str] = SingleFlight()
    work = Work()

    async def scenario() -> list[str]:
        leader = asyncio.create_task(flights.arun("key", work.later))
        await asyncio.to_thread(work.entered.wait, 5)
        leaving = asyncio.create_task(flights.arun("key", work.later))
        staying = asyncio.create_task(flights.arun("key", work.later))
        await asyncio.to_thread(_wait_until, lambda: _waiters(flights) == 2)
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        work.gate.set()
        return [await leader, await staying]

    assert (asyncio.run(scenario()), work.runs) == (["done", "done"], 1)


@rule("Q8")
@pytest.mark.parametrize("in_thread", [False, True])
def test_a_cancelled_leader_hands_over(in_thread: bool) -> None:
    flights: SingleFlight[str] = SingleFlight()
    work = Work()
    entered = asyncio.Event()

    async def endless() -> str:
        entered.set()
        await asyncio.Event().wait()
        raise AssertionError

    async def scenario() -> str:
        leader = asyncio.create_task(flights.arun("key", endless))
        await entered.wait()
        waiting = asyncio.to_thread(flights.run, "key", work) if in_thread else flights.arun("key", work.later)
        waiter = asyncio.create_task(waiting)
        await asyncio.to_thread(_wait_until, lambda: _waiters(flights) == 1)
        leader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leader
        work.gate.set()
        return await waiter

    assert (asyncio.run(scenario()), work.runs) == ("done", 1)


@rule("Q8")
def test_a_thread_never_waits_for_a_task_that_it_must_run_itself() -> None:
    flights: SingleFlight[str] = SingleFlight()
    entered = asyncio.Event()
    go_on = asyncio.Event()

    async def leading() -> str:
        entered.set()
        await go_on.wait()
        return "leader"

    async def scenario() -> list[str]:
        leader = asyncio.create_task(flights.arun("key", leading))
        await entered.wait()
        blocking = flights.run("key", lambda: "own")
        go_on.set()
        return [blocking, await leader]

    assert asyncio.run(scenario()) == ["own", "leader"]


@rule("Q8")
def test_two_loops_that_block_on_each_others_tasks_go_on() -> None:
    flights: SingleFlight[str] = SingleFlight()
    both_lead = threading.Barrier(2)

    def loop(mine: str, others: str) -> str:
        async def leading() -> str:
            await asyncio.to_thread(both_lead.wait, 5)
            return flights.run(others, lambda: f"{mine} does {others}")

        return asyncio.run(flights.arun(mine, leading))

    with ThreadPoolExecutor(2) as pool:
        first, second = pool.submit(loop, "a", "b"), pool.submit(loop, "b", "a")
        assert {first.result(10), second.result(10)} <= {"a does b", "b does a", "b does a does b"}


async def _begin_and_leave(flights: SingleFlight[str], go_on: asyncio.Event) -> asyncio.Task[str]:
    async def leading() -> str:
        await go_on.wait()
        return "leader"

    leader = asyncio.create_task(flights.arun("key", leading))
    await asyncio.sleep(0)
    return leader


async def _own() -> str:
    return "own"


@rule("Q8")
def test_a_loop_does_not_wait_for_a_task_of_another_loop_that_its_thread_has_left() -> None:
    flights: SingleFlight[str] = SingleFlight()
    left, go_on = asyncio.new_event_loop(), asyncio.Event()
    leader = left.run_until_complete(_begin_and_leave(flights, go_on))
    assert asyncio.run(flights.arun("key", _own)) == "own"
    go_on.set()
    assert left.run_until_complete(leader) == "leader"
    left.close()


@rule("Q8")
@pytest.mark.parametrize("in_loop", [False, True])
@pytest.mark.parametrize("closed", [False, True])
def test_nobody_waits_for_ever_for_a_loop_that_stands_still(
    in_loop: bool, closed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(single_flight, "_LOOK_AGAIN", 0.01)
    flights: SingleFlight[str] = SingleFlight()
    left, go_on = asyncio.new_event_loop(), asyncio.Event()
    leader = left.run_until_complete(_begin_and_leave(flights, go_on))
    if closed:
        left.close()
    with ThreadPoolExecutor(1) as pool:
        waiter = (
            pool.submit(asyncio.run, flights.arun("key", _own)) if in_loop else pool.submit(flights.run, "key", str)
        )
        assert waiter.result(10) == ("own" if in_loop else "")
    if not closed:
        go_on.set()
        assert left.run_until_complete(leader) == "leader"
        left.close()
    else:
        leader.get_coro().close()


@rule("Q8")
def test_a_waiter_looks_again_and_goes_on_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(single_flight, "_LOOK_AGAIN", 0.001)
    flights: SingleFlight[str] = SingleFlight()
    work = Work(failure=TimeoutError("the leader's own"))
    looked = threading.Semaphore(0)
    monkeypatch.setattr(single_flight._Flight, "stands_still", lambda _: bool(looked.release()))
    with ThreadPoolExecutor(3) as pool:
        leader = pool.submit(flights.run, "key", work)
        assert work.entered.wait(5)
        waiters = [pool.submit(flights.run, "key", work), pool.submit(asyncio.run, flights.arun("key", work.later))]
        for _ in range(10):
            assert looked.acquire(timeout=5)
        work.gate.set()
        assert {str(one.exception()) for one in (leader, *waiters)} == {"the leader's own"}
    assert work.runs == 1


@rule("Q8", "O15")
@needs_fork
def test_a_forked_child_does_not_wait_for_its_parents_flights() -> None:
    flights: SingleFlight[str] = SingleFlight()
    work = Work()
    with ThreadPoolExecutor(1) as pool:
        leader = pool.submit(flights.run, "key", work)
        assert work.entered.wait(5)
        assert is_right_in_a_child(lambda: flights.run("key", lambda: "child") == "child", held=(flights._lock,))
        work.gate.set()
        assert leader.result() == "done"
