"""What a server binds and reads once, for all of its processes: listening sockets, certificates, whom it trusts."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from socket import gethostname, socket
from urllib.parse import urlsplit

import structlog

from watchword import __version__
from watchword.adapters.logs import configure_logs
from watchword.asgi.client_authorities import ClientAuthorities
from watchword.asgi.sockets import bind, raise_file_limit
from watchword.asgi.tls import Certificate, KeyPair
from watchword.clock import system_clock
from watchword.compose import MutualTls
from watchword.listening import Address
from watchword.ports.cluster import Node
from watchword.server.certificates import Certificates
from watchword.settings import ServerSettings
from watchword.stores import find_database, newest_schema

log = structlog.get_logger("watchword.server")


@dataclass(frozen=True, slots=True)
class BoundAddresses:
    """Where the server really listens, ``host:port``, and the issuer it answers as. ``mutual`` is empty where there is none."""

    issuer: str
    public: str
    management: str
    mutual: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """``mutual`` is the listener that asks clients for certificates."""

    public: socket
    management: socket
    mutual: socket | None
    certificate: Certificate | None
    mutual_certificate: Certificate | None
    authorities: ClientAuthorities | None
    node: Node

    @property
    def sockets(self) -> tuple[socket, ...]:
        """All that listen."""
        return tuple(one for one in (self.public, self.management, self.mutual) if one is not None)

    def addresses(self, issuer: str) -> BoundAddresses:
        """Return where they are."""
        mutual = "" if self.mutual is None else str(_address(self.mutual))
        return BoundAddresses(issuer, str(_address(self.public)), str(_address(self.management)), mutual)

    def mutual_tls(self, settings: ServerSettings) -> MutualTls | None:
        """Return what certificates of clients mean here, if they can show any."""
        if not settings.takes_certificates:
            return None
        authorities = self.authorities
        certificates = Certificates(None if authorities is None else lambda: authorities.current)
        return MutualTls(certificates=certificates, url=self.mtls_url(settings))

    def mtls_url(self, settings: ServerSettings) -> str:
        """Return where clients with certificates are awaited, in the form of an issuer; empty if that is the issuer."""
        if settings.mtls_url is not None or self.mutual is None:
            return settings.mtls_url or ""
        issuer = urlsplit(settings.issuer)
        return f"https://{Address(issuer.hostname or '', _address(self.mutual).port)}{issuer.path}"

    def hosts(self, settings: ServerSettings) -> frozenset[str]:
        """Return the ``Host`` values that name this server: the issuer's, the listeners' own, and those allowed."""
        issuer, address = urlsplit(settings.issuer), _address(self.public)
        default_port = {"https": 443, "http": 80}[issuer.scheme]
        ports = {address.port, issuer.port or default_port}
        named = {issuer.hostname or "", *settings.allowed_hosts}
        mutual = urlsplit(self.mtls_url(settings))
        if mutual.hostname:
            ports |= {mutual.port or 443}
            named |= {mutual.hostname}
        hosts = {f"{name}:{port}" for name in named for port in ports} | _own_hosts(address)
        if self.mutual is not None:
            hosts |= _own_hosts(_address(self.mutual))
        return frozenset(host.lower() for host in hosts | named)


def open_doors(settings: ServerSettings) -> Doors:
    """Bind and read.

    Raises:
        BadSettings: an address is occupied or open to others over plain HTTP, a certificate or an authority cannot be read.
    """
    settings.check_exposure()
    configure_logs(settings.log_level, style=settings.log_format)
    raise_file_limit()
    certificate = _certificate(settings)
    authorities = None if settings.client_ca is None else ClientAuthorities(settings.client_ca, settings.client_crl)
    mutual_certificate = _mutual_certificate(settings)
    public, management = (bind(one.host, one.port) for one in (settings.listen, settings.management))
    mutual = None if settings.mtls_listen is None else bind(settings.mtls_listen.host, settings.mtls_listen.port)
    return Doors(
        public=public,
        management=management,
        mutual=mutual,
        certificate=certificate,
        mutual_certificate=mutual_certificate,
        authorities=authorities,
        node=_new_node(public, newest_schema(find_database(settings))),
    )


def _certificate(settings: ServerSettings) -> Certificate | None:
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return Certificate(KeyPair(settings.tls_cert, settings.tls_key))


def _mutual_certificate(settings: ServerSettings) -> Certificate | None:
    """pyOpenSSL is loaded by who needs it."""
    chain, key = settings.mtls_cert or settings.tls_cert, settings.mtls_key or settings.tls_key
    if settings.mtls_listen is None or chain is None or key is None:
        return None
    from watchword.asgi.mutual_tls import MutualCertificate

    return MutualCertificate(KeyPair(chain, key))


def _new_node(public: socket, schema: int) -> Node:
    """Return what this server is called among those on its store. However many workers it has, it is one node."""
    name, now = f"{gethostname()}:{_address(public).port}", system_clock()
    return Node(id=secrets.token_hex(8), name=name, version=__version__, schema=schema, started_at=now, seen_at=now)


def log_ready(addresses: BoundAddresses, workers: int) -> None:
    """Say that all of them accept."""
    log.info(
        "ready",
        issuer=addresses.issuer,
        listen=addresses.public,
        management=addresses.management,
        workers=workers,
        mtls=addresses.mutual,
    )


def _own_hosts(address: Address) -> set[str]:
    names = {address.host, "localhost"} if address.is_loopback else {address.host}
    return {str(Address(name, address.port)) for name in names}


def _address(bound: socket) -> Address:
    host, port = bound.getsockname()[:2]
    return Address(host, port)
