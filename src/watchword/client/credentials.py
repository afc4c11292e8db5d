"""How a client shows who it is, as values. RFC 6749 §2.3.1."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal, NoReturn, Protocol, Self, runtime_checkable
from urllib.parse import quote, quote_plus

from watchword.client.errors import LoginMisconfigured
from watchword.ports.http import Transport
from watchword.protocol import names
from watchword.protocol.client_secret import build_basic, redact

if TYPE_CHECKING:
    from watchword.client.credential_file import CredentialFromFiles

_HIDDEN = "[redacted]"


class ClientCredential(Protocol):
    """One way to authenticate at a token endpoint. Immutable, safe to share between threads and tasks."""

    @property
    def client_id(self) -> str:
        """The name under which the server knows the client."""
        ...

    def apply(self, form: dict[str, str], headers: dict[str, str], *, issuer: str, now: datetime) -> None:
        """Add the proof to one attempt's form or headers (names in lower case).

        Called anew for every attempt, so that nothing single-use is sent twice. ``now`` is the server's time.
        """
        ...

    def hide(self, text: str) -> str:
        """Return what a server said, without anything secret it may have echoed."""
        ...


@runtime_checkable
class ShowsCertificate(Protocol):
    """A credential that is in the TLS handshake: it brings its own transport, and goes where the server asks for it."""

    def transport(self) -> Transport:
        """Return a transport that shows the certificate."""
        ...


@runtime_checkable
class HoldsKey(Protocol):
    """A credential that is a private key of the client's: who can keep one can have tokens that are bound to another."""

    holds_key: ClassVar[Literal[True]]


class Sealed:
    """Does not leave the process: copies are itself, and it cannot be pickled."""

    __slots__ = ()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a client credential is not pickled: build it in the process that uses it")


@dataclass(frozen=True, slots=True)
class _ClientSecret(Sealed):
    client_id: str
    client_secret: str = field(repr=False)

    def __post_init__(self) -> None:
        for name, value in ((names.CLIENT_ID, self.client_id), (names.CLIENT_SECRET, self.client_secret)):
            if not value or not value.isprintable():
                raise LoginMisconfigured(
                    f"credential.{name}",
                    detail=f"{name} is empty or has a line break or another control character in it",
                )

    def hide(self, text: str) -> str:
        """Return the text without this secret, however it was sent, and without what looks like another or like a token."""
        for spelling in self._spellings():
            text = re.sub(re.escape(spelling), _HIDDEN, text, flags=re.IGNORECASE)
        return redact(text)

    def _spellings(self) -> tuple[str, ...]:
        """Return what stands for the secret on the wire, the longest first: one may be a part of another."""
        secret = self.client_secret
        pair = b64encode(f"{self.client_id}:{secret}".encode()).decode("ascii")
        basic = build_basic(self.client_id, secret).removeprefix("Basic ")
        return (basic, pair, quote(secret, safe=""), quote_plus(secret), secret)


@dataclass(frozen=True, slots=True, repr=False)
class ClientSecretBasic(_ClientSecret):
    """``client_secret_basic``: the secret in an ``Authorization: Basic`` header, both halves form-encoded."""

    def __repr__(self) -> str:
        return f"ClientSecretBasic(client_id={self.client_id!r}, client_secret={_HIDDEN})"

    @classmethod
    def from_file(cls, client_id: str, path: Path | str) -> CredentialFromFiles:
        """Return this credential with the secret that is in a file, which may be replaced while it is in use.

        Raises:
            LoginMisconfigured: credential.client_id, credential.client_secret, file.*
        """
        return _from_file(lambda secret: cls(client_id, secret), Path(path))

    def apply(self, form: dict[str, str], headers: dict[str, str], *, issuer: str, now: datetime) -> None:  # noqa: ARG002 -- the protocol's shape
        """Set the ``authorization`` header; the form gets nothing, not even the ``client_id``."""
        headers["authorization"] = build_basic(self.client_id, self.client_secret)


@dataclass(frozen=True, slots=True, repr=False)
class ClientSecretPost(_ClientSecret):
    """``client_secret_post``: the secret in the request body."""

    def __repr__(self) -> str:
        return f"ClientSecretPost(client_id={self.client_id!r}, client_secret={_HIDDEN})"

    @classmethod
    def from_file(cls, client_id: str, path: Path | str) -> CredentialFromFiles:
        """Return this credential with the secret that is in a file, which may be replaced while it is in use.

        Raises:
            LoginMisconfigured: credential.client_id, credential.client_secret, file.*
        """
        return _from_file(lambda secret: cls(client_id, secret), Path(path))

    def apply(self, form: dict[str, str], headers: dict[str, str], *, issuer: str, now: datetime) -> None:  # noqa: ARG002 -- the protocol's shape
        """Set ``client_id`` and ``client_secret`` in the form."""
        form[names.CLIENT_ID] = self.client_id
        form[names.CLIENT_SECRET] = self.client_secret


def _from_file(build: Callable[[str], ClientCredential], path: Path) -> CredentialFromFiles:
    from watchword.client.credential_file import CredentialFromFiles
    from watchword.client.private_file import OTHERS, read_private_file

    return CredentialFromFiles(lambda: build(read_private_file(path, forbidden=OTHERS).strip()), path)
