import hashlib
from datetime import UTC, datetime, timedelta

import pytest

from tests import rule
from tests.vectors import ecdsa_key, key_for, load
from watchword.errors import InvalidDpopProof, InvalidToken
from watchword.protocol import names
from watchword.protocol.access_token import build_claims, build_header, parse_access_token
from watchword.protocol.dpop import MAX_JTI, PROOF_ALGORITHMS, Proof, build_proof, check_proof, token_hash
from watchword.protocol.jose import b64url_encode, thumbprint
from watchword.testing import forge

URL = "https://auth.example/oauth/token"
NOW = datetime(2026, 11, 24, 12, 0, tzinfo=UTC)
SECOND = timedelta(seconds=1)
KEY = key_for("ES256")
JWK = {name: text for name, text in KEY.public_jwk.items() if name in ("kty", "crv", "x", "y")}
HEADER = {"typ": "dpop+jwt", "alg": "ES256", "jwk": JWK}
CLAIMS = {"jti": "aZ3_-9", "htm": "POST", "htu": URL, "iat": int(NOW.timestamp())}
TOKEN = "Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU"


def check(
    proof: str,
    *,
    now: datetime = NOW,
    urls: tuple[str, ...] = (URL,),
    token: str | None = None,
    algorithms: frozenset[str] = PROOF_ALGORITHMS,
) -> Proof:
    return check_proof(proof, method="POST", urls=urls, now=now, token=token, algorithms=algorithms)


def refusal(proof: str, **changes: object) -> str:
    with pytest.raises(InvalidDpopProof) as caught:
        check(proof, **changes)  # type: ignore[arg-type]  # each test names what it changes
    return caught.value.reason


def signed(header: dict[str, object] | None = None, **claims: object) -> str:
    return forge.sign(KEY, {**HEADER, **(header or {})}, {**CLAIMS, **claims})


def without(member: str) -> str:
    header = {name: value for name, value in HEADER.items() if name != member}
    return forge.sign(KEY, header, {name: value for name, value in CLAIMS.items() if name != member})


@rule("R9449-4.3-02", "R9449-5-01", "R9449-7.1-01")
@pytest.mark.parametrize("name", ["token_request", "resource_request"])
def test_the_proofs_of_rfc_9449_are_good(name: str) -> None:
    vectors = load("rfc9449")
    vector = vectors[name]
    now = datetime.fromtimestamp(vector["iat"], UTC)
    found = check_proof(
        vector["proof"], method=vector["method"], urls=(vector["url"],), now=now, token=vector.get("token")
    )
    assert found == Proof(
        jkt=vectors["jkt"],
        jti=vector["jti"],
        issued_at=now,
        since=now - SECOND * 30,
        until=now + SECOND * 60,
        nonce=None,
    )


@rule("R9449-7.1-01", "TRAP-03")
def test_the_token_hash_is_that_of_rfc_9449() -> None:
    vector = load("rfc9449")["resource_request"]
    assert token_hash(vector["token"]) == vector["ath"]


@rule("R9449-4.3-02", "R9449-5-01")
@pytest.mark.parametrize("algorithm", sorted(PROOF_ALGORITHMS))
def test_what_is_built_is_accepted_under_every_algorithm(algorithm: str) -> None:
    key = key_for(algorithm)
    proof = build_proof(
        key, method="POST", url=f"{URL}?a=b#c", jti="j", issued_at=NOW, token=TOKEN, nonce="eyJ7S_zG.eyJH0-Z"
    )
    found = check(proof, token=TOKEN)
    assert (found.jkt, found.jti, found.nonce) == (thumbprint(dict(key.public_jwk)), "j", "eyJ7S_zG.eyJH0-Z")


def test_a_proof_has_nothing_of_the_key_but_its_public_members() -> None:
    import jwt

    proof = build_proof(KEY, method="GET", url=URL, jti="j", issued_at=NOW)
    assert jwt.get_unverified_header(proof) == HEADER
    claims = jwt.decode(proof, jwt.PyJWK(dict(KEY.public_jwk)).key, algorithms=["ES256"], options={"verify_iat": False})
    assert claims == {"jti": "j", "htm": "GET", "htu": URL, "iat": CLAIMS["iat"]}


