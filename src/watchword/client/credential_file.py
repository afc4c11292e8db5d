"""A credential from files in which another may be tomorrow: read again when they change, and when the server refuses it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from watchword.client.credentials import ClientCredential, Sealed, ShowsCertificate
from watchword.client.errors import LoginMisconfigured, LoginRefused

if TYPE_CHECKING:
    from watchword.client.cache import Token
    from watchword.client.flow import Flow

Versions = tuple[tuple[int, int, int], ...]

_REFUSED: Final = "invalid_client"


class CredentialFromFiles(Sealed):
    """What ``build`` makes of the files, now. While they cannot be used, what it made of them before.

    Files are looked at whenever a token is asked for at the server, never more often. They stay one client's: a file that
    names another is not followed, nor one that begins to speak of a certificate, which needs a connection of its own.

    Raises:
        LoginMisconfigured: what ``build`` raises, when this is made.
    """

    __slots__ = ("_build", "_kept", "_paths")

    def __init__(self, build: Callable[[], ClientCredential], *paths: Path) -> None:
        self._build = build
        self._paths = paths
        versions = self._look()  # before it is read: what is changed in between is seen the next time
        self._kept: tuple[Versions, ClientCredential] = (versions, build())

    def __repr__(self) -> str:
        return f"CredentialFromFiles({self._kept[1]!r})"

    @property
    def client_id(self) -> str:
        """The name under which the server knows the client."""
        return self._kept[1].client_id

    def apply(self, form: dict[str, str], headers: dict[str, str], *, issuer: str, now: datetime) -> None:
        """Show what is in the files now."""
        self.current().apply(form, headers, issuer=issuer, now=now)

    def hide(self, text: str) -> str:
        """Return the text without anything secret."""
        return self._kept[1].hide(text)

    def current(self) -> ClientCredential:
        """Return what is in the files. A file that is being written is passed over until it can be read."""
        if self._look() != self._kept[0]:
            with suppress(LoginMisconfigured):
                self._read()
        return self._kept[1]

    def after_refusal(self, refused: ClientCredential) -> ClientCredential | None:
        """Return another than the server has refused, if one is there by now.

        Raises:
            LoginMisconfigured: what is there cannot be used, which may well be why.
        """
        self._read()
        found = self._kept[1]
        return None if found == refused else found

    def _read(self) -> None:
        versions, found = self._look(), self._build()
        if found.client_id != self.client_id:
            detail = f"{self._paths[0]} is now that of {found.client_id}: start the program anew to log in as another"
            raise LoginMisconfigured("credential.changed", detail=detail)
        if isinstance(found, ShowsCertificate):
            detail = f"{self._paths[0]} now names a certificate: start the program anew to log in with it"
            raise LoginMisconfigured("credential.changed", detail=detail)
        self._kept = (versions, found)

    def _look(self) -> Versions:
        try:
            found = [path.stat() for path in self._paths]
        except OSError:
            return ()
        return tuple((one.st_mtime_ns, one.st_ino, one.st_size) for one in found)


def ask_with(client: ClientCredential, ask: Callable[[ClientCredential], Flow[Token]]) -> Flow[Token]:
    """Ask with what the client has now; once more where that was refused and its files hold another by then.

    Raises:
        LoginError: those of ``ask``; LoginMisconfigured as ``after_refusal``.
    """
    if not isinstance(client, CredentialFromFiles):
        return (yield from ask(client))
    shown = client.current()
    try:
        return (yield from ask(shown))
    except LoginRefused as refused:
        if refused.error != _REFUSED:
            raise
        another = client.after_refusal(shown)
        if another is None:
            raise
    return (yield from ask(another))
