import pytest
from cryptography import x509
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID

from tests import rule
from watchword.protocol.distinguished_name import InvalidName, name_of, parse_name


def encoded(*sets: list[tuple[x509.ObjectIdentifier, str]]) -> x509.Name:
    """Return a name, outermost set first."""
    return x509.Name(
        [x509.RelativeDistinguishedName([x509.NameAttribute(oid, value) for oid, value in each]) for each in sets]
    )


READER = encoded(
    [(NameOID.COUNTRY_NAME, "DE")], [(NameOID.ORGANIZATION_NAME, "Example, Inc.")], [(NameOID.COMMON_NAME, "Reader")]
)


@pytest.mark.parametrize(
    ("text", "name"),
    [  # RFC 4514 §4
        (
            "UID=jsmith,DC=example,DC=net",
            encoded(
                [(NameOID.DOMAIN_COMPONENT, "net")],
                [(NameOID.DOMAIN_COMPONENT, "example")],
                [(NameOID.USER_ID, "jsmith")],
            ),
        ),
        (
            "OU=Sales+CN=J.  Smith,DC=example,DC=net",
            encoded(
                [(NameOID.DOMAIN_COMPONENT, "net")],
                [(NameOID.DOMAIN_COMPONENT, "example")],
                [(NameOID.COMMON_NAME, "J. Smith"), (NameOID.ORGANIZATIONAL_UNIT_NAME, "Sales")],
            ),
        ),
        (
            r"CN=James \"Jim\" Smith\, III,DC=example,DC=net",
            encoded(
                [(NameOID.DOMAIN_COMPONENT, "net")],
                [(NameOID.DOMAIN_COMPONENT, "example")],
                [(NameOID.COMMON_NAME, 'James "Jim" Smith, III')],
            ),
        ),
        (r"CN=Lu\C4\8Di\C4\87", encoded([(NameOID.COMMON_NAME, "Lu\u010di\u0107")])),
    ],
)
@rule("R8705-2.1-03", "M4")
def test_the_examples_of_the_rfc_are_read(text: str, name: x509.Name) -> None:
    assert parse_name(text) == name_of(name)


@rule("R8705-2.1-03", "M4", "TRAP-18")
@pytest.mark.parametrize(
    "text",
    [
        r"CN=Reader,O=Example\, Inc.,C=DE",
        r"cn=READER,o=example\2C inc.,c=de",
        r"CN = Reader , O = Example\,  Inc. , C = DE",
        r"2.5.4.3=Reader,OID.2.5.4.10=Example\, Inc.,2.5.4.6=DE",
        r"CN=#0c06526561646572,O=Example\, Inc.,C=#13024445",
        r"CN=#1e0c005200650061006400650072,O=Example\, Inc.,C=DE",
        r"CN=\52eader,O=\ Example\, Inc.\ ,C=DE",
        "CN=\uff32eader,O=Example\\, Inc.,C=DE",
    ],
)
def test_one_name_has_many_spellings(text: str) -> None:
    assert parse_name(text) == name_of(READER)


@rule("R8705-2.1-03", "M4", "TRAP-18")
@pytest.mark.parametrize(
    "text",
    [
        r"C=DE,O=Example\, Inc.,CN=Reader",
        r"O=Example\, Inc.,CN=Reader,C=DE",
        r"CN=Reader,O=Example\, Inc.",
        r"CN=Reader+O=Example\, Inc.,C=DE",
        r"CN=Reader,CN=Reader,O=Example\, Inc.,C=DE",
        r"CN=Reader2,O=Example\, Inc.,C=DE",
        r"OU=Reader,O=Example\, Inc.,C=DE",
        r"CN=Read er,O=Example\, Inc.,C=DE",
        "CN=R\u0435ader,O=Example\\, Inc.,C=DE",
        r"CN=\#0c06526561646572,O=Example\, Inc.,C=DE",
    ],
)
def test_another_name_is_another_name(text: str) -> None:
    assert parse_name(text) != name_of(READER)


@rule("M4")
def test_the_kind_of_string_does_not_count() -> None:
    kinds = (_ASN1Type.UTF8String, _ASN1Type.PrintableString, _ASN1Type.BMPString)
    names = [
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Reader", _type=kind)])  # type: ignore[call-arg]  # for tests
        for kind in kinds
    ]
    assert {name_of(one) for one in names} == {parse_name("CN=reader")}


def test_an_attribute_that_nobody_knows_is_compared_exactly() -> None:
    name = encoded([(x509.ObjectIdentifier("1.2.3.4"), "Ab")])
    assert (parse_name("1.2.3.4=Ab") == name_of(name), parse_name("1.2.3.4=ab") == name_of(name)) == (True, False)


@rule("M4")
@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "name.empty"),
        ("CN=a,", "name.empty"),
        (",CN=a", "name.empty"),
        ("CN=a++OU=b", "name.empty"),
        ("reader", "name.syntax"),
        ("CN=a;O=b", "name.syntax"),
        ('CN="a"', "name.syntax"),
        ("CN=a<b", "name.syntax"),
        ("CN=a\\", "name.syntax"),
        ("CN=a\\zz", "name.syntax"),
        ("CN=#0c", "name.syntax"),
        ("CN=#0c05526561646572", "name.syntax"),
        ("CN=#zz", "name.syntax"),
        ("CN=#020101", "name.value"),
        ("CN=", "name.value"),
        ("CN=\\00a", "name.value"),
        ("CN=a\\00.example", "name.value"),
        ("CN=a\u200bb", "name.value"),
        ("CN=a\u00adb", "name.value"),
        ("CN=a\u202eb", "name.value"),
        ("CN=\\ff", "name.value"),
        ("CN=a\nb", "name.value"),
        ("XX=a", "name.type"),
        ("=a", "name.type"),
        ("2.5.04.3=a", "name.type"),
        ("CN=" + "a" * 2048, "name.length"),
    ],
)
def test_what_is_no_comparable_name_is_refused(text: str, reason: str) -> None:
    with pytest.raises(InvalidName) as caught:
        parse_name(text)
    assert caught.value.reason == reason


@rule("M4")
@pytest.mark.parametrize("value", ["reader\0", "rea\u200bder", "reader\u202e"])
def test_a_certificate_whose_name_hides_something_has_none_to_compare(value: str) -> None:
    with pytest.raises(InvalidName) as caught:
        name_of(encoded([(NameOID.COMMON_NAME, value)]))
    assert caught.value.reason == "name.value"
    assert name_of(encoded([(NameOID.COMMON_NAME, "reader")])) == parse_name("CN=reader")
