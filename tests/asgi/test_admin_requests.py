import pytest
from starlette.requests import Request

from tests import rule
from watchword.asgi.admin_gate import STATE
from watchword.asgi.admin_requests import operation_context
from watchword.errors import Unauthenticated
from watchword.operations.context import ANONYMOUS


@rule("A1", "KF-97")
@pytest.mark.parametrize("state", [{}, {STATE: None}, {STATE: "operator:op-1"}])
def test_a_request_that_did_not_come_through_the_gate_is_nobodys(state):
    with pytest.raises(Unauthenticated):
        operation_context(Request({"type": "http", "state": state}), None)


@rule("A1", "KF-97")
@pytest.mark.anyio
async def test_a_context_without_a_principal_is_nobodys(desk):
    async with desk.client(None, authenticate=nobody) as client:
        assert (await client.get("/agents")).status_code == 401


async def nobody(_authorization):
    return ANONYMOUS
