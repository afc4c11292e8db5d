"""``httpx2``: the token on every request, renewed when it is due, and once where the API refuses it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from typing import TYPE_CHECKING

import httpx2

from watchword.client.origins import OriginRule, asks_for_another_token

if TYPE_CHECKING:
    from watchword.client.login import Login
    from watchword.client.scopes import Scope


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
        """Send with a token; send again, at most once for each, with another token or nonce where that can help."""
        attempts = _Attempts(self._login, self._rule.admit(_origin(request)))
        token = self._login.token(scope=self._scope, resource=self._resource)
        while True:
            response = yield attempts.dress(request, token)
            if not attempts.is_worth_another(request, response, token):
                return
            token = self._login.token(scope=self._scope, resource=self._resource)

    async def async_auth_flow(self, request: httpx2.Request) -> AsyncGenerator[httpx2.Request, httpx2.Response]:
        """Send with a token; send again, at most once for each, with another token or nonce where that can help."""
        attempts = _Attempts(self._login, self._rule.admit(_origin(request)))
        token = await self._login.atoken(scope=self._scope, resource=self._resource)
        while True:
            response = yield attempts.dress(request, token)
            if not attempts.is_worth_another(request, response, token):
                return
            token = await self._login.atoken(scope=self._scope, resource=self._resource)


class _Attempts:
    """The attempts of one request at one origin: a new proof for each, and each remedy tried once."""

    def __init__(self, login: Login, origin: str) -> None:
        self._login = login
        self._origin = origin
        self._tried_nonce = False
        self._tried_token = False

    def dress(self, request: httpx2.Request, token: str) -> httpx2.Request:
        """Give the request the token and, where that is bound to a key, a proof."""
        request.headers.update(self._login.dress(token, request.method, str(request.url)))
        return request

    def is_worth_another(self, request: httpx2.Request, response: httpx2.Response, token: str) -> bool:
        """Say whether the API itself, not one it redirected to, asks for what has not been tried; forget a refused token."""
        if _origin(response.request) != self._origin:
            return False
        wants_nonce = self._login.heed(str(request.url), response.status_code, response.headers)
        if wants_nonce:
            is_new, self._tried_nonce = not self._tried_nonce, True
            return is_new and _can_be_repeated(request)
        scheme = "bearer" if self._login.dpop_key is None else "dpop"
        if not asks_for_another_token(response.status_code, response.headers.get("www-authenticate"), scheme):
            return False
        self._login.invalidate(token)
        is_new, self._tried_token = not self._tried_token, True
        return is_new and _can_be_repeated(request)


def _origin(request: httpx2.Request) -> str:
    return f"{request.url.scheme}://{request.url.netloc.decode('ascii')}"


def _can_be_repeated(request: httpx2.Request) -> bool:
    """A body that was streamed is gone."""
    try:
        return request.content is not None
    except httpx2.RequestNotRead:
        return False
