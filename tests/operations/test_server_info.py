import pytest

import watchword
from watchword.operations.server_info import ServerInfo, ShowServer, show_server
from watchword.ports.agents import Role

pytestmark = pytest.mark.anyio


async def test_the_server_says_where_everything_is(scene):
    assert await show_server(scene.context(Role.VIEWER), ShowServer()) == ServerInfo(
        issuer="https://id.example",
        version=watchword.__version__,
        token_endpoint="https://id.example/oauth/token",
        jwks_uri="https://id.example/.well-known/jwks.json",
        metadata_uri="https://id.example/.well-known/oauth-authorization-server",
        actor="operator:viewer",
        role="viewer",
    )


async def test_nobody_is_told(scene):
    assert await scene.refusal(show_server, ShowServer(), None) == "operator.role"
