"""DPoP in the client: proofs for the token endpoint and for APIs, nonces, keys. RFC 9449 §5, §7, §8, §9."""

from __future__ import annotations

import asyncio
import copy
import json
import pickle
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import httpx2
import jwt
import pytest

import watchword
from tests import rule
from tests.client.world import AT_ONCE, DOWN, AuthorizationServer, token_answer
from tests.forks import is_right_in_a_child, needs_fork
from tests.resource.test_guard import Application
from watchword.client.chain import default
from watchword.client.credentials import ClientSecretBasic
from watchword.client.dpop import MAX_ORIGINS, NonceBook
from watchword.client.dpop_key import DPoPKey
from watchword.client.errors import LoginMisconfigured, LoginRefused
from watchword.client.login import Login
from watchword.ports.http import HttpRequest, HttpResponse
from watchword.protocol.dpop import token_hash
from watchword.protocol.private_keys import generate_private_key
from watchword.resource import DpopRules as ResourceRules
from watchword.resource import Guard, Verifier
from watchword.server.possession.dpop import DpopRules
from watchword.testing.clock import FrozenClock
from watchword.testing.server import ISSUER, InProcessServer

API = "https://api.example"


class Wire:
    """A transport to a server in process; ``proofs`` are those it has been sent."""

    def __init__(self, server: InProcessServer) -> None:
        self.server = server
        self.proofs: list[str] = []

    def send(self, request: HttpRequest) -> HttpResponse:
        headers = list(request.headers.items())
        self.proofs += [value for name, value in headers if name == "dpop"]
        path = request.url.removeprefix(ISSUER)
        answer = self.server.ask(request.method, path, headers=headers, body=request.body)
        return HttpResponse(status=answer.status, headers=dict(answer.headers), body=answer.body)

    async def asend(self, request: HttpRequest) -> HttpResponse:
        return await asyncio.to_thread(self.send, request)


@dataclass
class Scene:
    """A server, a login with DPoP, and an API that takes its tokens."""

    server: InProcessServer
    wire: Wire
    login: Login
    verifier: Verifier

    def claims(self, index: int) -> dict[str, object]:
        return dict(jwt.decode(self.wire.proofs[index], options={"verify_signature": False}))


def build(*, dpop: bool | DPoPKey | None = True, api: ResourceRules | None = None, **rules: object) -> Scene:
    server = InProcessServer(dpop=DpopRules(**rules))  # type: ignore[arg-type]  # named as they are
    server.add_resource()
    agent = server.add_agent()
    wire = Wire(server)
    login = Login(
        issuer=ISSUER,
        client=ClientSecretBasic(agent.client_id, agent.secret),
        resource="my-api",
        scope="read:data",
        dpop=dpop,
        transport=wire,
        clock=server.clock,
        retry=AT_ONCE,
    )
    verifier = Verifier(
        issuer=ISSUER, audience="my-api", base_url=API, transport=wire, clock=server.clock, dpop=api or ResourceRules()
    )
    server.advance(120)
    return Scene(server, wire, login, verifier)


@pytest.fixture
def scene() -> Scene:
    return build()


def call(scene: Scene, method: str = "GET", *, guard: Guard | None = None) -> tuple[httpx2.Response, list[str]]:
    """Ask the API with the login's ``auth``; return the answer and the proofs that were sent."""
    sent: list[str] = []
    app = guard or Guard(Application(), scene.verifier)

    async def watched(scope, receive, send):  # type: ignore[no-untyped-def]  # an ASGI application
        sent.extend(value.decode() for name, value in scope["headers"] if name == b"dpop")
        await app(scope, receive, send)

    async def ask() -> httpx2.Response:
        transport = httpx2.ASGITransport(app=watched)
        async with httpx2.AsyncClient(transport=transport, auth=scene.login.auth(origins=[API])) as client:
            return await client.request(method, f"{API}/data?q=1")

    return asyncio.run(ask()), sent


@rule("R9449-5-01", "FAPI2-SDK-01")
def test_a_token_is_bound_to_the_key_of_the_login(scene: Scene) -> None:
    token = scene.login.token()
    assert scene.login.dpop_key is not None
    claims = jwt.decode(token, options={"verify_signature": False})
    assert claims["cnf"] == {"jkt": scene.login.dpop_key.jkt}
    assert scene.login.token() == token
    assert len(scene.wire.proofs) == 1
    assert scene.claims(0) == {
        "jti": scene.claims(0)["jti"],
        "htm": "POST",
        "htu": f"{ISSUER}/oauth/token",
        "iat": int(scene.server.clock().timestamp()),
    }


