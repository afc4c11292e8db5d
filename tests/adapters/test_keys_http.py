import asyncio

import pytest

from watchword.adapters.keys_http import Answer, ask
from watchword.errors import CustodyUnavailable
from watchword.ports.http import HttpRequest, HttpResponse, TransportError


class Breaking:
    """A transport that fails with each of these reasons in turn, then answers."""

    def __init__(self, *reasons: str) -> None:
        self.reasons = list(reasons)
        self.asked = 0

    def send(self, request: HttpRequest) -> HttpResponse:
        self.asked += 1
        if self.reasons:
            raise TransportError(self.reasons.pop(0))
        return HttpResponse(status=200, headers={}, body=b"{}")

    async def asend(self, request: HttpRequest) -> HttpResponse:
        return self.send(request)


def asked(transport: Breaking) -> Answer:
    return asyncio.run(ask(transport, "a custody", "POST", "https://keys.example/", {}, {}))


@pytest.mark.parametrize("reason", ["http.connect", "http.protocol"])
def test_a_connection_that_broke_is_followed_by_one_more_attempt(reason: str) -> None:
    transport = Breaking(reason)
    assert (asked(transport).is_good, transport.asked) == (True, 2)


@pytest.mark.parametrize(
    ("reasons", "reason", "attempts"),
    [
        (["http.connect"] * 2, "custody.unreachable", 2),
        (["http.timeout"], "custody.timeout", 1),
        (["http.redirect"], "custody.unreachable", 1),
        (["http.insecure"], "custody.unreachable", 1),
    ],
)
def test_what_stays_broken_has_its_reason(reasons: list[str], reason: str, attempts: int) -> None:
    transport = Breaking(*reasons)
    with pytest.raises(CustodyUnavailable) as caught:
        asked(transport)
    assert (caught.value.reason, transport.asked) == (reason, attempts)
