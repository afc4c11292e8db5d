"""The one secret that all others hang on: 32 random bytes, from a file, the environment or systemd, never from the database.

One that replaced another has that one with it: 32 bytes of its own, a nonce of 12, and sealed under the first, by AES-256-GCM,
the key before it, if that replaced one, too, and the very first, of which everything is derived that cannot be made anew.
"""

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
from watchword.protocol.client_secret import find_match

CREDENTIAL_NAME: Final = "watchword-master-key"
"""The file's name in systemd's credentials directory: ``LoadCredential=watchword-master-key:/etc/watchword/master.key``."""

_SIZE: Final = 32
_NONCE_SIZE: Final = 12
_TAG_SIZE: Final = 16
_MOST_BEFORE: Final = 2
_BOUND_TO: Final = b"watchword master keys before"
_LONGEST_TEXT: Final = 256
_MAKE_ONE: Final = "make one with `watchword init`, or restore it from your backup: the database is useless without it"


@dataclass(frozen=True, slots=True, eq=False)
class MasterKey:
    """Gives one key per purpose; shows nothing of itself. ``_later``: those that have replaced the first one, newest first.

    Raises:
        MasterKeyError: master_key.length.
    """

    _secret: bytes = field(repr=False)
    _later: tuple[bytes, ...] = field(default=(), repr=False)

    def __post_init__(self) -> None:
        if any(len(one) != _SIZE for one in (self._secret, *self._later)):
            raise MasterKeyError("master_key.length", detail=f"the master key must have {_SIZE} bytes: {_MAKE_ONE}")

    def __reduce__(self) -> str:
        raise TypeError("a master key is not to be copied or pickled")

    def derive(self, purpose: str) -> bytes:
        """Return the 32 bytes for one purpose, the same after every replacement; those of another tell nothing of them.

        HKDF-SHA-256, RFC 5869.
        """
        return _derive(self._secret, purpose)

    def derive_later(self, purpose: str) -> tuple[bytes, ...]:
        """Return the 32 bytes for one purpose of each key that has replaced the first one, newest first."""
        return tuple(_derive(one, purpose) for one in self._later)

    def replaced(self) -> MasterKey:
        """Return a new key, which has with it what it takes from this one: the first, and the newest."""
        return MasterKey(self._secret, (secrets.token_bytes(_SIZE), *self._later[: _MOST_BEFORE - 1]))

    def comes_of(self, other: MasterKey) -> bool:
        """Tell whether it is the other, or has replaced it: all that is under that one opens with this one, too."""
        mine, newest = (self._secret, *self._later), (*other._later, other._secret)[0]
        return find_match(other._secret, [self._secret]) is not None and find_match(newest, mine) is not None

    def write(self, path: Path) -> None:
        """Write it, durably, to a file that did not exist: mode 0600, base64 text. The file is whole from its first moment.

        Raises:
            MasterKeyError: master_key.exists, master_key.unwritable.
        """
        unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
        try:
            _write(unfinished, self._text())
            os.link(unfinished, path)
            unfinished.unlink()
            _make_durable(path.parent)
        except FileExistsError as error:
            detail = f"{path} exists already, and is never overwritten"
            raise MasterKeyError("master_key.exists", detail=detail) from error
        except OSError as error:
            detail = f"{path} cannot be written: {error.strerror}"
            raise MasterKeyError("master_key.unwritable", detail=detail) from error
        finally:
            unfinished.unlink(missing_ok=True)

    def _text(self) -> bytes:
        if not self._later:
            return base64.b64encode(self._secret) + b"\n"
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        newest, nonce = self._later[0], secrets.token_bytes(_NONCE_SIZE)
        envelope = AESGCM(_derive(newest, "master-key-envelope"))
        before = envelope.encrypt(nonce, b"".join((*self._later[1:], self._secret)), _BOUND_TO)
        return base64.b64encode(newest + nonce + before) + b"\n"


def _derive(secret: bytes, purpose: str) -> bytes:
    from cryptography.hazmat.primitives.hashes import SHA256  # loaded by who needs keys only
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return HKDF(SHA256(), _SIZE, salt=None, info=b"watchword v1 " + purpose.encode()).derive(secret)


def create_master_key(path: Path) -> MasterKey:
    """Make a new key and write it, durably, to a file that did not exist: mode 0600, base64 text.

    Raises:
        MasterKeyError: master_key.exists, master_key.unwritable.
    """
    master = MasterKey(secrets.token_bytes(_SIZE))
    master.write(path)
    return master


def _write(path: Path, text: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(text)
        file.flush()
        os.fsync(descriptor)


def _make_durable(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def load_master_key(path: Path | None, *, value: str | None, credentials_directory: Path | None) -> MasterKey:
    """Return the key from the first source there is: ``value``, systemd's credential, the file at ``path``.

    Raises:
        MasterKeyError: master_key.missing, master_key.encoding, master_key.length, master_key.symlink,
            master_key.not_a_file, master_key.mode, master_key.owner, master_key.unreadable, master_key.altered.
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
        raise MasterKeyError("master_key.encoding", detail=f"{source} is not a master key in base64: {_MAKE_ONE}")
    return MasterKey(secret) if len(secret) == _SIZE else _open(secret, source)


def _open(text: bytes, source: str) -> MasterKey:
    """Return a key that has replaced another, with what it has of those before."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    newest, nonce, sealed = text[:_SIZE], text[_SIZE : _SIZE + _NONCE_SIZE], text[_SIZE + _NONCE_SIZE :]
    if len(sealed) not in {number * _SIZE + _TAG_SIZE for number in range(1, _MOST_BEFORE + 1)}:
        raise MasterKeyError(
            "master_key.length",
            detail=f"{source} is cut short: a master key is 32 bytes, or those and the ones before it: {_MAKE_ONE}",
        )
    try:
        before = AESGCM(_derive(newest, "master-key-envelope")).decrypt(nonce, sealed, _BOUND_TO)
    except InvalidTag as error:
        raise MasterKeyError("master_key.altered", detail=f"{source} was altered: {_MAKE_ONE}") from error
    *between, first = [before[at : at + _SIZE] for at in range(0, len(before), _SIZE)]
    return MasterKey(first, (newest, *between))