@rule("D1", "R9449-4.3-02")
@pytest.mark.parametrize(
    ("member", "reason"),
    [
        ("typ", "dpop.typ"),
        ("alg", "dpop.algorithm"),
        ("jwk", "dpop.key"),
        ("jti", "dpop.claims"),
        ("htm", "dpop.claims"),
        ("htu", "dpop.claims"),
        ("iat", "dpop.claims"),
    ],
)
def test_a_proof_that_lacks_something_is_refused(member: str, reason: str) -> None:
    assert refusal(without(member)) == reason


@rule("D1", "R9449-4.3-04")
@pytest.mark.parametrize("name", ["jti", "htm", "htu", "nonce"])
@pytest.mark.parametrize("value", [1, True, [], {}, ["POST"]])
def test_a_claim_that_is_no_text_is_refused(name: str, value: object) -> None:
    assert refusal(signed(**{name: value})) == "dpop.claims"


@rule("D1", "R9449-4.3-04")
@pytest.mark.parametrize("iat", [*forge.BAD_DATES, "1795521600"])
def test_a_date_that_is_none_is_refused(iat: object) -> None:
    assert refusal(signed(iat=iat)) in {"dpop.claims", "dpop.from_future", "dpop.malformed"}


@rule("D1", "R9449-4.3-02", "R8725-3.12-01", "V3")
@pytest.mark.parametrize("typ", ["JWT", "at+jwt", "dpop", "dpop+jwtx", "client-authentication+jwt", "$pop+jwt", "", 1])
def test_a_proof_of_another_type_is_refused(typ: object) -> None:
    assert refusal(signed({"typ": typ})) == "dpop.typ"


@rule("R8725-3.12-01", "V3", "D1")
def test_an_access_token_is_no_proof_and_a_proof_no_access_token() -> None:
    header = build_header(algorithm="ES256", kid=KEY.kid)
    claims = build_claims(
        issuer="i", client_id="c", audience="a", scopes=(), issued_at=NOW, expires_at=NOW + SECOND, jti="j"
    )
    assert refusal(forge.sign(KEY, header, {**claims, **CLAIMS})) == "dpop.typ"
    assert refusal(forge.sign(KEY, {**HEADER, "typ": "at+jwt"}, CLAIMS)) == "dpop.typ"
    for proof, reason in (
        (signed(), "jws.key_in_header"),
        (signed({"typ": "at+jwt"}), "jws.key_in_header"),
        (forge.sign(KEY, {**header, "typ": "dpop+jwt"}, claims), "jws.typ"),
    ):
        with pytest.raises(InvalidToken) as caught:
            parse_access_token(proof)
        assert caught.value.reason == reason


@rule("D1", "R9449-4.3-02")
@pytest.mark.parametrize("algorithm", ["RS256", "HS256", "none", "ES512", "RSA-OAEP"])
def test_another_algorithm_is_refused(algorithm: str) -> None:
    key = key_for("RS256") if algorithm == "RS256" else KEY
    jwk = {name: text for name, text in key.public_jwk.items() if name in ("kty", "crv", "x", "y", "n", "e")}
    proof = forge.sign(key, {"typ": "dpop+jwt", "alg": algorithm, "jwk": jwk}, CLAIMS)
    assert refusal(proof) == "dpop.algorithm"


@rule("R9449-4.3-02")
def test_the_old_name_of_ed25519_is_accepted_where_the_list_has_it() -> None:
    key = key_for("Ed25519")
    jwk = {name: text for name, text in key.public_jwk.items() if name in ("kty", "crv", "x")}
    proof = forge.sign(key, {"typ": "dpop+jwt", "alg": "EdDSA", "jwk": jwk}, CLAIMS)
    assert refusal(proof) == "dpop.algorithm"
    assert check(proof, algorithms=PROOF_ALGORITHMS | {"EdDSA"}).jkt == key.kid


@rule("D1", "KF-1", "KF-13")
def test_every_forgery_is_no_proof() -> None:
    found = {
        forgery.name: refusal(forgery.token)
        for forgery in forge.all_forgeries(KEY, HEADER, CLAIMS, allowed=frozenset({"dpop+jwt"}))
        if not forgery.name.startswith("header with its own key")  # that is what a proof is
    }
    assert set(found.values()) <= {
        "dpop.algorithm",
        "dpop.claims",
        "dpop.key",
        "dpop.malformed",
        "dpop.signature",
        "dpop.size",
        "dpop.typ",
    }
    assert len(found) > 200
    assert check(signed()).jti == "aZ3_-9"


