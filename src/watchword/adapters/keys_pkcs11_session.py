"""One session on a PKCS #11 token: it finds a key, makes one that cannot leave, and signs. For one thread alone.

The only module that knows the library (``watchword[pkcs11]``). OASIS PKCS #11 2.40 and 3.0.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final, TypeVar

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, MechanismFlag, ObjectClass
from pkcs11.types import SignMixin

from watchword.adapters.keys_pkcs11_public import CURVES, find_algorithm, public_jwk
from watchword.errors import CustodyUnavailable, NoSigningKey
from watchword.protocol import names
from watchword.protocol.client_secret import find_match

Result = TypeVar("Result")

_PREFIX: Final = b"pkcs11:"
_ID_SIZE: Final = 16
_LONGEST_ID: Final = 64
_MOST_FOUND: Final = 64
_RSA_BITS: Final = 2048


@dataclass(frozen=True, slots=True)
class TokenPlace:
    """Which token: the vendor's library, the token's label in it, and the PIN of its user."""

    module: Path
    token: str
    pin: str = field(repr=False)


class SessionLost(Exception):
    """The session is worth nothing any more: the token was taken away, or has forgotten us."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """How an algorithm's keys are made, and how it signs: what it hashes itself, and what the token does."""

    making: Mechanism
    signing: Mechanism
    key: KeyType
    curve: bytes = b""
    digest: Callable[[bytes], bytes] = bytes
    parameter: object = None


def _sha256(message: bytes) -> bytes:
    return hashlib.sha256(message).digest()


def _sha384(message: bytes) -> bytes:
    return hashlib.sha384(message).digest()


_PSS: Final = (Mechanism.SHA256, pkcs11.MGF.SHA256, 32)
_KINDS: Final[Mapping[str, _Kind]] = MappingProxyType(
    {
        names.ES256: _Kind(Mechanism.EC_KEY_PAIR_GEN, Mechanism.ECDSA, KeyType.EC, CURVES[names.ES256], _sha256),
        names.ES384: _Kind(Mechanism.EC_KEY_PAIR_GEN, Mechanism.ECDSA, KeyType.EC, CURVES[names.ES384], _sha384),
        names.ED25519: _Kind(
            Mechanism.EC_EDWARDS_KEY_PAIR_GEN, Mechanism.EDDSA, KeyType.EC_EDWARDS, CURVES[names.ED25519]
        ),
        names.PS256: _Kind(Mechanism.RSA_PKCS_KEY_PAIR_GEN, Mechanism.SHA256_RSA_PKCS_PSS, KeyType.RSA, parameter=_PSS),
        names.RS256: _Kind(Mechanism.RSA_PKCS_KEY_PAIR_GEN, Mechanism.SHA256_RSA_PKCS, KeyType.RSA),
    }
)
_SIGNS_ONLY: Final = MappingProxyType(
    {
        Attribute.SENSITIVE: True,
        Attribute.EXTRACTABLE: False,
        Attribute.PRIVATE: True,
        Attribute.SIGN: True,
        Attribute.SIGN_RECOVER: False,
        Attribute.DECRYPT: False,
        Attribute.UNWRAP: False,
        Attribute.DERIVE: False,
    }
)
"""What a private key may: sign. It cannot be read, wrapped, or be used for anything else."""

_LOST: Final = (
    pkcs11.SessionHandleInvalid,
    pkcs11.SessionClosed,
    pkcs11.UserNotLoggedIn,
    pkcs11.DeviceRemoved,
    pkcs11.DeviceError,
    pkcs11.TokenNotPresent,
    pkcs11.OperationActive,
)
_REFUSED_PIN: Final = (pkcs11.PinIncorrect, pkcs11.PinLocked, pkcs11.PinExpired, pkcs11.PinInvalid, pkcs11.PinLenRange)


