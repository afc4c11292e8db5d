import pytest

from tests import rule
from watchword.errors import InvalidToken
from watchword.protocol.confirmation import NO_CONFIRMATION, Confirmation, build_cnf, parse_cnf

JKT = "NzbLsXh8uDCcd-6MNwXF4W_7noWXFZAfHkxZsRGC9Xs"
X5T = "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


@pytest.mark.parametrize(
    ("confirmation", "cnf"),
    [
        (Confirmation(jkt=JKT), {"jkt": JKT}),
        (Confirmation(x5t_s256=X5T), {"x5t#S256": X5T}),
        (Confirmation(jkt=JKT, x5t_s256=X5T), {"jkt": JKT, "x5t#S256": X5T}),
    ],
)
def test_a_binding_survives_the_claim(confirmation: Confirmation, cnf: dict[str, str]) -> None:
    assert (build_cnf(confirmation), parse_cnf(cnf), confirmation.is_bound) == (cnf, confirmation, True)


def test_no_binding_has_no_members() -> None:
    assert (build_cnf(NO_CONFIRMATION), NO_CONFIRMATION.is_bound) == ({}, False)


@rule("TRAP-21")
@pytest.mark.parametrize(
    "cnf",
    [
        None,
        {},
        [],
        "jkt",
        JKT,
        1,
        True,
        {"jwk": {}},
        {"kid": "a"},
        {"jkt": JKT, "jwk": {}},
        {"jkt": JKT, "x": None},
        {"x5t": X5T},
        {"x5t#s256": X5T},
        {"jkt": None},
        {"jkt": ""},
        {"jkt": JKT + "="},
        {"jkt": JKT[:-1]},
        {"jkt": JKT[:-1] + "t"},
        {"jkt": JKT + "\n"},
        {"jkt": [JKT]},
        {"x5t#S256": X5T.replace("_", "/")},
        {"x5t#S256": "00" * 32},
    ],
)
def test_a_confirmation_we_cannot_enforce_is_refused(cnf: object) -> None:
    with pytest.raises(InvalidToken) as caught:
        parse_cnf(cnf)
    assert caught.value.reason == "token.confirmation"
