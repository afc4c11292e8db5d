import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from hypothesis import given, settings
from hypothesis import strategies as st

from tests import rule
from tests.vectors import ecdsa_key, key_for, load
from watchword.protocol import names
from watchword.protocol.algorithms import ALGORITHMS, Ecdsa, WrongSignature, _raw_to_der
from watchword.testing.forge_signatures import wrong_signatures_of

MESSAGE = b"header.payload"


@rule("R8725bis-3.2-01")
@pytest.mark.parametrize(
    "vector", load("rfc6979")["vectors"], ids=lambda vector: f"{vector['section']}-{vector['message']}"
)
def test_the_deterministic_signatures_of_rfc_6979(vector: dict[str, str]) -> None:
    signature = ecdsa_key(int(vector["x"], 16), vector["algorithm"]).sign(vector["message"].encode())
    assert signature.hex().upper() == vector["r"] + vector["s"]


@pytest.mark.parametrize("algorithm", names.SIGNING_ALGORITHMS)
def test_what_was_signed_is_verified(algorithm: str) -> None:
    key = key_for(algorithm)
    key.public_key().verify(key.sign(MESSAGE), MESSAGE)


@rule("R9864-2-01", "R8725-3.1-03", "KF-1", "KF-2")
def test_the_table_holds_asymmetric_and_fully_specified_algorithms_only() -> None:
    assert set(ALGORITHMS) == {"ES256", "ES384", "Ed25519", "PS256", "RS256"}


@pytest.mark.parametrize("algorithm", ["ES256", "ES384"])
def test_raw_signatures_are_those_of_the_library_also_with_leading_zeros(algorithm: str) -> None:
    key = key_for(algorithm)
    row = ALGORITHMS[algorithm]
    curve_key = key.key
    assert isinstance(curve_key, ec.EllipticCurvePrivateKey)
    scheme = ec.ECDSA(row.digest, deterministic_signing=True)  # type: ignore[attr-defined]  # the row is Ecdsa
    leading_zeros = 0
    for number in range(1200):
        message = str(number).encode()
        r, s = decode_dss_signature(curve_key.sign(message, scheme))
        signature = key.sign(message)
        half = len(signature) // 2
        assert (int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big")) == (r, s)
        assert half == (curve_key.key_size + 7) // 8
        leading_zeros += signature[0] == 0 or signature[half] == 0
    assert leading_zeros


@rule("R7518-3-02", "R8037-2-01", "KF-23", "KF-24", "KF-25", "J16", "TRAP-16")
@pytest.mark.parametrize("algorithm", names.SIGNING_ALGORITHMS)
def test_signatures_of_a_wrong_length_range_form_or_key_are_refused(algorithm: str) -> None:
    key = key_for(algorithm)
    verify = key.public_key().verify
    for signature in wrong_signatures_of(key, MESSAGE).values():
        with pytest.raises(WrongSignature):
            verify(signature, MESSAGE)
    verify(key.sign(MESSAGE), MESSAGE)


@rule("R7518-3-02", "KF-23")
@pytest.mark.parametrize("r_and_s", [(0, 1), (1, 0), (0, 0)])
def test_impossible_values_never_reach_the_curve(r_and_s: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> bytes:
        raise AssertionError("the curve was asked")

    verify = key_for("ES256").public_key().verify
    monkeypatch.setattr("watchword.protocol.algorithms._raw_to_der", never)
    with pytest.raises(WrongSignature):
        verify(b"".join(value.to_bytes(32, "big") for value in r_and_s), MESSAGE)


@pytest.mark.parametrize("size", [32, 48])
@given(data=st.data())
@settings(max_examples=200)
def test_der_is_spelt_as_the_library_spells_it(size: int, data: st.DataObject) -> None:
    edges = [1, 0x7F, 0x80, 0xFF, 0x100, 2 ** (8 * size - 1) - 1, 2 ** (8 * size - 1), 2 ** (8 * size) - 1]
    number = st.sampled_from(edges) | st.integers(1, 2 ** (8 * size) - 1)
    r, s = data.draw(number), data.draw(number)
    assert _raw_to_der(r.to_bytes(size, "big"), s.to_bytes(size, "big")) == encode_dss_signature(r, s)


@rule("R7518-3-02", "KF-23")
@pytest.mark.parametrize("algorithm", ["ES256", "ES384"])
def test_the_order_of_the_curve_is_the_first_value_that_never_reaches_it(
    algorithm: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[bytes, bytes]] = []
    row = ALGORITHMS[algorithm]
    assert isinstance(row, Ecdsa)
    verify = key_for(algorithm).public_key().verify

    def note(r: bytes, s: bytes) -> bytes:
        asked.append((r, s))
        return b""

    monkeypatch.setattr("watchword.protocol.algorithms._raw_to_der", note)
    size = (row.order.bit_length() + 7) // 8
    one, last, order = (value.to_bytes(size, "big") for value in (1, row.order - 1, row.order))
    for r, s in ((one, order), (order, one), (last, order), (b"\xff" * size, one), (one, one), (last, last)):
        with pytest.raises(WrongSignature):
            verify(r + s, MESSAGE)
    assert asked == [(one, one), (last, last)]


@rule("R7518-3-02", "KF-25")
@pytest.mark.parametrize("algorithm", ["ES256", "ES384"])
def test_a_leading_zero_of_s_is_not_left_out(algorithm: str) -> None:
    key = key_for(algorithm)
    messages = (str(number).encode() for number in range(10_000))
    message, signature = next((one, made) for one in messages if (made := key.sign(one))[len(made) // 2] == 0)
    half = len(signature) // 2
    with pytest.raises(WrongSignature):
        key.public_key().verify(signature[:half] + signature[half + 1 :], message)
    key.public_key().verify(signature, message)


@rule("R7518-3-03", "R8725-3.1-02", "KF-38")
@pytest.mark.parametrize("algorithm", names.SIGNING_ALGORITHMS)
def test_a_key_of_another_kind_is_not_bound(algorithm: str) -> None:
    row = ALGORITHMS[algorithm]
    strangers = [
        key_for(other).key
        for other in names.SIGNING_ALGORITHMS
        if ALGORITHMS[other].kty != row.kty or ALGORITHMS[other].crv != row.crv
    ]
    for stranger in (
        *strangers,
        ec.generate_private_key(ec.SECP256K1()),
        None,
        b"",
        "",
        0,
        False,
        [],
        {},
        b"-----BEGIN PUBLIC KEY-----",
    ):
        with pytest.raises(TypeError):
            row.bind_private(stranger)
        with pytest.raises(TypeError):
            row.bind_public(getattr(stranger, "public_key", lambda key=stranger: key)())


def test_a_generated_rsa_key_has_2048_bits_and_the_usual_exponent() -> None:
    key = ALGORITHMS["RS256"].generate()
    assert isinstance(key, rsa.RSAPrivateKey)
    assert (key.key_size, key.public_key().public_numbers().e) == (2048, 65537)