@rule("D1", "R9449-4.3-02")
def test_a_proof_that_another_key_signed_is_refused() -> None:
    other = ecdsa_key(7, "ES256")
    assert refusal(forge.sign(other, HEADER, CLAIMS)) == "dpop.signature"


@rule("D37", "D1", "R9449-4.3-02", "R7515-4-03")
@pytest.mark.parametrize(
    ("jwk", "reason"),
    [
        ({**JWK, "d": "AQ"}, "dpop.key"),
        ({"kty": "oct", "k": "c2VjcmV0"}, "dpop.key"),
        ({**JWK, "kty": "oct", "k": "c2VjcmV0"}, "dpop.key"),
        ({**JWK, "y": JWK["x"]}, "dpop.key"),
        ({**JWK, "y": JWK["y"][:-4]}, "dpop.key"),
        ({**JWK, "crv": "P-384"}, "dpop.key"),
        ({**JWK, "crv": "secp256k1"}, "dpop.key"),
        ({**JWK, "use": "enc"}, "dpop.key"),
        ({**JWK, "alg": "ES384"}, "dpop.key"),
        ({**JWK, "x5c": ["MIIB"]}, "dpop.key"),
        ({**JWK, "x5u": "https://evil.example/"}, "dpop.key"),
        ({"kty": "RSA", "n": "A" * 5000, "e": "AQAB"}, "dpop.key"),
        ("jwk", "dpop.key"),
        (None, "dpop.key"),
        ([], "dpop.key"),
        ({}, "dpop.key"),
    ],
)
def test_a_key_that_is_not_a_plain_good_public_key_is_refused(jwk: object, reason: str) -> None:
    assert refusal(signed({"jwk": jwk})) == reason


@rule("D37")
def test_a_weak_or_huge_rsa_key_is_refused() -> None:
    weak = {"kty": "RSA", "n": b64url_encode(b"\xff" * 128).decode(), "e": "AQAB"}
    assert refusal(signed({"alg": "PS256", "jwk": weak})) == "dpop.key"
    huge = {"kty": "RSA", "n": "A" * 16_384, "e": "AQAB"}
    assert refusal(signed({"alg": "PS256", "jwk": huge})) == "dpop.size"


@rule("D37", "R7515-4-03", "TRAP-13")
@pytest.mark.parametrize(
    "extra", [{"x5c": ["MIIB"]}, {"jku": "https://e.example"}, {"x5u": "https://e.example"}, {"crit": ["x"], "x": 1}]
)
def test_a_key_from_elsewhere_or_a_critical_extension_is_refused(extra: dict[str, object]) -> None:
    assert refusal(signed(extra)) == "dpop.malformed"


@rule("R9449-5-01")
def test_what_the_key_calls_itself_is_not_its_thumbprint() -> None:
    named = signed({"jwk": {**JWK, "kid": "0ZcOCORZNYy-DWpqq30jZyJGHTN0d2HglBV3uiguA4I"}, "kid": "x"})
    assert check(named).jkt == KEY.kid


@rule("D1", "R9449-4.3-03", "D32", "D33")
@pytest.mark.parametrize("htm", ["PUT", "post", "Post", "POST ", "GET"])
def test_a_proof_for_another_method_is_refused(htm: str) -> None:
    assert refusal(signed(htm=htm)) == "dpop.method"


@rule("D1", "R9449-4.3-03", "TRAP-02")
@pytest.mark.parametrize(
    "htu",
    [
        URL,
        f"{URL}?scope=a&b=/../#fragment",
        "HTTPS://AUTH.example/oauth/token",
        "https://auth.example:443/oauth/token",
        "https://auth.example/oauth/%74oken",
        "https://auth.example/x/../oauth/./token",
    ],
)
def test_another_spelling_of_the_url_is_accepted(htu: str) -> None:
    assert check(signed(htu=htu)).jti == "aZ3_-9"


