"""The verifier: every token that is not exactly right is refused; a right one says who calls."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from datetime import timedelta

import pytest

from tests import rule
from tests.forks import is_right_in_a_child, needs_fork
from tests.resource.issuers import AUDIENCE, ISSUER, JWKS_URI, KEY, Issuer, bearer
from watchword.errors import BadSettings, InsufficientScope, InvalidToken, OAuthError, VerifierUnavailable
from watchword.ports.http import TransportError
from watchword.protocol.access_token import build_claims, build_header
from watchword.protocol.confirmation import Confirmation, build_cnf
from watchword.protocol.jose import MAX_TOKEN_SIZE, generate_private_key
from watchword.protocol.kept_keys import COOL_DOWN
from watchword.testing import forge

LEEWAY = timedelta(seconds=30)
THUMBPRINT = str(KEY.public_jwk["kid"])


@pytest.fixture
def issuer():
    return Issuer()


@pytest.fixture
def verifier(issuer):
    return issuer.verifier()


def reason_of(verifier, token, scopes=()) -> str:
    with pytest.raises((OAuthError, VerifierUnavailable)) as caught:
        verifier.verify_token_sync(token, scopes)
    return caught.value.reason


# the right one


@pytest.mark.parametrize("scopes", [(), "read:data", ["read:data"], iter(["read:data"])])
def test_a_good_token_says_who_calls(issuer, verifier, scopes):
    caller = asyncio.run(verifier.verify(bearer(issuer.token()), scopes=scopes))
    assert caller.client_id == "reader-1"


@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "Ed25519", "PS256", "RS256"])
def test_every_algorithm_is_served_by_default(algorithm):
    issuer = Issuer(key=generate_private_key(algorithm))
    assert issuer.verifier().verify_token_sync(issuer.token()).client_id == "reader-1"


@rule("R7519-4-03")
@pytest.mark.parametrize("audience", [AUDIENCE, [AUDIENCE], ["other", AUDIENCE]])
def test_the_audience_is_a_string_or_one_of_several(issuer, verifier, audience):
    assert verifier.verify_token_sync(issuer.token(aud=audience)).client_id == "reader-1"


@rule("R7519-5-01", "TRAP-12", "R9068-4-01")
@pytest.mark.parametrize("typ", ["at+jwt", "AT+JWT", "application/at+jwt", "APPLICATION/At+Jwt"])
def test_the_type_is_a_media_type(issuer, verifier, typ):
    assert verifier.verify_token_sync(issuer.token(header={"typ": typ})).client_id == "reader-1"


def test_sync_and_async_decide_alike(issuer, verifier):
    token = issuer.token()
    assert verifier.verify_sync(bearer(token)) == asyncio.run(verifier.verify_token(token))


# V1: everything that is forged

HEADER = build_header(algorithm="ES256", kid=THUMBPRINT)
FORGERIES = list(
    forge.all_forgeries(
        KEY,
        HEADER,
        build_claims(
            issuer=ISSUER,
            client_id="reader-1",
            audience=AUDIENCE,
            scopes=("read:data",),
            issued_at=Issuer().clock(),
            expires_at=Issuer().clock() + timedelta(seconds=600),
            jti="jti-1",
        ),
        allowed=frozenset({"at+jwt"}),
    )
)


@rule("V1", "V3", "R9068-4-01", "R8725-3.12-01", "R8725-3.1-03", "KF-1", "KF-2", "TRAP-16")
@pytest.mark.parametrize("forgery", FORGERIES, ids=str)
def test_a_forged_token_is_refused(issuer, verifier, forgery):
    reason = "jws.size" if len(forgery.token) > MAX_TOKEN_SIZE else forgery.reason
    assert reason_of(verifier, forgery.token) == reason
    assert verifier.verify_token_sync(issuer.token()).client_id == "reader-1"


@rule("KF-22")
def test_no_character_of_a_token_can_be_changed(issuer):
    verifier = issuer.verifier()
    token = issuer.token()
    verifier.verify_token_sync(token)
    for altered in forge.flip_bits(token):
        with pytest.raises(InvalidToken):
            verifier.verify_token_sync(altered)


@rule("R7515-4-03", "KF-13", "J4")
def test_a_key_that_comes_with_the_token_is_not_asked_for(issuer, verifier):
    verifier.verify_token_sync(issuer.token())
    fetched = len(issuer.fetches)
    assert reason_of(verifier, issuer.token(header={"jku": "https://attacker.example/jwks"})) == "jws.key_in_header"
    assert len(issuer.fetches) == fetched


# V2: what is properly signed and not for here


@rule("V2", "R8725-3.9-01", "MCP-02", "TRAP-20", "KF-20", "S6")
@pytest.mark.parametrize(
    "audience",
    ["", "my-ap", "my-api2", "MY-API", "my-api ", [], [""], ["other"], 7, None, {"my-api": 1}, [AUDIENCE, None]],
)
def test_a_token_for_another_audience_is_refused(issuer, verifier, audience):
    assert reason_of(verifier, issuer.token(aud=audience)) == "token.audience"


@rule("V2", "KF-21", "R8725-3.8-01")
@pytest.mark.parametrize(
    "claimed", [ISSUER + "/", ISSUER[:-1], "http" + ISSUER[5:], ISSUER.upper(), [ISSUER], None, ISSUER + ":443"]
)
def test_a_token_of_another_issuer_is_refused(issuer, verifier, claimed):
    assert reason_of(verifier, issuer.token(iss=claimed)) == "token.issuer"


@rule("V2", "R9068-4-01")
@pytest.mark.parametrize("name", ["iss", "sub", "client_id", "aud", "iat", "exp", "jti"])
def test_a_token_without_a_required_claim_is_refused(issuer, verifier, name):
    assert reason_of(verifier, issuer.token(drop=name)) in {"token.claims", "token.issuer", "token.audience"}


@rule("V2", "R7519-4-02")
@pytest.mark.parametrize("value", forge.BAD_DATES.values(), ids=forge.BAD_DATES)
@pytest.mark.parametrize("name", ["exp", "iat", "nbf"])
def test_a_date_that_is_none_is_refused(issuer, verifier, name, value):
    claims = {
        "iss": ISSUER,
        "sub": "a",
        "client_id": "a",
        "aud": AUDIENCE,
        "jti": "j",
        "iat": 1,
        "exp": 2**33,
        name: "@",
    }
    token = forge.sign_raw(KEY, json.dumps(HEADER).encode(), forge.with_raw_member(claims, name, value))
    assert reason_of(verifier, token) in {"token.claims", "jws.claims"}


@rule("V2", "R7519-4-01")
def test_a_token_ends_with_its_leeway(issuer, verifier):
    token = issuer.token(lifetime=timedelta(seconds=600))
    issuer.clock.advance(timedelta(seconds=600) + LEEWAY - timedelta(microseconds=1))
    assert verifier.verify_token_sync(token).client_id == "reader-1"
    issuer.clock.advance(timedelta(microseconds=1))
    assert reason_of(verifier, token) == "token.expired"
    assert reason_of(issuer.verifier(), token) == "token.expired"


@rule("V2", "R7519-4-01")
@pytest.mark.parametrize("name", ["nbf", "iat"])
def test_a_token_begins_with_its_leeway(issuer, verifier, name):
    starts = int((issuer.clock() + LEEWAY).timestamp())
    assert verifier.verify_token_sync(issuer.token(**{name: starts})).client_id == "reader-1"
    assert reason_of(verifier, issuer.token(**{name: starts + 1})) == "token.not_yet_valid"


def test_no_leeway_is_a_choice(issuer):
    strict = issuer.verifier(leeway=timedelta(0))
    token = issuer.token(lifetime=timedelta(seconds=1))
    strict.verify_token_sync(token)
    issuer.clock.advance(timedelta(seconds=1))
    assert reason_of(strict, token) == "token.expired"


@rule("V2", "MCP-03")
def test_a_missing_scope_is_refused_with_all_that_are_needed(issuer, verifier):
    with pytest.raises(InsufficientScope) as caught:
        verifier.verify_token_sync(issuer.token(), ("read:data", "write:data"))
    assert caught.value.scope == ("read:data", "write:data")


@rule("TRAP-21", "R9449-7.2-01", "R9449-10-01")
@pytest.mark.parametrize(
    "cnf",
    [
        build_cnf(Confirmation(jkt=THUMBPRINT)),
        build_cnf(Confirmation(x5t_s256=THUMBPRINT)),
        build_cnf(Confirmation(jkt=THUMBPRINT, x5t_s256=THUMBPRINT)),
        {"jkt": THUMBPRINT, "kid": "x"},
        {"jwk": {}},
        {},
        [],
        None,
        "",
        False,
    ],
)
def test_a_bound_token_is_refused_where_possession_cannot_be_proved(issuer, verifier, cnf):
    token = issuer.token(cnf=cnf)
    assert reason_of(verifier, token) == "token.confirmation"
    assert reason_of(verifier, token) == "token.confirmation"


# keys


@rule("R8725-3.1-01")
def test_an_algorithm_outside_the_list_is_refused_before_anything_is_fetched(issuer):
    assert reason_of(issuer.verifier(algorithms=("RS256",)), issuer.token()) == "jws.algorithm"
    assert issuer.fetches == []


@rule("R8725-3.1-02")
def test_a_key_verifies_only_its_own_algorithm(issuer):
    rsa = generate_private_key("RS256")
    issuer.published.append(rsa.public_jwk)
    ps256 = issuer.token(header={"alg": "PS256", "kid": str(rsa.public_jwk["kid"])})
    assert reason_of(issuer.verifier(), ps256) == "token.unknown_key"


@rule("R8725-3.8-01", "TRAP-14")
def test_another_issuers_key_under_the_same_kid_is_no_key_of_ours(issuer, verifier):
    other = Issuer(issuer.clock, url="https://other.example.com", key=generate_private_key("ES256"))
    other.verifier().verify_token_sync(other.token())
    forged = issuer.token(key=other.signing_key, kid=THUMBPRINT)
    assert reason_of(verifier, forged) == "jws.signature"


@rule("R8725-3.10-01", "KF-39")
@pytest.mark.parametrize(
    "kid", ["../../dev/null", "' OR 1=1--", "k" * 4000, "a\x00b", "http://169.254.169.254/", "*", "é", " "]
)
def test_a_kid_is_a_name_and_nothing_else(issuer, verifier, kid):
    assert reason_of(verifier, issuer.token(kid=kid)) == "token.unknown_key"
    assert set(issuer.fetches) <= {JWKS_URI, f"{ISSUER}/.well-known/oauth-authorization-server"}


def test_a_token_that_names_no_key_costs_no_fetch(issuer, verifier):
    assert reason_of(verifier, issuer.token(header={"kid": ""})) == "token.kid"
    assert issuer.fetches == []


@rule("KF-37", "K12")
def test_random_kids_cost_one_fetch_per_cool_down(issuer, verifier):
    tokens = [issuer.token(kid=f"random-{number}") for number in range(50)]
    for token in tokens * 200:
        assert reason_of(verifier, token) == "token.unknown_key"
    assert issuer.jwks_fetches == 1
    issuer.clock.advance(COOL_DOWN)
    for token in tokens:
        assert reason_of(verifier, token) == "token.unknown_key"
    assert issuer.jwks_fetches == 2


@rule("V6")
def test_without_keys_nothing_is_decided(issuer, verifier):
    issuer.fail(TransportError("http.connect"))
    assert reason_of(verifier, issuer.token()) == "http.connect"
    assert verifier.keys_status().failure == "http.connect"


@rule("FI-9")
def test_a_rotation_refuses_no_good_token(issuer, verifier):
    old = issuer.token()
    verifier.verify_token_sync(old)
    issuer.rotate(keep=True)
    assert verifier.verify_token_sync(issuer.token()).client_id == "reader-1"
    assert verifier.verify_token_sync(old).client_id == "reader-1"


# remembered tokens


def refetch(issuer, verifier) -> None:
    """Let the set grow stale, and the next one land."""
    issuer.clock.advance(timedelta(seconds=300))
    keys = verifier._keys
    keys.current(issuer.clock())
    if (flight := keys._flight) is not None:
        flight.result(10)


def is_remembered(verifier, token) -> bool:
    return verifier._verified.get(verifier._verified.digest(token)) is not None


def test_a_token_is_verified_once(issuer, verifier, monkeypatch):
    token = issuer.token()
    first = verifier.verify_token_sync(token)
    monkeypatch.setattr("watchword.resource.verifier.parse_access_token", None)
    assert verifier.verify_token_sync(token) is first
    assert asyncio.run(verifier.verify_token(token)) is first


def test_a_refused_token_is_not_remembered(issuer, verifier):
    token = issuer.token(aud="other")
    reason_of(verifier, token)
    assert not is_remembered(verifier, token)


OFTEN = pytest.mark.parametrize("uses", [1, 2, 3])
"""What is looked at again differs from use to use; what is decided must not."""


def use(verifier, token, times):
    for _ in range(times):
        verifier.verify_token_sync(token)


@rule("V2")
@OFTEN
def test_an_expired_token_is_never_returned_from_memory(issuer, verifier, uses):
    token = issuer.token(lifetime=timedelta(seconds=10))
    use(verifier, token, uses)
    issuer.clock.advance(timedelta(seconds=40))
    assert reason_of(verifier, token) == "token.expired"
    assert not is_remembered(verifier, token)


@OFTEN
def test_remembered_tokens_alone_have_stale_keys_fetched_again(issuer, verifier, uses):
    token = issuer.token()
    use(verifier, token, uses)
    while issuer.arrived.acquire(blocking=False):
        pass
    issuer.clock.advance(timedelta(seconds=299))
    use(verifier, token, 1)
    assert verifier._keys._flight is None
    issuer.clock.advance(timedelta(seconds=1))
    use(verifier, token, 1)
    assert issuer.arrived.acquire(timeout=10)


@OFTEN
def test_a_clock_put_back_makes_a_remembered_token_one_of_the_future(issuer, verifier, uses):
    token = issuer.token()
    use(verifier, token, uses)
    issuer.clock.advance(timedelta(seconds=-31))
    assert reason_of(verifier, token) == "token.not_yet_valid"


@rule("K2")
@OFTEN
def test_a_remembered_token_falls_with_its_key(issuer, verifier, uses):
    token = issuer.token()
    use(verifier, token, uses)
    issuer.rotate()
    refetch(issuer, verifier)
    assert reason_of(verifier, token) == "token.unknown_key"
    assert not is_remembered(verifier, token)


@OFTEN
def test_a_remembered_token_falls_when_its_kid_names_another_key(issuer, verifier, uses):
    token = issuer.token()
    use(verifier, token, uses)
    issuer.published = [{**generate_private_key("ES256").public_jwk, "kid": THUMBPRINT}]
    refetch(issuer, verifier)
    assert reason_of(verifier, token) == "jws.signature"


def test_a_remembered_token_stays_when_its_key_does(issuer, verifier, monkeypatch):
    token = issuer.token()
    first = verifier.verify_token_sync(token)
    refetch(issuer, verifier)
    monkeypatch.setattr("watchword.resource.verifier.parse_access_token", None)
    assert verifier.verify_token_sync(token) is first
    assert verifier.verify_token_sync(token) is first


@rule("KF-72", "K13")
def test_a_remembered_token_is_worth_nothing_when_the_keys_are_too_old(issuer):
    verifier = issuer.verifier(max_stale=timedelta(minutes=5))
    token = issuer.token()
    verifier.verify_token_sync(token)
    issuer.fail(500)
    issuer.clock.advance(timedelta(minutes=5))
    assert reason_of(verifier, token) == "keys.status"


@rule("KF-72")
def test_policy_is_applied_to_a_remembered_token_every_time(issuer, verifier):
    token = issuer.token()
    verifier.verify_token_sync(token, "read:data")
    assert reason_of(verifier, token, "write:data") == "caller.scope"
    assert verifier.verify_token_sync(token, "read:data").client_id == "reader-1"


@rule("KF-72")
def test_two_verifiers_share_no_memory(issuer, verifier):
    token = issuer.token()
    verifier.verify_token_sync(token)
    other = issuer.verifier(audience="other-api")
    assert other._verified.digest(token) != verifier._verified.digest(token)
    assert reason_of(other, token) == "token.audience"


@rule("KF-80")
def test_only_allowed_clients_are_let_in(issuer):
    verifier = issuer.verifier(allowed_clients={"writer-1"})
    for _ in range(2):
        assert reason_of(verifier, issuer.token()) == "caller.client"
    assert verifier.verify_token_sync(issuer.token(client_id="writer-1")).client_id == "writer-1"


@rule("KF-80")
@pytest.mark.parametrize("client_id", ["WRITER-1", "writer-1 ", "writer", "writer-10"])
def test_clients_are_compared_exactly(issuer, client_id):
    assert (
        reason_of(issuer.verifier(allowed_clients=["writer-1"]), issuer.token(client_id=client_id)) == "caller.client"
    )


# settings


@rule("TRAP-20", "KF-80")
@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"audience": ""}, "verifier.audience"),
        ({"audience": None}, "verifier.audience"),
        ({"audience": " "}, "verifier.audience"),
        ({"audience": ["my-api"]}, "verifier.audience"),
        ({"issuer": ""}, "verifier.issuer"),
        ({"issuer": None}, "verifier.issuer"),
        ({"issuer": "http://auth.example.com"}, "verifier.issuer"),
        ({"issuer": "https://auth.example.com/"}, "verifier.issuer"),
        ({"issuer": "auth.example.com"}, "verifier.issuer"),
        ({"algorithms": ()}, "verifier.algorithms"),
        ({"algorithms": "ES256"}, "verifier.algorithms"),
        ({"algorithms": ["ES256", "HS256"]}, "verifier.algorithms"),
        ({"algorithms": ["none"]}, "verifier.algorithms"),
        ({"leeway": timedelta(seconds=61)}, "verifier.leeway"),
        ({"leeway": 30}, "verifier.leeway"),
        ({"leeway": timedelta(seconds=-1)}, "verifier.leeway"),
        ({"allowed_clients": ()}, "verifier.allowed_clients"),
        ({"allowed_clients": "reader-1"}, "verifier.allowed_clients"),
        ({"allowed_clients": [""]}, "verifier.allowed_clients"),
        ({"max_stale": timedelta(0)}, "verifier.max_stale"),
        ({"max_stale": timedelta(days=2)}, "verifier.max_stale"),
        ({"cached_tokens": -1}, "verifier.cached_tokens"),
        ({"jwks_uri": "file:///etc/jwks.json"}, "verifier.jwks_uri"),
        ({"jwks_uri": "data:application/json,{}"}, "verifier.jwks_uri"),
        ({"jwks_uri": "ftp://auth.example.com/jwks"}, "verifier.jwks_uri"),
        ({"jwks_uri": "http://auth.example.com/jwks"}, "verifier.jwks_uri"),
    ],
)
@rule("KF-36")
def test_a_setting_that_would_let_too_much_in_is_refused(issuer, settings, reason):
    with pytest.raises(BadSettings) as caught:
        issuer.verifier(**settings)
    assert caught.value.reason == reason


def test_the_audience_has_no_default():
    with pytest.raises(TypeError):
        Issuer().verifier().__class__(issuer=ISSUER)


@pytest.mark.parametrize(
    "settings",
    [
        {"leeway": timedelta(seconds=60)},
        {"jwks_uri": "http://127.0.0.1:8020/jwks"},
        {"issuer": "http://localhost:8020"},
    ],
)
def test_settings_at_the_edge_are_taken(issuer, settings):
    issuer.verifier(**settings)


# many at once


@rule("V4")
def test_a_thousand_first_requests_of_one_loop_make_one_fetch(issuer, verifier):
    tokens = [issuer.token(jti=str(number)) for number in range(100)]

    async def all_at_once():
        return await asyncio.gather(*(verifier.verify_token(token) for token in tokens * 10))

    assert {caller.client_id for caller in asyncio.run(all_at_once())} == {"reader-1"}
    assert issuer.jwks_fetches == 1


@rule("Q8", "O15")
@needs_fork
def test_a_forked_child_verifies_whatever_its_parents_threads_were_doing(issuer, verifier):
    seen = issuer.token()
    verifier.verify_token_sync(seen)

    def check():
        issuer.clock.advance(timedelta(minutes=6))  # the keys are stale: they have to be fetched
        return {verifier.verify_token_sync(token).client_id for token in (seen, issuer.token())} == {"reader-1"}

    assert is_right_in_a_child(check, held=(verifier._verified._lock, verifier._keys._lock))


def test_threads_and_loops_share_a_verifier(issuer, verifier):
    barrier = threading.Barrier(16)
    tokens = [issuer.token(jti=str(number), client_id=f"client-{number}") for number in range(16)]
    wrong = []

    def work(number):
        barrier.wait(10)
        for _ in range(20):
            caller = (
                asyncio.run(verifier.verify_token(tokens[number]))
                if number % 2
                else verifier.verify_token_sync(tokens[number])
            )
            if caller.client_id != f"client-{number}":
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert wrong == []
    assert issuer.jwks_fetches == 1


@rule("KF-32")
def test_a_huge_token_costs_next_to_nothing(verifier):
    begun = time.perf_counter()
    assert reason_of(verifier, "." * 10_000_000) == "jws.size"
    assert time.perf_counter() - begun < 0.1
