"""Calls the admin API: over HTTP at a URL, or the very same application in this process on a local store."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final
from urllib.parse import quote, urlsplit

import httpx2

from watchword.cli.exits import CommandError, ExitCode, code_of_status, usage
from watchword.cli.output import Document, documents
from watchword.cli.session import check_store
from watchword.protocol import names

_TIMEOUT: Final = httpx2.Timeout(30.0, connect=5.0)
_PAGE: Final = 100
_LOCAL_BASE: Final = "http://localhost"


class AdminClient:
    """One operator's session with the admin API. Every refusal becomes a ``CommandError`` with the server's own sentence."""

    def __init__(self, client: httpx2.AsyncClient, *, place: str) -> None:
        self._client = client
        self._place = place

    async def get(self, *path: str, query: Mapping[str, str] | None = None) -> Document:
        """Return one object."""
        return _document(await self._send("GET", path, query=query))

    async def post(self, *path: str, body: Document | None = None) -> Document:
        """Create something, or act on it, and return what came of it."""
        return _document(await self._send("POST", path, body=body or {}))

    async def patch(self, *path: str, body: Document, version: object) -> Document:
        """Change an object, unless somebody has changed it since ``version`` was read."""
        return _document(await self._send("PATCH", path, body=body, headers={"if-match": f'"{version}"'}))

    async def delete(self, *path: str, query: Mapping[str, str] | None = None) -> Document:
        """Delete an object and return it, where the server does."""
        return _document(await self._send("DELETE", path, query=query))

    async def pages(self, *path: str, query: Mapping[str, str] | None = None) -> Sequence[Document]:
        """Return all objects of a list, page after page."""
        items: list[Document] = []
        wanted = {"limit": str(_PAGE), **(query or {})}
        while True:
            page = await self.get(*path, query=wanted)
            items.extend(documents(page))
            cursor = page.get("next_cursor")
            if not cursor:
                return items
            wanted["cursor"] = str(cursor)

    async def lines(self, *path: str) -> AsyncIterator[str]:
        """Give the lines of an export as they arrive."""
        try:
            async with self._client.stream("GET", _join(path)) as response:
                if not response.is_success:
                    await response.aread()
                    raise _refusal(response, self._place)
                async for line in response.aiter_lines():
                    yield line
        except httpx2.RequestError as error:
            raise _unreachable(error, self._place) from error

    async def _send(
        self,
        method: str,
        path: Sequence[str],
        *,
        query: Mapping[str, str] | None = None,
        body: Document | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx2.Response:
        content = None if body is None else json.dumps(body).encode()
        sent = {**(headers or {}), **({} if content is None else {"content-type": "application/json"})}
        try:
            response = await self._client.request(method, _join(path), params=query, content=content, headers=sent)
        except httpx2.RequestError as error:
            raise _unreachable(error, self._place) from error
        if not response.is_success:
            raise _refusal(response, self._place)
        return response


@asynccontextmanager
async def open_remote(url: str, token: str) -> AsyncIterator[AdminClient]:
    """Give the admin API of a server as the operator whose credential this is."""
    base = url.rstrip("/")
    is_local = urlsplit(base).hostname in {"127.0.0.1", "::1", "localhost"}
    headers = {"authorization": f"Bearer {token}", "accept": "application/json"}
    async with httpx2.AsyncClient(
        base_url=base + names.PATH_ADMIN, headers=headers, timeout=_TIMEOUT, trust_env=not is_local
    ) as client:
        yield AdminClient(client, place=base)


@asynccontextmanager
async def open_local(data: Path) -> AsyncIterator[AdminClient]:
    """Give the admin API on a local store, in this process, as the user who runs it.

    Raises:
        CommandError: there is no store.
        BadSettings, MasterKeyError, StoreUnavailable: it cannot be opened.
    """
    from watchword.compose import open_local_admin

    check_store(data)
    async with (
        open_local_admin(data) as app,
        httpx2.AsyncClient(transport=httpx2.ASGITransport(app=app), base_url=_LOCAL_BASE + names.PATH_ADMIN) as client,
    ):
        yield AdminClient(client, place=str(data))


def _join(path: Sequence[str]) -> str:
    for segment in path:
        if segment in {"", ".", ".."}:
            raise usage("A name is empty or made of dots: write the name or the identifier of the object.")
        if not segment.isprintable():  # lone surrogates too, which stand for bytes that are no UTF-8
            raise usage("A name has characters that no name has: write the name or the identifier of the object.")
    return "/" + "/".join(quote(segment, safe="") for segment in path)


def _document(response: httpx2.Response) -> Document:
    if not response.content:
        return {}
    try:
        value = response.json()
    except ValueError:
        value = None
    if not isinstance(value, dict):
        sentence = (
            "The answer is not one of a watchword admin API: check the URL, and what stands in front of the server."
        )
        raise CommandError(ExitCode.ERROR, sentence, reason="cli.answer")
    return value


def _unreachable(error: httpx2.RequestError, place: str) -> CommandError:
    sentence = f"{place} cannot be reached ({str(error) or type(error).__name__}): is the server running, and is the URL right?"
    return CommandError(ExitCode.UNREACHABLE, sentence, reason="cli.unreachable")


def _refusal(response: httpx2.Response, place: str) -> CommandError:
    """Return the server's problem document (RFC 9457) as an error of this command.

    What somebody else answers in its place tells of itself, not of the object: its 404 is no missing agent.
    """
    code = code_of_status(response.status_code)
    try:
        problem = response.json()
    except ValueError:
        problem = None
    if not isinstance(problem, dict) or "title" not in problem:
        sentence = f"{place} answered {response.status_code} and is perhaps no watchword admin API: check the URL."
        is_gateway = code is ExitCode.UNREACHABLE
        return CommandError(code if is_gateway else ExitCode.ERROR, sentence, reason="cli.answer")
    title, detail = str(problem["title"]).rstrip("."), str(problem.get("detail", ""))
    sentence = f"{title}: {detail}" if detail else f"{title}."
    errors = problem.get("errors")
    if isinstance(errors, list) and errors:
        sentence += " " + "; ".join(_one_error(item) for item in errors)
    return CommandError(
        code, sentence, reason=str(problem.get("reason", "cli.refused")), trace_id=str(problem.get("trace_id", ""))
    )


def _one_error(item: object) -> str:
    return ": ".join(str(value) for value in item.values()) if isinstance(item, dict) else str(item)
