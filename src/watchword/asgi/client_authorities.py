"""The authorities of clients' certificates and their lists of revoked ones, from PEM files that may be renewed."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from watchword.asgi.watched_files import WatchedFiles
from watchword.errors import BadSettings
from watchword.protocol.certificate_chain import Authorities, InvalidAuthorities, parse_authorities

_WORDS: Final = {
    "authorities.empty": "there is no certificate in {anchors}",
    "authorities.malformed": "{anchors} is not PEM",
    "authorities.not_authority": "a certificate in {anchors} is no authority's",
    "authorities.list": "{lists} has something else than complete lists of revoked certificates, PEM",
    "authorities.list_signature": "a list in {lists} was not signed by the authority it names",
}


class ClientAuthorities(WatchedFiles[Authorities]):
    """Whom the server trusts to say who a client is, as it was last read without fault."""

    def __init__(self, anchors: Path, lists: Path | None) -> None:
        """Read the files: nobody is trusted by mistake, nor is what was revoked.

        Raises:
            BadSettings: listen.client_ca
        """
        self._anchors, self._lists = anchors, lists
        super().__init__(anchors, *([lists] if lists else []))

    def _read(self) -> Authorities:
        try:
            lists = self._lists.read_bytes() if self._lists else None
            return parse_authorities(self._anchors.read_bytes(), lists)
        except OSError as error:
            detail = f"{error.filename} cannot be read: {error.strerror}"
            raise BadSettings("listen.client_ca", detail=detail) from error
        except InvalidAuthorities as error:
            words = _WORDS[error.reason].format(anchors=self._anchors, lists=self._lists)
            detail = f"{words}: {error.detail}" if error.detail else words
            raise BadSettings("listen.client_ca", detail=detail) from error
