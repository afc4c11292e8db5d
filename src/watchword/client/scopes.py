"""The scopes that a caller names, in whatever form."""

from __future__ import annotations

from collections.abc import Iterable

from watchword.client.errors import LoginMisconfigured
from watchword.errors import InvalidScope
from watchword.protocol.scope import check_scope_name

Scope = str | Iterable[str] | None


def parse_scopes(scope: Scope) -> tuple[str, ...]:
    """Return the names, sorted, each once; of one string with spaces, or one by one.

    Raises:
        LoginMisconfigured: scope.syntax.
    """
    names = scope.split() if isinstance(scope, str) else tuple(scope or ())
    for name in names:
        try:
            check_scope_name(name)
        except InvalidScope:
            raise LoginMisconfigured(
                "scope.syntax",
                detail=f"{name!r} is not a scope: printable ASCII without space, quote, backslash; several scopes stand "
                "apart by spaces in one string, or one by one in a list",
            ) from None
    return tuple(sorted(set(names)))
