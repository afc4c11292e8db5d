"""Public keys that prove nothing: moduli anyone can factor, points that verify anything. ABUSE KF-40, RFC 8037 §2."""

from __future__ import annotations

from math import gcd, isqrt, prod
from typing import Final


def is_weak_modulus(n: int) -> bool:
    """Say whether an RSA modulus is even, has a small factor, two factors close together, or was made by a ROCA device."""
    return gcd(n, _SMALL_PRIMES_PRODUCT) != 1 or has_close_factors(n) or has_roca_fingerprint(n)


def has_close_factors(n: int) -> bool:
    """Say whether Fermat's method factors ``n`` in 100 steps (CVE-2022-26320)."""
    a = isqrt(n - 1) + 1
    return any(isqrt(rest) ** 2 == rest for rest in (b * b - n for b in range(a, a + 100)))


def has_roca_fingerprint(n: int) -> bool:
    """Say whether ``n`` is a power of 65537 modulo every small prime (CVE-2017-15361).

    All moduli of the affected devices are; of others one in 2**27.
    """
    return all(n % prime in powers for prime, powers in _ROCA_GROUPS)


def is_small_order_or_no_point(x: bytes) -> bool:
    """Say whether 32 octets are no canonical point of edwards25519, or one of the eight of small order.

    With a public key of small order there are signatures that verify for many messages (RFC 8032 §5.1.7, §8.4).
    """
    y = int.from_bytes(x, "little") & ((1 << 255) - 1)
    if y >= _P or y in _SMALL_ORDER_Y:
        return True
    numerator, denominator = (y * y - 1) % _P, (_D * y * y + 1) % _P
    x_squared = numerator * pow(denominator, -1, _P) % _P
    return pow(x_squared, (_P - 1) // 2, _P) != 1


def _primes(below: int) -> list[int]:
    return [n for n in range(2, below) if all(n % d for d in range(2, isqrt(n) + 1))]


_SMALL_PRIMES_PRODUCT: Final = prod(_primes(2000))
_ROCA_GROUPS: Final = [(p, frozenset(pow(65537, e, p) for e in range(p))) for p in _primes(168)[1:]]

_P: Final = 2**255 - 19
_D: Final = -121665 * pow(121666, -1, _P) % _P
_ORDER_8_Y: Final = 0x7A03AC9277FDC74EC6CC392CFA53202A0F67100D760B3CBA4FD84D3D706A17C7
_SMALL_ORDER_Y: Final = frozenset({0, 1, _P - 1, _ORDER_8_Y, _P - _ORDER_8_Y})
