"""The one secret that all others hang on: 32 random bytes, from a file, the environment or systemd, never from the database."""

from __future__ import annotations

import base64
import binascii
import os
import secrets
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from watchword.errors import MasterKeyError

CREDENTIAL_NAME: Final = "watchword-master-key"
"""The file's name in systemd's credentials directory: ``LoadCredential=watchword-master-key:/etc/watchword/master.key``."""

_SIZE: Final = 32
_LONGEST_TEXT: Final = 256
_MAKE_ONE: Final = "make one with `watchword init`, or restore it from your backup: the database is useless without it"


@dataclass(frozen=True, slots=True, eq=False)
class MasterKey:
    """Gives one key per purpose; shows nothing of itself.

    Raises:
        MasterKeyError: master_key.length.
    """

    _secret: bytes = field(repr=False)

    def __post_init__(self) -> None:
        if len(self._secret) != _SIZE:
            raise MasterKeyError("master_key.length", detail=f"the master key must have {_SIZE} bytes: {_MAKE_ONE}")

    def __reduce__(self) -> str:
        raise TypeError("a master key is not to be copied or pickled")

    def derive(self, purpose: str) -> bytes:
        """Return the 32 bytes for one purpose; those of another tell nothing of them. HKDF-SHA-256, RFC 5869."""
        from cryptography.hazmat.primitives.hashes import SHA256  # loaded by who needs keys only
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        return HKDF(SHA256(), _SIZE, salt=None, info=b"watchword v1 " + purpose.encode()).derive(self._secret)


def create_master_key(path: Path) -> MasterKey:
    """Make a new key and write it, durably, to a file that did not exist: mode 0600, base64 text.

    Raises:
        MasterKeyError: master_key.exists, master_key.unwritable.
    """
    secret = secrets.token_bytes(_SIZE)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except FileExistsError as error:
        raise MasterKeyError("master_key.exists", detail=f"{path} exists already, and is never overwritten") from error
    except OSError as error:
        raise MasterKeyError("master_key.unwritable", detail=f"{path} cannot be written: {error.strerror}") from error
    try:
        os.write(descriptor, base64.b64encode(secret) + b"\n")
        os.fsync(descriptor)
    except OSError as error:
        path.unlink()
        raise MasterKeyError("master_key.unwritable", detail=f"{path} cannot be written: {error.strerror}") from error
    finally:
        os.close(descriptor)
    return MasterKey(secret)


def load_master_key(path: Path | None, *, value: str | None, credentials_directory: Path | None) -> MasterKey:
    """Return the key from the first source there is: ``value``, systemd's credential, the file at ``path``.

    Raises:
        MasterKeyError: master_key.missing, master_key.encoding, master_key.length, master_key.symlink,
            master_key.not_a_file, master_key.mode, master_key.owner, master_key.unreadable.
    """
    if value is not None:
        return _parse(value, "the setting of the master key")
    if credentials_directory is not None and os.path.lexists(credentials_directory / CREDENTIAL_NAME):
        # systemd guards the directory, and shows the mask of its access list as the mode of the group
        return _load(credentials_directory / CREDENTIAL_NAME, forbidden=0o027)
    if path is None:
        raise MasterKeyError("master_key.missing", detail=f"no master key was given: {_MAKE_ONE}")
    return _load(path, forbidden=0o077)


def _load(path: Path, *, forbidden: int) -> MasterKey:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError as error:
        raise MasterKeyError("master_key.missing", detail=f"{path} does not exist: {_MAKE_ONE}") from error
    except OSError as error:
        if path.is_symlink():
            raise MasterKeyError("master_key.symlink", detail=f"{path} is a symbolic link: name the file") from error
        raise MasterKeyError("master_key.unreadable", detail=f"{path} cannot be read: {error.strerror}") from error
    try:
        _check_guarded(path, os.fstat(descriptor), forbidden)
        text = os.read(descriptor, _LONGEST_TEXT)
    finally:
        os.close(descriptor)
    return _parse(text.decode("ascii", errors="replace"), str(path))


def _check_guarded(path: Path, found: os.stat_result, forbidden: int) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise MasterKeyError("master_key.not_a_file", detail=f"{path} is not a file")
    if found.st_uid not in (0, os.geteuid()):
        raise MasterKeyError(
            "master_key.owner", detail=f"{path} belongs to another user: chown it, or run as its owner"
        )
    if stat.S_IMODE(found.st_mode) & forbidden:
        raise MasterKeyError("master_key.mode", detail=f"{path} is open to other users: chmod 600 {path}")


def _parse(text: str, source: str) -> MasterKey:
    """Return the key that a text spells in canonical base64; the text itself is in no message."""
    text = text.strip()
    try:
        secret = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        secret = b""
    if not secret or base64.b64encode(secret).decode() != text:
        raise MasterKeyError("master_key.encoding", detail=f"{source} is not base64 of {_SIZE} bytes: {_MAKE_ONE}")
    if len(secret) != _SIZE:
        raise MasterKeyError("master_key.length", detail=f"{source} does not hold {_SIZE} bytes: {_MAKE_ONE}")
    return MasterKey(secret)
