from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import TypeVar

import pytest

from tests import rule
from tests.client.world import DOWN, ISSUER, METADATA_URL, AuthorizationServer, answer, form, token_answer
from watchword.client.cache import CacheKey, Token
from watchword.client.credentials import ClientSecretBasic, ClientSecretPost
from watchword.client.errors import NEVER, After, LoginMisconfigured, LoginRefused, LoginUnavailable
from watchword.client.flow import Asking, Flow, Outcome, Pause, adrive, discover, drive, request_token
from watchword.client.retry import RetryPolicy
from watchword.client.server_time import ServerTime
from watchword.ports.http import HttpRequest, HttpResponse, TransportError
from watchword.protocol.metadata import ServerMetadata
from watchword.testing.clock import FrozenClock

T = TypeVar("T")
METADATA = ServerMetadata(issuer=ISSUER, token_endpoint=f"{ISSUER}/oauth/token")
WANT = CacheKey(issuer=ISSUER, client_id="reader", resource="https://api.example.com", audience=None, scopes=("a", "b"))
CLIENT = ClientSecretBasic("reader", "hush")
SECOND = timedelta(seconds=1)


def asking(clock: FrozenClock | None = None, **policy: object) -> Asking:
    numbers = {"first_pause": SECOND, "jitter": lambda: 0.5, **policy}
    return Asking(clock=clock or FrozenClock(), server_time=ServerTime(), policy=RetryPolicy(**numbers))  # type: ignore[arg-type] -- a test's shorthand


def play(
    flow: Flow[T],
    script: Iterable[Outcome],
    clock: FrozenClock | None = None,
    steps: list[HttpRequest | Pause] | None = None,
) -> tuple[T, list[HttpRequest | Pause]]:
    """Run the flow against scripted answers, all of which it must ask for; a pause moves the clock."""
    steps = [] if steps is None else steps
    answers = iter(script)
    outcome: Outcome = None
    while True:
        try:
            step = flow.send(outcome)
        except StopIteration as done:
            assert next(answers, None) is None, "it asked less often than expected"
            return done.value, steps
        steps.append(step)
        outcome = None
        if isinstance(step, HttpRequest):
            outcome = next(answers)
        elif clock is not None:
            clock.advance(step.delay)


def pauses(steps: Sequence[HttpRequest | Pause]) -> list[float]:
    return [step.delay.total_seconds() for step in steps if isinstance(step, Pause)]


def fetch(
    script: Sequence[Outcome], clock: FrozenClock | None = None, **policy: object
) -> tuple[Token, list[HttpRequest | Pause]]:
    clock = clock or FrozenClock()
    return play(request_token(METADATA, WANT, CLIENT, asking(clock, **policy)), script, clock)


@rule("R6749-4.4-01", "R6749-2.3-04", "MCP-04")
def test_a_token_request_says_what_is_wanted_and_who_asks() -> None:
    token, steps = fetch([token_answer()])
    (request,) = steps
    assert isinstance(request, HttpRequest)
    assert (request.method, request.url, token.value) == ("POST", METADATA.token_endpoint, "token-1")
    assert form(request) == {"grant_type": "client_credentials", "scope": "a b", "resource": "https://api.example.com"}
    assert request.headers == {
        "accept": "application/json",
        "accept-encoding": "identity",
        "authorization": "Basic cmVhZGVyOmh1c2g=",
        "content-type": "application/x-www-form-urlencoded",
    }


def test_the_secret_goes_into_the_body_where_that_is_the_method() -> None:
    _, steps = play(request_token(METADATA, WANT, ClientSecretPost("reader", "h+ sh"), asking()), [token_answer()])
    (request,) = steps
    assert isinstance(request, HttpRequest)
    assert form(request)["client_secret"] == "h+ sh"
    assert "authorization" not in request.headers


def test_nothing_is_sent_that_was_not_asked_for() -> None:
    want = CacheKey(issuer=ISSUER, client_id="reader", resource=None, audience=None, scopes=())
    _, (request,) = play(request_token(METADATA, want, CLIENT, asking()), [token_answer()])
    assert isinstance(request, HttpRequest)
    assert request.body == b"grant_type=client_credentials"


