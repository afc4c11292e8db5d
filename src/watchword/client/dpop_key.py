"""The key that an agent's DPoP proofs are made with: for this process alone, or in a file that nobody else can read."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn, Self

from watchword.client.errors import LoginMisconfigured
from watchword.client.private_file import read_private_file
from watchword.protocol import names

if TYPE_CHECKING:
    from datetime import datetime

    from watchword.protocol.held_key import HeldKey

DEFAULT_ALGORITHM: Final = names.ES256


class DPoPKey:
    """A private key for proofs. It does not leave the process: it cannot be pickled, and copies are itself.

    ``DPoPKey.generate()`` makes one that ends with the process: tokens bound to it end with it, too. ``key`` may be one that
    another keeps, with ``is_kept``: whatever has ``algorithm``, ``public_jwk`` and ``sign(message)``.
    """

    __slots__ = ("_key", "is_kept")

    def __init__(self, key: HeldKey, *, is_kept: bool = False) -> None:
        from watchword.protocol.dpop import PROOF_ALGORITHMS

        if key.algorithm not in PROOF_ALGORITHMS:
            detail = f"proofs are signed with one of {', '.join(sorted(PROOF_ALGORITHMS))}"
            raise LoginMisconfigured("dpop.algorithm", detail=detail)
        self._key = key
        self.is_kept: Final = is_kept
        """Whether it is in a file, so that what is bound to it outlives the process."""

    @classmethod
    def generate(cls, algorithm: str = DEFAULT_ALGORITHM) -> Self:
        """Return a new key, kept in memory alone.

        Raises:
            LoginMisconfigured: dpop.algorithm.
        """
        from watchword.protocol.private_keys import generate_private_key
        from watchword.protocol.public_keys import InvalidKey

        try:
            return cls(generate_private_key(algorithm))
        except InvalidKey:
            raise LoginMisconfigured("dpop.algorithm", detail=f"{algorithm!r} is not an algorithm for proofs") from None

    @classmethod
    def from_file(cls, path: str | os.PathLike[str], *, create: bool = False) -> Self:
        """Return the key in a file (PEM or JWK) of mode 0600. With ``create`` one is made there where there is none.

        A P-256 key signs with ES256, P-384 with ES384, Ed25519 with Ed25519, RSA with PS256.

        Raises:
            LoginMisconfigured: dpop.key: no such key is in it; the reasons of ``read_private_file``.
        """
        place = Path(path)
        if create and not place.exists():
            _write_new(place)
        from watchword.protocol.private_keys import read_private_key
        from watchword.protocol.public_keys import InvalidKey

        text = read_private_file(place)
        try:
            return cls(read_private_key(text), is_kept=True)
        except InvalidKey as error:
            detail = f"{place} holds no private key that proofs can be made with ({error.reason})"
        raise LoginMisconfigured("dpop.key", detail=detail)

    @property
    def algorithm(self) -> str:
        """What its proofs are signed with."""
        return self._key.algorithm

    @property
    def jkt(self) -> str:
        """The RFC 7638 thumbprint: what tokens bound to this key have in ``cnf``."""
        from watchword.protocol.public_keys import thumbprint

        return thumbprint({**self._key.public_jwk})  # whatever name a file gives the key

    def prove(
        self,
        *,
        method: str,
        url: str,
        jti: str,
        issued_at: datetime,
        token: str | None = None,
        nonce: str | None = None,
    ) -> str:
        """Return a proof for one request: RFC 9449 §4.2. ``jti`` must be new."""
        from watchword.protocol.dpop import build_proof

        return build_proof(self._key, method=method, url=url, jti=jti, issued_at=issued_at, token=token, nonce=nonce)

    def __repr__(self) -> str:
        return f"DPoPKey(jkt={self.jkt!r}, algorithm={self.algorithm!r})"

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict[int, object]) -> Self:
        return self

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a DPoP key is not pickled: make it, or read it, in the process that uses it")


def find_dpop(environ: Mapping[str, str], otherwise: DPoPKey | None) -> bool | DPoPKey | None:
    """Return what the environment says of DPoP, else what the credential's source does; nothing where neither does.

    Raises:
        LoginMisconfigured: credentials.dpop; the reasons of ``DPoPKey.from_file``.
    """
    word, file = environ.get("WATCHWORD_DPOP", ""), environ.get("WATCHWORD_DPOP_KEY_FILE", "")
    if word not in ("", "on", "off") or (word == "off" and file):
        raise LoginMisconfigured(
            "credentials.dpop", detail="WATCHWORD_DPOP is on or off; off, and WATCHWORD_DPOP_KEY_FILE is not set"
        )
    if file:
        return DPoPKey.from_file(file)
    return otherwise if word == "" or (word == "on" and otherwise) else word == "on"


def _write_new(path: Path) -> None:
    """Make a key and write it, whole or not at all. Where another process was first, its key stays."""
    from watchword.protocol.private_keys import generate_private_key, to_pem

    try:
        _write_whole(path, to_pem(generate_private_key(DEFAULT_ALGORITHM)).encode())
    except FileExistsError:
        return
    except OSError as error:
        raise LoginMisconfigured("file.unwritable", detail=f"{path} cannot be written: {error.strerror}") from None


def _write_whole(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}.{os.urandom(8).hex()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_NOFOLLOW", 0), 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        path.hardlink_to(draft)
    finally:
        draft.unlink(missing_ok=True)
