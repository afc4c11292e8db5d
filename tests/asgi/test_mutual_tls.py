"""TLS that takes whatever certificate is shown: what the handshake proves, what is left out, and both event loops."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import cast

import pytest
import trustme
import uvloop
from OpenSSL import SSL, crypto

from tests import rule
from watchword.asgi.mutual_tls import MutualCertificate, MutualConnection
from watchword.asgi.tls import KeyPair
from watchword.errors import BadSettings
from watchword.testing.certificates import Authority, Held, self_signed

SERVER = trustme.CA()
ONE = self_signed("one")
CHAINED = Authority("Middle", above=Authority()).issue("two")
VERSIONS = {"1.2": SSL.TLS1_2_VERSION, "1.3": SSL.TLS1_3_VERSION}


@pytest.fixture
def files(tmp_path: Path) -> KeyPair:
    pair = KeyPair(tmp_path / "cert.pem", tmp_path / "key.pem")
    made = SERVER.issue_cert("localhost")
    made.cert_chain_pems[0].write_to_path(pair.certificate)
    made.private_key_pem.write_to_path(pair.private_key)
    return pair


@pytest.fixture
def certificate(files: KeyPair) -> MutualCertificate:
    return MutualCertificate(files)


def client_context(held: Held | None = None, version: int = SSL.TLS1_3_VERSION) -> SSL.Context:
    context = SSL.Context(SSL.TLS_CLIENT_METHOD)
    context.set_min_proto_version(version)
    context.set_max_proto_version(version)
    if held is not None:
        context.use_certificate(held.certificate)
        context.use_privatekey(held.key)
        for one in held.chain:
            context.add_extra_chain_cert(one)
    return context


class Wire:
    """A client and a server, with nothing between them but memory. ``step`` is how many bytes go over at once."""

    def __init__(self, certificate: MutualCertificate, client: SSL.Connection, step: int = 65_536) -> None:
        self.client = client
        client.set_connect_state()
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        wrapped = certificate.context.wrap_bio(self.incoming, self.outgoing, server_side=True)
        assert isinstance(wrapped, MutualConnection)
        self.server = wrapped
        self.step = step

    def shake(self) -> None:
        done = False
        for _ in range(10_000):
            is_client_done = _advances(self.client.do_handshake)
            self.move()
            if not done:
                done = _advances(self.server.do_handshake)
            self.to_client()
            if done and is_client_done:
                return
        raise AssertionError("no handshake")

    def move(self) -> None:
        """Let one piece of what the client has said arrive."""
        try:
            self.incoming.write(self.client.bio_read(self.step))
        except SSL.WantReadError:
            return

    def to_client(self) -> None:
        if self.outgoing.pending:
            self.client.bio_write(self.outgoing.read())

    def say(self, text: bytes) -> bytes:
        """Say something; return what the server has read."""
        self.client.send(text)
        self.move()
        return bytes(self.server.read(65_536))  # type: ignore[arg-type]  # bytes without a buffer


def _advances(step: Callable[[], object]) -> bool:
    try:
        step()
    except (ssl.SSLWantReadError, SSL.WantReadError):
        return False
    return True


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("step", [1, 7, 65_536])
@pytest.mark.parametrize(("held", "number"), [(None, 0), (ONE, 1), (CHAINED, 2)], ids=("none", "one", "chain"))
def test_whatever_is_shown_is_taken_as_it_is(
    certificate: MutualCertificate, held: Held | None, number: int, version: str, step: int
) -> None:
    client = SSL.Connection(client_context(held, VERSIONS[version]), None)
    client.set_tlsext_host_name(b"LocalHost")
    wire = Wire(certificate, client, step)
    wire.shake()
    shown = wire.server.shown
    assert (shown.server_name, len(shown.certificates)) == ("localhost", number)
    if held is not None:
        assert shown.certificates == (held.der, *held.chain_der[: number - 1])
    wire.step = 65_536
    assert wire.say(b"hello") == b"hello"
    assert wire.server.getpeercert(binary_form=True) == (held.der if held else None)


@rule("M10")
@pytest.mark.parametrize("version", VERSIONS)
def test_a_session_is_not_resumed_so_a_stolen_ticket_shows_nothing(
    certificate: MutualCertificate, version: str
) -> None:
    first = Wire(certificate, SSL.Connection(client_context(ONE, VERSIONS[version]), None))
    first.shake()
    first.say(b"hello")
    first.server.write(b"hello")
    first.to_client()
    first.client.recv(100)
    session = first.client.get_session()
    assert session is not None
    context = client_context(None, VERSIONS[version])
    session._context = context  # type: ignore[attr-defined]  # the thief has the session, and not the key
    thief = SSL.Connection(context, None)
    thief.set_session(session)
    second = Wire(certificate, thief)
    second.shake()
    assert second.server.shown.certificates == ()
    assert second.say(b"hello") == b"hello"


@rule("M11", "KF-105")
@pytest.mark.parametrize("version", [SSL.TLS1_VERSION, SSL.TLS1_1_VERSION])
def test_old_versions_are_refused(certificate: MutualCertificate, version: int) -> None:
    context = client_context(ONE)
    context.set_min_proto_version(0)
    context.set_max_proto_version(version)
    context.set_cipher_list(b"ALL:@SECLEVEL=0")
    wire = Wire(certificate, SSL.Connection(context, None))
    with pytest.raises((ssl.SSLError, SSL.Error)):
        wire.shake()


@rule("M11", "KF-105")
@pytest.mark.parametrize(
    "suites", [b"AES128-SHA", b"ECDHE-RSA-AES128-SHA", b"NULL", b"DHE-RSA-AES128-GCM-SHA256", b"PSK"]
)
def test_old_suites_are_refused(certificate: MutualCertificate, suites: bytes) -> None:
    context = client_context(ONE, SSL.TLS1_2_VERSION)
    context.set_cipher_list(suites + b":@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, SSL.Error)):
        Wire(certificate, SSL.Connection(context, None)).shake()
    good = Wire(certificate, SSL.Connection(client_context(ONE, SSL.TLS1_2_VERSION), None))
    good.shake()
    cipher = good.server.cipher()
    assert cipher is not None
    assert cipher[0].startswith("ECDHE")


@rule("M11")
def test_a_renegotiation_is_refused(certificate: MutualCertificate) -> None:
    wire = Wire(certificate, SSL.Connection(client_context(ONE, SSL.TLS1_2_VERSION), None))
    wire.shake()
    wire.client.renegotiate()
    _advances(wire.client.do_handshake)
    wire.move()
    with pytest.raises(ssl.SSLWantReadError):
        wire.server.read(100)
    wire.to_client()
    with pytest.raises(SSL.Error, match="no renegotiation"):
        wire.client.do_handshake()


@rule("M11")
@pytest.mark.parametrize(
    ("offered", "chosen"), [([b"http/1.1"], b"http/1.1"), ([b"h2", b"junk"], b""), ([b"\xff" * 200], b"")]
)
def test_one_protocol_is_spoken_and_others_are_not_agreed_to(
    certificate: MutualCertificate, offered: list[bytes], chosen: bytes
) -> None:
    context = client_context(ONE)
    context.set_alpn_protos(offered)
    wire = Wire(certificate, SSL.Connection(context, None))
    wire.shake()
    assert wire.client.get_alpn_proto_negotiated() == chosen


@pytest.mark.parametrize("rubbish", [b"GET / HTTP/1.1\r\n\r\n", bytes(5), b"\x16\x03\x01\xff\xff" + bytes(20_000)])
def test_what_is_no_tls_ends_the_handshake(certificate: MutualCertificate, rubbish: bytes) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = certificate.context.wrap_bio(incoming, outgoing, server_side=True)
    incoming.write(rubbish)
    with pytest.raises(ssl.SSLError) as caught:
        server.do_handshake()
    assert not isinstance(caught.value, ssl.SSLWantReadError)


def test_a_record_that_was_changed_on_its_way_ends_the_connection(certificate: MutualCertificate) -> None:
    wire = Wire(certificate, SSL.Connection(client_context(ONE), None))
    wire.shake()
    wire.client.send(b"hello")
    record = bytearray(wire.client.bio_read(65_536))
    record[-1] ^= 1
    wire.incoming.write(bytes(record))
    with pytest.raises(ssl.SSLError):
        wire.server.read(100)


def test_what_is_not_asked_for_yet_stays_where_the_loop_counts_it(certificate: MutualCertificate) -> None:
    wire = Wire(certificate, SSL.Connection(client_context(ONE), None))
    wire.shake()
    for _ in range(4):
        wire.client.send(b"x" * 16_000)
    for _ in range(4):
        wire.move()
    assert wire.server.read(100) == b"x" * 100
    assert wire.incoming.pending > 2 * 16_000


def test_the_end_is_said_and_heard(certificate: MutualCertificate) -> None:
    wire = Wire(certificate, SSL.Connection(client_context(ONE), None))
    wire.shake()
    wire.client.shutdown()
    wire.move()
    assert wire.server.read(100) == b""
    assert wire.server.read(100, memoryview(bytearray(10))) == 0
    wire.server.unwrap()
    assert wire.outgoing.pending > 0


@rule("O10")
def test_new_files_are_for_new_connections(certificate: MutualCertificate, files: KeyPair) -> None:
    before = certificate.current
    files.private_key.write_bytes(ONE.key_pem)
    certificate.reload()
    assert certificate.current is before
    files.certificate.write_bytes(ONE.pem)
    certificate.reload()
    assert certificate.current is not before
    wire = Wire(certificate, SSL.Connection(client_context(ONE), None))
    wire.shake()
    served = wire.client.get_peer_certificate()
    assert served is not None
    assert crypto.dump_certificate(crypto.FILETYPE_ASN1, served) == ONE.der


def test_files_that_do_not_go_together_are_refused(files: KeyPair) -> None:
    files.private_key.write_bytes(ONE.key_pem)
    with pytest.raises(BadSettings) as caught:
        MutualCertificate(files)
    assert caught.value.reason == "listen.certificate"


class Echo(asyncio.Protocol):
    """Answers with as much, and how many certificates were shown."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # uvloop's is none by its class
        self.size = 0

    def data_received(self, data: bytes) -> None:
        self.size += len(data)
        if data.endswith(b"END"):
            shown = self.transport.get_extra_info("ssl_object").shown
            self.transport.write(b"x" * self.size + b"%d END" % len(shown.certificates))


async def talk(certificate: MutualCertificate, trust: ssl.SSLContext, size: int) -> tuple[int, bytes]:
    server = await asyncio.get_running_loop().create_server(Echo, "127.0.0.1", 0, ssl=certificate.context)
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trust, server_hostname="localhost")
    writer.write(b"a" * size + b"END")
    answer = await asyncio.wait_for(reader.readuntil(b"END"), 30)
    writer.close()
    await asyncio.wait_for(writer.wait_closed(), 30)
    server.close()
    return len(answer), answer[-5:-4]


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=("asyncio", "uvloop"))
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
@pytest.mark.parametrize("size", [0, 40_000])
def test_both_loops_serve_it(
    certificate: MutualCertificate,
    tmp_path: Path,
    new_loop: Callable[[], asyncio.AbstractEventLoop],
    version: ssl.TLSVersion,
    size: int,
) -> None:
    trust = ssl.create_default_context()
    SERVER.configure_trust(trust)
    trust.minimum_version = trust.maximum_version = version
    ONE.load_into(trust, tmp_path)
    with asyncio.Runner(loop_factory=new_loop) as runner:
        assert runner.run(talk(certificate, trust, size)) == (size + 3 + 5, b"1")
