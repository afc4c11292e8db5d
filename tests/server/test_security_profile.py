from __future__ import annotations

import asyncio

import pytest

from tests import rule
from watchword.errors import BadSettings
from watchword.server.security_profile import DEFAULT, FAPI2, PROFILES, check_resources
from watchword.testing.server import InProcessServer


@rule("FAPI2-AS-04")
def test_a_resource_that_signs_otherwise_is_named_before_serving() -> None:
    server = InProcessServer()
    for number in range(205):
        server.add_resource(f"api-{number:03d}")
    asyncio.run(check_resources(server.store, FAPI2))
    server.add_resource("old-api", signing_algorithm="RS256")
    asyncio.run(check_resources(server.store, DEFAULT))
    with pytest.raises(BadSettings, match="watchword resource update old-api --alg ES256") as caught:
        asyncio.run(check_resources(server.store, FAPI2))
    assert caught.value.reason == "settings.security_profile"


def test_a_profile_is_found_by_its_name() -> None:
    assert {"default": DEFAULT, "fapi2": FAPI2} == PROFILES
