"""Accepting tokens: verify, say who is calling, answer 401 and 403 as the standards ask.

Every public name is resolved on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from watchword.resource.caller import Caller, current_caller
    from watchword.resource.client_certificate import FromConnection, FromProxy
    from watchword.resource.dpop import DpopRules
    from watchword.resource.guard import Guard
    from watchword.resource.refusal import Refusal, build_refusal
    from watchword.resource.revocation_feed import FeedStatus, RevocationFeed
    from watchword.resource.rules import Rule
    from watchword.resource.status_lists import StatusLists
    from watchword.resource.verifier import Verifier

_HOMES = {
    "Caller": "watchword.resource.caller",
    "DpopRules": "watchword.resource.dpop",
    "FeedStatus": "watchword.resource.revocation_feed",
    "FromConnection": "watchword.resource.client_certificate",
    "FromProxy": "watchword.resource.client_certificate",
    "Guard": "watchword.resource.guard",
    "Refusal": "watchword.resource.refusal",
    "RevocationFeed": "watchword.resource.revocation_feed",
    "Rule": "watchword.resource.rules",
    "StatusLists": "watchword.resource.status_lists",
    "Verifier": "watchword.resource.verifier",
    "build_refusal": "watchword.resource.refusal",
    "current_caller": "watchword.resource.caller",
}

__all__ = [
    "Caller",
    "DpopRules",
    "FeedStatus",
    "FromConnection",
    "FromProxy",
    "Guard",
    "Refusal",
    "RevocationFeed",
    "Rule",
    "StatusLists",
    "Verifier",
    "build_refusal",
    "current_caller",
]


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module 'watchword.resource' has no attribute {name!r}")
    value = getattr(importlib.import_module(home), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
