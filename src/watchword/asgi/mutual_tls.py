"""TLS that asks the client for a certificate and takes whatever it shows: what it is worth is for the application to say.

Python's ``ssl`` ends the handshake at a certificate that nobody signed, so the connection is pyOpenSSL's, on memory, behind
the interface of ``ssl.SSLObject`` that event loops use. That the client holds the key of its certificate is proved by the
handshake itself (CertificateVerify: RFC 8446 §4.4.3, RFC 5246 §7.4.8). There are no tickets and no sessions: a resumed connection
would prove nothing (ABUSE M10).
"""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import Any, Final, TypeVar

from OpenSSL import SSL, crypto

from watchword.asgi.peer import Shown
from watchword.asgi.tls import Certificate, KeyPair, load_context

_CIPHERS: Final = b"ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2, those with forward secrecy and authenticated encryption. TLS 1.3 has no others."""

_DEEPEST: Final = 8
_PIECE: Final = 65_536
_HEAD: Final = 5
_LONGEST_RECORD: Final = 16_384 + 256
_CONTENT_TYPES: Final = range(20, 24)
_MAJOR: Final = 3

T = TypeVar("T")


class MutualCertificate(Certificate):
    """The certificate of a listener that asks for the client's."""

    def _read(self) -> ssl.SSLContext:
        return MutualContext(self._files)


class MutualContext(ssl.SSLContext):
    """To an event loop, a context; its connections are pyOpenSSL's."""

    _inner: SSL.Context

    def __new__(cls, files: KeyPair) -> MutualContext:
        """Make a context of these files."""
        made = super().__new__(cls, ssl.PROTOCOL_TLS_SERVER)
        made._inner = _build(files)
        return made

    def __init__(self, files: KeyPair) -> None:
        """All is done."""

    def wrap_bio(self, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO, *_: Any, **__: Any) -> ssl.SSLObject:  # noqa: ANN401 -- a server has one side and no name
        """Begin a connection."""
        return MutualConnection(self._inner, incoming, outgoing)  # type: ignore[return-value]  # what loops use of one


def _build(files: KeyPair) -> SSL.Context:
    load_context(files)  # says what is wrong with them
    context = SSL.Context(SSL.TLS_SERVER_METHOD)
    context.set_min_proto_version(SSL.TLS1_2_VERSION)
    context.set_options(
        SSL.OP_NO_RENEGOTIATION | SSL.OP_NO_TICKET | SSL.OP_CIPHER_SERVER_PREFERENCE | SSL.OP_NO_COMPRESSION
    )
    context.set_session_cache_mode(SSL.SESS_CACHE_OFF)
    context.set_session_id(b"watchword")  # without one, a client that tries to resume is cut off
    context.set_cipher_list(_CIPHERS)
    context.set_verify(SSL.VERIFY_PEER, _take_any)
    context.set_verify_depth(_DEEPEST)
    context.set_alpn_select_callback(_choose)
    context.use_certificate_chain_file(str(files.certificate))
    context.use_privatekey_file(str(files.private_key))
    return context


def _take_any(_connection: SSL.Connection, _certificate: crypto.X509, _error: int, _depth: int, _ok: int) -> bool:
    return True


def _choose(_connection: SSL.Connection, offered: list[bytes]) -> bytes | SSL._NoOverlappingProtocols:
    return b"http/1.1" if b"http/1.1" in offered else SSL.NO_OVERLAPPING_PROTOCOLS


