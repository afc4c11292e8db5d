import ipaddress
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from tests import rule
from watchword.protocol.certificate import InvalidCertificate, parse_certificate
from watchword.protocol.certificate_chain import Authorities, InvalidAuthorities, Trusted, parse_authorities
from watchword.testing.certificates import LIFE, Authority, Held, make, name, new_key, self_signed

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
ROOT = Authority(now=NOW)
MIDDLE = Authority("Test Middle", above=ROOT)


def check(held: Held, authorities: Authorities | None = None, now: datetime = NOW) -> Trusted:
    authorities = parse_authorities(ROOT.pem) if authorities is None else authorities
    return authorities.check(parse_certificate(held.der), held.chain_der, now)


def refusal(held: Held, authorities: Authorities | None = None, now: datetime = NOW) -> str:
    with pytest.raises(InvalidCertificate) as caught:
        check(held, authorities, now)
    return caught.value.reason


@rule("R8705-2.1-01", "KF-99")
def test_a_client_of_the_authority_and_of_one_below_it_is_trusted_while_all_of_them_are_valid() -> None:
    short = Authority("Short", above=ROOT, life=timedelta(days=3))
    assert (check(ROOT.issue()), check(MIDDLE.issue()), check(short.issue())) == (
        Trusted(NOW - timedelta(days=1), NOW + LIFE),
        Trusted(NOW - timedelta(days=1), NOW + LIFE),
        Trusted(NOW - timedelta(days=1), NOW + timedelta(days=3)),
    )


@rule("M10")
def test_what_was_trusted_ends_with_its_time() -> None:
    trusted = check(ROOT.issue())
    trusted.check_time(NOW + LIFE)
    with pytest.raises(InvalidCertificate) as caught:
        trusted.check_time(NOW + LIFE + timedelta(seconds=1))
    assert caught.value.reason == "certificate.expired"


def foreign() -> Held:
    return Authority(now=NOW).issue()  # of the same name, with another key


def without_intermediate() -> Held:
    held = MIDDLE.issue()
    return Held(held.certificate, held.key)


def too_long() -> Held:
    short = Authority("No authorities below", above=ROOT, length=0)
    return Authority("One nevertheless", above=short).issue()


def issued_by_a_client() -> Held:
    client = ROOT.issue("client")
    key = new_key()
    made = make(name("below"), name("client"), client.key, key=key, now=NOW)
    return Held(made, key, (client.certificate,))