class TokenSession:
    """A session of the token's user. Whatever goes wrong with it is ``SessionLost``, or a fault that says what.

    Where the library must be begun anew for the token to be seen, ``leave_all`` is called: no other session is worth anything
    from then on, and its number may be that of this one.

    Raises:
        CustodyUnavailable: custody.unreachable, custody.pin
    """

    def __init__(self, place: TokenPlace, *, leave_all: Callable[[], None], is_forked: bool) -> None:
        self._pin = place.pin
        self._found: dict[bytes, SignMixin] = {}
        try:
            self._library = pkcs11.lib(str(place.module))
            if is_forked:
                self._library.reinitialize()
            self._session = self._find_token(place, leave_all).open(rw=True, user_pin=place.pin)
        except _REFUSED_PIN as error:
            detail = f"the token {place.token!r} does not take this PIN ({type(error).__name__})"
            raise CustodyUnavailable("custody.pin", detail=detail) from None
        except (pkcs11.PKCS11Error, RuntimeError, OSError) as error:
            detail = f"the token {place.token!r} cannot be opened with {place.module}: {type(error).__name__}"
            raise CustodyUnavailable("custody.unreachable", detail=detail) from error

    def _find_token(self, place: TokenPlace, leave_all: Callable[[], None]) -> pkcs11.Token:
        try:
            return self._library.get_token(token_label=place.token)
        except pkcs11.NoSuchToken:
            leave_all()
            self._library.reinitialize()  # some look for tokens only then
            return self._library.get_token(token_label=place.token)

    def takes(self, pin: str) -> bool:
        """Tell whether this is the PIN that opened it."""
        return find_match(pin.encode(), [self._pin.encode()]) is not None

    def close(self) -> None:
        """Leave the token, if it still can be told."""
        try:
            self._session.close()
        except (pkcs11.PKCS11Error, RuntimeError):
            return

    def generate(self, algorithm: str, label: str = "") -> tuple[bytes, Mapping[str, str]]:
        """Make a key in the token, and return what finds it again, and its public half. No other key has its ``label``.

        Raises:
            NoSigningKey: keys.algorithm, keys.label
            CustodyUnavailable: custody.failed
            SessionLost
        """
        kind = _KINDS[algorithm]
        return self._guarded(lambda: self._generate(kind, algorithm, label))

    def find(self, label: str, wanted: str = "") -> tuple[bytes, Mapping[str, str]]:
        """Return what finds the one key of this label, and its public half; ``alg`` in it is ``wanted``, or what fits.

        Raises:
            NoSigningKey: keys.label, keys.algorithm
            CustodyUnavailable: custody.failed
            SessionLost
        """
        return self._guarded(lambda: self._find_labelled(label, wanted))

    def sign(self, reference: bytes, algorithm: str, data: bytes) -> bytes:
        """Sign what ``to_sign`` has made of a message.

        Raises:
            NoSigningKey: keys.reference, keys.gone
            CustodyUnavailable: custody.failed
            SessionLost
        """
        kind = _KINDS[algorithm]
        for _ in range(2):
            key = self._found.get(reference) or self._guarded(lambda: self._find(reference, kind))
            try:
                return self._guarded(partial(_sign, key, kind, data))
            except _Forgotten:
                self._found.pop(reference, None)
        raise _gone(reference)

    def _generate(self, kind: _Kind, algorithm: str, label: str) -> tuple[bytes, Mapping[str, str]]:
        if kind.making not in self._session.token.slot.get_mechanisms():
            raise NoSigningKey("keys.algorithm", detail=f"the token cannot make keys for {algorithm}")
        if label and any(self._session.get_objects({Attribute.CLASS: ObjectClass.PRIVATE_KEY, Attribute.LABEL: label})):
            raise NoSigningKey("keys.label", detail=f"the token has a key {label!r} already")
        identifier = secrets.token_bytes(_ID_SIZE)
        if kind.curve:
            template = {Attribute.EC_PARAMS: kind.curve}
            maker = self._session.create_domain_parameters(kind.key, template, local=True)
            make = maker.generate_keypair
        else:
            make = _rsa_maker(self._session)
        public, private = make(
            mechanism=kind.making,
            id=identifier,
            label=label or f"watchword {algorithm}",
            store=True,
            capabilities=MechanismFlag.SIGN | MechanismFlag.VERIFY,
            private_template=dict(_SIGNS_ONLY),
        )
        if private[Attribute.EXTRACTABLE] or not private[Attribute.SENSITIVE]:
            raise NoSigningKey("keys.extractable", detail="the token makes keys that can leave it")
        jwk = public_jwk(public, algorithm)
        reference = _PREFIX + identifier.hex().encode()
        self._remember(reference, private)
        return reference, jwk

    def _find_labelled(self, label: str, wanted: str) -> tuple[bytes, Mapping[str, str]]:
        try:
            private = self._session.get_key(object_class=ObjectClass.PRIVATE_KEY, label=label)
            public = self._session.get_key(object_class=ObjectClass.PUBLIC_KEY, id=private.id)
        except (pkcs11.NoSuchKey, pkcs11.MultipleObjectsReturned):
            detail = f"the token has not exactly one pair of keys {label!r}, with one CKA_ID for both halves"
            raise NoSigningKey("keys.label", detail=detail) from None
        reference = _PREFIX + private.id.hex().encode()
        self._remember(reference, private)
        return reference, public_jwk(public, find_algorithm(public, wanted))

    def _find(self, reference: bytes, kind: _Kind) -> SignMixin:
        try:
            identifier = bytes.fromhex(reference.removeprefix(_PREFIX).decode("ascii"))
        except ValueError:
            identifier = b""
        if not reference.startswith(_PREFIX) or not 0 < len(identifier) <= _LONGEST_ID:
            raise NoSigningKey("keys.reference", detail="the record does not name a key in a token")
        try:
            key = self._session.get_key(object_class=ObjectClass.PRIVATE_KEY, key_type=kind.key, id=identifier)
        except (pkcs11.NoSuchKey, pkcs11.MultipleObjectsReturned):
            raise _gone(reference) from None
        return self._remember(reference, key)

    def _remember(self, reference: bytes, key: object) -> SignMixin:
        if not isinstance(key, SignMixin):
            raise NoSigningKey("keys.gone", detail="the token has a key of this name that does not sign")
        if len(self._found) >= _MOST_FOUND:
            self._found.clear()
        self._found[reference] = key
        return key

    def _guarded(self, ask: Callable[[], Result]) -> Result:
        try:
            return ask()
        except _LOST as error:
            raise SessionLost(type(error).__name__) from error
        except (pkcs11.KeyHandleInvalid, pkcs11.ObjectHandleInvalid) as error:
            raise _Forgotten from error
        except pkcs11.PKCS11Error as error:
            raise CustodyUnavailable("custody.failed", detail=f"the token says {type(error).__name__}") from error


