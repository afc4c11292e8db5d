"""What a request says in ``client_assertion``: read once, for all methods that take one. RFC 7521 §4.2."""

from __future__ import annotations

from watchword.errors import InvalidRequest
from watchword.protocol import names
from watchword.protocol.form import Form


def read_assertion(form: Form, assertion_type: str) -> str | None:
    """Return the assertion, if the request brings one of this type.

    Raises:
        InvalidRequest: assertion.incomplete: an assertion without a type, or a type without an assertion.
    """
    assertion, given = form.get(names.CLIENT_ASSERTION), form.get(names.CLIENT_ASSERTION_TYPE)
    if (assertion is None) != (given is None):
        raise InvalidRequest("assertion.incomplete")
    return assertion if given == assertion_type else None
