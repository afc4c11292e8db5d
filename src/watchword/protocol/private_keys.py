"""Our own keys: made, kept as PKCS #8 by an adapter, and used to sign. RFC 7518 §6, RFC 5958."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from watchword.protocol import names
from watchword.protocol.algorithms import LEGACY_EDDSA, Sign
from watchword.protocol.public_keys import MIN_RSA_BITS, InvalidKey, PublicKey, find_algorithm, import_public_jwk
from watchword.protocol.strict_json import parse_object

DEFAULT_RSA: Final = names.PS256
"""What an RSA key signs with when nobody says so."""

PrivateKeyObject = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class PrivateKey:
    """A key to sign with, and the one algorithm it signs. It shows its ``kid`` and can be neither copied nor pickled.

    ``public_jwk`` has the public members, ``kid`` (the RFC 7638 thumbprint, unless its owner has named it), ``use`` and
    ``alg``. ``sign`` gives the JWS
    signature of a message (RFC 7518 §3, RFC 8037 §3.1): r||s for ECDSA, made deterministically (RFC 6979).

    Raises:
        InvalidKey: key.algorithm: unknown, or ``key`` is not of its kind.
    """

    algorithm: str
    public_jwk: Mapping[str, str]
    key: PrivateKeyObject
    sign: Sign = field(init=False)

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "sign", find_algorithm(self.algorithm).bind_private(self.key))
        except TypeError as error:
            raise InvalidKey("key.algorithm") from error

    def __repr__(self) -> str:
        return f"PrivateKey(kid={self.kid!r}, algorithm={self.algorithm!r})"

    def __reduce__(self) -> str:
        raise TypeError("a private key is not to be copied or pickled")

    @property
    def kid(self) -> str:
        """What the key is called: its RFC 7638 thumbprint, unless its owner has named it."""
        return self.public_jwk[names.KID]

    def public_key(self) -> PublicKey:
        """Return the half that verifies."""
        return PublicKey(self.kid, self.algorithm, self.public_jwk, self.key.public_key())

    def to_pkcs8(self) -> bytes:
        """Return the key in DER, PKCS #8, not encrypted: for an adapter to seal, at once."""
        from cryptography.hazmat.primitives import serialization  # it loads all of X.509

        return self.key.private_bytes(
            serialization.Encoding.DER, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )

    @classmethod
    def from_pkcs8(cls, der: bytes, algorithm: str) -> PrivateKey:
        """Return the key that ``to_pkcs8`` gave, bound to ``algorithm``.

        Raises:
            InvalidKey: key.encoding, key.algorithm, and whatever ``import_public_jwk`` refuses of its public half.
        """
        from cryptography.exceptions import UnsupportedAlgorithm
        from cryptography.hazmat.primitives import serialization  # it loads all of X.509

        try:
            key = serialization.load_der_private_key(der, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise InvalidKey("key.encoding") from error
        return _wrap(algorithm, key)


def generate_private_key(algorithm: str) -> PrivateKey:
    """Return a new key for ``algorithm``; RSA keys have 2048 bits.

    Raises:
        InvalidKey: key.algorithm: not one of ``ALGORITHMS``.
    """
    return _wrap(algorithm, find_algorithm(algorithm).generate())


def read_private_key(text: str, *, algorithm: str = "") -> PrivateKey:
    """Return the key of a file that an agent keeps: PEM (PKCS #8, PKCS #1, SEC 1), not encrypted, or a private JWK.

    ``algorithm`` is for RSA keys, of which only a JWK says what they are for: ``DEFAULT_RSA`` otherwise. A JWK's ``kid`` names
    the key. RFC 7468, RFC 7517, RFC 5958.

    Raises:
        InvalidKey: key.encoding: neither of them; key.encrypted; key.public: only a public key; key.algorithm, and whatever
            ``import_public_jwk`` refuses.
    """
    if text.lstrip().startswith("{"):
        return _read_jwk(text, algorithm)
    return _bind(_read_pem(text), algorithm)


def to_pem(key: PrivateKey) -> str:
    """Return the key as an agent keeps it in a file: PEM, PKCS #8, not encrypted."""
    from cryptography.hazmat.primitives import serialization  # it loads all of X.509

    return key.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode("ascii")


def _read_pem(text: str) -> object:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import serialization  # it loads all of X.509

    if "PRIVATE KEY-----" not in text and "-----BEGIN " in text:
        raise InvalidKey("key.public")
    try:
        return serialization.load_pem_private_key(text.encode(), password=None)
    except TypeError:
        raise InvalidKey("key.encrypted") from None
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidKey("key.encoding") from None


def _read_jwk(text: str, algorithm: str) -> PrivateKey:
    from joserfc.errors import JoseError
    from joserfc.jwk import import_key

    try:
        jwk = parse_object(text.encode())
        if "d" not in jwk:
            raise InvalidKey("key.public")
        key = import_key({**jwk}).private_key  # type: ignore[dict-item]  # judged by what it makes of it
    except (JoseError, ValueError, TypeError, KeyError, AttributeError):
        raise InvalidKey("key.encoding") from None
    claimed, kid = jwk.get(names.ALG, ""), jwk.get(names.KID, "")
    if not isinstance(claimed, str) or not isinstance(kid, str) or (algorithm and claimed not in ("", algorithm)):
        raise InvalidKey("key.algorithm")
    return _bind(key, names.ED25519 if claimed == LEGACY_EDDSA else claimed or algorithm, kid)


def _bind(key: object, algorithm: str, kid: str = "") -> PrivateKey:
    """Bind a key object to the algorithm that was named, or to the only one that its curve has."""
    if algorithm:
        return _wrap(algorithm, key, kid)
    if isinstance(key, rsa.RSAPrivateKey):
        return _wrap(DEFAULT_RSA, key, kid)
    curve = key.curve.name if isinstance(key, ec.EllipticCurvePrivateKey) else ""
    return _wrap({"secp256r1": names.ES256, "secp384r1": names.ES384}.get(curve, names.ED25519), key, kid)


def _wrap(algorithm: str, key: object, kid: str = "") -> PrivateKey:
    """Bind a key object, after judging its public half as strictly as a stranger's."""
    if not isinstance(key, PrivateKeyObject):
        raise InvalidKey("key.algorithm")
    named = {names.KID: kid} if kid else {}
    public = import_public_jwk({**_public_members(key), **named}, algorithm=algorithm)
    return PrivateKey(algorithm, public.jwk, key)


def _public_members(key: PrivateKeyObject) -> Mapping[str, object]:
    from joserfc.jwk import ECKey, OKPKey, RSAKey

    if isinstance(key, ec.EllipticCurvePrivateKey):
        return ECKey.import_key(key.public_key()).as_dict(private=False)
    if isinstance(key, rsa.RSAPrivateKey):
        if key.key_size < MIN_RSA_BITS:  # joserfc would take it, with a warning
            raise InvalidKey("key.size")
        return RSAKey.import_key(key.public_key()).as_dict(private=False)
    return OKPKey.import_key(key.public_key()).as_dict(private=False)
