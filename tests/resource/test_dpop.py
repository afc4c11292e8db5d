"""DPoP at a protected resource: the list of bad proofs, and what a bound token is worth without a good one. RFC 9449 §7."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from tests import rule
from tests.resource.issuers import Issuer
from tests.resource.test_guard import Application, ask
from tests.vectors import ecdsa_key, key_for
from watchword.errors import BadSettings, InvalidDpopProof, InvalidToken, OAuthError, ReplayUnavailable, UseDpopNonce
from watchword.ports.replay import Verdict
from watchword.protocol.challenge import parse_challenges
from watchword.protocol.dpop import build_proof, token_hash
from watchword.protocol.dpop_nonces import Nonces
from watchword.resource import DpopRules, Guard, Rule, Verifier
from watchword.resource.proof_memory import ProofMemory
from watchword.testing import forge
from watchword.testing.clock import FrozenClock

BASE = "https://api.example"
KEY, OTHER = key_for("ES256"), ecdsa_key(7, "ES256")
SECOND = timedelta(seconds=1)
JWK = {name: text for name, text in KEY.public_jwk.items() if name in ("kty", "crv", "x", "y")}
HEADER = {"typ": "dpop+jwt", "alg": "ES256", "jwk": JWK}


@dataclass
class Scene:
    """A verifier that has run for a while, and who calls it."""

    clock: FrozenClock
    issuer: Issuer
    verifier: Verifier
    token: str = ""

    def __post_init__(self) -> None:
        self.clock.advance(timedelta(minutes=2))
        self.token = self.issuer.token(cnf={"jkt": KEY.kid})

    def claims(self, **changes: object) -> dict[str, object]:
        claims = {
            "jti": secrets.token_urlsafe(12),
            "htm": "GET",
            "htu": f"{BASE}/data",
            "iat": int(self.clock().timestamp()),
            "ath": token_hash(self.token),
        }
        return {name: value for name, value in (claims | changes).items() if value is not None}

    def proof(self, header: dict[str, object] | None = None, **changes: object) -> str:
        return forge.sign(KEY, {**HEADER, **(header or {})}, self.claims(**changes))

    def send(self, *headers: tuple[str, str], path: str = "/data", method: str = "GET") -> str:
        """Return the client that was let in, or the reason of the refusal."""
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in headers],
        }
        try:
            return self.verifier.verify_sync(scope).client_id
        except OAuthError as error:
            return error.reason

    def present(self, *proofs: str, token: str | None = None, scheme: str = "DPoP") -> str:
        proof_headers = [("DPoP", proof) for proof in proofs]
        return self.send(("Authorization", f"{scheme} {token or self.token}"), *proof_headers)


def build(**settings: object) -> Scene:
    clock = FrozenClock()
    issuer = Issuer(clock)
    return Scene(clock, issuer, issuer.verifier(**{"base_url": BASE, **settings}))


@pytest.fixture
def scene() -> Scene:
    return build()


@rule("D1", "R9449-7.1-01", "V1", "FAPI2-RS-01")
def test_a_bound_token_with_its_proof_is_accepted(scene: Scene) -> None:
    proof = build_proof(KEY, method="GET", url=f"{BASE}/data?q=1", jti="j", issued_at=scene.clock(), token=scene.token)
    assert scene.present(proof) == "reader-1"
    assert scene.present(scene.proof(), scheme="dPoP") == "reader-1"


@rule("D1", "R9449-4.3-01", "R9449-4.3-02", "R9449-4.3-03", "R9449-4.3-04", "R9449-7.1-01", "V1", "D41", "R9700-4.9-01")
@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (lambda s: s.proof({"typ": "JWT"}), "dpop.typ"),
        (lambda s: s.proof({"alg": "none"}), "dpop.algorithm"),
        (lambda s: s.proof({"jwk": {**JWK, "d": "AQ"}}), "dpop.key"),
        (lambda s: s.proof({"jwk": None}), "dpop.key"),
        (lambda s: s.proof(jti=None), "dpop.claims"),
        (lambda s: s.proof(htm=None), "dpop.claims"),
        (lambda s: s.proof(htu=None), "dpop.claims"),
        (lambda s: s.proof(iat=None), "dpop.claims"),
        (lambda s: s.proof(ath=None), "dpop.ath"),
        (lambda s: s.proof(ath=token_hash("other")), "dpop.ath"),
        (lambda s: s.proof(ath=token_hash(s.token)[:-1]), "dpop.ath"),
        (lambda s: s.proof(htm="PUT"), "dpop.method"),
        (lambda s: s.proof(htm="get"), "dpop.method"),
        (lambda s: s.proof(htu=f"{BASE}/data?a=b#c"), "reader-1"),
        (lambda s: s.proof(htu="HTTPS://API.EXAMPLE:443/data"), "reader-1"),
        (lambda s: s.proof(htu=f"{BASE}/other"), "dpop.url"),
        (lambda s: s.proof(htu="http://10.0.0.7:8000/data"), "dpop.url"),
        (lambda s: s.proof(iat=int((s.clock() + SECOND * 3600).timestamp())), "dpop.from_future"),
        (lambda s: s.proof(iat=int((s.clock() - SECOND * 3600).timestamp())), "dpop.too_old"),
        (lambda s: s.proof(iat=int((s.clock() - SECOND * 10).timestamp())), "reader-1"),
        (lambda s: s.proof(iat=int((s.clock() + SECOND * 10).timestamp())), "reader-1"),
        (lambda s: s.proof({"extra": 1}, nbf=0, exp=1, other={}), "reader-1"),
        (lambda s: s.proof()[:-4] + "AAAA", "dpop.signature"),
        (lambda s: s.token, "dpop.typ"),
        (lambda _: "rubbish", "dpop.malformed"),
        (lambda s: f"{s.proof()}, {s.proof()}", "dpop.malformed"),
        (lambda s: s.proof(extra="x" * 12_288), "dpop.size"),
    ],
)
def test_the_list_of_proofs(scene: Scene, case, expected: str) -> None:  # type: ignore[no-untyped-def]  # a table of lambdas
    assert scene.present(case(scene)) == expected
    assert scene.present(scene.proof()) == "reader-1", "and a good one is still good"


@rule("D1", "R9449-4.3-01", "D43")
def test_one_proof_in_one_header(scene: Scene) -> None:
    assert scene.present() == "dpop.missing"
    assert scene.present(scene.proof(), scene.proof()) == "dpop.several"
    assert scene.present(*[scene.proof()] * 100) == "dpop.several"


@rule("D39", "R9449-7.2-01", "TRAP-21", "D1")
def test_a_bound_token_is_no_bearer_token_and_the_other_way_round(scene: Scene) -> None:
    assert scene.present(scheme="Bearer") == "token.bound"
    assert scene.present(scene.proof(), scheme="Bearer") == "token.bound"
    unbound = scene.issuer.token()
    assert scene.present(scene.proof(ath=token_hash(unbound)), token=unbound) == "token.not_bound"
    assert scene.present(token=unbound, scheme="Bearer") == "reader-1"


@rule("D38", "D1", "KF-82", "R9449-7.1-01")
def test_a_proof_by_another_key_than_the_bound_one_is_refused(scene: Scene) -> None:
    jwk = {name: text for name, text in OTHER.public_jwk.items() if name in JWK}
    assert scene.present(forge.sign(OTHER, {**HEADER, "jwk": jwk}, scene.claims())) == "token.other_key"
    assert scene.present(scene.proof()) == "reader-1"


@rule("R9449-11.1-01", "D1", "D32", "D33", "KF-83")
def test_a_proof_works_once_whatever_it_is_used_for(scene: Scene) -> None:
    proof = scene.proof()
    assert [scene.present(proof), scene.present(proof)] == ["reader-1", "dpop.replayed"]
    again = scene.proof(jti="same")
    assert scene.present(again) == "reader-1"
    for htu in (f"{BASE}/data?x", f"{BASE}:443/data", "HTTPS://api.example/data"):
        assert scene.present(scene.proof(jti="same", htu=htu)) == "dpop.replayed"
    other_path = scene.proof(jti="same", htu=f"{BASE}/other")
    assert scene.send(("Authorization", f"DPoP {scene.token}"), ("DPoP", other_path), path="/other") == "dpop.replayed"


@rule("D36")
def test_one_identifier_under_two_keys_is_two_proofs(scene: Scene) -> None:
    assert scene.present(scene.proof(jti="same")) == "reader-1"
    token = scene.issuer.token(cnf={"jkt": OTHER.kid})
    jwk = {name: text for name, text in OTHER.public_jwk.items() if name in JWK}
    proof = forge.sign(OTHER, {**HEADER, "jwk": jwk}, scene.claims(jti="same", ath=token_hash(token)))
    assert scene.present(proof, token=token) == "reader-1"


@rule("D35", "R9449-11.1-01")
def test_a_proof_from_the_future_works_once_until_it_is_over(scene: Scene) -> None:
    proof = scene.proof(iat=int((scene.clock() + SECOND * 30).timestamp()))
    assert scene.present(proof) == "reader-1"
    for _ in range(9):
        scene.clock.advance(SECOND * 10)
        assert scene.present(proof) == "dpop.replayed"
    scene.clock.advance(SECOND)
    assert scene.present(proof) == "dpop.too_old"


@rule("D34", "KF-43", "R9449-11.1-01")
def test_a_flood_pushes_nothing_out_and_a_full_memory_accepts_nothing() -> None:
    clock = FrozenClock()
    issuer = Issuer(clock)
    memory = ProofMemory(clock=clock, capacity=3)
    scene = Scene(clock, issuer, issuer.verifier(base_url=BASE, dpop=DpopRules(replay=memory)))
    first = scene.proof()
    assert [scene.present(first), scene.present(scene.proof()), scene.present(scene.proof())] == ["reader-1"] * 3
    for _ in range(10):
        with pytest.raises(ReplayUnavailable):
            scene.present(scene.proof())
    assert scene.present(first) == "dpop.replayed"
    assert len(memory) == 3
    clock.advance(SECOND * 120)
    assert scene.present(scene.proof()) == "reader-1"
    assert len(memory) == 1


@rule("R9449-11.1-01")
def test_after_a_start_a_proof_needs_a_nonce_for_as_long_as_an_earlier_one_could_be_used() -> None:
    clock = FrozenClock()
    issuer = Issuer(clock)
    scene = Scene(clock, issuer, issuer.verifier(base_url=BASE))
    scene.verifier = issuer.verifier(base_url=BASE)  # it has just begun
    scope = {
        "type": "http",
        "method": "GET",
        "raw_path": b"/data",
        "headers": [(b"authorization", f"DPoP {scene.token}".encode()), (b"dpop", scene.proof().encode())],
    }
    with pytest.raises(UseDpopNonce) as caught:
        scene.verifier.verify_sync(scope)
    assert caught.value.reason == "dpop.replay_unsure"
    proof = scene.proof(nonce=caught.value.nonce)
    assert [scene.present(proof), scene.present(proof)] == ["reader-1", "dpop.replayed"]
    clock.advance(SECOND * 31)
    assert scene.present(scene.proof()) == "reader-1"


@rule("D29", "D30", "R9449-8-01", "R9449-8-02")
def test_where_a_nonce_is_demanded_only_a_fresh_one_from_here_will_do() -> None:
    scene = build(dpop=DpopRules(demand_nonce=True))
    foreign = Nonces(b"k" * 32, "https://auth.example.com").make(scene.clock())
    assert scene.present(scene.proof()) == "dpop.nonce_missing"
    assert scene.present(scene.proof(nonce=foreign)) == "dpop.nonce_unknown"
    nonce = asyncio.run(demanded(scene))
    assert scene.present(scene.proof(nonce=nonce)) == "reader-1"
    assert scene.present(scene.proof(nonce=nonce)) == "reader-1", "a nonce may be used for many proofs"
    scene.clock.advance(timedelta(minutes=5, seconds=1))
    assert scene.present(scene.proof(nonce=nonce)) == "dpop.nonce_stale"


async def demanded(scene: Scene) -> str:
    guard = Guard(Application(), scene.verifier)
    answer = await asyncio.to_thread(ask, guard, "/data", authorization(scene), ("dpop", scene.proof()))
    assert answer.status == 401
    return answer.headers["dpop-nonce"]


def authorization(scene: Scene) -> tuple[str, str]:
    return ("authorization", f"DPoP {scene.token}")


@rule("R9449-8-02")
def test_an_answer_brings_the_next_nonce_before_the_old_one_is_too_old() -> None:
    scene = build(dpop=DpopRules(demand_nonce=True))
    guard = Guard(Application(), scene.verifier)
    first = ask(guard, "/data", authorization(scene), ("dpop", scene.proof()))
    assert (first.status, first.headers["cache-control"]) == (401, "no-store")
    nonce = first.headers["dpop-nonce"]
    early = ask(guard, "/data", authorization(scene), ("dpop", scene.proof(nonce=nonce)))
    assert (early.status, "dpop-nonce" in early.headers) == (200, False)
    scene.clock.advance(timedelta(minutes=3))
    late = ask(guard, "/data", authorization(scene), ("dpop", scene.proof(nonce=nonce)))
    assert (late.status, late.headers["cache-control"]) == (200, "no-store")
    assert scene.present(scene.proof(nonce=late.headers["dpop-nonce"])) == "reader-1"


@rule("D40", "R9700-2.2.1-01")
def test_an_api_may_take_bound_tokens_only() -> None:
    scene = build(require_possession=True)
    unbound = scene.issuer.token()
    assert scene.present(token=unbound, scheme="Bearer") == "token.unbound"
    assert scene.present(token=unbound) == "token.not_bound"
    assert scene.present(scene.proof()) == "reader-1"
    with pytest.raises(InvalidToken, match=r"token\.unbound"):
        scene.verifier.verify_token_sync(unbound)


@rule("R9449-10-01", "TRAP-21")
def test_a_token_bound_to_what_cannot_be_checked_is_refused(scene: Scene) -> None:
    both = scene.issuer.token(cnf={"jkt": KEY.kid, "x5t#S256": KEY.kid})
    assert scene.present(scene.proof(ath=token_hash(both)), token=both) == "token.confirmation"
    with pytest.raises(InvalidToken, match=r"token\.confirmation"):
        scene.verifier.verify_token_sync(scene.token)
    plain = build(base_url=None)
    assert plain.present(plain.proof(), token=plain.token) == "token.no_proofs"


@rule("D42", "R9449-4.3-03", "DR-5")
def test_no_header_moves_the_api_to_another_url(scene: Scene) -> None:
    evil = scene.proof(htu="https://evil.example/data")
    headers = [("Host", "evil.example"), ("X-Forwarded-Host", "evil.example"), ("Forwarded", "host=evil.example")]
    assert scene.send(("Authorization", f"DPoP {scene.token}"), ("DPoP", evil), *headers) == "dpop.url"
    assert scene.send(("Authorization", f"DPoP {scene.token}"), ("DPoP", scene.proof()), *headers) == "reader-1"


@rule("D42")
def test_the_url_is_the_configured_one_and_the_raw_path() -> None:
    scene = build(base_url=f"{BASE}/v1/")
    headers = ("Authorization", f"DPoP {scene.token}")
    proof = scene.proof(htu=f"{BASE}/v1/a%2Fb")
    assert scene.send(headers, ("DPoP", proof), path="/a%2Fb") == "reader-1"
    decoded = scene.proof(htu=f"{BASE}/v1/a/b")
    assert scene.send(headers, ("DPoP", decoded), path="/a%2Fb") == "dpop.url"
    by_audience = build(base_url=None, audience="https://api.example/v1")
    token = by_audience.issuer.token(audience="https://api.example/v1", cnf={"jkt": KEY.kid})
    proof = by_audience.proof(htu=f"{BASE}/v1/x", ath=token_hash(token))
    assert by_audience.send(("Authorization", f"DPoP {token}"), ("DPoP", proof), path="/v1/x") == "reader-1"


class FrameworkRequest:
    """What Starlette, Flask, Django and aiohttp have in common: ``headers``, and where the rest is."""

    def __init__(self, headers: dict[str, str], **more: object) -> None:
        self.headers = headers
        self.__dict__.update(more)


def test_the_request_of_any_framework_tells_its_target(scene: Scene) -> None:
    def headers() -> dict[str, str]:
        return {"Authorization": f"DPoP {scene.token}", "DPoP": scene.proof()}

    environ = {"wsgi.version": (1, 0), "REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "/data"}
    wsgi = {**environ, "HTTP_AUTHORIZATION": f"DPoP {scene.token}", "HTTP_DPOP": scene.proof()}
    asgi = {"type": "http", "method": "GET", "raw_path": b"/data"}
    for request in (
        wsgi,
        FrameworkRequest(headers(), scope=asgi),
        FrameworkRequest(headers(), scope={"type": "http", "method": "GET", "path": "/data"}),
        FrameworkRequest(headers(), environ=environ),
        FrameworkRequest(headers(), method="GET", raw_path="/data?q=1"),
        FrameworkRequest(headers(), scope={**asgi, "type": "websocket", "method": None}),
    ):
        assert scene.verifier.verify_sync(request).client_id == "reader-1"
    for request in (headers(), FrameworkRequest(headers()), FrameworkRequest(headers(), method=1, raw_path=b"/")):
        with pytest.raises(InvalidDpopProof, match=r"dpop\.target"):
            scene.verifier.verify_sync(request)


@rule("D1", "R9449-7.1-01", "R9449-7.2-01", "R9728-5.1-01", "TRAP-11")
def test_the_challenge_of_the_scheme_that_was_used_tells_the_error(scene: Scene) -> None:
    guard = Guard(Application(), scene.verifier, rules=[Rule("/data", ["read:data"])])

    def challenges(*headers: tuple[str, str]) -> list[tuple[str, str | None]]:
        answer = ask(guard, "/data", *headers)
        assert answer.status == 401
        found = parse_challenges(answer.headers["www-authenticate"])
        assert [one.parameters["algs"] for one in found if one.scheme == "dpop"] == ["ES256 ES384 Ed25519 PS256"]
        assert {one.parameters["scope"] for one in found} == {"read:data"}
        return [(one.scheme, one.parameters.get("error")) for one in found]

    bound = f"Bearer {scene.token}"
    assert challenges() == [("bearer", None), ("dpop", None)]
    assert challenges(("authorization", bound)) == [("bearer", "invalid_token"), ("dpop", None)]
    assert challenges(authorization(scene)) == [("dpop", "invalid_dpop_proof"), ("bearer", None)]
    unbound = f"DPoP {scene.issuer.token()}"
    assert challenges(("authorization", unbound)) == [("dpop", "invalid_token"), ("bearer", None)]
    demanding = Guard(Application(), scene.issuer.verifier(base_url=BASE, require_possession=True))
    guard = Guard(demanding, scene.verifier, rules=[Rule("/data", ["read:data"])])
    alone = ask(demanding, "/data", ("authorization", f"Bearer {scene.issuer.token()}"))
    assert [(one.scheme, one.parameters["error"]) for one in parse_challenges(alone.headers["www-authenticate"])] == [
        ("dpop", "invalid_token")
    ]


def test_a_good_request_reaches_the_application_through_the_guard(scene: Scene) -> None:
    app = Application()
    answer = ask(Guard(app, scene.verifier), "/data", authorization(scene), ("dpop", scene.proof()))
    assert (answer.status, answer.body) == (200, b"reader-1")
    assert app.reached[0]["watchword.caller"].confirmation.jkt == KEY.kid


class Slow:
    """A memory that has to be waited for."""

    async def claim(self, *_: object, **__: object) -> Verdict:
        await asyncio.sleep(0)
        return Verdict.FIRST

    async def check(self) -> None: ...

    async def close(self) -> None: ...


def test_a_memory_that_has_to_be_waited_for_is_for_event_loops() -> None:
    scene = build(dpop=DpopRules(replay=Slow()))
    scope = {
        "type": "http",
        "method": "GET",
        "raw_path": b"/data",
        "headers": [(b"authorization", f"DPoP {scene.token}".encode()), (b"dpop", scene.proof().encode())],
    }
    assert asyncio.run(scene.verifier.verify(scope)).client_id == "reader-1"
    with pytest.raises(Exception, match=r"verifier\.waiting"):
        scene.verifier.verify_sync(scope)


@rule("N1")
def test_of_many_threads_with_one_proof_one_passes(scene: Scene) -> None:
    from concurrent.futures import ThreadPoolExecutor

    scene.present(scene.proof())  # the keys are there
    with ThreadPoolExecutor(8) as pool:
        for _ in range(50):
            proof = scene.proof()
            outcomes = list(pool.map(lambda proof: scene.present(proof), [proof] * 8))
            assert sorted(outcomes) == ["dpop.replayed"] * 7 + ["reader-1"]


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"max_age": timedelta(minutes=6)}, "dpop.max_age"),
        ({"max_age": timedelta(0)}, "dpop.max_age"),
        ({"leeway": timedelta(minutes=6)}, "dpop.leeway"),
        ({"leeway": -SECOND}, "dpop.leeway"),
        ({"algorithms": ()}, "dpop.algorithms"),
        ({"algorithms": "ES256"}, "dpop.algorithms"),
        ({"algorithms": ("RS256",)}, "dpop.algorithms"),
        ({"nonce_key": b"short"}, "dpop.nonce_key"),
    ],
)
def test_rules_that_cannot_be_kept_are_refused(settings: dict[str, object], reason: str) -> None:
    with pytest.raises(BadSettings) as caught:
        DpopRules(**settings)  # type: ignore[arg-type]  # wrong on purpose
    assert caught.value.reason == reason


@pytest.mark.parametrize(
    "url", ["http://api.example", "https://api.example?x", "api.example", "https://API.example", ""]
)
def test_a_base_url_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(BadSettings) as caught:
        build(base_url=url)
    assert caught.value.reason == "verifier.base_url"


@pytest.mark.parametrize(
    ("reason", "settings"),
    [
        ("verifier.require_possession", {"require_possession": True}),
        ("verifier.require_possession", {"require_possession": True, "dpop": False, "base_url": BASE}),
        ("verifier.base_url", {"dpop": DpopRules()}),
    ],
)
def test_proofs_need_a_url_to_be_for(reason: str, settings: dict[str, object]) -> None:
    with pytest.raises(BadSettings) as caught:
        build(**{"base_url": None, **settings})
    assert caught.value.reason == reason


def test_the_window_can_be_five_minutes_wide() -> None:
    scene = build(dpop=DpopRules(max_age=timedelta(minutes=5), leeway=timedelta(minutes=5)))
    scene.clock.advance(timedelta(minutes=10))
    for minutes in (-5, 5):
        moved = int((scene.clock() + timedelta(minutes=minutes)).timestamp())
        assert scene.present(scene.proof(iat=moved)) == "reader-1"


@rule("D31")
def test_those_who_share_a_key_and_a_memory_take_each_others_nonces() -> None:
    clock = FrozenClock()
    issuer = Issuer(clock)
    memory = ProofMemory(clock=clock)
    rules = DpopRules(demand_nonce=True, nonce_key=b"k" * 32, replay=memory)
    one = Scene(clock, issuer, issuer.verifier(base_url=BASE, dpop=rules))
    other = replace(one, verifier=issuer.verifier(base_url=BASE, dpop=rules))
    nonce = asyncio.run(demanded(one))
    proof = one.proof(nonce=nonce)
    assert [other.present(proof, token=one.token), one.present(proof)] == ["reader-1", "dpop.replayed"]
    assert len(memory) == 1
