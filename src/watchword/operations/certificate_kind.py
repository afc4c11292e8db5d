"""What is stored of a certificate that opens: one rule. RFC 8705 §2.1.2, §2.2."""

from __future__ import annotations

from collections.abc import Mapping

from watchword.errors import Invalid
from watchword.operations.checked import Checked
from watchword.operations.context import OperationContext
from watchword.protocol import names
from watchword.protocol.certificate_rule import CertificateRule, InvalidRule, parse_rule


async def check_certificate(_context: OperationContext, said: Mapping[str, object]) -> Checked:
    """Return the rule as it is stored.

    Raises:
        Invalid: certificate.rule
    """
    try:
        return Checked(parse_rule(said).to_details())
    except InvalidRule as error:
        raise Invalid("certificate.rule", detail=f"{error.detail}.") from error


def opened_by_certificate(details: Mapping[str, object]) -> tuple[str, ...]:
    """Return the methods that a stored rule opens: a pin needs no authority, a name needs one."""
    is_pin = CertificateRule.from_details(details).is_pin
    return (names.SELF_SIGNED_TLS_CLIENT_AUTH,) if is_pin else (names.TLS_CLIENT_AUTH,)