@rule("R9449-8.2-01", "Q7")
def test_a_server_that_demands_its_nonce_is_asked_once_more_with_a_new_proof() -> None:
    scene = build(demand_nonce=True)
    scene.login.token()
    assert [scene.claims(index).get("nonce") is not None for index in (0, 1)] == [False, True]
    assert scene.claims(0)["jti"] != scene.claims(1)["jti"]
    scene.login.invalidate(scene.login.token())
    scene.server.advance(1)
    scene.login.invalidate(scene.login.token())
    scene.login.token()
    assert len(scene.wire.proofs) == 4, "the nonce is known by now"
    assert scene.claims(3)["nonce"] != scene.claims(2)["nonce"], "the one of the last answer"


@rule("R9449-8.2-01")
def test_a_server_that_is_never_content_is_not_asked_for_ever() -> None:
    world = AuthorizationServer()
    refused = {"error": "use_dpop_nonce"}
    world.script.extend(
        HttpResponse(status=400, headers={"dpop-nonce": f"n{number}"}, body=json.dumps(refused).encode())
        for number in range(5)
    )
    login = plain_login(world)
    with pytest.raises(LoginRefused, match="use_dpop_nonce"):
        login.token()
    assert len(world.token_requests) == 2


def plain_login(world: AuthorizationServer, dpop: bool | DPoPKey = True) -> Login:
    return Login(
        issuer=world.issuer,
        client=ClientSecretBasic("reader", "hush"),
        dpop=dpop,
        transport=world,
        clock=FrozenClock(),
        retry=AT_ONCE,
    )


@rule("Q7")
def test_every_attempt_has_a_proof_of_its_own() -> None:
    world = AuthorizationServer()
    unavailable = HttpResponse(status=503, headers={}, body=b"")
    world.script.extend([DOWN, unavailable, token_answer("bound", token_type="DPoP")])
    assert plain_login(world).token() == "bound"
    proofs = [request.headers["dpop"] for request in world.token_requests]
    identifiers = {jwt.decode(proof, options={"verify_signature": False})["jti"] for proof in proofs}
    assert (len(proofs), len(identifiers)) == (3, 3)


@rule("D39", "R9449-7.2-01")
@pytest.mark.parametrize(("dpop", "answered", "works"), [
    (True, "DPoP", True),
    (True, "dPoP", True),
    (True, "Bearer", False),
    (True, "N_A", False),
    (False, "Bearer", True),
    (False, "DPoP", False),
])  # fmt: skip
def test_a_token_of_another_type_than_was_asked_for_is_not_used(dpop: bool, answered: str, works: bool) -> None:
    world = AuthorizationServer()
    world.script.append(token_answer("x", token_type=answered))
    login = plain_login(world, dpop)
    if works:
        assert login.token() == "x"
        return
    with pytest.raises(LoginMisconfigured) as caught:
        login.token()
    assert caught.value.reason == "response.token_type"


@rule("R9449-7.1-01", "Q7")
def test_every_request_to_an_api_has_a_proof_of_its_own(scene: Scene) -> None:
    for _ in range(3):
        answer, [proof] = call(scene)
        assert (answer.status_code, answer.text) == (200, scene.login.client_id)
        claims = jwt.decode(proof, options={"verify_signature": False})
        assert (claims["htm"], claims["htu"], claims["ath"]) == ("GET", f"{API}/data", token_hash(scene.login.token()))
    assert call(scene, "POST")[0].status_code == 200


@rule("R9449-8.2-01", "Q7", "D30")
def test_an_api_that_demands_its_nonce_gets_it_and_no_other() -> None:
    scene = build(demand_nonce=True, api=ResourceRules(demand_nonce=True))
    guard = Guard(Application(), scene.verifier)
    answer, proofs = call(scene, guard=guard)
    nonces = [jwt.decode(proof, options={"verify_signature": False}).get("nonce") for proof in proofs]
    assert (answer.status_code, len(proofs), nonces[0]) == (200, 2, None)
    assert nonces[1] != scene.claims(-1)["nonce"]
    assert len(call(scene, guard=guard)[1]) == 1, "the nonce is known by now"
    scene.server.advance(200)
    assert len(call(scene, guard=guard)[1]) == 1
    scene.server.advance(200)
    assert len(call(scene, guard=guard)[1]) == 1, "the last answer brought a newer one"


def test_after_a_start_of_the_api_the_nonce_it_gives_is_used(scene: Scene) -> None:
    scene.verifier = Verifier(
        issuer=ISSUER, audience="my-api", base_url=API, transport=scene.wire, clock=scene.server.clock
    )
    answer, proofs = call(scene)
    assert (answer.status_code, len(proofs)) == (200, 2)


