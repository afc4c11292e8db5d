"""Getting a token as pure steps: a flow yields what is to be done, and is told what came of it. No I/O in here.

One flow serves threads and event loops; only ``drive`` and ``adrive`` differ.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import TypeVar
from urllib.parse import urlencode

from watchword.client.cache import CacheKey, Token
from watchword.client.challenges import NeedsChallenge, NeedsToken
from watchword.client.credentials import ClientCredential, ShowsCertificate
from watchword.client.discovery import metadata_urls, parse_metadata
from watchword.client.dpop import Proofs, demands_nonce, origin_of
from watchword.client.errors import After, LoginError, LoginMisconfigured, LoginUnavailable
from watchword.client.retry import RetryPolicy, parse_retry_after
from watchword.client.server_time import ServerTime
from watchword.client.token_response import Moment, parse_refusal, parse_token_response
from watchword.clock import Clock
from watchword.ports.http import HttpRequest, HttpResponse, Transport, TransportError
from watchword.protocol import names
from watchword.protocol.metadata import ServerMetadata

T = TypeVar("T")

FORM = "application/x-www-form-urlencoded"
_ALWAYS = {"accept": "application/json", "accept-encoding": "identity"}
_HOPELESS = {
    "http.redirect": "the server redirects; redirects are not followed, because credentials must not be",
    "http.insecure": "only https is spoken, and http to loopback addresses",
    "http.too_large": "the answer is larger than is ever read",
}


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait this long before the next step."""

    delay: timedelta


Outcome = HttpResponse | TransportError | None
Flow = Generator[HttpRequest | Pause, Outcome, T]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asking:
    """How to ask: whose time it is, and how often to try."""

    clock: Clock
    server_time: ServerTime
    policy: RetryPolicy


def discover(issuer: str, asking: Asking) -> Flow[ServerMetadata]:
    """Return the metadata of this issuer. A place that has none is passed over; one that has somebody else's ends it.

    Raises:
        LoginMisconfigured: discovery.missing, discovery.form, discovery.issuer, discovery.endpoint, http.*.
        LoginUnavailable: no answer.
    """
    urls = metadata_urls(issuer)
    for url in urls:
        answer, _ = yield from _ask(partial(HttpRequest, method="GET", url=url, headers=_ALWAYS), asking)
        if answer.status == 200:
            return parse_metadata(answer, issuer=issuer, url=url)
        if not 400 <= answer.status < 500:
            raise LoginMisconfigured("discovery.form", detail=f"{url} answered status {answer.status}")
    raise LoginMisconfigured("discovery.missing", detail=f"no metadata of {issuer}: nothing at {' nor at '.join(urls)}")


def request_token(
    metadata: ServerMetadata,
    want: CacheKey,
    client: ClientCredential,
    asking: Asking,
    proofs: Proofs | None = None,
    shown: ShowsCertificate | None = None,
) -> Flow[Token]:
    """Return a token by the client credentials grant: RFC 6749 §4.4, RFC 8707 §2. Every attempt proves itself anew.

    With ``proofs`` the token is bound to their key (RFC 9449 §5); where a certificate is ``shown``, the endpoint for those is
    asked (RFC 8705 §5). A server that wants its nonce repeated is asked once more.

    Raises:
        LoginRefused, LoginUnavailable, LoginMisconfigured: ``token_response.py``; discovery.issuer: ``metadata`` of another.
    """
    if metadata.issuer != want.issuer:
        raise LoginMisconfigured("discovery.issuer", detail="a credential is only shown to its own issuer")

    applied = client
    endpoint = metadata.token_endpoint if shown is None else metadata.mtls_token_endpoint

    def prepare() -> Flow[None]:
        nonlocal applied
        if isinstance(client, NeedsChallenge):
            applied = yield from _answer_challenge(metadata, client, asking)
        elif isinstance(client, NeedsToken):
            answer, _ = yield from _ask(partial(client.token_request, want.issuer), asking)
            applied = client.with_token(answer)

    def build() -> HttpRequest:
        form = {names.GRANT_TYPE: names.CLIENT_CREDENTIALS}
        optional = {names.SCOPE: " ".join(want.scopes), names.RESOURCE: want.resource, names.AUDIENCE: want.audience}
        form.update({name: value for name, value in optional.items() if value})
        headers = {**_ALWAYS, "content-type": FORM}
        applied.apply(form, headers, issuer=want.issuer, now=asking.clock() + asking.server_time.offset)
        if proofs is not None:
            headers[names.DPOP_HEADER] = proofs.for_server("POST", endpoint)
        return HttpRequest(method="POST", url=endpoint, headers=headers, body=urlencode(form).encode("ascii"))

    answer, sent_at = yield from _ask(build, asking, prepare)
    if proofs is not None:
        origin = origin_of(endpoint)
        proofs.of_servers.learn(origin, answer.headers)
        if demands_nonce(answer):
            answer, sent_at = yield from _ask(build, asking, prepare)
            proofs.of_servers.learn(origin, answer.headers)
    moment = Moment(sent_at=sent_at, offset=asking.server_time.offset, jitter=asking.policy.jitter())
    token_type = names.BEARER if proofs is None else names.DPOP
    return parse_token_response(answer, asked=want.scopes, client=client, moment=moment, token_type=token_type)