def _sign(key: SignMixin, kind: _Kind, data: bytes) -> bytes:
    return bytes(key.sign(data, mechanism=kind.signing, mechanism_param=kind.parameter))


class _Forgotten(Exception):
    """The handle of a key is none any more; its key may be there all the same."""


def check_algorithm(algorithm: str) -> None:
    """Return if there is a way to sign so in a token.

    Raises:
        NoSigningKey: keys.algorithm
    """
    if algorithm not in _KINDS:
        raise NoSigningKey("keys.algorithm", detail=f"{algorithm!r} is not supported")


def to_sign(algorithm: str, message: bytes) -> bytes:
    """Return what the token is given of a message: tokens hash for RSA, few do for ECDSA."""
    check_algorithm(algorithm)
    return _KINDS[algorithm].digest(message)


def _rsa_maker(session: pkcs11.Session) -> Callable[..., tuple[pkcs11.PublicKey, pkcs11.PrivateKey]]:
    def make(**how: object) -> tuple[pkcs11.PublicKey, pkcs11.PrivateKey]:
        return session.generate_keypair(KeyType.RSA, _RSA_BITS, **how)

    return make


def _gone(reference: bytes) -> NoSigningKey:
    return NoSigningKey(
        "keys.gone", detail=f"the token has no key {reference[:64]!r}: another token, or it was removed"
    )