@rule("Q4", "R9449-8.2-01")
def test_an_api_that_is_never_content_is_not_asked_for_ever(scene: Scene) -> None:
    asked = 0

    async def app(scope, receive, send):  # type: ignore[no-untyped-def]  # an ASGI application
        nonlocal asked
        asked += 1
        error = "use_dpop_nonce" if asked % 2 else "invalid_token"
        headers = [(b"www-authenticate", f'DPoP error="{error}"'.encode()), (b"dpop-nonce", f"n{asked}".encode())]
        await send({"type": "http.response.start", "status": 401, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    answer, proofs = call(scene, guard=app)  # type: ignore[arg-type]  # any application
    assert (answer.status_code, len(proofs)) == (401, 3)
    assert len(set(proofs)) == 3


def test_a_refused_proof_does_not_cost_a_token(scene: Scene) -> None:
    token = scene.login.token()
    other = Verifier(
        issuer=ISSUER,
        audience="my-api",
        base_url="https://other.example",
        transport=scene.wire,
        clock=scene.server.clock,
    )
    answer, proofs = call(scene, guard=Guard(Application(), other))
    assert (answer.status_code, len(proofs)) == (401, 1)
    assert scene.login.token() == token


def test_headers_are_for_a_client_library_of_ones_own(scene: Scene) -> None:
    url = f"{API}/data"
    headers = scene.login.headers("GET", url)
    assert headers["authorization"] == f"DPoP {scene.login.token()}"
    assert asyncio.run(scene.login.aheaders("GET", url))["dpop"] != headers["dpop"]
    challenge = {"www-authenticate": 'Bearer, DPoP error="use_dpop_nonce"', "dpop-nonce": "abc"}
    assert scene.login.heed(url, 401, challenge)
    proof = scene.login.headers("GET", f"{url}/other")["dpop"]
    assert jwt.decode(proof, options={"verify_signature": False})["nonce"] == "abc"
    other = scene.login.headers("GET", "https://other.example/")["dpop"]
    assert "nonce" not in jwt.decode(other, options={"verify_signature": False})
    assert not scene.login.heed(url, 200, {"dpop-nonce": "later"})
    for status, said in (
        (401, "DPoP"),
        (401, 'DPoP error="invalid_token"'),
        (403, 'DPoP error="use_dpop_nonce"'),
        (401, "="),
    ):
        assert not scene.login.heed(url, status, {"www-authenticate": said})
    plain = build(dpop=None).login
    assert plain.headers("GET", url) == {"authorization": f"Bearer {plain.token()}"}
    assert not plain.heed(url, 401, challenge)


@pytest.mark.parametrize("nonce", ["", "two, nonces", 'qu"ote', "back\\slash", "\u00e9", "x" * 257, "line\n"])
def test_what_is_no_nonce_is_not_repeated(nonce: str) -> None:
    book = NonceBook()
    book.learn("https://a.example", {"dpop-nonce": nonce})
    assert book.find("https://a.example") is None


def test_the_memory_of_nonces_is_bounded() -> None:
    book = NonceBook()
    for number in range(MAX_ORIGINS + 10):
        book.learn(f"https://{number}.example", {"dpop-nonce": "n"})
    assert book.find("https://0.example") is None
    assert book.find(f"https://{MAX_ORIGINS + 9}.example") == "n"


@rule("Q8")
@needs_fork
def test_a_child_makes_proofs_of_its_own(scene: Scene) -> None:
    scene.login.token()
    mine = scene.login.headers("GET", API)["dpop"]
    assert is_right_in_a_child(lambda: scene.login.headers("GET", API)["dpop"] != mine)


@rule("Q6")
def test_a_key_does_not_leave_the_process() -> None:
    key = DPoPKey.generate()
    assert copy.deepcopy(key) is copy.copy(key) is key
    with pytest.raises(TypeError):
        pickle.dumps(key)
    assert repr(key) == f"DPoPKey(jkt={key.jkt!r}, algorithm='ES256')"
    assert watchword.DPoPKey is DPoPKey


@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "Ed25519", "PS256"])
def test_a_key_in_a_file_is_the_same_after_a_restart(algorithm: str, tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization

    key = generate_private_key(algorithm)
    path = tmp_path / "key.pem"
    path.write_bytes(
        key.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    path.chmod(0o600)
    found = DPoPKey.from_file(path)
    assert (found.jkt, found.algorithm) == (key.kid, algorithm)


def test_a_key_is_made_where_there_is_none_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "dpop.pem"
    made = DPoPKey.from_file(path, create=True)
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in tmp_path.iterdir()] == ["dpop.pem"]
    assert DPoPKey.from_file(path, create=True).jkt == DPoPKey.from_file(str(path)).jkt == made.jkt


def test_a_key_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "dpop.pem"

    def reason(**how: bool) -> str:
        with pytest.raises(LoginMisconfigured) as caught:
            DPoPKey.from_file(path, **how)
        return caught.value.reason

    assert reason() == "file.missing"
    path.write_text("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    path.chmod(0o600)
    assert reason(create=True) == "dpop.key"
    path.chmod(0o644)
    assert reason() == "file.mode"
    path = tmp_path / "nowhere" / "dpop.pem"
    assert reason(create=True) == "file.unwritable"
    for algorithm in ("RS256", "HS256"):
        with pytest.raises(LoginMisconfigured) as caught:
            DPoPKey.generate(algorithm)
        assert caught.value.reason == "dpop.algorithm"


def test_the_environment_and_the_profile_say_whether_tokens_are_bound(tmp_path: Path) -> None:
    scene = build()
    key = DPoPKey.from_file(tmp_path / "dpop.pem", create=True)
    environ = {
        "WATCHWORD_CLIENT_ID": "reader",
        "WATCHWORD_CLIENT_SECRET": "hush",
        "WATCHWORD_ISSUER": ISSUER,
        "XDG_CONFIG_HOME": str(tmp_path),
    }

    def jkt(**more: str) -> str | None:
        found = default(environ={**environ, **more}, transport=scene.wire).dpop_key
        return found.jkt if found is not None else None

    file = str(tmp_path / "dpop.pem")
    assert jkt() is None
    assert jkt(WATCHWORD_DPOP="off") is None
    assert jkt(WATCHWORD_DPOP="on") not in (None, key.jkt)
    assert jkt(WATCHWORD_DPOP_KEY_FILE=file) == key.jkt
    assert jkt(WATCHWORD_DPOP="on", WATCHWORD_DPOP_KEY_FILE=file) == key.jkt
    for wrong in ({"WATCHWORD_DPOP": "yes"}, {"WATCHWORD_DPOP": "off", "WATCHWORD_DPOP_KEY_FILE": file}):
        with pytest.raises(LoginMisconfigured, match=r"credentials\.dpop"):
            jkt(**wrong)
    assert default(environ=environ, transport=scene.wire, dpop=key).dpop_key is key
    profiles = tmp_path / "watchword" / "profiles"
    profiles.mkdir(parents=True, mode=0o700)
    profile = profiles / "bound.toml"
    text = f'kind = "agent"\nissuer = "{ISSUER}"\nclient_id = "c"\nauth_method = "client_secret_basic"\nclient_secret = "s"\n'
    profile.write_text(f'{text}dpop_key_file = "{file}"\n')
    profile.chmod(0o600)
    by_profile = {"WATCHWORD_PROFILE": "bound", "WATCHWORD_CREDENTIALS": "profile"}
    assert jkt(**by_profile) == key.jkt
    assert jkt(**by_profile, WATCHWORD_DPOP="on") == key.jkt
    assert jkt(**by_profile, WATCHWORD_DPOP="off") is None


def test_a_clock_that_is_wrong_does_not_make_proofs_useless() -> None:
    scene = build()
    scene.login = Login(
        issuer=ISSUER,
        client=scene.login._client,
        resource="my-api",
        scope="read:data",
        dpop=True,
        transport=Dated(scene.wire),
        clock=FrozenClock(scene.server.clock() - timedelta(hours=1)),
        retry=AT_ONCE,
    )
    assert scene.login.token()
    assert call(scene)[0].status_code == 200


class Dated(Wire):
    """Says with every answer what time the server has, as servers do."""

    def __init__(self, wire: Wire) -> None:
        super().__init__(wire.server)

    def send(self, request: HttpRequest) -> HttpResponse:
        answer = super().send(request)
        date = self.server.clock().strftime("%a, %d %b %Y %H:%M:%S GMT")
        return HttpResponse(status=answer.status, headers={**answer.headers, "date": date}, body=answer.body)


def test_a_key_that_is_kept_elsewhere_makes_proofs_as_well() -> None:
    """A token or a service says what its key is, and signs: nothing else is asked of it."""
    inner = generate_private_key("ES256")

    class Elsewhere:
        algorithm = inner.algorithm
        public_jwk = inner.public_jwk

        def sign(self, message: bytes, /) -> bytes:
            return inner.sign(message)

    scene = build(dpop=DPoPKey(Elsewhere(), is_kept=True))
    claims = jwt.decode(scene.login.token(), options={"verify_signature": False})
    assert claims["cnf"] == {"jkt": inner.kid}
    assert call(scene)[0].status_code == 200
