"""A request as the server floor sees it: values, no framework."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end: the address of the TCP peer (or the one a trusted proxy names) and its certificate (DER), if any.

    ``chain`` is what it showed beside that. ``certificate_problem`` is why a header that names a certificate is not believed,
    ``server_name`` whom it asked for in the handshake, in lower case, where we ended its TLS.
    """

    address: str
    certificate: bytes = field(default=b"", repr=False)
    chain: tuple[bytes, ...] = field(default=(), repr=False)
    certificate_problem: str = ""
    server_name: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request, its body bounded and complete. Header names are lower-case bytes; ``path`` is raw, below the issuer."""

    id: str
    method: str
    path: str
    query: bytes
    headers: tuple[tuple[bytes, bytes], ...] = field(repr=False)
    body: bytes = field(repr=False)
    peer: Peer
    received_at: datetime
    claims: set[str] = field(default_factory=set, repr=False, compare=False)
    """What this request was the first to claim (``server/single_use.py``): it has it, however often it is decided anew."""

    def header_values(self, name: bytes) -> list[bytes]:
        """Return every value of a header, in order; ``name`` in lower case."""
        return [value for key, value in self.headers if key == name]