def _answer_challenge(metadata: ServerMetadata, client: NeedsChallenge, asking: Asking) -> Flow[ClientCredential]:
    """Ask for a challenge, and return the credential that answers it, for one attempt."""
    endpoint = metadata.watchword_challenge_endpoint
    if endpoint is None:
        raise LoginMisconfigured(
            "challenge.not_offered", detail="the metadata of this issuer names no challenge endpoint"
        )
    body = urlencode(client.challenge_form()).encode("ascii")
    headers = {**_ALWAYS, "content-type": FORM}
    answer, _ = yield from _ask(partial(HttpRequest, method="POST", url=endpoint, headers=headers, body=body), asking)
    if answer.status != 200:
        raise parse_refusal(answer, client=client)
    return client.with_challenge(answer, issuer=metadata.issuer)


def _nothing() -> Flow[None]:
    """Do nothing first."""
    yield from ()


def _ask(
    build: Callable[[], HttpRequest], asking: Asking, prepare: Callable[[], Flow[None]] = _nothing
) -> Flow[tuple[HttpResponse, datetime]]:
    """Return an answer that is neither overload nor breakdown, and when the request for it was sent.

    ``prepare`` is done before each attempt.
    """
    began_at = asking.clock()
    attempt = 0
    while True:
        attempt += 1
        yield from prepare()
        sent_at = asking.clock()
        outcome = yield build()
        failure = _judge(outcome, sent_at, asking)
        if failure is None and isinstance(outcome, HttpResponse):
            return outcome, sent_at
        if not isinstance(failure, _Passing):
            raise failure or LoginUnavailable("http.protocol", detail="no answer was given")
        pause = asking.policy.pause(attempt, failure.asked)
        if attempt >= asking.policy.attempts or asking.clock() + pause - began_at > asking.policy.deadline:
            raise LoginUnavailable(failure.reason, detail=failure.detail, retry=After(pause))
        yield Pause(pause)


class _Passing(LoginError):
    """A failure that may pass. ``asked`` is how long the server asked to be left alone."""

    def __init__(self, reason: str, *, detail: str, asked: timedelta | None = None) -> None:
        super().__init__(reason, detail=detail)
        self.asked = asked


def _judge(outcome: Outcome, sent_at: datetime, asking: Asking) -> LoginError | None:
    if isinstance(outcome, TransportError):
        if outcome.reason in _HOPELESS:
            return LoginMisconfigured(outcome.reason, detail=_HOPELESS[outcome.reason])
        return _Passing(outcome.reason, detail=outcome.detail)
    if outcome is None:
        return None
    now = asking.clock()
    asking.server_time.learn(outcome.headers.get("date"), sent_at=sent_at, received_at=now)
    if 300 <= outcome.status < 400:
        return LoginMisconfigured("http.redirect", detail=_HOPELESS["http.redirect"])
    if outcome.status != 429 and outcome.status < 500:
        return None
    asked = parse_retry_after(outcome.headers.get("retry-after"), now=now + asking.server_time.offset)
    return _Passing("response.status", detail=f"the server answered status {outcome.status}", asked=asked)


def drive(flow: Flow[T], transport: Transport) -> T:
    """Do what the flow asks for, blocking this thread, and return its result."""
    outcome: Outcome = None
    while True:
        try:
            step = flow.send(outcome)
        except StopIteration as done:
            result: T = done.value
            return result
        outcome = None
        if isinstance(step, Pause):
            time.sleep(step.delay.total_seconds())
            continue
        try:
            outcome = transport.send(step)
        except TransportError as failure:
            outcome = failure


async def adrive(flow: Flow[T], transport: Transport) -> T:
    """Do what the flow asks for, on this event loop, and return its result."""
    outcome: Outcome = None
    while True:
        try:
            step = flow.send(outcome)
        except StopIteration as done:
            result: T = done.value
            return result
        outcome = None
        if isinstance(step, Pause):
            await asyncio.sleep(step.delay.total_seconds())
            continue
        try:
            outcome = await transport.asend(step)
        except TransportError as failure:
            outcome = failure
