"""The oracles of the fuzzer: whatever they watch for is found, and what they do not watch for is not."""

import asyncio
import itertools
from collections import deque
from contextlib import suppress

import pytest

from watchword.testing.fuzz import FORM, Case, Fuzzer, Template
from watchword.testing.fuzz_driver import Driver, Report

TEMPLATE = Template(b"POST", b"/oauth/token", ((b"Host", b"x"), (b"Content-Type", FORM)), b"grant_type=a&scope=b")
TOKEN = b'{"access_token":"x"}'
COMPACT = b"eyJhbGciOiJFUzI1NiJ9.eyJpc3MiOiJ4In0." + b"c" * 86


def answer(status: int, body: bytes = b"{}", media_type: bytes = b"application/json") -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s" % (status, media_type, len(body), body)


def case(number: int = 1, *, is_framed: bool = True) -> Case:
    return Case(number, TEMPLATE.to_bytes(), is_framed, is_head=False, recipe=("test",))


def drive(answers: list[bytes | None], cases: list[Case], *, is_closing: bool = False, **how: object) -> Report:
    """Send the cases to a server that gives these answers in turn; ``None`` gives none."""
    waiting = deque(answers)

    async def run() -> Report:
        done, handlers = asyncio.Event(), set()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            handlers.add(asyncio.current_task())
            with suppress(asyncio.IncompleteReadError, ConnectionError):
                while waiting and await reader.readuntil(TEMPLATE.body):
                    if (next_answer := waiting.popleft()) is not None:
                        writer.write(next_answer)
                    elif not is_closing:
                        await done.wait()
                    if is_closing:
                        break
                writer.close()
                await writer.wait_closed()

        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            port = server.sockets[0].getsockname()[1]
            report = await Driver("127.0.0.1", port, secrets=[b"hunter2"], **how).run(iter(cases), connections=1)
            done.set()
            await asyncio.gather(*handlers)
            return report

    return asyncio.run(run())


@pytest.mark.parametrize(
    ("bad", "kind"),
    [
        (answer(500), "status"),
        (answer(502), "status"),
        (answer(503), "status"),
        (answer(200, TOKEN), "token"),
        (answer(400, b'"%s"' % COMPACT), "token"),
        (answer(400, b'"hunter2"'), "secret"),
        (answer(400, b"<p>", b"text/html"), "page"),
        (answer(400, b"{'a':1}"), "not JSON"),
    ],
)
def test_what_must_not_happen_is_found(bad: bytes, kind: str) -> None:
    report = drive([bad], [case()], is_closing=True)
    assert [finding.kind for finding in report.findings] == [kind]
    if kind in ("status", "token", "secret"):
        report = drive([bad], [case(is_framed=False)], is_closing=True)
        assert [finding.kind for finding in report.findings] == [kind]


def test_no_answer_in_time_is_found_whether_the_request_was_framed_or_not() -> None:
    for is_framed in (True, False):
        report = drive([None], [case(is_framed=is_framed)], deadline=0.05)
        assert [finding.kind for finding in report.findings] == ["hang"]


def test_a_connection_closed_without_any_answer_is_found() -> None:
    assert [finding.kind for finding in drive([None], [case()], is_closing=True).findings] == ["no answer"]


def test_all_answers_of_a_pipeline_are_counted_and_503_may_be_one_of_them() -> None:
    answers = [answer(status) for status in (400, 200, 503, 401, 204)]
    report = drive(
        [*answers[:4], b"HTTP/1.1 204 X\r\n\r\n"], [case(number) for number in range(5)], may_be_unavailable=True
    )
    assert (report.findings, report.sent) == ([], 5)
    assert report.statuses == {400: 1, 200: 1, 503: 1, 401: 1, 204: 1}


def test_what_was_not_answered_when_a_connection_ended_is_sent_again() -> None:
    report = drive([answer(400)] * 6, [case(number) for number in range(6)], is_closing=True)
    assert (report.findings, dict(report.statuses)) == ([], {400: 6})


def test_a_seed_gives_the_same_requests_again_and_another_seed_others() -> None:
    first, again, other = (
        [one.raw for one in itertools.islice(Fuzzer([TEMPLATE], seed=seed), 500)] for seed in (1, 1, 2)
    )
    assert first == again != other
    assert len(set(first)) > 300