@rule("D1", "R9449-4.3-03", "TRAP-02", "D32", "D42")
@pytest.mark.parametrize(
    "htu",
    [
        "https://auth.example/oauth/introspect",
        "https://auth.example/oauth/token/",
        "https://auth.example/oauth%2Ftoken",
        "https://auth.example/OAuth/token",
        "https://auth.example:8443/oauth/token",
        "http://auth.example/oauth/token",
        "http://10.0.0.7:8020/oauth/token",
        "https://auth.example.evil/oauth/token",
        "https://x@auth.example/oauth/token",
        "/oauth/token",
        "oauth/token",
    ],
)
def test_a_proof_for_another_url_is_refused(htu: str) -> None:
    assert refusal(signed(htu=htu)) == "dpop.url"


@rule("R9449-4.3-03")
def test_an_endpoint_may_have_two_names() -> None:
    alias = "https://mtls.auth.example/oauth/token"
    assert check(signed(htu=alias), urls=(URL, alias)).jti == "aZ3_-9"
    assert refusal(signed(htu=alias)) == "dpop.url"
    assert refusal(signed(), urls=()) == "dpop.url"


@rule("D1", "R9449-4.3-04")
@pytest.mark.parametrize("seconds", [-60, -10, 0, 10, 30])
def test_a_proof_within_the_window_is_accepted(seconds: int) -> None:
    found = check(signed(iat=CLAIMS["iat"] + seconds))
    made = NOW + SECOND * seconds
    assert (found.issued_at, found.since, found.until) == (made, made - SECOND * 30, made + SECOND * 60)


@rule("D1", "D35", "R9449-4.3-04")
@pytest.mark.parametrize(
    ("seconds", "reason"),
    [(-61, "dpop.too_old"), (-3600, "dpop.too_old"), (31, "dpop.from_future"), (3600, "dpop.from_future")],
)
def test_a_proof_outside_the_window_is_refused(seconds: int, reason: str) -> None:
    with pytest.raises(InvalidDpopProof) as caught:
        check(signed(iat=CLAIMS["iat"] + seconds))
    assert (caught.value.reason, caught.value.facts["seconds"]) == (reason, str(abs(seconds)))


@rule("R9449-11.1-01", "D1")
def test_the_length_of_a_jti_is_bounded() -> None:
    assert check(signed(jti="j" * MAX_JTI)).jti == "j" * MAX_JTI
    assert refusal(signed(jti="j" * (MAX_JTI + 1))) == "dpop.jti"
    assert refusal(signed(jti="")) == "dpop.claims"


@rule("D41", "D1", "R9449-7.1-01", "TRAP-03")
@pytest.mark.parametrize(
    "ath",
    [
        None,
        "",
        1,
        token_hash("another"),
        token_hash(TOKEN)[:-1],
        token_hash(TOKEN) + "=",
        token_hash(TOKEN).replace("-", "+").replace("_", "/") + "=",
        token_hash(TOKEN).lower(),
        hashlib.sha256(TOKEN.encode()).hexdigest(),
        TOKEN,
    ],
)
def test_a_proof_for_another_token_is_refused(ath: object) -> None:
    extra = {} if ath is None else {"ath": ath}
    assert refusal(signed(**extra), token=TOKEN) == "dpop.ath"
    assert check(signed(ath=token_hash(TOKEN)), token=TOKEN).jti == "aZ3_-9"


@rule("D1")
def test_what_else_a_proof_says_is_not_looked_at() -> None:
    iat = int(NOW.timestamp())
    proof = signed({"extra": {"a": 1}}, nbf=iat, exp=iat + 300, sub="x", cnf={"jkt": "y"}, ath="of no token")
    assert check(proof) == check(signed())


@rule("D43")
@pytest.mark.parametrize("text", ["", "a", "a.b", "a.b.c", "..", "\u00e9.\u00e9.\u00e9", "a.b.c, a.b.c"])
def test_what_is_no_jwt_is_refused(text: str) -> None:
    assert refusal(text) == "dpop.malformed"


@rule("D43")
def test_a_proof_of_16_kib_is_refused() -> None:
    assert refusal(signed(extra="x" * 12_288)) == "dpop.size"


@rule("D1")
def test_after_all_that_a_good_proof_is_still_good() -> None:
    assert check(signed()) == Proof(
        jkt=KEY.kid, jti="aZ3_-9", issued_at=NOW, since=NOW - SECOND * 30, until=NOW + SECOND * 60, nonce=None
    )


def test_names_are_those_of_the_registry() -> None:
    assert (names.DPOP, names.TYP_DPOP_PROOF, names.DPOP_HEADER) == ("DPoP", "dpop+jwt", "dpop")
