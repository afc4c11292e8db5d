import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from tests import rule
from tests.vectors import load
from watchword.protocol.key_strength import (
    has_close_factors,
    has_roca_fingerprint,
    is_small_order_or_no_point,
    is_weak_modulus,
)

P = 2**255 - 19
ORDER_8 = bytes.fromhex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a")
SOUND = int(load("roca")["sound"], 16)
A_PRIME, NEXT_PRIME = 2**1279 - 1, 2**1024 + 643


@rule("KF-40")
def test_a_modulus_of_an_affected_device_is_recognised() -> None:
    vectors = load("roca")
    assert has_roca_fingerprint(int(vectors["vulnerable"], 16))
    assert not has_roca_fingerprint(int(vectors["sound"], 16))


@rule("KF-40")
def test_factors_close_together_are_found() -> None:
    assert has_close_factors(A_PRIME * (A_PRIME + 2**100))
    assert has_close_factors(A_PRIME * A_PRIME)
    assert not has_close_factors(A_PRIME * NEXT_PRIME)


@rule("KF-40")
@pytest.mark.parametrize("factor", [2, 3, 5, 7, 97, 997, 1999])
def test_a_modulus_with_a_small_factor_is_weak(factor: int) -> None:
    assert is_weak_modulus(factor * A_PRIME * NEXT_PRIME)


def test_a_sound_modulus_is_not_weak() -> None:
    assert not is_weak_modulus(A_PRIME * NEXT_PRIME)


@rule("R8037-2-01")
@pytest.mark.parametrize(
    "x",
    [
        bytes(32),
        (1).to_bytes(32, "little"),
        (P - 1).to_bytes(32, "little"),
        ORDER_8,
        (P - int.from_bytes(ORDER_8, "little")).to_bytes(32, "little"),
        P.to_bytes(32, "little"),
        (P + 1).to_bytes(32, "little"),
        (2**255 - 1).to_bytes(32, "little"),
        (2).to_bytes(32, "little"),
    ],
)
@pytest.mark.parametrize("sign", [0, 0x80])
def test_small_order_non_canonical_and_absent_points_are_refused(x: bytes, sign: int) -> None:
    assert is_small_order_or_no_point(x[:31] + bytes([x[31] | sign]))


def test_the_points_of_order_8_are_on_the_curve_and_double_to_order_4() -> None:
    y = int.from_bytes(ORDER_8, "little")
    d = -121665 * pow(121666, -1, P) % P
    assert (d * pow(y, 4, P) + 2 * y * y - 1) % P == 0  # where x**2 + y**2 is 0, the numerator of the doubled point's y


@pytest.mark.parametrize("seed", range(20))
def test_real_keys_are_points(seed: int) -> None:
    assert not is_small_order_or_no_point(
        Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32).public_key().public_bytes_raw()
    )