@rule("R9700upd-01", "MCP-07")
def test_a_credential_is_not_shown_at_an_endpoint_of_another_issuer() -> None:
    other = ServerMetadata(issuer="https://evil.example", token_endpoint="https://evil.example/token")
    with pytest.raises(LoginMisconfigured) as refused:
        play(request_token(other, WANT, CLIENT, asking()), [])
    assert refused.value.reason == "discovery.issuer"


@rule("Q4")
@pytest.mark.parametrize(
    "trouble",
    [
        DOWN,
        TransportError("http.timeout"),
        TransportError("http.protocol"),
        answer(429),
        answer(500),
        answer(502),
        answer(503),
        HttpResponse(status=504, headers={}, body=b"<html>"),
    ],
    ids=repr,
)
def test_what_may_pass_is_tried_again_after_growing_pauses(trouble: Outcome) -> None:
    token, steps = fetch([trouble, trouble, trouble, token_answer()])
    assert (token.value, pauses(steps)) == ("token-1", [0.5, 1, 2])


@rule("Q7")
def test_every_attempt_proves_itself_anew() -> None:
    moments: list[datetime] = []

    class Assertion:
        client_id = "reader"

        def apply(self, form: dict[str, str], headers: dict[str, str], *, issuer: str, now: datetime) -> None:
            moments.append(now)
            form["client_assertion"] = f"{issuer} {len(moments)}"

        def hide(self, text: str) -> str:
            return text

    clock = FrozenClock()
    dated = answer(503, {"date": "Tue, 24 Nov 2026 12:01:00 GMT"})
    _, steps = play(request_token(METADATA, WANT, Assertion(), asking(clock)), [dated, token_answer()], clock)
    sent = [form(step)["client_assertion"] for step in steps if isinstance(step, HttpRequest)]
    assert sent == [f"{ISSUER} 1", f"{ISSUER} 2"]
    assert moments[1] - moments[0] == timedelta(seconds=60.5)


@rule("Q4")
@pytest.mark.parametrize(
    ("retry_after", "pause"),
    [("3", 3.5), ("Tue, 24 Nov 2026 12:00:03 GMT", 3.5), ("garbage", 0.5), ("-1", 0.5), ("0", 0.5)],
)
def test_a_server_that_names_a_wait_is_obeyed(retry_after: str, pause: float) -> None:
    _, steps = fetch([answer(503, {"retry-after": retry_after}), token_answer()])
    assert pauses(steps) == [pause]


@rule("Q4")
def test_a_date_to_come_back_at_is_read_by_the_servers_own_clock() -> None:
    headers = {"retry-after": "Tue, 24 Nov 2026 13:00:04 GMT", "date": "Tue, 24 Nov 2026 13:00:00 GMT"}
    _, steps = fetch([answer(503, headers), token_answer()])
    assert pauses(steps) == [4.5]


@rule("Q4")
@pytest.mark.parametrize("retry_after", ["60", "1000000000"])
def test_a_wait_beyond_the_deadline_is_left_to_the_caller(retry_after: str) -> None:
    with pytest.raises(LoginUnavailable) as failed:
        fetch([answer(429, {"retry-after": retry_after})])
    assert isinstance(failed.value.retry, After)
    assert timedelta(seconds=60) <= failed.value.retry.delay <= timedelta(minutes=75)


@rule("Q4")
def test_the_attempts_are_counted() -> None:
    with pytest.raises(LoginUnavailable) as failed:
        fetch([answer(500)] * 4)
    assert (failed.value.reason, failed.value.retry) == ("response.status", After(timedelta(seconds=4)))


@rule("Q4")
def test_slow_failures_end_at_the_deadline() -> None:
    clock = FrozenClock()
    steps: list[HttpRequest | Pause] = []

    def fail_slowly() -> Iterator[Outcome]:
        while True:
            clock.advance(10 * SECOND)
            yield TransportError("http.timeout")

    flow = request_token(METADATA, WANT, CLIENT, asking(clock, attempts=100))
    with pytest.raises(LoginUnavailable):
        play(flow, fail_slowly(), clock, steps)
    assert len(steps) - len(pauses(steps)) == 3


