import ipaddress
from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.x509.oid import NameOID
from joserfc.jwk import ECKey, OKPKey, RSAKey

from tests import rule
from watchword.protocol.certificate import ClientCertificate, parse_certificate
from watchword.protocol.certificate_rule import CertificateRule, InvalidRule, parse_rule, spki_sha256
from watchword.testing.certificates import Authority, Held, Key, name, new_key, self_signed

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
ROOT = Authority(now=NOW)
NAMED = parse_certificate(
    ROOT.issue(
        name((NameOID.ORGANIZATION_NAME, "Example"), "Reader"),
        names=[
            x509.DNSName("Reader.example.com"),
            x509.DNSName("*.wild.example.com"),
            x509.DNSName("dot.example.com."),
            x509.UniformResourceIdentifier("spiffe://example.com/Reader"),
            x509.UniformResourceIdentifier("https://user@example.com/"),
            x509.IPAddress(ipaddress.ip_address("10.1.2.3")),
            x509.IPAddress(ipaddress.ip_address("2001:db8::1")),
            x509.RFC822Name("Agent@Example.com"),
        ],
    ).der
)


@rule("R8705-2.1-03", "M5")
@pytest.mark.parametrize(
    ("kind", "value", "holds"),
    [
        ("subject_dn", "CN=reader,O=example", True),
        ("subject_dn", "CN=reader", False),
        ("subject_dn", "O=example,CN=reader", False),
        ("san_dns", "reader.example.com", True),
        ("san_dns", "READER.example.COM", True),
        ("san_dns", "example.com", False),
        ("san_dns", "x.wild.example.com", False),
        ("san_dns", "dot.example.com", False),
        ("san_uri", "spiffe://example.com/Reader", True),
        ("san_uri", "spiffe://example.com/reader", False),
        ("san_uri", "spiffe://example.com/Reader/", False),
        ("san_uri", "https://example.com/", False),
        ("san_uri", "https://user@example.com/", True),
        ("san_ip", "10.1.2.3", True),
        ("san_ip", "::ffff:10.1.2.3", False),
        ("san_ip", "2001:0db8:0:0::1", True),
        ("san_email", "Agent@example.COM", True),
        ("san_email", "agent@example.com", False),
    ],
)
def test_a_rule_on_a_name_holds_for_that_name_of_that_kind(kind: str, value: str, holds: bool) -> None:
    assert parse_rule({kind: value}).holds_for(NAMED) is holds


@rule("M5", "R8705-2.1-02")
@pytest.mark.parametrize(
    ("details", "reason"),
    [
        ({}, "rule.several"),
        ({"subject_dn": "CN=a", "san_dns": "a"}, "rule.several"),
        ({"san_dns": "a", "x5t#S256": "x"}, "rule.several"),
        ({"issuer_dn": "CN=a"}, "rule.several"),
        ({"san_dns": 1}, "rule.value"),
        ({"san_dns": None}, "rule.value"),
        ({"san_dns": ""}, "rule.value"),
        ({"san_dns": "*.example.com"}, "rule.value"),
        ({"san_dns": "example.com."}, "rule.value"),
        ({"san_dns": "b\u00fccher.example"}, "rule.value"),
        ({"san_uri": "/relative"}, "rule.value"),
        ({"san_uri": "https://a b/"}, "rule.value"),
        ({"san_ip": "10.0.0.0/8"}, "rule.value"),
        ({"san_ip": "example.com"}, "rule.value"),
        ({"san_email": "example.com"}, "rule.value"),
        ({"san_email": "A <a@example.com>"}, "rule.value"),
        ({"subject_dn": "reader"}, "rule.value"),
        ({"x5t#S256": "00:11:22"}, "rule.value"),
        ({"spki_sha256": "A" * 43 + "="}, "rule.value"),
        ({"pem": "rubbish"}, "rule.certificate"),
        ({"pem": ROOT.issue().pem.decode() * 2}, "rule.certificate"),
        ({"pem": self_signed(key=rsa.generate_private_key(65537, 1024)).pem.decode()}, "rule.certificate"),
        ({"jwk": "x"}, "rule.value"),
        ({"jwk": {"kty": "oct", "k": "AA"}}, "rule.value"),
        ({"jwk": ECKey.generate_key("P-256").as_dict(private=True)}, "rule.value"),
    ],
)
def test_a_rule_that_could_mean_more_or_nothing_is_refused(details: dict[str, object], reason: str) -> None:
    with pytest.raises(InvalidRule) as caught:
        parse_rule(details)
    assert caught.value.reason == reason
    assert parse_rule({"san_dns": "a.example"}) == CertificateRule("san_dns", "a.example")


@pytest.mark.parametrize("details", [{"subject_dn": "CN=a"}, {"san_ip": "10.0.0.1"}, {"x5t#S256": "A" * 43}])
def test_a_rule_survives_its_details(details: dict[str, object]) -> None:
    assert CertificateRule.from_details(parse_rule(details).to_details()) == parse_rule(details)


def jwk_of(held: Held) -> dict[str, object]:
    kinds = {rsa.RSAPrivateKey: RSAKey, ed25519.Ed25519PrivateKey: OKPKey}
    kind = next((kind for made, kind in kinds.items() if isinstance(held.key, made)), ECKey)
    return {**kind.import_key(held.key.public_key()).as_dict(private=False)}  # type: ignore[attr-defined]  # each of its key


def taken(held: Held) -> ClientCertificate:
    return parse_certificate(held.der)


@rule("R8705-2.2-01", "M7")
@pytest.mark.parametrize(
    "key", [new_key(), rsa.generate_private_key(65537, 2048), ed25519.Ed25519PrivateKey.generate()]
)
def test_a_pinned_key_may_have_a_new_certificate_and_a_pinned_certificate_may_not(key: Key) -> None:
    first, renewed = self_signed("a", now=NOW, key=key), self_signed("a", now=NOW, key=key)
    by_key, by_certificate = parse_rule({"jwk": jwk_of(first)}), parse_rule({"pem": first.pem.decode()})
    assert by_key == parse_rule({"spki_sha256": spki_sha256(taken(first).spki)})
    assert by_certificate == parse_rule({"x5t#S256": taken(first).thumbprint})
    assert [by_key.holds_for(taken(one)) for one in (first, renewed)] == [True, True]
    assert [by_certificate.holds_for(taken(one)) for one in (first, renewed)] == [True, False]


@rule("R8705-2.2-01", "M7", "KF-67")
def test_the_same_name_with_another_key_is_nobody() -> None:
    first, other = self_signed("a", now=NOW), self_signed("a", now=NOW)
    for details in ({"jwk": jwk_of(first)}, {"pem": first.pem.decode()}):
        assert not parse_rule(details).holds_for(taken(other))


@rule("M7")
def test_the_certificate_in_a_key_counts_and_not_the_key() -> None:
    first, other = self_signed("a", now=NOW), self_signed("b", now=NOW)
    chain = "".join(first.pem.decode().splitlines()[1:-1])
    assert parse_rule({"jwk": {**jwk_of(other), "x5c": [chain]}}) == parse_rule({"pem": first.pem.decode()})
