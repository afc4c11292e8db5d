"""Whether a certificate was given out by an authority that we trust, for a client, and not taken back. RFC 5280 §6.

The path is found and judged by cryptography's verifier. Here is what it leaves to its caller: the purpose must be named, lists
of revoked certificates are asked, and constraints that it does not know are not passed over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from itertools import pairwise
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.x509.verification import Criticality, ExtensionPolicy, Policy, PolicyBuilder, Store, VerificationError

from watchword.errors import WatchwordError
from watchword.protocol.certificate import MALFORMED, MAX_SIZE, ClientCertificate, InvalidCertificate, check_time

MAX_INTERMEDIATES: Final = 6
MAX_DEPTH: Final = 4
"""How many authorities there may be between an anchor and a client."""


class InvalidAuthorities(WatchwordError):
    """What should be trusted cannot be.

    Reasons: authorities.malformed, authorities.empty, authorities.not_authority, authorities.list, authorities.list_signature.
    """


@dataclass(frozen=True, slots=True)
class Trusted:
    """A path that was found. All that it hangs on, the lists of revoked certificates too, holds between these two."""

    not_before: datetime
    not_after: datetime

    def check_time(self, now: datetime) -> None:
        """Return if it still holds.

        Raises:
            InvalidCertificate: certificate.not_yet, certificate.expired
        """
        check_time(self.not_before, self.not_after, now)


@dataclass(frozen=True, slots=True)
class Authorities:
    """Whom we trust to say who a client is. With any list of revoked certificates, each certificate of a path needs one."""

    anchors: tuple[x509.Certificate, ...] = field(default=(), repr=False)
    lists: tuple[x509.CertificateRevocationList, ...] = field(default=(), repr=False)

    def check(self, leaf: ClientCertificate, intermediates: Sequence[bytes], now: datetime) -> Trusted:
        """Return the path from the certificate to an anchor. ``intermediates`` are what the client sent beside it, DER.

        Raises:
            InvalidCertificate: certificate.not_yet, certificate.expired, certificate.usage, certificate.authority,
                certificate.chain, certificate.revoked, certificate.revocation_unknown
        """
        leaf.check_time(now)
        _check_client(leaf.parsed)
        path = self._find_path(leaf.parsed, _load(intermediates), now)
        ends = [one.not_valid_after_utc for one in path]
        if self.lists:
            ends += [self._check_revocation(*pair, now) for pair in pairwise(path)]
        return Trusted(max(one.not_valid_before_utc for one in path), min(ends))

    def _find_path(
        self, leaf: x509.Certificate, intermediates: list[x509.Certificate], now: datetime
    ) -> Sequence[x509.Certificate]:
        if not self.anchors:
            raise InvalidCertificate("certificate.chain", detail="no authority is configured")
        policy = PolicyBuilder().store(Store(list(self.anchors))).time(now).max_chain_depth(MAX_DEPTH)
        verifier = policy.extension_policies(ca_policy=_CA, ee_policy=_CLIENT).build_client_verifier()
        try:
            path = verifier.verify(leaf, intermediates).chain
        except VerificationError as error:
            raise InvalidCertificate("certificate.chain", detail=str(error)[:200]) from None
        if any(_has_directory_constraint(one) for one in path[1:]):
            raise InvalidCertificate("certificate.chain", detail="a constraint on directory names")
        return path

    def _check_revocation(self, certificate: x509.Certificate, issuer: x509.Certificate, now: datetime) -> datetime:
        """Return until when it is known not to be revoked. A list that says it is counts even when it is old."""
        known_until = None
        for one in self.lists:
            if one.issuer != certificate.issuer or not _is_signed_by(one, issuer):
                continue
            if one.get_revoked_certificate_by_serial_number(certificate.serial_number) is not None:
                raise InvalidCertificate("certificate.revoked")
            until = one.next_update_utc
            if until is not None and one.last_update_utc <= now <= until:
                known_until = max(known_until or until, until)
        if known_until is None:
            raise InvalidCertificate("certificate.revocation_unknown")
        return known_until


def parse_authorities(anchors: bytes, lists: bytes | None = None) -> Authorities:
    """Return the authorities in PEM text, every certificate of which is trusted, and their lists of revoked certificates.

    Raises:
        InvalidAuthorities: a part cannot be read, is no authority's, or there is nothing: nobody is trusted by mistake.
    """
    try:
        trusted = x509.load_pem_x509_certificates(anchors)
    except MALFORMED:
        reason = "authorities.malformed" if anchors.strip() else "authorities.empty"
        raise InvalidAuthorities(reason) from None
    for one in trusted:
        _check_authority(one)
    blocks = [] if lists is None else _blocks(lists)
    return Authorities(tuple(trusted), tuple(_parse_list(block, trusted) for block in blocks))


def _check_authority(certificate: x509.Certificate) -> None:
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        constraints = None
    except MALFORMED:
        raise InvalidAuthorities("authorities.malformed") from None
    if constraints is None or not constraints.ca:
        detail = certificate.subject.rfc4514_string()
        raise InvalidAuthorities("authorities.not_authority", detail=detail)


_LIST_BEGINS: Final = b"-----BEGIN X509 CRL-----"
_LIST_ENDS: Final = b"-----END X509 CRL-----"


def _blocks(text: bytes) -> list[bytes]:
    blocks = text.split(_LIST_ENDS)
    if len(blocks) == 1 or blocks[-1].strip():
        raise InvalidAuthorities("authorities.list")
    return [block[max(block.find(_LIST_BEGINS), 0) :] + _LIST_ENDS + b"\n" for block in blocks[:-1]]


def _parse_list(block: bytes, anchors: Sequence[x509.Certificate]) -> x509.CertificateRevocationList:
    """Take a complete list of one authority. Parts of lists, and lists of others' certificates, would be misread."""
    try:
        parsed = x509.load_pem_x509_crl(block)
        kinds = [(one.critical, one.value) for one in parsed.extensions]
    except MALFORMED:
        raise InvalidAuthorities("authorities.list") from None
    partial = (x509.DeltaCRLIndicator, x509.IssuingDistributionPoint)
    if parsed.next_update_utc is None or any(critical or isinstance(value, partial) for critical, value in kinds):
        raise InvalidAuthorities("authorities.list", detail="it is a part of a list, or has no end")
    issuers = [one for one in anchors if one.subject == parsed.issuer]
    if issuers and not any(_is_signed_by(parsed, one) for one in issuers):
        raise InvalidAuthorities("authorities.list_signature")
    return parsed


