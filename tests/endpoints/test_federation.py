"""Tokens of outside issuers at the token endpoint: RFC 7523 §2.1, §2.2, §3; ABUSE 6.7; SPIFFE client authentication."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import pytest
from tests import rule
from tests.endpoints.test_token_parsing import assert_refused

from watchword.ports.agents import AgentState, Credential, CredentialKind, CredentialState
from watchword.ports.issuers import DeleteTrustedIssuer, TrustedIssuer
from watchword.ports.store import Create, RevokeCredential
from watchword.protocol import names
from watchword.protocol.claim_rules import ClaimRule
from watchword.protocol.jose import PrivateKey, generate_private_key
from watchword.testing.forge import (
    BAD_DATES,
    sign,
    sign_raw,
    signed_with_public_key,
    unsecured,
    with_raw_member,
    wrong_signatures,
)
from watchword.testing.server import Answer, InProcessServer

CLUSTER = "https://cluster.example.com"
OTHER = "https://other.example.com"
DOMAIN = "spiffe://example.org"
SUBJECT = "system:serviceaccount:prod:worker"
KEY = generate_private_key("ES256")
OTHER_KEY = generate_private_key("ES256")
RSA_KEY = generate_private_key("RS256")
DAY = timedelta(days=1)


class Scene:
    """A server that trusts two issuers and a trust domain; ``worker`` is logged in by one claim of the first."""

    def __init__(self) -> None:
        self.server = InProcessServer()
        self.peers = 0
        self.server.add_resource()
        self.trust("cluster", CLUSTER, KEY)
        self.trust("other", OTHER, OTHER_KEY)
        self.trust("domain", DOMAIN, OTHER_KEY, use="jwt-svid")
        self.worker = self.add_agent("worker", "cluster", {"sub": SUBJECT})

    def trust(self, name: str, issuer: str, *keys: PrivateKey, use: str = "sig", **facts: Any) -> None:
        jwks = {"keys": [{**key.public_jwk, "use": use} for key in keys]}
        record = TrustedIssuer(name=name, issuer=issuer, jwks=jwks, created_at=self.server.clock(), **facts)
        self.server.commit(Create(record))

    def add_agent(self, name: str, trusted: str, claims: Mapping[str, object], **rule_facts: object) -> str:
        agent = self.server.add_agent(
            name, auth_methods=(names.FEDERATED,), grant_types=(names.CLIENT_CREDENTIALS, names.JWT_BEARER)
        )
        self.add_rule(agent.client_id, trusted, claims, **rule_facts)
        return agent.client_id

    def add_rule(self, client_id: str, trusted: str, claims: Mapping[str, object], **rule_facts: object) -> str:
        details = ClaimRule.from_details({"claims": claims, **rule_facts}).to_details()
        credential = Credential(
            id=f"f-{client_id}-{len(details)}-{json.dumps(claims)[:40]}",
            client_id=client_id,
            kind=CredentialKind.FEDERATED,
            state=CredentialState.ACTIVE,
            created_at=self.server.clock() - DAY,
            details=details,
            trusted_issuer=trusted,
        )
        self.server.commit(Create(credential))
        return credential.id

    def claims(self, **changes: object) -> dict[str, object]:
        now = int(self.server.clock().timestamp())
        claims = {"iss": CLUSTER, "sub": SUBJECT, "aud": self.server.issuer, "iat": now, "exp": now + 600, "jti": "1"}
        return {name: value for name, value in {**claims, **changes}.items() if value is not ...}

    def make(self, key: PrivateKey = KEY, header: Mapping[str, object] | None = None, **changes: object) -> str:
        head = {"alg": key.algorithm, "kid": key.public_jwk["kid"], "typ": "JWT", **(header or {})}
        return sign(key, {name: value for name, value in head.items() if value is not ...}, self.claims(**changes))

    def grant(self, token: str, **form: str) -> Answer:
        return self.post({"grant_type": names.JWT_BEARER, "assertion": token, "scope": "read:data", **form})

    def post(self, form: Mapping[str, str]) -> Answer:
        """Each from a peer of its own: failures of one are limited."""
        self.peers += 1
        return self.server.post(form, peer=f"192.0.{self.peers // 250}.{self.peers % 250}")

    def login(self, token: str, kind: str = names.ASSERTION_TYPE_JWT, **form: str) -> Answer:
        proof = {"client_assertion": token, "client_assertion_type": kind}
        return self.post({"grant_type": "client_credentials", "scope": "read:data", **proof, **form})

    def check_grant_refused(self, token: str, reason: str, **form: str) -> Answer:
        answer = self.grant(token, **form)
        assert_refused(self.server, answer, reason, 400, "invalid_grant")
        return answer

    def check_login_refused(self, token: str, reason: str, **form: str) -> None:
        assert_refused(self.server, self.login(token, **form), reason, 401, "invalid_client")

    def check_refused(self, token: str, reason: str) -> None:
        self.check_grant_refused(token, reason)
        self.check_login_refused(token, reason)


@pytest.fixture
def scene():
    """Sanity last: whatever was refused before, the right token still logs in."""
    made = Scene()
    yield made
    assert made.grant(made.make()).status == 200


@rule("R7523-2.1-01", "MCPWIF-01")
def test_a_workloads_token_gets_an_access_token_without_client_authentication(scene):
    answer = scene.grant(scene.make())
    assert (answer.status, answer.json["scope"], answer.json["token_type"]) == (200, "read:data", "Bearer")
    assert "refresh_token" not in answer.json
    event = scene.server.last_event()
    assert {name: event[name] for name in ("reason", "client_auth", "client_id", "actor", "grant_type")} == {
        "reason": "issued",
        "client_auth": "federated",
        "client_id": scene.worker,
        "actor": f"agent:{scene.worker}",
        "grant_type": names.JWT_BEARER,
    }


@rule("R7523-2.2-01")
def test_the_same_token_authenticates_a_client(scene):
    assert scene.login(scene.make()).status == 200
    assert scene.login(scene.make(), client_id=scene.worker).status == 200
    assert scene.server.last_event()["client_id"] == scene.worker


@rule("R7523-2.1-02")
@pytest.mark.parametrize("client_id", ["nobody", "x" * 5000, "\u00e9"])
def test_a_client_id_that_the_token_does_not_log_in_is_refused(scene, client_id):
    other = scene.add_agent("other", "cluster", {"sub": "someone-else"})
    for named in (client_id, other):
        scene.check_grant_refused(scene.make(), "federated.no_agent", client_id=named)
        scene.check_login_refused(scene.make(), "federated.no_agent", client_id=named)
    assert scene.grant(scene.make(), client_id=scene.worker).status == 200


@rule("F1", "KF-57", "KF-58", "KF-21", "R7523-2.1-02")
@pytest.mark.parametrize(
    "issuer",
    [
        CLUSTER + "/",
        CLUSTER.upper(),
        CLUSTER + ":443",
        CLUSTER.replace("https", "http"),
        CLUSTER.replace("https://", "https://user@"),
        CLUSTER + "/../",
        CLUSTER + "#",
        CLUSTER + "?",
        "https://cluster.example.com.evil.example",
        "https://clüster.example.com",
        "cluster",
        "https://nobody.example",
        "://",
    ],
)
def test_an_issuer_that_is_not_trusted_in_this_very_spelling_is_refused(scene, issuer):
    scene.check_grant_refused(scene.make(iss=issuer), "federated.issuer")


@rule("F1")
@pytest.mark.parametrize("issuer", [[CLUSTER], 7, {}, True, "x" * 600])
def test_an_issuer_that_is_no_text_is_refused(scene, issuer):
    scene.check_grant_refused(scene.make(iss=issuer), "federated.form")


@rule("TRAP-14", "F1")
def test_the_same_subject_of_another_issuer_is_nobody(scene):
    scene.check_refused(scene.make(OTHER_KEY, iss=OTHER), "federated.no_agent")


@rule("TRAP-14")
def test_a_token_under_one_name_signed_with_the_key_of_another_is_refused(scene):
    stolen = {"kid": KEY.public_jwk["kid"]}
    scene.check_refused(scene.make(OTHER_KEY), "federated.key")
    scene.check_refused(scene.make(OTHER_KEY, stolen), "jws.signature")


@rule("KF-39", "TRAP-14")
@pytest.mark.parametrize(
    "kid", ["../../dev/null", "' OR 1=1--", "x" * 5000, "\0", "http://127.0.0.1/", "\u202e", "nobody"]
)
def test_an_unknown_kid_is_a_plain_miss(scene, kid):
    scene.check_refused(scene.make(header={"kid": kid}), "federated.key")


def test_without_a_kid_the_only_key_of_the_algorithm_is_meant(scene):
    assert scene.grant(scene.make(header={"kid": ...})).status == 200
    scene.trust("two", "https://two.example", KEY, OTHER_KEY)
    scene.add_agent("two", "two", {"sub": SUBJECT})
    scene.check_grant_refused(scene.make(header={"kid": ...}, iss="https://two.example"), "federated.key")


@rule("F11", "KF-10")
def test_a_mac_made_of_the_issuers_public_key_is_refused(scene):
    scene.trust("rsa", "https://rsa.example", RSA_KEY)
    scene.add_agent("rsa", "rsa", {"sub": SUBJECT})
    claims = scene.claims(iss="https://rsa.example")
    for forgery in signed_with_public_key(
        RSA_KEY, {"alg": "RS256", "kid": RSA_KEY.public_jwk["kid"], "typ": "JWT"}, claims
    ):
        scene.check_grant_refused(forgery.token, forgery.reason)
    assert scene.grant(scene.make(RSA_KEY, iss="https://rsa.example")).status == 200


@rule("KF-1", "KF-22")
def test_no_signature_and_a_wrong_signature_are_refused(scene):
    header = {"alg": "ES256", "kid": KEY.public_jwk["kid"], "typ": "JWT"}
    for forgery in [*unsecured(KEY, header, scene.claims()), *wrong_signatures(KEY, header, scene.claims())]:
        answer = scene.grant(forgery.token)
        assert (answer.status, answer.json["error"]) == (400, "invalid_grant"), forgery.name
        assert scene.server.last_event()["reason"].startswith(("jws.", "federated.")), forgery.name


@rule("KF-38")
def test_an_algorithm_that_the_trust_does_not_name_is_refused(scene):
    scene.trust("strict", "https://strict.example", RSA_KEY, KEY, algorithms=("RS256",))
    scene.add_agent("strict", "strict", {"sub": SUBJECT})
    scene.check_grant_refused(scene.make(iss="https://strict.example"), "jws.algorithm")
    assert scene.grant(scene.make(RSA_KEY, iss="https://strict.example")).status == 200


@pytest.mark.parametrize(
    "typ", ["at+jwt", "dpop+jwt", "client-authentication+jwt", "oauth-id-jag+jwt", "logout+jwt", 7]
)
def test_a_token_of_another_kind_is_refused(scene, typ):
    scene.check_grant_refused(scene.make(header={"typ": typ}), "jws.typ")


@rule("F5", "KF-59", "KF-20")
@pytest.mark.parametrize(
    "audience",
    [
        ...,
        "",
        [],
        [""],
        7,
        None,
        {},
        "https://sts.example.com",
        "https://github.com/octo",
        ["https://issuer.example", "https://sts.example.com"],
        "upper",
        "slash",
        "token",
        "pair",
    ],
)
def test_a_token_for_another_audience_or_for_several_is_refused(scene, audience):
    own = scene.server.issuer
    spelt = {"upper": own.upper(), "slash": own + "/", "token": own + names.PATH_TOKEN, "pair": [own, own]}
    wrong = spelt.get(audience, audience) if isinstance(audience, str) else audience
    scene.check_refused(scene.make(aud=wrong), "federated.audience")
    answer = scene.grant(scene.make(aud=wrong))
    assert own in answer.json["error_description"]


def test_an_audience_of_one_element_is_that_element(scene):
    assert scene.grant(scene.make(aud=[scene.server.issuer])).status == 200


def test_a_trust_may_name_an_audience_of_its_own(scene):
    scene.trust("azure", "https://azure.example", KEY, audience="api://watchword")
    scene.add_agent("azure", "azure", {"sub": SUBJECT})
    assert scene.grant(scene.make(iss="https://azure.example", aud="api://watchword")).status == 200
    scene.check_grant_refused(scene.make(iss="https://azure.example"), "federated.audience")


@rule("F14")
def test_a_token_without_an_end_is_refused(scene):
    scene.check_refused(scene.make(exp=...), "federated.dates")


@rule("KF-21")
@pytest.mark.parametrize("member", ["exp", "iat", "nbf"])
@pytest.mark.parametrize("value", BAD_DATES.values(), ids=BAD_DATES)
def test_a_date_that_is_none_is_refused(scene, member, value):
    payload = with_raw_member(scene.claims(), member, value)
    header = json.dumps({"alg": "ES256", "kid": KEY.public_jwk["kid"]}).encode()
    answer = scene.grant(sign_raw(KEY, header, payload))
    assert (answer.status, answer.json["error"]) == (400, "invalid_grant")
    assert scene.server.last_event()["reason"] in {"federated.dates", "jws.claims"}


def test_time_is_judged_with_thirty_seconds_of_leeway(scene):
    now = int(scene.server.clock().timestamp())
    assert scene.grant(scene.make(exp=now - 29)).status == 200
    answer = scene.check_grant_refused(scene.make(exp=now - 30), "federated.expired")
    assert "30 seconds" in answer.json["error_description"]
    assert scene.grant(scene.make(iat=now + 30)).status == 200
    scene.check_grant_refused(scene.make(iat=now + 31), "federated.not_yet_valid")
    scene.check_grant_refused(scene.make(nbf=now + 31), "federated.not_yet_valid")


@rule("F7")
def test_a_token_that_is_older_than_the_rule_allows_is_refused(scene):
    now = int(scene.server.clock().timestamp())
    assert scene.grant(scene.make(iat=now - 3629, exp=now + 86_400)).status == 200
    scene.check_refused(scene.make(iat=now - 3630, exp=now + 86_400), "federated.too_old")
    scene.check_grant_refused(scene.make(iat=..., exp=now + 3_700), "federated.too_old")
    assert scene.grant(scene.make(iat=..., exp=now + 3_600)).status == 200


@rule("F7")
def test_a_token_works_once_where_the_rule_says_so_and_otherwise_again(scene):
    once = scene.add_agent("once", "cluster", {"sub": "once"}, single_use=True)
    token = scene.make(sub="once", jti="a")
    assert scene.grant(token).status == 200
    scene.check_grant_refused(token, "federated.repeated")
    scene.check_login_refused(token, "federated.repeated")
    assert scene.grant(scene.make(sub="once", jti="b")).status == 200
    scene.check_grant_refused(scene.make(sub="once", jti=...), "federated.jti")
    scene.check_grant_refused(scene.make(sub="once", jti=7), "federated.jti")
    assert scene.server.last_event()["client_auth"] == "federated"
    again = scene.make()
    assert [scene.grant(again).status for _ in range(3)] == [200, 200, 200]
    assert once


def test_a_token_that_was_refused_for_something_else_is_not_used_up(scene):
    client_id = scene.add_agent("once", "cluster", {"sub": "once"}, single_use=True)
    token = scene.make(sub="once", jti="a")
    assert_refused(scene.server, scene.grant(token, client_id=scene.worker), "federated.no_agent", 400, "invalid_grant")
    assert scene.grant(token, client_id=client_id).status == 200


def test_a_token_of_two_agents_is_nobodys_until_the_request_says_whose(scene):
    twin = scene.add_agent("twin", "cluster", {"sub": SUBJECT})
    scene.check_refused(scene.make(), "federated.ambiguous")
    assert scene.grant(scene.make(), client_id=twin).status == 200
    scene.server.commit(RevokeCredential(twin, _credential(scene, twin)))


def test_two_rules_of_one_agent_are_no_ambiguity(scene):
    scene.add_rule(scene.worker, "cluster", {"sub": "system:serviceaccount:prod:*"})
    assert scene.grant(scene.make()).status == 200


@rule("F9", "KF-61")
def test_a_trust_that_was_taken_back_ends_at_once(scene):
    assert scene.grant(scene.make(OTHER_KEY, iss=OTHER)).json["error"] == "invalid_grant"
    client_id = scene.add_agent("mate", "other", {"sub": SUBJECT})
    token = scene.make(OTHER_KEY, iss=OTHER)
    assert scene.grant(token).status == 200
    scene.server.commit(RevokeCredential(client_id, _credential(scene, client_id)), DeleteTrustedIssuer("other", 1))
    scene.check_refused(token, "federated.issuer")


@rule("DR-8")
@pytest.mark.parametrize("state", [AgentState.SUSPENDED, AgentState.DELETED])
def test_a_disabled_agent_gets_no_token_by_any_of_these_ways(scene, state):
    other = scene.add_agent("gone", "cluster", {"sub": "gone"})
    scene.server.set_state(other, state)
    token = scene.make(sub="gone")
    scene.check_grant_refused(token, f"client.{state}")
    scene.check_login_refused(token, f"client.{state}")


def test_a_revoked_expired_or_future_credential_opens_nothing(scene):
    other = scene.add_agent("gone", "cluster", {"sub": "gone"})
    scene.server.commit(RevokeCredential(other, _credential(scene, other)))
    scene.check_refused(scene.make(sub="gone"), "federated.no_agent")


def test_an_agent_that_may_not_use_the_grant_is_told_so(scene):
    agent = scene.server.add_agent("plain", auth_methods=(names.FEDERATED,))
    scene.add_rule(agent.client_id, "cluster", {"sub": "plain"})
    answer = scene.grant(scene.make(sub="plain"))
    assert_refused(scene.server, answer, "grant.not_allowed", 400, "unauthorized_client")
    assert scene.login(scene.make(sub="plain")).status == 200


def test_an_agent_whose_methods_do_not_name_it_is_refused(scene):
    agent = scene.server.add_agent("secretive")
    scene.add_rule(agent.client_id, "cluster", {"sub": "secretive"})
    scene.check_refused(scene.make(sub="secretive"), "client.method")


@rule("MCPWIF-02")
def test_scopes_and_resources_are_judged_as_for_every_grant(scene):
    token = scene.make()
    assert_refused(scene.server, scene.grant(token, scope="write:data"), "scope.not_permitted", 400, "invalid_scope")
    assert_refused(scene.server, scene.grant(token, audience="nowhere"), "target.unknown", 400, "invalid_target")


@rule("R6749-2.3-01", "C2")
def test_a_second_way_beside_the_token_is_refused(scene):
    reader = scene.server.add_agent("reader")
    form = {"grant_type": names.JWT_BEARER, "assertion": scene.make(), "scope": "read:data"}
    both = scene.server.post(form, reader.basic)
    assert_refused(scene.server, both, "client.several_methods", 400, "invalid_request")
    proof = {"client_assertion": scene.make(), "client_assertion_type": names.ASSERTION_TYPE_JWT}
    assert_refused(scene.server, scene.server.post({**form, **proof}), "client.several_methods", 400, "invalid_request")


def test_the_grant_without_its_assertion_is_refused(scene):
    form = {"grant_type": names.JWT_BEARER, "scope": "read:data"}
    answer = scene.server.post(form)
    assert_refused(scene.server, answer, "grant.assertion_missing", 400, "invalid_request")


def test_an_assertion_of_another_grant_is_not_looked_at(scene):
    reader = scene.server.add_agent("reader")
    form = {"grant_type": "client_credentials", "scope": "read:data", "assertion": scene.make()}
    assert scene.server.post(form, reader.basic).status == 200


def test_our_own_token_is_no_credential(scene):
    access = scene.grant(scene.make()).json["access_token"]
    scene.check_grant_refused(access, "jws.typ")


@rule("SPIFFE-01")
def test_a_jwt_svid_logs_in_again_and_again_and_needs_neither_iss_nor_jti(scene):
    scene.add_agent("svid", "domain", {"sub": f"{DOMAIN}/ns/prod/*"}, preset="spiffe")
    token = scene.make(OTHER_KEY, iss=..., jti=..., sub=f"{DOMAIN}/ns/prod/sa/a")
    assert [scene.login(token, names.ASSERTION_TYPE_SPIFFE).status for _ in range(2)] == [200, 200]
    assert scene.grant(token).status == 200
    foreign = scene.make(OTHER_KEY, iss="https://anything.example", sub=f"{DOMAIN}/ns/prod/sa/a")
    assert scene.login(foreign, names.ASSERTION_TYPE_SPIFFE).status == 200


@rule("SPIFFE-02", "F13")
@pytest.mark.parametrize(
    "subject",
    [
        "spiffe://example.org.evil/ns/prod/a",
        "spiffe://Example.org/ns/prod/a",
        "spiffe://example.org/ns/prod/../a",
        "spiffe://example.org/ns/prod/a?x",
        "spiffe://example.org:443/ns/prod/a",
        "spiffe://evil/spiffe://example.org/ns/prod/a",
        SUBJECT,
    ],
)
def test_a_jwt_svid_of_another_trust_domain_or_of_no_id_is_refused(scene, subject):
    scene.add_agent("svid", "domain", {"sub": f"{DOMAIN}/ns/prod/*"}, preset="spiffe")
    answer = scene.login(scene.make(OTHER_KEY, iss=..., sub=subject), names.ASSERTION_TYPE_SPIFFE)
    assert_refused(scene.server, answer, "federated.issuer", 401, "invalid_client")


@rule("SPIFFE-02")
def test_an_issuer_cannot_sign_for_a_trust_domain_nor_the_other_way_round(scene):
    scene.add_agent("svid", "domain", {"sub": f"{DOMAIN}/a"}, preset="spiffe")
    by_issuer = scene.login(scene.make(KEY, sub=f"{DOMAIN}/a"), names.ASSERTION_TYPE_SPIFFE)
    assert_refused(scene.server, by_issuer, "federated.key", 401, "invalid_client")
    as_oidc = scene.login(scene.make(OTHER_KEY, iss=DOMAIN, sub=f"{DOMAIN}/a"))
    assert as_oidc.status in {200, 401}
    answer = scene.login(scene.make(), names.ASSERTION_TYPE_SPIFFE)
    assert_refused(scene.server, answer, "federated.issuer", 401, "invalid_client")


@rule("DR-16")
def test_until_the_signature_is_verified_all_refusals_look_alike(scene):
    answers = [
        scene.grant(token)
        for token in (
            "a.b.c",
            scene.make(iss="https://no.example"),
            scene.make(OTHER_KEY),
            scene.make(header={"kid": "x"}),
        )
    ]
    assert len({answer.json["error_description"] for answer in answers}) == 1


def test_no_token_stands_in_the_trail(scene):
    token = scene.make()
    scene.grant(token)
    scene.grant(token[:-4] + "AAAA")
    assert all(token[:60] not in json.dumps(event) for event in scene.server.events())


@rule("MCPWIF-01")
def test_the_metadata_names_the_grant_and_the_methods_only_while_somebody_is_trusted():
    server = InProcessServer()
    path = names.PATH_AS_METADATA

    def told() -> tuple[list[str], set[str]]:
        document = server.ask("GET", path).json
        return document["grant_types_supported"], set(document["token_endpoint_auth_methods_supported"])

    grants, methods = told()
    assert names.JWT_BEARER not in grants
    assert not {"none", "federated", "spiffe_jwt"} & methods
    server.commit(Create(TrustedIssuer(name="c", issuer=CLUSTER, created_at=server.clock(), jwks_uri=f"{CLUSTER}/k")))
    grants, methods = told()
    assert names.JWT_BEARER in grants
    assert "none" in methods
    assert "spiffe_jwt" not in methods
    server.commit(Create(TrustedIssuer(name="d", issuer=DOMAIN, created_at=server.clock(), jwks_uri=f"{CLUSTER}/k")))
    assert "spiffe_jwt" in told()[1]


def test_where_the_keys_cannot_be_had_the_answer_is_503(scene):
    record = TrustedIssuer(name="far", issuer="https://far.example", created_at=scene.server.clock())
    scene.server.commit(Create(record))
    scene.add_agent("far", "far", {"sub": SUBJECT})
    answer = scene.grant(scene.make(iss="https://far.example"))
    assert (answer.status, answer.json["error"]) == (503, "temporarily_unavailable")
    assert scene.server.last_event()["reason"] == "keys.not_served"
    assert scene.server.last_event()["outcome"] == "failed"


def _credential(scene: Scene, client_id: str) -> str:
    credentials = scene.server.run(scene.server.store.credentials(client_id)) or ()
    return next(one.id for one in credentials if one.kind is CredentialKind.FEDERATED)
