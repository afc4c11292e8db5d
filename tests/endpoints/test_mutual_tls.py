"""Logging in with a certificate, and tokens bound to one: RFC 8705, RFC 9440, ABUSE 6.5."""

import json
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from ipaddress import ip_network

import pytest
from cryptography import x509
from tests import rule

from watchword.asgi.peer import Proxies, Shown
from watchword.compose import MutualTls
from watchword.ports.agents import AgentState, Credential, CredentialKind, CredentialState
from watchword.ports.store import Create, Replace, RevokeCredential
from watchword.protocol.base64url import b64url_decode
from watchword.protocol.certificate_chain import Authorities, parse_authorities
from watchword.protocol.certificate_header import Dialect
from watchword.protocol.certificate_rule import parse_rule
from watchword.protocol.confirmation import x5t_s256
from watchword.server.certificates import Certificates
from watchword.testing.certificates import LIFE, Authority, Held, self_signed
from watchword.testing.clock import FrozenClock
from watchword.testing.server import Answer, InProcessServer

GRANT = "grant_type=client_credentials&scope=read:data"
NOW = FrozenClock()()
ROOT = Authority(now=NOW)
METHODS = ("tls_client_auth", "self_signed_tls_client_auth")
PROXY = "10.0.0.1"


class Trust:
    """The authorities that the server trusts, which may change while it runs."""

    def __init__(self) -> None:
        self.current: Authorities = parse_authorities(ROOT.pem)


@pytest.fixture
def trust() -> Trust:
    return Trust()


def started(trust: Trust, **how: object) -> InProcessServer:
    certificates = Certificates(lambda: trust.current)
    server = InProcessServer(
        mutual_tls=MutualTls(certificates=certificates, url="https://mtls.example.com"),
        **how,  # type: ignore[arg-type]  # what it takes
    )
    server.add_resource()
    return server


@pytest.fixture
def server(trust: Trust) -> InProcessServer:
    return started(trust)


def certify(server: InProcessServer, client_id: str, details: dict[str, object]) -> Credential:
    credential = Credential(
        id=f"cert-{client_id}",
        client_id=client_id,
        kind=CredentialKind.CERTIFICATE,
        state=CredentialState.ACTIVE,
        created_at=server.clock(),
        details=parse_rule(details).to_details(),
    )
    server.commit(Create(credential))
    return credential


def agent(server: InProcessServer, details: dict[str, object] | None = None, **facts: object) -> str:
    """Register an agent whose certificates are those of the rule; return its ``client_id``."""
    client_id = server.add_agent("worker", auth_methods=METHODS, **facts).client_id  # type: ignore[arg-type]  # of Agent
    certify(server, client_id, {"subject_dn": "CN=client"} if details is None else details)
    return client_id


def shown(held: Held | None, name: str = "auth.example.com") -> Shown:
    return Shown((held.der, *held.chain_der) if held else (), name)


def ask(server: InProcessServer, client_id: str, held: Held | None, more: str = "") -> Answer:
    named = f"&client_id={client_id}" if client_id else ""
    return server.post(GRANT + named + more, shown=shown(held))


def claims(answer: Answer) -> dict[str, object]:
    made: dict[str, object] = json.loads(b64url_decode(answer.json["access_token"].split(".")[1].encode()))
    return made


def assert_refused(server: InProcessServer, answer: Answer, reason: str, status: int = 401) -> None:
    event = server.last_event()
    assert (event["reason"], event["outcome"], answer.status) == (reason, "denied", status)
    assert "access_token" not in answer.json


@rule("R8705-2.1-01", "R8705-3-01")
def test_a_client_of_the_authority_logs_in_and_its_token_is_bound_to_its_certificate(server: InProcessServer) -> None:
    held = Authority("Middle", above=ROOT).issue()
    answer = ask(server, agent(server), held)
    assert (answer.status, answer.json["token_type"]) == (200, "Bearer")
    assert claims(answer)["cnf"] == {"x5t#S256": x5t_s256(held.der)}
    assert server.last_event()["client_auth"] == "tls_client_auth"


@rule("R8705-2.2-01", "R8705-3-01")
def test_a_pinned_certificate_that_nobody_signed_logs_in(server: InProcessServer) -> None:
    held = self_signed(now=NOW)
    answer = ask(server, agent(server, {"pem": held.pem.decode()}), held)
    assert claims(answer)["cnf"] == {"x5t#S256": x5t_s256(held.der)}
    assert server.last_event()["client_auth"] == "self_signed_tls_client_auth"


