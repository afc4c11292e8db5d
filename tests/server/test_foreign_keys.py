"""Keys of others: kept, renewed, asked for as seldom as possible, and never guessed."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import ssl
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import trustme

from tests import rule
from tests.adapters.hostile_server import hostile_server, ok
from watchword.adapters.outbound import OutboundTransport
from watchword.adapters.outbound_guard import Guard
from watchword.errors import KeysUnavailable
from watchword.ports.foreign_keys import KeySource, NoForeignKeys
from watchword.ports.http import HttpRequest, HttpResponse, TransportError
from watchword.protocol.egress import EgressRules
from watchword.protocol.jose import PrivateKey, generate_private_key
from watchword.protocol.kept_keys import COOL_DOWN, MAX_FRESHNESS, RETRY_DELAY
from watchword.server import foreign_keys
from watchword.server.foreign_keys import MAX_STALE, FetchedForeignKeys
from watchword.testing.clock import FrozenClock

pytestmark = pytest.mark.anyio

ISSUER = "https://tokens.example.com"
JWKS_URI = f"{ISSUER}/keys"
DISCOVERY = f"{ISSUER}/.well-known/openid-configuration"
SOURCE = KeySource(jwks_uri=JWKS_URI)
FIRST, SECOND = generate_private_key("ES256"), generate_private_key("ES256")
TICK = timedelta(microseconds=1)


class Publisher:
    """Publishes keys at some addresses; counts what is asked. ``broken`` says what fails, ``gate`` holds answers back."""

    def __init__(self) -> None:
        self.documents: dict[str, object] = {JWKS_URI: jwks(FIRST), DISCOVERY: discovery(JWKS_URI)}
        self.headers = {"content-type": "application/json", "cache-control": "max-age=300"}
        self.asked: list[str] = []
        self.broken = ""
        self.status = 200
        self.gate: asyncio.Event | None = None

    def send(self, request: HttpRequest) -> HttpResponse:
        raise NotImplementedError

    async def asend(self, request: HttpRequest) -> HttpResponse:
        self.asked.append(request.url)
        if self.gate is not None:
            await self.gate.wait()
        if self.broken:
            raise TransportError(self.broken)
        body = json.dumps(self.documents[request.url]).encode()
        return HttpResponse(status=self.status, headers=self.headers, body=body)


def jwks(*keys: PrivateKey) -> dict[str, object]:
    return {"keys": [dict(key.public_jwk) for key in keys]}


def discovery(jwks_uri: str) -> dict[str, object]:
    return {"issuer": ISSUER, "jwks_uri": jwks_uri}


def kid(key: PrivateKey) -> str:
    return str(key.public_jwk["kid"])


class Scene:
    def __init__(self) -> None:
        self.clock = FrozenClock()
        self.publisher = Publisher()
        self.keys = FetchedForeignKeys(self.publisher)

    async def has(self, key: PrivateKey, source: KeySource = SOURCE) -> bool:
        return await self.keys.find(source, kid(key), "ES256", self.clock()) is not None

    async def failure(self, key: PrivateKey = FIRST, source: KeySource = SOURCE) -> str:
        with pytest.raises(KeysUnavailable) as failed:
            await self.keys.find(source, kid(key), "ES256", self.clock())
        return failed.value.reason

    async def landed(self) -> None:
        await asyncio.gather(*self.keys._flights)


@pytest.fixture
def scene() -> Scene:
    return Scene()


async def test_a_key_is_fetched_once_and_then_kept(scene: Scene) -> None:
    assert await scene.has(FIRST)
    scene.clock.advance(timedelta(seconds=300) - TICK)
    assert await scene.has(FIRST)
    assert scene.publisher.asked == [JWKS_URI]


async def test_a_key_is_found_only_under_its_algorithm(scene: Scene) -> None:
    assert await scene.keys.find(SOURCE, kid(FIRST), "ES384", scene.clock()) is None
    assert await scene.has(FIRST)


async def test_those_who_come_together_share_one_fetch(scene: Scene) -> None:
    assert all(await asyncio.gather(*(scene.has(FIRST) for _ in range(100))))
    assert scene.publisher.asked == [JWKS_URI]


async def test_a_caller_who_leaves_disturbs_no_other(scene: Scene) -> None:
    scene.publisher.gate = asyncio.Event()
    leaving, staying = (asyncio.create_task(scene.has(FIRST)) for _ in range(2))
    await asyncio.sleep(0)
    leaving.cancel()
    await asyncio.sleep(0)
    scene.publisher.gate.set()
    assert await staying
    assert leaving.cancelled() or await asyncio.wait({leaving})


@rule("J23")
async def test_a_stale_set_serves_while_it_is_fetched_anew(scene: Scene) -> None:
    await scene.has(FIRST)
    scene.clock.advance(timedelta(seconds=300))
    scene.publisher.documents[JWKS_URI] = jwks(SECOND)
    assert await scene.has(FIRST)
    await scene.landed()
    assert await scene.has(SECOND)
    assert len(scene.publisher.asked) == 2
    assert not await scene.has(FIRST)


@pytest.mark.parametrize(("said", "seconds"), [("max-age=1", 30), ("max-age=99999", 900), ("", 300)])
async def test_what_the_source_says_of_freshness_is_bounded(scene: Scene, said: str, seconds: int) -> None:
    scene.publisher.headers["cache-control"] = said
    await scene.has(FIRST)
    scene.clock.advance(timedelta(seconds=seconds) - TICK)
    await scene.has(FIRST)
    await scene.landed()
    assert len(scene.publisher.asked) == 1
    scene.clock.advance(TICK)
    await scene.has(FIRST)
    await scene.landed()
    assert len(scene.publisher.asked) == 2


@rule("F8", "R7523-3-09")
async def test_a_new_key_is_accepted_after_one_fetch(scene: Scene) -> None:
    await scene.has(FIRST)
    scene.publisher.documents[JWKS_URI] = jwks(FIRST, SECOND)
    assert await scene.has(SECOND)
    assert len(scene.publisher.asked) == 2


@rule("F8", "KF-37", "KF-39")
async def test_ten_thousand_unknown_kids_cost_one_fetch_per_cool_down(scene: Scene) -> None:
    await scene.has(FIRST)
    names = ["../../dev/null", "' OR 1=1--", "x" * 10_000, "\0", "http://127.0.0.1/", "\u202e"]
    for number in range(10_000):
        name = names[number] if number < len(names) else f"kid-{number}"
        assert await scene.keys.find(SOURCE, name, "ES256", scene.clock()) is None
    assert len(scene.publisher.asked) == 2
    scene.clock.advance(COOL_DOWN)
    assert not await scene.has(SECOND)
    assert len(scene.publisher.asked) == 3
    assert await scene.has(FIRST)


async def test_an_unknown_kid_at_first_sight_costs_no_second_fetch(scene: Scene) -> None:
    assert not await scene.has(SECOND)
    assert not await scene.has(SECOND)
    assert len(scene.publisher.asked) == 1


@rule("J22", "F3")
async def test_a_source_out_of_reach_is_unavailable_and_not_asked_again_at_once(scene: Scene) -> None:
    scene.publisher.broken = "http.connect"
    assert await scene.failure() == "http.connect"
    assert await scene.failure() == "http.connect"
    assert len(scene.publisher.asked) == 1
    scene.publisher.broken = ""
    scene.clock.advance(RETRY_DELAY)
    assert await scene.has(FIRST)


@rule("J22", "J23", "F3")
async def test_the_last_good_set_serves_for_a_stated_time_while_its_source_is_out_of_reach(scene: Scene) -> None:
    await scene.has(FIRST)
    scene.publisher.broken = "http.timeout"
    scene.clock.advance(MAX_STALE - TICK)
    assert await scene.has(FIRST)
    await scene.landed()
    assert await scene.failure(SECOND) == "http.timeout"  # it may be there: nobody knows
    scene.clock.advance(TICK)
    assert await scene.failure() == "http.timeout"
    assert MAX_FRESHNESS < MAX_STALE


@rule("F2", "F3", "MCPWIF-03")
@pytest.mark.parametrize(
    ("document", "status", "media_type", "reason"),
    [
        ({"issuer": ISSUER + "/", "jwks_uri": JWKS_URI}, 200, "application/json", "keys.issuer"),
        ({"issuer": ISSUER, "jwks_uri": "https://evil.example/keys"}, 200, "application/json", "keys.host"),
        ({"issuer": ISSUER, "jwks_uri": "http://tokens.example.com/keys"}, 200, "application/json", "http.insecure"),
        ({"issuer": ISSUER}, 200, "application/json", "keys.jwks_uri"),
        (discovery(JWKS_URI), 500, "application/json", "keys.status"),
        (discovery(JWKS_URI), 200, "text/html", "keys.content_type"),
    ],
)
async def test_a_discovery_document_that_is_not_to_be_believed_gives_no_keys(
    scene: Scene, document: object, status: int, media_type: str, reason: str
) -> None:
    scene.publisher.documents[DISCOVERY] = document
    scene.publisher.documents["http://tokens.example.com/keys"] = jwks(FIRST)
    scene.publisher.status, scene.publisher.headers["content-type"] = status, media_type
    if reason == "http.insecure":
        scene.publisher.broken = reason  # what the transport says: it speaks https only
    assert await scene.failure(source=KeySource(issuer=ISSUER)) == reason
    assert "https://evil.example/keys" not in scene.publisher.asked


@rule("MCPWIF-03")
async def test_keys_are_discovered_and_the_place_is_kept(scene: Scene) -> None:
    source = KeySource(issuer=ISSUER)
    assert await scene.has(FIRST, source)
    scene.clock.advance(timedelta(minutes=10))
    assert await scene.has(FIRST, source)
    await scene.landed()
    assert scene.publisher.asked == [DISCOVERY, JWKS_URI, JWKS_URI]


async def test_after_a_failure_the_place_is_discovered_anew(scene: Scene) -> None:
    source = KeySource(issuer=ISSUER)
    await scene.has(FIRST, source)
    scene.publisher.status = 404
    scene.clock.advance(MAX_STALE)
    assert await scene.failure(source=source) == "keys.status"
    scene.publisher.status = 200
    scene.publisher.documents = {DISCOVERY: discovery(f"{ISSUER}/moved"), f"{ISSUER}/moved": jwks(SECOND)}
    scene.clock.advance(RETRY_DELAY)
    assert await scene.has(SECOND, source)


@rule("TRAP-14")
async def test_one_kid_at_two_sources_is_two_keys(scene: Scene) -> None:
    other = KeySource(jwks_uri="https://other.example.com/keys")
    scene.publisher.documents[other.jwks_uri] = {"keys": [{**SECOND.public_jwk, "kid": kid(FIRST)}]}
    mine = await scene.keys.find(SOURCE, kid(FIRST), "ES256", scene.clock())
    theirs = await scene.keys.find(other, kid(FIRST), "ES256", scene.clock())
    assert mine is not None
    assert theirs is not None
    assert mine.jwk != theirs.jwk


async def test_without_a_kid_the_only_key_of_the_algorithm_is_meant_and_of_several_none(scene: Scene) -> None:
    found = await scene.keys.find(SOURCE, "", "ES256", scene.clock())
    assert found is not None
    assert found.kid == kid(FIRST)
    assert await scene.keys.find(SOURCE, "", "ES384", scene.clock()) is None
    both = KeySource(jwks_uri="https://both.example.com/keys")
    scene.publisher.documents[both.jwks_uri] = jwks(FIRST, SECOND)
    assert await scene.keys.find(both, "", "ES256", scene.clock()) is None


@rule("J22")
async def test_a_source_that_hangs_keeps_nobody_longer_than_it_may_and_no_other_at_all(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(foreign_keys, "PATIENCE", timedelta(milliseconds=50))
    await scene.has(FIRST)
    scene.publisher.gate = asyncio.Event()
    hanging = [KeySource(jwks_uri=f"https://slow{number}.example.com/keys") for number in range(3)]
    keys = FetchedForeignKeys(scene.publisher, max_flights=2)
    keys._sources = scene.keys._sources
    asked = [asyncio.create_task(keys.find(one, "kid", "ES256", scene.clock())) for one in hanging]
    assert await scene.has(FIRST)
    failures = await asyncio.gather(*asked, return_exceptions=True)
    assert [failure.reason for failure in failures if isinstance(failure, KeysUnavailable)] == [
        "keys.timeout",
        "keys.timeout",
        "keys.busy",
    ]
    scene.publisher.gate.set()
    scene.clock.advance(RETRY_DELAY)
    assert await keys.find(SOURCE, kid(FIRST), "ES256", scene.clock()) is not None


async def test_the_number_of_kept_sources_is_bounded(scene: Scene) -> None:
    keys = FetchedForeignKeys(scene.publisher, max_sources=2)
    sources = [KeySource(jwks_uri=f"https://s{number}.example.com/keys") for number in range(3)]
    for source in sources:
        scene.publisher.documents[source.jwks_uri] = jwks(FIRST)
        await keys.find(source, kid(FIRST), "ES256", scene.clock())
    assert list(keys._sources) == sources[1:]


async def test_a_defect_is_raised_and_accepts_nobody(scene: Scene) -> None:
    scene.publisher.documents = {}
    with pytest.raises(KeyError):
        await scene.has(FIRST)
    scene.publisher.documents = {JWKS_URI: jwks(FIRST)}
    assert await scene.has(FIRST)


async def test_a_clock_set_back_asks_anew(scene: Scene) -> None:
    await scene.has(FIRST)
    scene.clock.advance(-timedelta(hours=3))
    assert await scene.has(FIRST)
    await scene.landed()
    assert len(scene.publisher.asked) == 2


async def test_what_is_in_the_air_ends_with_the_server(scene: Scene) -> None:
    scene.publisher.gate = asyncio.Event()
    waiting = asyncio.create_task(scene.failure())
    await asyncio.sleep(0)
    await scene.keys.aclose()
    assert await waiting == "keys.busy"


async def test_where_nothing_is_fetched_nothing_is_found(scene: Scene) -> None:
    with pytest.raises(KeysUnavailable, match=r"keys\.not_served"):
        await NoForeignKeys().find(SOURCE, "kid", "ES256", scene.clock())


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@rule("F3", "G7", "TRAP-25")
async def test_over_real_https_keys_are_discovered_and_fetched_from_a_named_network_only(
    authority: trustme.CA, tmp_path: Path
) -> None:
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost").configure_cert(tls)
    ca_file = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    with hostile_server(tls) as server:
        issuer = f"https://localhost:{server.port}"
        answer: Callable[[object], object] = lambda document: ok(  # noqa: E731
            json.dumps(document).encode(), b"content-type: application/json"
        )
        server.answers["/.well-known/openid-configuration"] = answer({"issuer": issuer, "jwks_uri": f"{issuer}/keys"})  # type: ignore[assignment]
        server.answers["/keys"] = answer(jwks(FIRST))  # type: ignore[assignment]
        source = KeySource(issuer=issuer)

        async def find(rules: EgressRules) -> object:
            transport = OutboundTransport(guard=Guard(rules, ca_file))
            keys = FetchedForeignKeys(transport)
            try:
                return await keys.find(source, kid(FIRST), "ES256", FrozenClock()())
            finally:
                await keys.aclose()
                transport.close()

        with pytest.raises(KeysUnavailable, match=r"http\.address"):
            await find(EgressRules(ports=frozenset({server.port})))
        with pytest.raises(KeysUnavailable, match=r"http\.port"):
            await find(EgressRules((ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))))
        assert server.connections == 0
        networks = (ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128"))
        assert await find(EgressRules(networks, frozenset({server.port}))) is not None


@rule("F2")
async def test_a_refresh_that_fails_is_told_while_the_old_keys_still_serve() -> None:
    told: list[tuple[KeySource, str]] = []
    publisher, clock = Publisher(), FrozenClock()
    keys = FetchedForeignKeys(publisher, observe=lambda source, reason: told.append((source, reason)))
    assert await keys.find(SOURCE, kid(FIRST), "ES256", clock()) is not None
    assert told == []
    clock.advance(MAX_FRESHNESS)
    publisher.broken = "http.connect"
    assert await keys.find(SOURCE, kid(FIRST), "ES256", clock()) is not None, "the old set serves"
    await keys.aclose()
    await asyncio.sleep(0)
    clock.advance(RETRY_DELAY)
    publisher.broken, publisher.status = "", 500
    assert await keys.find(SOURCE, kid(FIRST), "ES256", clock()) is not None
    for _ in range(3):
        await asyncio.sleep(0)
    assert [reason for _, reason in told][-1:] == ["keys.status"]
    assert {source for source, _ in told} == {SOURCE}
