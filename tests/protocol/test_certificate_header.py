from base64 import b64encode
from urllib.parse import quote

import pytest

from tests import rule
from watchword.protocol.certificate_header import (
    Dialect,
    InvalidCertificateHeader,
    has_certificate_header,
    read_certificates,
)
from watchword.testing.certificates import Authority

HELD = Authority("Middle", above=Authority()).issue()
LEAF, MIDDLE = HELD.der, HELD.chain_der[0]
PEMS = HELD.pem.decode().split("-----END CERTIFICATE-----\n")
LEAF_PEM, MIDDLE_PEM = (one + "-----END CERTIFICATE-----\n" for one in PEMS[:2])


def sequence(der: bytes) -> bytes:
    return b":" + b64encode(der) + b":"


def escaped(pem: str) -> bytes:
    return quote(pem, safe="").encode()


RFC9440_EXAMPLE = (
    b":MIIBqDCCAU6gAwIBAgIBBzAKBggqhkjOPQQDAjA6MRswGQYDVQQKDBJMZXQncyBBdXRoZW50aWNhdGUxGzAZBgNVBAMMEkxBIEludGVybWVkaWF0ZSBDQ"
    b"TAeFw0yMDAxMTQyMjU1MzNaFw0yMTAxMjMyMjU1MzNaMA0xCzAJBgNVBAMMAkJDMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE8YnXXfaUgmnMtOXU/I"
    b"ncWalRhebrXmckC8vdgJ1p5Be5F/3YC8OthxM4+k1M6aEAEFcGzkJiNy6J84y7uzo9M6NyMHAwCQYDVR0TBAIwADAfBgNVHSMEGDAWgBRm3WjLa38lbEY"
    b"CuiCPct0ZaSED2DAOBgNVHQ8BAf8EBAMCBsAwEwYDVR0lBAwwCgYIKwYBBQUHAwIwHQYDVR0RAQH/BBMwEYEPYmRjQGV4YW1wbGUuY29tMAoGCCqGSM49"
    b"BAMCA0gAMEUCIBHda/r1vaL6G3VliL4/Di6YK0Q6bMjeSkC3dFCOOB8TAiEAx/kHSB4urmiZ0NX5r5XarmPk0wmuydBVoU4hBVZ1yhk=:"
)


@rule("R9440-2-01")
def test_the_example_of_the_rfc_is_read() -> None:
    (der,) = read_certificates([(b"client-cert", RFC9440_EXAMPLE)], Dialect.RFC9440)
    assert (len(der), der[:4]) == (428, b"0\x82\x01\xa8")


@rule("R9440-2-01", "M8")
@pytest.mark.parametrize(
    ("dialect", "headers", "certificates"),
    [
        (Dialect.RFC9440, [], ()),
        (Dialect.RFC9440, [(b"client-cert", sequence(LEAF))], (LEAF,)),
        (
            Dialect.RFC9440,
            [(b"client-cert", sequence(LEAF)), (b"client-cert-chain", sequence(MIDDLE) + b" , " + sequence(LEAF))],
            (LEAF, MIDDLE, LEAF),
        ),
        (Dialect.NGINX, [(b"x-ssl-client-cert", escaped(LEAF_PEM))], (LEAF,)),
        (Dialect.NGINX, [(b"client-cert", sequence(LEAF))], ()),
        (Dialect.ENVOY, [(b"x-forwarded-client-cert", b'Hash=00;Cert="' + escaped(LEAF_PEM) + b'"')], (LEAF,)),
        (
            Dialect.ENVOY,
            [
                (
                    b"x-forwarded-client-cert",
                    b'By=spiffe://a/b;Subject="CN=\\"a\\",O=b";Chain="'
                    + escaped(LEAF_PEM + MIDDLE_PEM)
                    + b'";Cert="'
                    + escaped(LEAF_PEM)
                    + b'";URI=',
                )
            ],
            (LEAF, MIDDLE),
        ),
        (Dialect.ENVOY, [(b"x-forwarded-client-cert", b"By=spiffe://a/b")], ()),
    ],
    ids=[f"case{number}" for number in range(8)],
)
def test_each_dialect_is_read(
    dialect: Dialect, headers: list[tuple[bytes, bytes]], certificates: tuple[bytes, ...]
) -> None:
    assert read_certificates(headers, dialect) == certificates


GOOD = b64encode(LEAF)
XFCC = b'Cert="' + escaped(LEAF_PEM) + b'"'


