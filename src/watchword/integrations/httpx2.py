"""``httpx2``: the token on every request, renewed when it is due, and once where the API refuses it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import TYPE_CHECKING

import httpx2

from watchword.client.origins import OriginRule, asks_for_another_token

if TYPE_CHECKING:
    from watchword.client.login import Login, Scope


class BearerAuth(httpx2.Auth):
    """The ``auth=`` of a client or a request, for ``httpx2.Client`` and ``httpx2.AsyncClient`` (on asyncio) alike.

    A request to an origin the token is not for is not sent: ``LoginMisconfigured`` is raised. On a redirect to another
    origin, httpx2 itself leaves the token behind.
    """

    def __init__(self, login: Login, rule: OriginRule, *, scope: Scope = None, resource: str | None = None) -> None:
        self._login = login
        self._rule = rule
        self._scope = scope if scope is None or isinstance(scope, str) else tuple(scope)
        self._resource = resource

    def sync_auth_flow(self, request: httpx2.Request) -> Generator[httpx2.Request, httpx2.Response, None]:
        """Send with a token; send once more with another one where that can help."""
        origin = self._rule.admit(_origin(request))
        token = self._login.token(scope=self._scope, resource=self._resource)
        response = yield _with_token(request, token)
        if self._is_refused(response, origin, token) and _can_be_repeated(request):
            yield _with_token(request, self._login.token(scope=self._scope, resource=self._resource))

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """Send with a token; send once more with another one where that can help."""
        origin = self._rule.admit(_origin(request))
        token = await self._login.atoken(scope=self._scope, resource=self._resource)
        response = yield _with_token(request, token)
        if self._is_refused(response, origin, token) and _can_be_repeated(request):
            yield _with_token(request, await self._login.atoken(scope=self._scope, resource=self._resource))

    def _is_refused(self, response: httpx2.Response, origin: str, token: str) -> bool:
        """Say whether the API itself, not one it redirected to, refused the token; forget the token then."""
        is_refused = _origin(response.request) == origin and asks_for_another_token(
            response.status_code, response.headers.get("www-authenticate")
        )
        if is_refused:
            self._login.invalidate(token)
        return is_refused


def _with_token(request: httpx2.Request, token: str) -> httpx2.Request:
    request.headers["authorization"] = f"Bearer {token}"
    return request


def _origin(request: httpx2.Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc.decode('ascii')}"


def _can_be_repeated(request: httpx2.Request) -> bool:
    """A body that was streamed is gone."""
    try:
        return request.content is not None
    except httpx2.RequestNotRead:
        return False