@rule("Q4")
@pytest.mark.parametrize("status", [400, 401, 403, 409, 422])
def test_a_refusal_is_not_repeated(status: int) -> None:
    with pytest.raises(LoginRefused) as refused:
        fetch([answer(status, error="invalid_client")])
    assert (refused.value.status, refused.value.retry) == (status, NEVER)


@rule("Q1")
@pytest.mark.parametrize(
    "hopeless",
    [
        answer(302, {"location": "https://evil.example"}),
        *map(TransportError, ("http.redirect", "http.insecure", "http.too_large")),
    ],
    ids=repr,
)
def test_what_cannot_pass_is_not_repeated(hopeless: Outcome) -> None:
    with pytest.raises(LoginMisconfigured) as failed:
        fetch([hopeless])
    assert (failed.value.reason[:5], failed.value.retry) == ("http.", NEVER)


@rule("R6749-5.1-03")
def test_a_life_counts_from_the_attempt_that_succeeded() -> None:
    clock = FrozenClock()
    token, _ = fetch([answer(503, {"retry-after": "10"}), token_answer()], clock)
    assert token.obtained_at == clock()


def test_discovery_asks_once_where_the_first_place_has_it() -> None:
    found = answer(issuer=ISSUER, token_endpoint=f"{ISSUER}/t")
    metadata, (request,) = play(discover(ISSUER, asking()), [found])
    assert isinstance(request, HttpRequest)
    assert (metadata.token_endpoint, request.method, request.url) == (f"{ISSUER}/t", "GET", METADATA_URL)
    assert "authorization" not in request.headers


@rule("MCP-06")
def test_discovery_goes_on_where_nothing_is() -> None:
    issuer = f"{ISSUER}/tenant1"
    found = answer(issuer=issuer, token_endpoint=f"{issuer}/token")
    metadata, steps = play(discover(issuer, asking()), [answer(404), answer(400), found])
    assert metadata.issuer == issuer
    assert [step.url for step in steps if isinstance(step, HttpRequest)] == [
        f"{ISSUER}/.well-known/oauth-authorization-server/tenant1",
        f"{ISSUER}/.well-known/openid-configuration/tenant1",
        f"{issuer}/.well-known/openid-configuration",
    ]


@rule("MCP-06", "R8414-3.3-01")
def test_discovery_ends_at_somebody_elses_document() -> None:
    with pytest.raises(LoginMisconfigured) as refused:
        play(
            discover(ISSUER, asking()), [answer(issuer="https://evil.example", token_endpoint="https://evil.example/")]
        )
    assert refused.value.reason == "discovery.issuer"


def test_discovery_that_finds_nothing_says_where_it_looked() -> None:
    with pytest.raises(LoginMisconfigured) as refused:
        play(discover(ISSUER, asking()), [answer(404), answer(410)])
    assert refused.value.reason == "discovery.missing"
    assert METADATA_URL in str(refused.value)


@rule("Q4")
def test_discovery_tries_again_where_the_server_is_away() -> None:
    found = answer(issuer=ISSUER, token_endpoint=f"{ISSUER}/t")
    _, steps = play(discover(ISSUER, asking()), [DOWN, answer(503), found])
    assert pauses(steps) == [0.5, 1]


@rule("Q1")
def test_discovery_follows_no_redirect() -> None:
    with pytest.raises(LoginMisconfigured) as refused:
        play(discover(ISSUER, asking()), [answer(301, {"location": "https://login.example.com/x"})])
    assert refused.value.reason == "http.redirect"


def test_a_thread_and_a_loop_drive_the_same_flow() -> None:
    server = AuthorizationServer()
    server.script.extend([DOWN, answer(503)])
    patient = asking(first_pause=timedelta(0))
    assert drive(request_token(METADATA, WANT, CLIENT, patient), server).value == "token-1"
    server.script.extend([DOWN, answer(503)])
    assert asyncio.run(adrive(request_token(METADATA, WANT, CLIENT, patient), server)).value == "token-2"
    assert len(server.requests) == 6