class MutualConnection:
    """One connection, as ``asyncio.sslproto`` and uvloop use an ``ssl.SSLObject``.

    It is given one TLS record at a time, and only when it wants to read: what it does not need yet stays
    where the loop counts it.
    """

    def __init__(self, context: SSL.Context, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO) -> None:
        self._inner = SSL.Connection(context, None)
        self._inner.set_accept_state()
        self._incoming = incoming
        self._outgoing = outgoing
        self._partial = b""
        self.shown = Shown((), "")

    def do_handshake(self) -> None:
        """Go on with the handshake.

        Raises:
            ssl.SSLWantReadError, ssl.SSLError
        """
        self._run(self._inner.do_handshake)
        leaf, others = self._inner.get_peer_certificate(), self._inner.get_peer_cert_chain() or []
        every = [] if leaf is None else [leaf, *others]
        name = (self._inner.get_servername() or b"").decode("ascii", "replace").lower()
        self.shown = Shown(tuple(crypto.dump_certificate(crypto.FILETYPE_ASN1, one) for one in every), name)

    def read(self, size: int = 1024, buffer: memoryview | None = None) -> int | bytes:
        """Return what has come, or how much was put into ``buffer``; nothing at the end.

        Raises:
            ssl.SSLWantReadError, ssl.SSLError
        """
        try:
            if buffer is None:
                return self._run(lambda: self._inner.recv(size))
            return self._run(lambda: self._inner.recv_into(buffer, min(size, len(buffer))))
        except SSL.ZeroReturnError:
            return b"" if buffer is None else 0

    def write(self, data: bytes | bytearray | memoryview) -> int:
        """Send; return how much was taken.

        Raises:
            ssl.SSLWantReadError, ssl.SSLError
        """
        return self._run(lambda: self._inner.send(data))

    def unwrap(self) -> None:
        """Say that this is the end, and wait until the other side has.

        Raises:
            ssl.SSLWantReadError, ssl.SSLError
        """
        if not self._run(self._inner.shutdown):
            self._run(self._inner.shutdown)

    def pending(self) -> int:
        """Return how much can be read at once."""
        return self._inner.pending()

    def getpeercert(self, binary_form: bool = False) -> dict[str, object] | bytes | None:
        """Return the certificate in binary form only: its parts are nobody's business here."""
        if binary_form:
            return self.shown.certificates[0] if self.shown.certificates else None
        return {}

    def cipher(self) -> tuple[str, str, int] | None:
        """Return its name, the version, and the bits of its key."""
        name = self._inner.get_cipher_name()
        return (
            None
            if name is None
            else (name, self._inner.get_protocol_version_name(), self._inner.get_cipher_bits() or 0)
        )

    def compression(self) -> None:
        """There is none."""

    def _run(self, step: Callable[[], T]) -> T:
        """Take a step, giving it what it asks for; whatever it says goes out, an alert too."""
        try:
            while True:
                try:
                    return step()
                except SSL.WantReadError:
                    self._feed()
        except (SSL.ZeroReturnError, ssl.SSLError):
            raise
        except SSL.Error as error:
            raise ssl.SSLError(ssl.SSL_ERROR_SSL, f"{error}"[:200]) from None
        finally:
            self._flush()

    def _feed(self) -> None:
        """Give it the next record, or raise ``ssl.SSLWantReadError`` if that has not come to its end."""
        wanted = _HEAD - len(self._partial)
        if wanted > 0:
            self._partial += self._incoming.read(wanted)
        if len(self._partial) >= _HEAD:
            length = min(int.from_bytes(self._partial[3:5], "big"), _LONGEST_RECORD) if self._is_tls() else 0
            self._partial += self._incoming.read(_HEAD + length - len(self._partial)) if length else b""
            if len(self._partial) == _HEAD + length:
                record, self._partial = self._partial, b""
                self._inner.bio_write(record)
                return
        raise ssl.SSLWantReadError(ssl.SSL_ERROR_WANT_READ, "the next record has not come yet")

    def _is_tls(self) -> bool:
        """Tell whether this begins a record: of what is none, no more is waited for."""
        return self._partial[0] in _CONTENT_TYPES and self._partial[1] == _MAJOR

    def _flush(self) -> None:
        while True:
            try:
                self._outgoing.write(self._inner.bio_read(_PIECE))
            except SSL.WantReadError:
                return