@rule("R9440-2-01", "R9440-2-02", "M8")
@pytest.mark.parametrize(
    ("dialect", "headers", "reason"),
    [
        ("rfc9440", [(b"client-cert", sequence(LEAF))] * 2, "repeated"),
        ("rfc9440", [(b"client-cert", sequence(LEAF)), (b"client_cert", sequence(LEAF))], "repeated"),
        ("rfc9440", [(b"client-cert-chain", sequence(LEAF))], "chain_alone"),
        ("rfc9440", [(b"client-cert", b"")], "syntax"),
        ("rfc9440", [(b"client-cert", b"::")], "syntax"),
        ("rfc9440", [(b"client-cert", GOOD)], "syntax"),
        ("rfc9440", [(b"client-cert", b":" + GOOD)], "syntax"),
        ("rfc9440", [(b"client-cert", sequence(LEAF) + b";a=1")], "syntax"),
        ("rfc9440", [(b"client-cert", sequence(LEAF) + b"," + sequence(LEAF))], "syntax"),
        ("rfc9440", [(b"client-cert", b":" + GOOD.rstrip(b"=") + b"!:")], "syntax"),
        ("rfc9440", [(b"client-cert", b":" + GOOD + b"====:")], "syntax"),
        ("rfc9440", [(b"client-cert", b":-_-_:")], "syntax"),
        ("rfc9440", [(b"client-cert", escaped(LEAF_PEM))], "syntax"),
        ("rfc9440", [(b"client-cert", LEAF_PEM.encode())], "syntax"),
        ("rfc9440", [(b"client-cert", b":" + b"A" * 65_536 + b":")], "size"),
        (
            "rfc9440",
            [(b"client-cert", sequence(LEAF)), (b"client-cert-chain", b",".join([sequence(LEAF)] * 7))],
            "size",
        ),
        ("nginx", [(b"x-ssl-client-cert", escaped(LEAF_PEM))] * 2, "repeated"),
        ("nginx", [(b"x-ssl-client-cert", sequence(LEAF))], "syntax"),
        ("nginx", [(b"x-ssl-client-cert", escaped(LEAF_PEM + LEAF_PEM))], "syntax"),
        ("nginx", [(b"x-ssl-client-cert", escaped(LEAF_PEM) + b"%")], "syntax"),
        ("nginx", [(b"x-ssl-client-cert", escaped(LEAF_PEM + "rubbish"))], "syntax"),
        ("nginx", [(b"x-ssl-client-cert", b"")], "syntax"),
        ("envoy", [(b"x-forwarded-client-cert", XFCC)] * 2, "repeated"),
        ("envoy", [(b"x-forwarded-client-cert", XFCC + b"," + XFCC)], "repeated"),
        ("envoy", [(b"x-forwarded-client-cert", XFCC + b";" + XFCC)], "repeated"),
        ("envoy", [(b"x-forwarded-client-cert", b"Hash=a,Hash=b")], "repeated"),
        ("envoy", [(b"x-forwarded-client-cert", b'Chain="' + escaped(LEAF_PEM) + b'"')], "chain_alone"),
        ("envoy", [(b"x-forwarded-client-cert", XFCC + b';Chain="' + escaped(MIDDLE_PEM) + b'"')], "syntax"),
        ("envoy", [(b"x-forwarded-client-cert", b'Cert="' + escaped(LEAF_PEM))], "syntax"),
        ("envoy", [(b"x-forwarded-client-cert", sequence(LEAF))], "syntax"),
        ("envoy", [(b"x-forwarded-client-cert", b"")], "syntax"),
    ],
    ids=[f"case{number}" for number in range(31)],
)
def test_what_can_be_meant_in_two_ways_is_refused(
    dialect: str, headers: list[tuple[bytes, bytes]], reason: str
) -> None:
    with pytest.raises(InvalidCertificateHeader) as caught:
        read_certificates(headers, Dialect(dialect))
    assert caught.value.reason == f"certificate_header.{reason}"


@rule("KF-69", "M8")
@pytest.mark.parametrize(
    ("name", "is_one"),
    [
        (b"client-cert", True),
        (b"client_cert", True),
        (b"client-cert_chain", True),
        (b"x-ssl-client-cert", True),
        (b"x_forwarded-client_cert", True),
        (b"x-amzn-mtls-clientcert", True),
        (b"ssl-client-cert", True),
        (b"certificate", False),
        (b"authorization", False),
    ],
)
def test_every_spelling_of_such_a_header_is_seen(name: bytes, is_one: bool) -> None:
    assert has_certificate_header([(b"host", b"a"), (name, b"")]) is is_one