@rule("R8705-2-01")
def test_a_certificate_without_client_id_is_nobody(server: InProcessServer) -> None:
    agent(server)
    assert_refused(server, ask(server, "", ROOT.issue()), "client.no_id")


@rule("C14")
def test_a_client_id_without_certificate_is_nobody(server: InProcessServer) -> None:
    assert_refused(server, ask(server, agent(server), None), "client.no_credentials")
    assert_refused(server, server.post(f"{GRANT}&client_id={agent(server)}"), "client.no_credentials")


@rule("M6", "KF-65")
def test_a_certificate_opens_for_its_own_client_only(server: InProcessServer) -> None:
    mine, theirs = agent(server, {"subject_dn": "CN=mine"}), agent(server, {"subject_dn": "CN=theirs"})
    assert_refused(server, ask(server, theirs, ROOT.issue("mine")), "client.credential")
    assert_refused(server, ask(server, "nobody-12345678", ROOT.issue("mine")), "client.unknown")
    assert ask(server, mine, ROOT.issue("mine")).status == 200


@rule("R8705-2.1-01", "M1", "M2", "M3", "KF-66", "KF-67", "KF-68")
@pytest.mark.parametrize(
    ("held", "reason"),
    [
        (Authority(now=NOW).issue(), "certificate.chain"),
        (self_signed(now=NOW), "certificate.authority"),
        (ROOT.issue(usage=None), "certificate.usage"),
        (ROOT.issue(life=timedelta(seconds=-1)), "certificate.expired"),
        (ROOT.issue(age=timedelta(seconds=-1)), "certificate.not_yet"),
        (Held(x509.load_pem_x509_certificate(ROOT.pem), ROOT.key), "certificate.usage"),
        (ROOT.issue("somebody"), "client.credential"),
    ],
)
def test_a_certificate_that_is_not_good_for_it_is_refused(server: InProcessServer, held: Held, reason: str) -> None:
    client_id = agent(server)
    assert_refused(server, ask(server, client_id, held), reason)
    assert ask(server, client_id, ROOT.issue()).status == 200


@rule("M7", "KF-67")
def test_the_same_name_with_another_key_is_refused(server: InProcessServer) -> None:
    held = self_signed(now=NOW)
    client_id = agent(server, {"pem": held.pem.decode()})
    assert_refused(server, ask(server, client_id, self_signed(now=NOW)), "client.credential")
    assert ask(server, client_id, held).status == 200


@rule("M10", "KF-66")
def test_a_certificate_that_expires_on_an_open_connection_opens_no_longer(server: InProcessServer) -> None:
    held, pinned = ROOT.issue(), self_signed(now=NOW)
    by_name, by_pin = agent(server), agent(server, {"pem": pinned.pem.decode()})
    assert [ask(server, by_name, held).status, ask(server, by_pin, pinned).status] == [200, 200]
    server.clock.advance(LIFE + timedelta(seconds=1))
    assert_refused(server, ask(server, by_name, held), "certificate.expired")
    assert_refused(server, ask(server, by_pin, pinned), "certificate.expired")


@rule("M1", "M10", "KF-64")
def test_a_certificate_that_is_revoked_meanwhile_opens_no_longer(server: InProcessServer, trust: Trust) -> None:
    root = Authority(now=NOW)
    held, client_id = root.issue(), agent(server)
    trust.current = parse_authorities(root.pem, root.list_revoked())
    assert ask(server, client_id, held).status == 200
    root.revoke(held)
    trust.current = parse_authorities(root.pem, root.list_revoked())
    assert_refused(server, ask(server, client_id, held), "certificate.revoked")


@rule("M1", "KF-64")
def test_a_list_that_ends_while_the_server_runs_lets_nobody_in(server: InProcessServer, trust: Trust) -> None:
    held, client_id = ROOT.issue(), agent(server)
    trust.current = parse_authorities(ROOT.pem, ROOT.list_revoked(life=timedelta(hours=1)))
    assert ask(server, client_id, held).status == 200
    server.clock.advance(timedelta(hours=1, seconds=1))
    assert_refused(server, ask(server, client_id, held), "certificate.revocation_unknown")


def revoke(server: InProcessServer, client_id: str) -> None:
    server.commit(RevokeCredential(client_id, f"cert-{client_id}"))


def suspend(server: InProcessServer, client_id: str) -> None:
    server.set_state(client_id, AgentState.SUSPENDED)


