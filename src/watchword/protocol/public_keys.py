"""Public keys, taken in from JWKs as strictly as if every one came from an enemy. RFC 7517, RFC 7518 §6, RFC 7638, RFC 8037.

A key is bound to one algorithm when it is taken in, and never used with another (RFC 8725 §3.1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from watchword.errors import WatchwordError
from watchword.protocol import names
from watchword.protocol.algorithms import ALGORITHMS, LEGACY_EDDSA, Algorithm, Verify
from watchword.protocol.base64url import b64url_decode
from watchword.protocol.key_strength import is_small_order_or_no_point, is_weak_modulus

PRIVATE_MEMBERS: Final = frozenset({"d", "p", "q", "dp", "dq", "qi", "oth", "k", "priv"})
THUMBPRINT_MEMBERS: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "RSA": ("e", "kty", "n"),
        "EC": ("crv", "kty", "x", "y"),
        "OKP": ("crv", "kty", "x"),
        "AKP": ("alg", "kty", "pub"),  # RFC 9964
    }
)
MIN_RSA_BITS: Final = 2048
MAX_RSA_BITS: Final = 4096
_MAX_MODULUS_TEXT: Final = (MAX_RSA_BITS // 8 * 4 + 2) // 3  # characters of base64url; longer ones are not even decoded


class InvalidKey(WatchwordError):
    """A key is refused: malformed, private where it must be public, of a kind we do not use, or worth nothing."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A key to verify with, and the one algorithm it verifies. ``jwk`` has its public members, ``kid``, ``use``, ``alg``.

    Raises:
        InvalidKey: key.algorithm: unknown, or ``key`` is not of its kind.
    """

    kid: str
    algorithm: str
    jwk: Mapping[str, str] = field(repr=False)
    key: object = field(repr=False, compare=False)
    verify: Verify = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            object.__setattr__(self, "verify", find_algorithm(self.algorithm).bind_public(self.key))
        except TypeError as error:
            raise InvalidKey("key.algorithm") from error


def find_algorithm(name: object) -> Algorithm:
    """Return the row of ``ALGORITHMS`` with this name.

    Raises:
        InvalidKey: key.algorithm: there is none.
    """
    row = ALGORITHMS.get(name) if isinstance(name, str) else None
    if row is None:
        raise InvalidKey("key.algorithm")
    return row


def thumbprint(jwk: Mapping[str, object]) -> str:
    """Return the RFC 7638 SHA-256 thumbprint, base64url: of the required public members, whatever else there is.

    Raises:
        InvalidKey: key.type: a ``kty`` without a rule; key.members: a required member is missing or no string.
    """
    from joserfc import jwk as jose  # it loads all of X.509

    return jose.thumbprint(dict(_required_members(jwk)))


def import_public_jwk(jwk: Mapping[str, object], *, algorithm: str | None = None) -> PublicKey:
    """Return the public key of a JWK, bound to ``algorithm``, or to what its ``alg`` or its curve says.

    ``algorithm`` is what the caller has registered: a JWK that says otherwise is refused. An RSA key that says nothing
    needs it. The legacy ``EdDSA`` on an Ed25519 key means ``Ed25519`` (RFC 9864). Without a ``kid`` the key gets its
    thumbprint. RFC 7517 §4, RFC 7518 §6, RFC 8037 §2.

    Raises:
        InvalidKey: key.private, key.type, key.use, key.kid, key.algorithm, key.curve, key.members, key.encoding,
            key.point, key.exponent, key.size, key.weak.
    """
    if not PRIVATE_MEMBERS.isdisjoint(jwk):
        raise InvalidKey("key.private")
    kty = jwk.get("kty")
    if not isinstance(kty, str) or kty not in _IMPORTS:
        raise InvalidKey("key.type")
    _check_use(jwk)
    row = _choose_algorithm(jwk, kty, algorithm)
    members = _required_members(jwk)
    key = _IMPORTS[row.kty](members)
    kid = jwk[names.KID] if names.KID in jwk else thumbprint(members)
    if not isinstance(kid, str) or not kid:
        raise InvalidKey("key.kid")
    return PublicKey(kid, row.name, MappingProxyType({**members, "kid": kid, "use": "sig", "alg": row.name}), key)


def jwk_of_pem(text: str) -> Mapping[str, object]:
    """Return the public JWK of a key in PEM (RFC 7468 §13), for ``import_public_jwk`` to judge.

    Raises:
        InvalidKey: key.encoding; key.private: it is the private half; key.type: of a kind that is not used here.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    if "PRIVATE KEY" in text:
        raise InvalidKey("key.private")
    try:
        key = load_pem_public_key(text.encode())
    except (ValueError, UnsupportedAlgorithm):
        raise InvalidKey("key.encoding") from None
    return jwk_of(key)


