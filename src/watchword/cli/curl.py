"""``watchword curl``: one request to an API, with a token and, where that is bound to a key, the proof that goes with it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from watchword.cli.exits import CommandError, ExitCode, usage
from watchword.cli.options import Group
from watchword.cli.session import Session

BODY: Final = "body"
FULL: Final = "full"
_OURS: Final = frozenset({"authorization", "dpop"})
_SECONDS: Final = 30.0


def add_commands(root: Group) -> None:
    """Add the command to the tree."""
    root.command("curl", forms=(BODY, FULL))(curl)


async def curl(
    session: Session,
    target: Annotated[str, typer.Argument(metavar="URL", help="What to ask for.")],
    method: Annotated[
        str | None, typer.Option("--request", "-X", metavar="METHOD", help="GET, or POST with -d.")
    ] = None,
    header: Annotated[
        list[str] | None, typer.Option("--header", "-H", metavar="'NAME: VALUE'", help="Repeatable.")
    ] = None,
    text: Annotated[
        str | None, typer.Option("--body", "-d", metavar="TEXT|@FILE", help="The body; @- reads standard input.")
    ] = None,
    resource: Annotated[str | None, typer.Option("--resource", metavar="AUD", help="What the token is for.")] = None,
    scope: Annotated[list[str] | None, typer.Option("--scope", metavar="SCOPE", help="Repeatable.")] = None,
) -> None:
    """Send one request with a token of a profile or of the environment, and print what is answered.

    -o full prints status and headers, too. Exit 4 on 401, 5 on 403, 1 on any other status of 400 and above.
    """
    import httpx2

    from watchword.cli.arguments import scopes_of
    from watchword.cli.login import open_login

    headers, body = _headers(header or []), _body(text)
    login = open_login(session.choices.profile, scopes=scopes_of(scope), resource=resource)
    verb = method or ("GET" if body is None else "POST")
    try:
        async with httpx2.AsyncClient(auth=login.auth(), timeout=_SECONDS) as client:
            answer = await client.request(verb, target, headers=headers, content=body)
    except httpx2.HTTPError as error:
        raise CommandError(
            ExitCode.UNREACHABLE, f"{target} does not answer: {error}.", reason="cli.unreachable"
        ) from error
    except httpx2.InvalidURL as error:
        raise usage(f"{target!r} is no URL: {error}.") from error
    if session.form == FULL:
        _write(f"HTTP/1.1 {answer.status_code} {answer.reason_phrase}\n".encode())
        _write(b"".join(name + b": " + value + b"\n" for name, value in answer.headers.raw) + b"\n")
    _write(answer.content)
    if answer.status_code >= 400:
        raise CommandError(_code(answer.status_code), _refused(answer), reason="cli.refused")


def _headers(lines: list[str]) -> list[tuple[str, str]]:
    pairs = [(name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    for name, value in pairs:
        if not name or not value:
            raise usage("A header is written as 'NAME: VALUE'.")
        if name.lower() in _OURS:
            raise usage(f"{name} is what this command is for: leave it out.")
    return pairs


def _body(data: str | None) -> bytes | None:
    if data is None or not data.startswith("@"):
        return None if data is None else data.encode()
    if data == "@-":
        return sys.stdin.buffer.read()
    try:
        return Path(data[1:]).read_bytes()
    except OSError as error:
        raise usage(f"{data[1:]} cannot be read: {error.strerror}.") from error


def _code(status: int) -> ExitCode:
    return {401: ExitCode.UNAUTHENTICATED, 403: ExitCode.DENIED}.get(status, ExitCode.ERROR)


def _refused(answer: object) -> str:
    status = getattr(answer, "status_code", 0)
    challenge = getattr(answer, "headers", {}).get("www-authenticate", "")
    return f"The API answered {status}{': ' + challenge if challenge else ''}."


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