def pin_to_another_method(server: InProcessServer, client_id: str) -> None:
    stored = server.agent_of(client_id)
    methods = ("self_signed_tls_client_auth",)
    server.commit(Replace(replace(stored, auth_methods=methods, version=stored.version + 1)))


@rule("M10")
@pytest.mark.parametrize(
    ("change", "reason"),
    [(revoke, "client.credential"), (suspend, "client.suspended"), (pin_to_another_method, "client.method")],
)
def test_what_is_registered_counts_at_every_request(
    server: InProcessServer, change: Callable[[InProcessServer, str], None], reason: str
) -> None:
    held, client_id = ROOT.issue(), agent(server)
    assert ask(server, client_id, held).status == 200
    change(server, client_id)
    assert_refused(server, ask(server, client_id, held), reason)


@rule("C2")
def test_with_anything_else_put_forward_the_certificate_is_no_login(server: InProcessServer) -> None:
    client_id = agent(server)
    assert_refused(server, ask(server, client_id, ROOT.issue(), "&client_secret=wrong"), "client.credential")
    assert server.last_event()["client_auth"] == "client_secret_post"
    more = "&client_assertion=a.b.c&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
    answer = ask(server, client_id, ROOT.issue(), more)
    assert answer.status in (400, 401)


@rule("R8705-3-01", "R8705-3-02")
def test_an_agent_that_must_bind_gets_its_token_for_any_sound_certificate_and_none_without(
    server: InProcessServer,
) -> None:
    held = self_signed(now=NOW)
    bound = server.add_agent("bound", mtls_bound=True)
    assert claims(server.post(GRANT, bound.basic, shown=shown(held)))["cnf"] == {"x5t#S256": x5t_s256(held.der)}
    for showing in (None, shown(None)):
        answer = server.post(GRANT, bound.basic, shown=showing)
        assert_refused(server, answer, "binding.certificate_required", 400)
    expired = shown(self_signed(now=NOW, life=timedelta(seconds=-1)))
    assert_refused(server, server.post(GRANT, bound.basic, shown=expired), "binding.certificate_invalid", 400)


def test_a_certificate_on_the_connection_of_another_login_binds_nothing(server: InProcessServer) -> None:
    reader = server.add_agent("reader")
    assert "cnf" not in claims(server.post(GRANT, reader.basic, shown=shown(self_signed(now=NOW))))


@rule("M11")
@pytest.mark.parametrize(
    ("asked_for", "host", "status"),
    [("other.example.com", None, 421), ("", None, 200), ("auth.example.com", None, 200)],
)
def test_a_request_for_another_host_than_the_handshake_is_misdirected(
    server: InProcessServer, asked_for: str, host: str | None, status: int
) -> None:
    form = f"{GRANT}&client_id={agent(server)}"
    answer = server.post(form, shown=shown(ROOT.issue(), asked_for), host=host)
    assert answer.status == status
    if status == 421:
        assert (server.last_event()["reason"], answer.json["error"]) == ("request.misdirected", "invalid_request")


@rule("R8705-5-01")
def test_the_metadata_says_where_certificates_are_asked_for(server: InProcessServer) -> None:
    told = server.ask("GET", "/.well-known/oauth-authorization-server").json
    assert told["mtls_endpoint_aliases"] == {
        f"{name}_endpoint": f"https://mtls.example.com/oauth/{path}"
        for name, path in (("token", "token"), ("introspection", "introspect"), ("revocation", "revoke"))
    }
    assert told["tls_client_certificate_bound_access_tokens"] is True
    assert set(METHODS) <= set(told["token_endpoint_auth_methods_supported"])
    plain = InProcessServer().ask("GET", "/.well-known/oauth-authorization-server").json
    assert not {"mtls_endpoint_aliases", "tls_client_certificate_bound_access_tokens"} & plain.keys()
    assert not set(METHODS) & set(plain["token_endpoint_auth_methods_supported"])


def test_without_an_authority_only_pins_open() -> None:
    server = InProcessServer(mutual_tls=MutualTls(certificates=Certificates()))
    server.add_resource()
    held = self_signed(now=NOW)
    client_id = agent(server, {"pem": held.pem.decode()})
    assert_refused(server, ask(server, agent(server), ROOT.issue()), "certificate.chain")
    assert ask(server, client_id, held).status == 200
    told = server.ask("GET", "/.well-known/oauth-authorization-server").json
    assert "tls_client_auth" not in told["token_endpoint_auth_methods_supported"]


