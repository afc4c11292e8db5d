"""Certificates from files: read, watched, replaced as a whole."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest
import trustme

from tests import rule
from watchword.asgi.tls import Certificate, KeyPair, load_context
from watchword.errors import BadSettings

AUTHORITY = trustme.CA()


@pytest.fixture
def files(tmp_path: Path) -> KeyPair:
    pair = KeyPair(tmp_path / "cert.pem", tmp_path / "key.pem")
    write(pair)
    return pair


def write(pair: KeyPair) -> None:
    made = AUTHORITY.issue_cert("127.0.0.1")
    made.cert_chain_pems[0].write_to_path(pair.certificate)
    made.private_key_pem.write_to_path(pair.private_key)


def shown(certificate: Certificate) -> bytes | None:
    """Return the certificate that a client would get now."""
    trust = ssl.create_default_context()
    AUTHORITY.configure_trust(trust)
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trust.wrap_bio(back, there, server_hostname="127.0.0.1")
    server = certificate.context.wrap_bio(there, back, server_side=True)
    for side in (client, server, client, server):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return client.getpeercert(binary_form=True)


@rule("O10")
def test_new_files_are_for_new_connections(files: KeyPair) -> None:
    certificate = Certificate(files)
    first = shown(certificate)
    write(files)
    assert shown(certificate) == first
    certificate.reload()
    assert shown(certificate) not in (first, None)


@rule("O10")
def test_a_change_is_read_once_it_has_settled(files: KeyPair) -> None:
    certificate = Certificate(files)
    first = certificate.current
    certificate.watch()
    assert certificate.current is first
    write(files)
    certificate.watch()
    assert certificate.current is first
    certificate.watch()
    second = certificate.current
    assert second is not first
    certificate.watch()
    assert certificate.current is second


@rule("O9", "O10")
def test_half_a_change_is_not_taken_and_the_other_half_is(files: KeyPair) -> None:
    certificate = Certificate(files)
    first = shown(certificate)
    made = AUTHORITY.issue_cert("127.0.0.1")
    made.cert_chain_pems[0].write_to_path(files.certificate)
    for _ in range(3):
        certificate.watch()
    assert shown(certificate) == first
    made.private_key_pem.write_to_path(files.private_key)
    for _ in range(2):
        certificate.watch()
    assert shown(certificate) not in (first, None)


@rule("O9")
@pytest.mark.parametrize("spoil", ["missing", "nonsense", "empty", "another key", "passphrase", "directory", "binary"])
def test_files_that_cannot_be_used_are_refused_in_one_sentence(files: KeyPair, spoil: str) -> None:
    if spoil == "missing":
        files.private_key.unlink()
    elif spoil == "another key":
        AUTHORITY.issue_cert("127.0.0.1").private_key_pem.write_to_path(files.private_key)
    elif spoil == "passphrase":
        from cryptography.hazmat.primitives import serialization

        key = serialization.load_pem_private_key(files.private_key.read_bytes(), None)
        sealed = serialization.BestAvailableEncryption(b"secret")
        pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        files.private_key.write_bytes(key.private_bytes(pem, pkcs8, sealed))
    elif spoil == "directory":
        files.certificate.unlink()
        files.certificate.mkdir()
    else:
        files.certificate.write_bytes({"nonsense": b"nonsense\n", "empty": b"", "binary": os.urandom(99)}[spoil])
    with pytest.raises(BadSettings) as caught:
        load_context(files)
    assert caught.value.reason == "listen.certificate"
    assert str(files.certificate) in caught.value.detail
    assert "\n" not in caught.value.detail


def test_no_old_protocol_and_no_renegotiation(files: KeyPair) -> None:
    context = load_context(files)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert context.options & ssl.OP_NO_RENEGOTIATION
