"""What certificates are worth now: read once, judged again whenever anything that the judgement hangs on has changed."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from datetime import datetime
from typing import Final, Generic, TypeVar

from watchword.protocol.certificate import ClientCertificate, InvalidCertificate, parse_certificate
from watchword.protocol.certificate_chain import Authorities, Trusted

MOST: Final = 1024
"""Certificates that are remembered; a connection shows the same one with its every request."""

K = TypeVar("K")
V = TypeVar("V")


class _Recent(Generic[K, V]):
    """As many values as may be kept; the one longest unused goes first."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._kept: OrderedDict[K, V] = OrderedDict()

    def find(self, key: K) -> V | None:
        value = self._kept.get(key)
        if value is not None:
            self._kept.move_to_end(key)
        return value

    def keep(self, key: K, value: V) -> V:
        self._kept[key] = value
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)
        return value


class Certificates:
    """Reads certificates, and asks the authorities of this moment. ``authorities`` is nothing where none are configured."""

    def __init__(self, authorities: Callable[[], Authorities] | None = None) -> None:
        self._authorities = authorities
        self._read: _Recent[bytes, ClientCertificate] = _Recent(MOST)
        self._trusted: _Recent[tuple[bytes, ...], tuple[Authorities, Trusted]] = _Recent(MOST)

    @property
    def has_authorities(self) -> bool:
        """Whether there is anybody who says who a client is."""
        return self._authorities is not None

    def parse(self, der: bytes) -> ClientCertificate:
        """Return the certificate.

        Raises:
            InvalidCertificate: what ``parse_certificate`` refuses
        """
        return self._read.find(der) or self._read.keep(der, parse_certificate(der))

    def check_chain(self, certificate: ClientCertificate, chain: tuple[bytes, ...], now: datetime) -> None:
        """Return if an authority vouches for it now.

        Raises:
            InvalidCertificate: what ``Authorities.check`` refuses
        """
        if self._authorities is None:
            raise InvalidCertificate("certificate.chain", detail="no authority is configured")
        authorities, key = self._authorities(), (certificate.der, *chain)
        known = self._trusted.find(key)
        if known is not None and known[0] is authorities and known[1].not_before <= now <= known[1].not_after:
            return
        self._trusted.keep(key, (authorities, authorities.check(certificate, chain, now)))