@rule("R8705-2.1-01", "M1", "M2", "M3", "KF-66", "KF-67", "KF-68")
@pytest.mark.parametrize(
    ("made", "reason"),
    [
        (foreign, "certificate.chain"),
        (lambda: self_signed(now=NOW), "certificate.authority"),
        (without_intermediate, "certificate.chain"),
        (too_long, "certificate.chain"),
        (issued_by_a_client, "certificate.usage"),
        (lambda: ROOT.issue(usage=None), "certificate.usage"),
        (lambda: ROOT.issue(extensions=[(x509.BasicConstraints(True, None), True)]), "certificate.authority"),
        (lambda: ROOT.issue(life=timedelta(seconds=-1)), "certificate.expired"),
        (lambda: ROOT.issue(age=timedelta(seconds=-1)), "certificate.not_yet"),
        (lambda: Authority("Old", above=ROOT, life=timedelta(seconds=-1)).issue(), "certificate.chain"),
        (
            lambda: ROOT.issue(
                extensions=[(x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\5\0"), True)]
            ),
            "certificate.chain",
        ),
    ],
)
def test_who_has_no_path_to_the_authority_is_refused(made: Callable[[], Held], reason: str) -> None:
    assert refusal(made()) == reason


def constrained(permitted: x509.GeneralName, *names: x509.GeneralName) -> Held:
    constraint = x509.NameConstraints([permitted], None)
    return Authority("Constrained", above=ROOT, constraints=[(constraint, True)]).issue(names=names)


DIRECTORY = x509.DirectoryName(x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Other")]))


@rule("M2", "KF-119")
@pytest.mark.parametrize(
    "held",
    [
        constrained(x509.DNSName("ok.example"), x509.DNSName("bad.example")),
        constrained(x509.DNSName("ok.example"), x509.DNSName("*.example")),
        constrained(x509.RFC822Name("ok.example"), x509.RFC822Name("a@bad.example")),
        constrained(
            x509.IPAddress(ipaddress.ip_network("10.0.0.0/8")), x509.IPAddress(ipaddress.ip_address("11.0.0.1"))
        ),
        constrained(
            x509.UniformResourceIdentifier("ok.example"), x509.UniformResourceIdentifier("https://ok.example/")
        ),
        constrained(DIRECTORY),
    ],
)
def test_an_authority_vouches_only_for_the_names_it_may(held: Held) -> None:
    assert refusal(held) == "certificate.chain"
    check(constrained(x509.DNSName("ok.example"), x509.DNSName("a.ok.example")))


@rule("KF-70", "M12")
def test_without_an_authority_nobody_is_trusted() -> None:
    assert refusal(ROOT.issue(), Authorities()) == "certificate.chain"


def test_more_than_a_few_certificates_beside_it_are_not_looked_at() -> None:
    held = ROOT.issue()
    assert refusal(Held(held.certificate, held.key, (MIDDLE.certificate,) * 7)) == "certificate.chain"


def with_list(text: bytes) -> Authorities:
    return parse_authorities(ROOT.pem, text)


@rule("M1", "KF-64")
def test_a_revoked_certificate_is_refused_also_by_an_old_list() -> None:
    authority = Authority(now=NOW)
    held, other = authority.issue(), authority.issue()
    authority.revoke(held)
    for life in (LIFE, timedelta(seconds=-1)):
        lists = parse_authorities(authority.pem, authority.list_revoked(life=life))
        assert refusal(held, lists) == "certificate.revoked"
    fresh = parse_authorities(authority.pem, authority.list_revoked(life=timedelta(days=2)))
    assert check(other, fresh).not_after == NOW + timedelta(days=2)


@rule("M1", "KF-64")
def test_an_authority_that_was_revoked_vouches_for_nobody() -> None:
    root = Authority(now=NOW)
    middle = Authority("Revoked", above=root)
    held = middle.issue()
    root.revoke(middle)
    assert (
        refusal(held, parse_authorities(root.pem, root.list_revoked() + middle.list_revoked())) == "certificate.revoked"
    )


@rule("M1", "KF-64")
def test_no_list_no_new_list_and_no_list_of_its_own_authority_say_nothing_so_it_is_refused() -> None:
    other, held = Authority("Other", now=NOW), ROOT.issue()
    for text in (ROOT.list_revoked(life=timedelta(seconds=-1)), other.list_revoked()):
        assert refusal(held, with_list(text)) == "certificate.revocation_unknown"
    below = MIDDLE.issue()
    assert refusal(below, with_list(ROOT.list_revoked())) == "certificate.revocation_unknown"
    forged = ROOT.list_revoked() + MIDDLE.list_revoked(signer=new_key())
    assert refusal(below, with_list(forged)) == "certificate.revocation_unknown"
    check(below, with_list(ROOT.list_revoked() + MIDDLE.list_revoked()))


@rule("M12", "KF-64", "KF-70")
@pytest.mark.parametrize(
    ("anchors", "lists", "reason"),
    [
        (b"", None, "authorities.empty"),
        (b" \n", None, "authorities.empty"),
        (b"rubbish", None, "authorities.malformed"),
        (ROOT.pem[:-40], None, "authorities.malformed"),
        (ROOT.pem + ROOT.issue().pem, None, "authorities.not_authority"),
        (ROOT.pem, b"", "authorities.list"),
        (ROOT.pem, b"rubbish", "authorities.list"),
        (ROOT.pem, ROOT.list_revoked()[:-30], "authorities.list"),
        (ROOT.pem, ROOT.list_revoked() + b"rubbish", "authorities.list"),
        (ROOT.pem, ROOT.list_revoked(signer=new_key()), "authorities.list_signature"),
        (ROOT.pem, ROOT.list_revoked(extensions=[(x509.DeltaCRLIndicator(1), True)]), "authorities.list"),
    ],
    ids=(
        "empty",
        "blank",
        "rubbish",
        "cut",
        "client",
        "list_empty",
        "list_rubbish",
        "list_cut",
        "list_more",
        "list_forged",
        "list_part",
    ),
)
def test_what_cannot_be_read_trusts_nobody(anchors: bytes, lists: bytes | None, reason: str) -> None:
    with pytest.raises(InvalidAuthorities) as caught:
        parse_authorities(anchors, lists)
    assert caught.value.reason == reason
    assert len(parse_authorities(ROOT.pem + MIDDLE.pem, ROOT.list_revoked()).anchors) == 2
