"""The status lists that are published, where there are any."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from watchword.server.signing_keys import SigningKeys
from watchword.server.status_lists import StatusLists, StatusRules
from watchword.server.status_places import StatusPlaces
from watchword.settings import ServerSettings

if TYPE_CHECKING:
    from watchword.compose import Core


def read_status_rules(settings: ServerSettings) -> StatusRules | None:
    """Return the rules of the status lists; nothing where there are none."""
    return StatusRules(ttl=timedelta(seconds=settings.status_list_ttl)) if settings.status_list else None


def build_status_places(core: Core) -> StatusPlaces | None:
    """Return what gives new tokens their places; nothing where there are no lists."""
    return None if core.status_lists is None else StatusPlaces(core.store)


def build_status_lists(core: Core, keys: SigningKeys) -> StatusLists | None:
    """Return the lists; nothing where there are none."""
    rules = core.status_lists
    if rules is None:
        return None
    return StatusLists(core.issuer, core.store, keys, core.signer, core.clock, core.default_algorithm, rules)
