"""Who answers a challenge with the key of a certificate: the credential whose rule holds for it, if it is valid now."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from watchword.errors import InvalidClient
from watchword.ports.agents import Credential, CredentialKind
from watchword.protocol.certificate import InvalidCertificate
from watchword.protocol.certificate_rule import CertificateRule
from watchword.protocol.public_keys import InvalidKey, PublicKey, import_public_jwk, jwk_of
from watchword.protocol.x5c import parse_x5c
from watchword.server.authentication.challenge import Signer
from watchword.server.certificates import Certificates


class CertificateSigners:
    """Implements ``challenge.CertificateKeys``: the rules are those of mutual TLS, the proof is the signature."""

    def __init__(self, certificates: Certificates) -> None:
        self._certificates = certificates

    def find(
        self, credentials: Sequence[Credential], x5c: Sequence[str], algorithm: str, now: datetime
    ) -> Signer | None:
        """Return the signer. Pins first: they need nobody else's word, so nobody else can spoil them.

        Raises:
            InvalidClient: challenge.key: no certificate, or not one for this algorithm; certificate.*: not valid.
        """
        try:
            leaf, *chain = parse_x5c(x5c)
            certificate = self._certificates.parse(leaf)
            certificate.check_time(now)
            holding = sorted(
                (not rule.is_pin, one.id, one)
                for one in credentials
                if one.kind is CredentialKind.CERTIFICATE
                and one.is_usable(now)
                and (rule := CertificateRule.from_details(one.details)).holds_for(certificate)
            )
            if not holding:
                return None
            needs_authority, _, credential = holding[0]
            if needs_authority:
                self._certificates.check_chain(certificate, tuple(chain), now)
        except InvalidCertificate as error:
            raise InvalidClient(error.reason, detail=error.detail) from error
        except ValueError as error:
            raise InvalidClient("challenge.key", detail=str(error)) from error
        return Signer(credential, _key_of(certificate.parsed.public_key(), algorithm), certificate.thumbprint)


def _key_of(key: object, algorithm: str) -> PublicKey:
    try:
        return import_public_jwk(jwk_of(key), algorithm=algorithm)
    except InvalidKey as error:
        raise InvalidClient("challenge.key", detail=error.reason) from error