def header(held: Held) -> tuple[str, bytes]:
    return "client-cert", b":" + b64encode(held.der) + b":"


@pytest.fixture
def behind(trust: Trust) -> InProcessServer:
    return started(trust, proxies=Proxies((ip_network(f"{PROXY}/32"),), Dialect.RFC9440))


@rule("R9440-2-01", "M8")
def test_a_trusted_proxy_passes_the_certificate_on(behind: InProcessServer) -> None:
    held = ROOT.issue()
    answer = behind.post(f"{GRANT}&client_id={agent(behind)}", header(held), peer=PROXY)
    assert claims(answer)["cnf"] == {"x5t#S256": x5t_s256(held.der)}


@rule("R8705-6.5-01", "R9440-2-02", "M8", "KF-69", "TRAP-19")
@pytest.mark.parametrize(
    "name",
    [
        "Client-Cert",
        "client_cert",
        "X-Forwarded-Client-Cert",
        "X-SSL-Client-Cert",
        "x_ssl_client_cert",
        "ssl-client-cert",
    ],
)
def test_such_a_header_from_anybody_else_is_refused_audited_and_raises_no_identity(
    behind: InProcessServer, server: InProcessServer, name: str
) -> None:
    for one in (behind, server):
        client_id, secret = agent(one), one.add_agent("reader")
        value = header(ROOT.issue())[1]
        for answer in (
            one.post(f"{GRANT}&client_id={client_id}", (name, value)),
            one.post(GRANT, secret.basic, (name, value)),
        ):
            assert_refused(one, answer, "certificate_header.untrusted", 400)
            assert not str(one.last_event().get("actor", "")).startswith("agent:")
        assert one.post(GRANT, secret.basic).status == 200


@rule("R9440-2-02", "M8")
@pytest.mark.parametrize(
    ("headers", "reason"),
    [
        ([header(ROOT.issue())] * 2, "certificate_header.repeated"),
        ([("client-cert-chain", header(ROOT.issue())[1])], "certificate_header.chain_alone"),
        ([("client-cert", b64encode(ROOT.issue().der))], "certificate_header.syntax"),
        ([("client-cert", b":" + b"A" * 66_000 + b":")], "certificate_header.size"),
    ],
    ids=("twice", "chain", "bare", "long"),
)
def test_a_proxy_that_is_not_clear_is_not_believed(
    behind: InProcessServer, headers: list[tuple[str, str | bytes]], reason: str
) -> None:
    client_id = agent(behind)
    answer = behind.post(f"{GRANT}&client_id={client_id}", *headers, peer=PROXY)
    assert_refused(behind, answer, reason, 400)
    assert behind.post(f"{GRANT}&client_id={client_id}", header(ROOT.issue()), peer=PROXY).status == 200


@rule("M8")
def test_one_certificate_in_the_handshake_and_one_in_a_header_are_two(behind: InProcessServer) -> None:
    client_id, held = agent(behind), ROOT.issue()
    answer = behind.post(f"{GRANT}&client_id={client_id}", header(ROOT.issue()), peer=PROXY, shown=shown(held))
    assert_refused(behind, answer, "certificate_header.two_certificates", 400)


def test_a_proxy_that_was_not_asked_for_certificates_is_not_heard_on_them(trust: Trust) -> None:
    server = started(trust, proxies=Proxies((ip_network(f"{PROXY}/32"),)))
    client_id, reader = agent(server), server.add_agent("reader")
    assert_refused(
        server, server.post(f"{GRANT}&client_id={client_id}", header(ROOT.issue()), peer=PROXY), "client.no_credentials"
    )
    assert server.post(GRANT, reader.basic, header(ROOT.issue()), peer=PROXY).status == 200


@rule("R8705-3.2-01")
def test_introspection_tells_the_certificate_that_a_token_is_bound_to(server: InProcessServer) -> None:
    held = ROOT.issue()
    token = ask(server, agent(server), held).json["access_token"]
    api = server.add_agent("api", permissions={}, serves=("my-api",))
    told = server.post({"token": token}, api.basic, path="/oauth/introspect").json
    assert (told["active"], told["token_type"], told["cnf"]) == (True, "Bearer", {"x5t#S256": x5t_s256(held.der)})
    told = server.post(
        {"token": server.token(server.add_agent()).json["access_token"]}, api.basic, path="/oauth/introspect"
    ).json
    assert (told["active"], "cnf" in told) == (True, False)