def jwk_of(key: object) -> Mapping[str, object]:
    """Return the public JWK of a key object, for ``import_public_jwk`` to judge.

    Raises:
        InvalidKey: key.type: of a kind that is not used here.
    """
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
    from joserfc.jwk import ECKey, OKPKey, RSAKey

    if isinstance(key, ec.EllipticCurvePublicKey) and key.curve.name in ("secp256r1", "secp384r1"):
        return ECKey.import_key(key).as_dict(private=False)
    if isinstance(key, rsa.RSAPublicKey):
        return RSAKey.import_key(key).as_dict(private=False)
    if isinstance(key, ed25519.Ed25519PublicKey):
        return OKPKey.import_key(key).as_dict(private=False)
    raise InvalidKey("key.type")


def _required_members(jwk: Mapping[str, object]) -> dict[str, str]:
    kty = jwk.get("kty")
    if not isinstance(kty, str) or kty not in THUMBPRINT_MEMBERS:
        raise InvalidKey("key.type")
    members = {name: jwk.get(name) for name in THUMBPRINT_MEMBERS[kty]}
    texts = {name: value for name, value in members.items() if isinstance(value, str)}
    if texts != members:
        raise InvalidKey("key.members", detail=", ".join(sorted(members.keys() - texts.keys())))
    return texts


def _check_use(jwk: Mapping[str, object]) -> None:
    """RFC 7517 §4.2 and §4.3: a key for encryption, or one that may not verify, verifies nothing."""
    operations = jwk.get("key_ops", ["verify"])
    if jwk.get("use", "sig") != "sig" or not isinstance(operations, list) or "verify" not in operations:
        raise InvalidKey("key.use")


def _choose_algorithm(jwk: Mapping[str, object], kty: str, registered: str | None) -> Algorithm:
    """The registered algorithm, else the JWK's own, else the curve's only one; they must not contradict each other."""
    crv = "" if kty == "RSA" else jwk.get("crv")
    fitting = [row.name for row in ALGORITHMS.values() if (row.kty, row.crv) == (kty, crv)]
    if not fitting:
        raise InvalidKey("key.curve")
    claimed = jwk.get(names.ALG)
    if claimed == LEGACY_EDDSA and names.ED25519 in fitting:
        claimed = names.ED25519
    chosen = registered or claimed or (fitting[0] if len(fitting) == 1 else None)
    if chosen not in fitting or (claimed is not None and claimed != chosen):
        raise InvalidKey("key.algorithm")
    return find_algorithm(chosen)


def _octets(text: str) -> bytes:
    try:
        return b64url_decode(text.encode("ascii"))
    except ValueError:
        raise InvalidKey("key.encoding") from None


def _import_ec(members: dict[str, str]) -> object:
    """RFC 7518 §6.2.1: both coordinates in full length, and the point on the curve."""
    from joserfc.jwk import ECKey

    size = {"P-256": 32, "P-384": 48}[members["crv"]]
    if any(len(_octets(members[name])) != size for name in ("x", "y")):
        raise InvalidKey("key.point")
    try:
        return ECKey.import_key({**members}).public_key
    except ValueError:
        raise InvalidKey("key.point") from None


def _import_okp(members: dict[str, str]) -> object:
    """RFC 8037 §2: 32 octets; and a point that is worth signing for."""
    from joserfc.jwk import OKPKey

    x = _octets(members["x"])
    if len(x) != 32 or is_small_order_or_no_point(x):
        raise InvalidKey("key.point")
    return OKPKey.import_key({**members}).public_key


def _import_rsa(members: dict[str, str]) -> object:
    """RFC 7518 §6.3.1: 2048 to 4096 bits without leading zeros, exponent 65537, and not a modulus known to be weak."""
    from joserfc.jwk import RSAKey

    if members["e"] != "AQAB":
        raise InvalidKey("key.exponent")
    if len(members["n"]) > _MAX_MODULUS_TEXT:
        raise InvalidKey("key.size")
    octets = _octets(members["n"])
    if octets[:1] == b"\0":
        raise InvalidKey("key.encoding")
    modulus = int.from_bytes(octets, "big")
    if modulus.bit_length() < MIN_RSA_BITS:
        raise InvalidKey("key.size")
    if is_weak_modulus(modulus):
        raise InvalidKey("key.weak")
    return RSAKey.import_key({**members}).public_key


_IMPORTS: Final[Mapping[str, Callable[[dict[str, str]], object]]] = MappingProxyType(
    {"EC": _import_ec, "OKP": _import_okp, "RSA": _import_rsa}
)