def _is_signed_by(revoked: x509.CertificateRevocationList, issuer: x509.Certificate) -> bool:
    try:
        usage = issuer.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        usage = None
    if usage is not None and not usage.crl_sign:
        return False
    try:
        return revoked.is_signature_valid(issuer.public_key())  # type: ignore[arg-type]  # others raise
    except (TypeError, UnsupportedAlgorithm):
        return False


def _load(intermediates: Sequence[bytes]) -> list[x509.Certificate]:
    if len(intermediates) > MAX_INTERMEDIATES or any(len(one) > MAX_SIZE for one in intermediates):
        raise InvalidCertificate("certificate.chain", detail="too much beside it")
    try:
        return [x509.load_der_x509_certificate(one) for one in intermediates]
    except MALFORMED:
        raise InvalidCertificate("certificate.chain", detail="what came beside it is malformed") from None


def _check_client(certificate: x509.Certificate) -> None:
    """An authority is no client; and a client's certificate says that it is one: the verifier would take silence for yes."""
    kinds = {type(one.value): one.value for one in certificate.extensions}
    constraints = kinds.get(x509.BasicConstraints)
    if isinstance(constraints, x509.BasicConstraints) and constraints.ca:
        raise InvalidCertificate("certificate.authority")
    if x509.ExtendedKeyUsage not in kinds:
        raise InvalidCertificate("certificate.usage")


def _has_directory_constraint(certificate: x509.Certificate) -> bool:
    for extension in certificate.extensions:
        if isinstance(extension.value, x509.NameConstraints):
            trees = [*(extension.value.permitted_subtrees or ()), *(extension.value.excluded_subtrees or ())]
            return any(isinstance(one, x509.DirectoryName) for one in trees)
    return False


def _may_sign(_policy: Policy, _certificate: x509.Certificate, usage: x509.KeyUsage | None) -> None:
    if usage is not None and not usage.key_cert_sign:
        raise ValueError("an authority that may not sign certificates")


_CA: Final = ExtensionPolicy.webpki_defaults_ca().may_be_present(x509.KeyUsage, Criticality.AGNOSTIC, _may_sign)
"""Private authorities are often made without what the public ones must say of their use."""

_CLIENT: Final = (
    ExtensionPolicy.webpki_defaults_ee()
    .may_be_present(x509.SubjectAlternativeName, Criticality.AGNOSTIC, None)
    .may_be_present(x509.AuthorityKeyIdentifier, Criticality.AGNOSTIC, None)
)
"""A client may have nothing but a subject."""
