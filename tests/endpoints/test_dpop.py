"""DPoP at the token endpoint: what binds a token, and the list of proofs that do not. RFC 9449 §5, §8, §11.1."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import jwt
import pytest
from tests import rule
from tests.vectors import ecdsa_key, key_for

from watchword.ports.agents import Conditions
from watchword.ports.store import Replace
from watchword.protocol import names
from watchword.protocol.dpop import build_proof
from watchword.protocol.dpop_nonces import Nonces
from watchword.server.possession.dpop import DpopRules
from watchword.testing import forge
from watchword.testing.keyed_agents import add_keyed_agent
from watchword.testing.server import ISSUER, Answer, InProcessServer, Registered

URL = f"{ISSUER}/oauth/token"
KEY, OTHER = key_for("ES256"), ecdsa_key(7, "ES256")
JWK = {name: text for name, text in KEY.public_jwk.items() if name in ("kty", "crv", "x", "y")}
OTHER_JWK = {name: text for name, text in OTHER.public_jwk.items() if name in JWK}
HEADER = {"typ": "dpop+jwt", "alg": "ES256", "jwk": JWK}
FORM = {"grant_type": "client_credentials", "scope": "read:data"}
OK = "issued"
INTROSPECT = "/oauth/introspect"


class Scene:
    """A server, its agent, and proofs that would be good."""

    def __init__(self, server: InProcessServer) -> None:
        self.server = server
        server.add_resource()
        self.agent = server.add_agent()

    def claims(self, **changes: object) -> dict[str, object]:
        iat = int(self.server.clock().timestamp())
        claims = {"jti": secrets.token_urlsafe(12), "htm": "POST", "htu": URL, "iat": iat}
        return {name: value for name, value in (claims | changes).items() if value is not None}

    def proof(self, header: dict[str, object] | None = None, **changes: object) -> str:
        members = {name: value for name, value in {**HEADER, **(header or {})}.items() if value is not None}
        return forge.sign(KEY, members, self.claims(**changes))

    def ask(
        self, *proofs: str, agent: Registered | None = None, name: str = "DPoP", form: dict[str, str] | None = None
    ) -> Answer:
        headers = [(name, proof) for proof in proofs]
        return self.server.post({**FORM, **(form or {})}, (agent or self.agent).basic, *headers)

    def reason(self, *proofs: str, **how: object) -> str:
        """Return the reason in the one event of this request, after a look at the answer."""
        before = len(self.server.events())
        answer = self.ask(*proofs, **how)  # type: ignore[arg-type]  # as above
        [event] = self.server.events()[before:]
        if event["reason"] != OK:
            error = "use_dpop_nonce" if event["reason"] in NONCES else "invalid_dpop_proof"
            assert (answer.status, answer.json["error"]) == (400, error)
            assert answer.header("cache-control") == "no-store"
        return str(event["reason"])


NONCES = {"dpop.nonce_missing", "dpop.nonce_stale", "dpop.nonce_unknown", "dpop.replay_unsure"}


@pytest.fixture
def scene() -> Scene:
    return Scene(InProcessServer())


@rule("R9449-5-01", "D1")
def test_who_proves_a_key_gets_a_token_bound_to_it(scene: Scene) -> None:
    proof = build_proof(KEY, method="POST", url=URL, jti="j", issued_at=scene.server.clock())
    answer = scene.ask(proof)
    assert (answer.status, answer.json["token_type"]) == (200, "DPoP")
    claims = jwt.decode(answer.json["access_token"], options={"verify_signature": False})
    assert claims["cnf"] == {"jkt": KEY.kid}
    event = scene.server.last_event()
    assert (event["reason"], event["details"]["jkt"]) == ("issued", KEY.kid)


def test_who_proves_nothing_gets_a_bearer_token(scene: Scene) -> None:
    answer = scene.ask()
    assert answer.json["token_type"] == "Bearer"
    assert answer.header("dpop-nonce") is None
    assert "cnf" not in jwt.decode(answer.json["access_token"], options={"verify_signature": False})


@rule("D1", "R9449-4.3-01", "R9449-4.3-02", "R9449-4.3-03", "R9449-4.3-04", "D37", "D42", "D43", "V3")
@pytest.mark.parametrize(
    ("case", "expected"),
    [
        (lambda s: s.proof({"typ": None}), "dpop.typ"),
        (lambda s: s.proof({"alg": None}), "dpop.algorithm"),
        (lambda s: s.proof({"jwk": None}), "dpop.key"),
        (lambda s: s.proof(jti=None), "dpop.claims"),
        (lambda s: s.proof(htm=None), "dpop.claims"),
        (lambda s: s.proof(htu=None), "dpop.claims"),
        (lambda s: s.proof(iat=None), "dpop.claims"),
        (lambda s: s.proof({"typ": "JWT"}), "dpop.typ"),
        (lambda s: s.proof({"alg": "RS256"}), "dpop.key"),
        (lambda s: s.proof({"alg": "none"}), "dpop.algorithm"),
        (lambda s: s.proof()[:-4] + "AAAA", "dpop.signature"),
        (lambda s: s.proof({"jwk": {**JWK, "d": "AQ"}}), "dpop.key"),
        (lambda s: s.proof({"jwk": {"kty": "oct", "k": "AQ"}}), "dpop.key"),
        (lambda s: s.proof({"x5c": ["MIIB"]}), "dpop.malformed"),
        (lambda s: s.proof(htm="PUT"), "dpop.method"),
        (lambda s: s.proof(htu=f"{URL}?a=b#c"), OK),
        (lambda s: s.proof(htu=URL), OK),
        (lambda s: s.proof(htu=f"{ISSUER}/oauth/introspect"), "dpop.url"),
        (lambda s: s.proof(htu="http://127.0.0.1:8020/oauth/token"), "dpop.url"),
        (lambda s: s.proof(iat=int(s.server.clock().timestamp()) + 3600), "dpop.from_future"),
        (lambda s: s.proof(iat=int(s.server.clock().timestamp()) - 3600), "dpop.too_old"),
        (lambda s: s.proof({"extra": 1}, other={"a": 1}, nbf=0, exp=4_000_000_000), OK),
        (lambda s: s.proof(htu="HTTPS://AUTH.EXAMPLE.COM/oauth/token"), OK),
        (lambda s: s.proof(htu="https://auth.example.com:443/oauth/token"), OK),
        (lambda s: s.proof(iat=int(s.server.clock().timestamp()) - 10), OK),
        (lambda s: s.proof(iat=int(s.server.clock().timestamp()) + 10), OK),
        (lambda s: s.ask().json["access_token"], "dpop.typ"),
        (lambda s: f"{s.proof()}, {s.proof()}", "dpop.malformed"),
        (lambda s: s.proof(extra="x" * 12_288), "dpop.size"),
        (lambda _: "rubbish", "dpop.malformed"),
        (lambda _: "", "dpop.malformed"),
        (lambda _: "\u00e9.\u00e9.\u00e9", "dpop.malformed"),
    ],
)
def test_the_list_of_proofs(scene: Scene, case: Callable[[Scene], str], expected: str) -> None:
    proof = case(scene)
    assert scene.reason(proof) == expected
    assert scene.reason(scene.proof()) == OK, "and a good one is still good"


@rule("D1")
def test_the_name_of_the_header_is_in_any_case(scene: Scene) -> None:
    assert [scene.reason(scene.proof(), name=name) for name in ("DPOP", "dpop", "dPoP")] == [OK] * 3


@rule("D1", "R9449-4.3-01", "D43")
def test_one_proof_in_one_header(scene: Scene) -> None:
    assert scene.reason(scene.proof(), scene.proof()) == "dpop.several"
    assert scene.reason(*[scene.proof()] * 50) == "dpop.several"
    assert scene.reason(scene.proof()) == OK


@rule("R9449-11.1-01", "D1", "D32", "D33", "KF-83")
def test_a_proof_works_once_in_whatever_spelling(scene: Scene) -> None:
    proof = scene.proof(jti="same")
    assert [scene.reason(proof), scene.reason(proof)] == [OK, "dpop.replayed"]
    assert scene.reason(scene.proof(jti="same", htu=f"{URL}?x")) == "dpop.replayed"
    assert scene.reason(scene.proof(jti="same", htu="https://auth.example.com:443/oauth/token")) == "dpop.replayed"
    assert scene.reason(scene.proof(jti="other")) == OK


@rule("R9449-11.1-01")
def test_a_proof_of_one_agent_is_none_of_another(scene: Scene) -> None:
    other = scene.server.add_agent("thief")
    proof = scene.proof()
    assert [scene.reason(proof), scene.reason(proof, agent=other)] == [OK, "dpop.replayed"]


@rule("D36")
def test_one_identifier_under_two_keys_is_two_proofs(scene: Scene) -> None:
    theirs = forge.sign(OTHER, {**HEADER, "jwk": OTHER_JWK}, scene.claims(jti="same"))
    assert [scene.reason(scene.proof(jti="same")), scene.reason(theirs)] == [OK, OK]
    assert scene.server.last_event()["details"]["jkt"] == OTHER.kid


@rule("D35")
def test_a_proof_from_the_future_works_once_until_it_is_over(scene: Scene) -> None:
    proof = scene.proof(iat=int(scene.server.clock().timestamp()) + 30)
    assert scene.reason(proof) == OK
    for _ in range(9):
        scene.server.advance(10)
        assert scene.reason(proof) == "dpop.replayed"
    scene.server.advance(1)
    assert scene.reason(proof) == "dpop.too_old"


@rule("D34", "KF-43")
def test_a_full_memory_accepts_nothing(scene: Scene) -> None:
    first = scene.proof()
    assert scene.reason(first) == OK
    scene.server.replay._capacity = 1
    answer = scene.ask(scene.proof())
    assert (answer.status, answer.json["error"]) == (503, "temporarily_unavailable")
    assert scene.server.last_event()["reason"] == "replay.full"
    assert scene.reason(first) == "dpop.replayed"


@rule("R9449-11.1-01", "R9449-8-01", "TRAP-04")
def test_when_memory_was_lost_a_nonce_shows_that_a_proof_is_newer(scene: Scene) -> None:
    proof = scene.proof()
    assert scene.reason(proof) == OK
    scene.server.replay.lose()
    answer = scene.ask(proof)
    assert (answer.status, answer.json["error"]) == (400, "use_dpop_nonce")
    assert scene.server.last_event()["reason"] == "dpop.replay_unsure"
    scene.server.advance(6)
    again = scene.ask(scene.proof())
    assert again.json["error"] == "use_dpop_nonce"
    scene.server.advance(6)
    assert scene.reason(scene.proof(nonce=again.header("dpop-nonce"))) == OK
    assert scene.reason(scene.proof(nonce=answer.header("dpop-nonce"))) == "dpop.replay_unsure"
    scene.server.advance(31)
    assert scene.reason(scene.proof()) == OK


@rule("D29", "D30", "R9449-8-01")
def test_a_nonce_that_is_sent_must_be_one_of_ours(scene: Scene) -> None:
    nonce = scene.ask(scene.proof()).header("dpop-nonce")
    assert scene.reason(scene.proof(nonce=nonce)) == OK
    now = scene.server.clock()
    for foreign in (
        "x",
        Nonces(b"k" * 32, ISSUER).make(now),
        Nonces(scene.server.core.dpop_nonce_key, "https://other.example").make(now),
        Nonces(scene.server.core.dpop_nonce_key, f"resource {ISSUER}").make(now),
    ):
        assert scene.reason(scene.proof(nonce=foreign)) == "dpop.nonce_unknown"
    scene.server.advance(301)
    assert scene.reason(scene.proof(nonce=nonce)) == "dpop.nonce_stale"
    assert scene.reason(scene.proof()) == OK


@rule("D29", "R9449-8-01", "R9449-8-02", "TRAP-10")
def test_where_a_nonce_is_demanded_a_proof_repeats_one() -> None:
    scene = Scene(InProcessServer(dpop=DpopRules(demand_nonce=True)))
    refused = scene.ask(scene.proof())
    assert (refused.status, refused.json["error"]) == (400, "use_dpop_nonce")
    assert refused.header("cache-control") == "no-store"
    good = scene.ask(scene.proof(nonce=refused.header("dpop-nonce")))
    assert (good.status, good.header("cache-control")) == (200, "no-store")
    assert scene.reason(scene.proof(nonce=good.header("dpop-nonce"))) == OK
    assert scene.ask().json["token_type"] == "Bearer", "an agent that proves nothing needs no nonce"


@rule("D31")
def test_a_nonce_is_good_on_every_node_and_after_a_restart(scene: Scene) -> None:
    nonce = scene.ask(scene.proof()).header("dpop-nonce")
    other = Scene(InProcessServer(dpop=DpopRules(demand_nonce=True)))
    assert other.reason(other.proof(nonce=nonce)) == OK


@rule("R9449-5-01", "D40")
def test_an_agent_bound_to_its_key_gets_nothing_without_a_proof(scene: Scene) -> None:
    bound = scene.server.add_agent("bound", dpop_bound=True)
    assert scene.reason(agent=bound) == "binding.dpop_required"
    assert scene.reason("rubbish", agent=bound) == "dpop.malformed"
    assert scene.reason(scene.proof(), agent=bound) == OK
    assert scene.ask(scene.proof(), agent=bound).json["token_type"] == "DPoP"


@rule("R9700-2.2.1-01")
def test_a_resource_or_a_permission_may_demand_a_bound_token(scene: Scene) -> None:
    scene.server.add_resource("vault", ("open",), require_pop=True)
    agent = scene.server.add_agent("keeper", permissions={"vault": ("open",)})
    careful = scene.server.add_agent("careful", conditions=Conditions(require_sender_constraint=True))
    form = {"scope": "open"}
    for who, what in ((agent, form), (careful, {})):
        answer = scene.ask(agent=who, form=what)
        assert (answer.status, answer.json["error"]) == (400, "invalid_request")
        assert scene.server.last_event()["reason"] == "binding.required"
        assert scene.ask(scene.proof(), agent=who, form=what).json["token_type"] == "DPoP"


@rule("D42", "DR-5")
def test_no_header_moves_the_endpoint(scene: Scene) -> None:
    evil = scene.proof(htu="https://evil.example/oauth/token")
    headers = [("x-forwarded-host", "evil.example"), ("forwarded", "host=evil.example"), ("x-forwarded-proto", "http")]
    for proof, status in ((evil, 400), (scene.proof(), 200)):
        answer = scene.server.post(FORM, scene.agent.basic, ("dpop", proof), *headers)
        assert answer.status == status


def test_an_issuer_with_a_path_has_its_endpoint_below_it() -> None:
    issuer = "https://auth.example.com/tenant"
    scene = Scene(InProcessServer(issuer=issuer))
    assert scene.reason(scene.proof(htu=f"{issuer}/oauth/token")) == OK
    assert scene.reason(scene.proof()) == "dpop.url"


@rule("R9449-4.3-02")
def test_the_old_name_of_ed25519_is_for_those_it_is_conceded_to(scene: Scene) -> None:
    key = key_for("Ed25519")
    jwk = {name: text for name, text in key.public_jwk.items() if name in ("kty", "crv", "x")}

    def proof(algorithm: str) -> str:
        return forge.sign(key, {"typ": "dpop+jwt", "alg": algorithm, "jwk": jwk}, scene.claims())

    assert scene.reason(proof("EdDSA")) == "dpop.algorithm"
    assert scene.reason(proof("Ed25519")) == OK
    agent = scene.server.agent_of(scene.agent.client_id)
    scene.server.commit(Replace(replace(agent, concessions=(names.EDDSA_HEADER,), version=agent.version + 1)))
    assert scene.reason(proof("EdDSA")) == OK


def test_the_window_is_what_the_settings_say() -> None:
    rules = DpopRules(max_age=timedelta(minutes=5), leeway=timedelta(0))
    scene = Scene(InProcessServer(dpop=rules))
    now = int(scene.server.clock().timestamp())
    assert scene.reason(scene.proof(iat=now - 300)) == OK
    assert scene.reason(scene.proof(iat=now - 301)) == "dpop.too_old"
    assert scene.reason(scene.proof(iat=now + 1)) == "dpop.from_future"


@rule("R8414-2-01")
def test_the_metadata_names_what_proofs_may_be_signed_with(scene: Scene) -> None:
    document = scene.server.ask("GET", "/.well-known/oauth-authorization-server").json
    assert document["dpop_signing_alg_values_supported"] == ["ES256", "ES384", "Ed25519", "PS256"]


@rule("DR-16", "TRAP-10")
def test_a_proof_says_nothing_to_who_has_not_logged_in(scene: Scene) -> None:
    thief = replace(scene.agent, secret="wrong")
    answer = scene.ask(scene.proof(), agent=thief)
    assert (answer.status, answer.json["error"], answer.header("dpop-nonce")) == (401, "invalid_client", None)
    proof = scene.proof()
    assert scene.ask(proof, agent=thief).status == 401
    assert scene.reason(proof) == OK, "what was presented with a bad login is not used up"


@rule("D44", "R8725-3.12-01", "V3")
def test_one_key_and_one_identifier_in_an_assertion_and_in_a_proof(scene: Scene) -> None:
    agent = add_keyed_agent(scene.server, "writer", key=KEY)
    assertion = agent.assertion(scene.server, {"jti": "same"})
    form = {**FORM, "client_assertion_type": names.ASSERTION_TYPE_JWT, "client_assertion": assertion}
    answer = scene.server.post(form, ("dpop", scene.proof(jti="same")))
    assert (answer.status, answer.json["token_type"]) == (200, "DPoP")
    for wrong in (agent.assertion(scene.server), scene.ask().json["access_token"]):
        assert scene.reason(wrong) == "dpop.typ"
    form["client_assertion"] = scene.proof(sub=agent.client_id, iss=agent.client_id, aud=ISSUER, exp=4_000_000_000)
    assert scene.server.post(form).status == 401
    assert scene.reason(scene.proof()) == OK


@rule("R9449-6.2-01")
def test_introspection_tells_the_key_that_a_token_is_bound_to(scene: Scene) -> None:
    told = [
        scene.server.post({"token": scene.ask(*proofs).json["access_token"]}, scene.agent.basic, path=INTROSPECT).json
        for proofs in ([scene.proof()], [])
    ]
    assert [(one["active"], one["token_type"], one.get("cnf")) for one in told] == [
        (True, "DPoP", {"jkt": KEY.kid}),
        (True, "Bearer", None),
    ]
