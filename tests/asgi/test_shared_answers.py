"""Which answers are kept for others, for how long, and how many."""

from __future__ import annotations

import pytest

from watchword.asgi.shared_answers import (
    MAX_ANSWER,
    MAX_ANSWERS,
    MAX_REQUEST,
    Recording,
    SharedAnswers,
    is_for_all,
    is_nobodys,
)
from watchword.errors import StoreUnavailable

REQUEST = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\ndate: now\r\ncache-control: public, max-age=300\r\ncontent-length: 2\r\n\r\n"


class Counter:
    """A version that is set by hand."""

    def __init__(self) -> None:
        self.number: int | None = 1
        self.asked = 0

    def __call__(self) -> int:
        self.asked += 1
        if self.number is None:
            raise StoreUnavailable("store.io")
        return self.number


@pytest.fixture
def version() -> Counter:
    return Counter()


@pytest.fixture
def answers(version: Counter) -> SharedAnswers:
    kept = SharedAnswers(version)
    kept.keep(REQUEST, b"answer", 1)
    return kept


def test_what_was_kept_is_found_under_the_same_bytes_only(answers: SharedAnswers) -> None:
    assert answers.find(bytes(bytearray(REQUEST))) == b"answer"
    for other in (b"", REQUEST[:-1], REQUEST + REQUEST, REQUEST.replace(b"h\r", b"H\r"), b"\r\n" + REQUEST):
        assert answers.find(other) is None


def test_it_is_forgotten_when_the_version_changes(answers: SharedAnswers, version: Counter) -> None:
    version.number = 2
    assert answers.find(REQUEST) is None
    version.number = 1
    assert answers.find(REQUEST) is None


def test_it_serves_nobody_while_the_version_cannot_be_told(answers: SharedAnswers, version: Counter) -> None:
    version.number = None
    assert answers.find(REQUEST) is None
    answers.keep(REQUEST, b"answer", answers.version())
    assert len(answers) == 0


def test_an_answer_is_not_kept_if_the_version_changed_while_it_was_made(
    answers: SharedAnswers, version: Counter
) -> None:
    answers.clear()
    version.number = 2
    answers.keep(REQUEST, b"answer", 1)
    assert len(answers) == 0


def test_answers_of_two_versions_are_never_kept_together(answers: SharedAnswers, version: Counter) -> None:
    version.number = 2
    answers.keep(b"GET /2", b"second", 2)
    assert answers.find(REQUEST) is None
    assert answers.find(b"GET /2") == b"second"


def test_what_is_not_kept_costs_no_look_at_the_store(answers: SharedAnswers, version: Counter) -> None:
    before = version.asked
    answers.find(b"POST /oauth/token HTTP/1.1\r\n")
    assert version.asked == before


def test_no_more_are_kept_than_the_bound(answers: SharedAnswers) -> None:
    for number in range(MAX_ANSWERS + 10):
        assert answers.may_keep(REQUEST) == (len(answers) < MAX_ANSWERS)
        answers.keep(b"GET /%d" % number, b"answer", 1)
    assert len(answers) == MAX_ANSWERS
    assert answers.find(REQUEST) == b"answer"


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"",
        b"POST / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"get / HTTP/1.1\r\nHost: h\r\n\r\n",
        b"\r\nGET / HTTP/1.1\r\nHost: h\r\n\r\n",
        REQUEST[:-1],
        REQUEST + b"x",
        REQUEST + REQUEST,
        REQUEST + b"0\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: h\r\nX: " + b"x" * MAX_REQUEST + b"\r\n\r\n",
    ],
)
def test_what_is_not_one_short_request_for_reading_is_not_kept(answers: SharedAnswers, request_bytes: bytes) -> None:
    assert not answers.may_keep(request_bytes)
    assert answers.may_keep(REQUEST)
    assert answers.may_keep(REQUEST.replace(b"GET", b"HEAD"))


@pytest.mark.parametrize(
    "name",
    [
        b"authorization",
        b"cookie",
        b"content-length",
        b"expect",
        b"proxy-authorization",
        b"transfer-encoding",
        b"upgrade",
    ],
)
def test_requests_with_a_secret_or_a_body_are_somebodys(name: bytes) -> None:
    assert is_nobodys([(b"host", b"h"), (b"accept", b"*/*")])
    assert not is_nobodys([(b"host", b"h"), (name, b"0")])


@pytest.mark.parametrize(
    "head",
    [
        b"",
        HEAD.replace(b"public", b"private"),
        HEAD.replace(b"cache-control: public, max-age=300", b"cache-control: no-store"),
        HEAD.replace(b"cache-control: public, max-age=300\r\n", b""),
        HEAD.replace(b"cache-control: ", b"x-cache-control: "),
        HEAD.replace(b"200 OK", b"503 Service Unavailable"),
        HEAD.replace(b"200 OK", b"206 Partial Content"),
        HEAD.replace(b"date: now", b"connection: close"),
        HEAD.replace(b"cache-control: public, max-age=300\r\n", b"") + b"\r\ncache-control: public, max-age=300\r\n",
    ],
)
def test_only_complete_answers_that_say_so_are_for_all(head: bytes) -> None:
    assert is_for_all(HEAD)
    assert is_for_all(HEAD.replace(b"200 OK", b"304 Not Modified"))
    assert not is_for_all(head)


def test_a_recording_sends_everything_and_keeps_what_is_for_all() -> None:
    sent: list[bytes] = []
    recording = Recording(sent.append, lambda: False, lambda: None)
    for part in (HEAD, b"ok"):
        recording.write(part)
    assert sent == [HEAD, b"ok"]
    assert recording.answer() == HEAD + b"ok"


@pytest.mark.parametrize(
    "parts",
    [
        [HEAD.replace(b"public", b"private"), b"ok", HEAD],
        [HEAD, bytes(MAX_ANSWER), b"", HEAD],
        [b"HTTP/1.1 100 Continue\r\n\r\n", HEAD, b"ok"],
    ],
    ids=["private", "too large", "not at once"],
)
def test_a_recording_lets_go_at_once_what_is_not_kept(parts: list[bytes]) -> None:
    sent: list[bytes] = []
    recording = Recording(sent.append, lambda: False, lambda: None)
    for part in parts:
        recording.write(part)
    assert sent == parts
    assert recording.answer() == b""
