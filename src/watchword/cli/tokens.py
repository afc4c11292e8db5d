"""``watchword token``: getting a token, looking into one, and finding out why one is refused."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Final

import typer
from typer.core import TyperGroup

from watchword.cli.exits import CommandError, ExitCode, usage
from watchword.cli.options import new_group
from watchword.cli.output import JSON, TABLE, YAML, print_facts, print_value, write
from watchword.cli.session import Session
from watchword.cli.times import in_words, to_wire
from watchword.clock import system_clock
from watchword.protocol import names

if TYPE_CHECKING:
    from typer._click.core import Context  # typer carries click within and has no public name for this

RAW: Final = "raw"
HEADER: Final = "header"
_GET: Final = "get"
_TIMES: Final = ((names.IAT, "issued"), (names.NBF, "not before"), (names.EXP, "expires"))


class TokenGroup(TyperGroup):
    """``watchword token PROFILE`` means ``watchword token get PROFILE``."""

    def parse_args(self, ctx: Context, args: list[str]) -> list[str]:
        """Name the command where it was left out."""
        known = {*self.commands, "--help", "-h"}
        if args and known.isdisjoint(args):
            args = [_GET, *args]
        return super().parse_args(ctx, args or [_GET])


GROUP = new_group("Access tokens. Without a command: get one.", cls=TokenGroup)

TokenText = Annotated[str, typer.Argument(metavar="TOKEN|-", help="The token; - reads it from standard input.")]


@GROUP.command(_GET, forms=(RAW, JSON, HEADER))
async def get(
    session: Session,
    name: Annotated[str | None, typer.Argument(metavar="[PROFILE]", help="The agent profile to log in with.")] = None,
    resource: Annotated[str | None, typer.Option("--resource", metavar="AUD", help="What the token is for.")] = None,
    scope: Annotated[list[str] | None, typer.Option("--scope", metavar="SCOPE", help="Repeatable.")] = None,
) -> None:
    """Get a token, with the credential of a profile or of the environment, and print it alone on stdout."""
    from watchword.cli.arguments import scopes_of
    from watchword.cli.login import open_login

    login = open_login(name or session.choices.profile, scopes=scopes_of(scope), resource=resource, is_for_others=True)
    key = login.dpop_key
    if key is not None and not key.is_kept:
        raise usage(
            "This token would be bound to a key that ends with this command: name a file for the key with "
            "WATCHWORD_DPOP_KEY_FILE, or let `watchword curl URL` send the request."
        )
    kind = names.BEARER if key is None else names.DPOP
    token = await login.atoken()
    if session.form == RAW:
        write(token)
    elif session.form == HEADER:
        write(f"Authorization: {kind} {token}")
    else:
        print_value(_response(token, kind, issuer=login.issuer), JSON)


@GROUP.command("inspect", forms=(TABLE, JSON, YAML))
async def inspect(session: Session, token: TokenText) -> None:
    """Show what a token says, without asking anybody and without its signature. Nothing of it is verified."""
    header, claims = read_unverified(read_argument(token))
    now = system_clock()
    times = {word: _time(claims[claim], now) for claim, word in _TIMES if claim in claims}
    session.talk("NOT VERIFIED: anybody could have written this. `watchword token explain` checks it.")
    if session.form == TABLE:
        print_facts({f"header.{name}": value for name, value in header.items()} | dict(claims))
        print_facts(times)
    else:
        print_value({"verified": False, "header": header, "claims": claims, "times": times}, session.form)


@GROUP.command("explain", forms=(TABLE, JSON, YAML))
async def explain(
    session: Session,
    what: Annotated[str, typer.Argument(metavar="TOKEN|REQUEST_ID|-", help="- reads it from standard input.")],
    audience: Annotated[str | None, typer.Option("--audience", metavar="AUD", help="Would this API take it?")] = None,
    scope: Annotated[
        list[str] | None, typer.Option("--scope", metavar="SCOPE", help="And for this? Repeatable.")
    ] = None,
) -> None:
    """Say of a token which checks it passes, or of a request what became of it and why. Exit 8 if something is wrong."""
    from watchword.cli.arguments import scopes_of
    from watchword.cli.explain import explain_request, explain_token

    text = read_argument(what)
    if "." in text:
        is_good = await explain_token(session, text, audience=audience, scopes=scopes_of(scope))
    else:
        is_good = await explain_request(session, text)
    if not is_good:
        raise typer.Exit(ExitCode.FINDINGS)


def read_argument(text: str) -> str:
    """Return the argument, or what stands on standard input where the argument is ``-``."""
    if text == "-":
        text = sys.stdin.read(1_048_576)
    text = text.strip()
    for prefix in ("Authorization:", "Bearer ", "DPoP "):
        text = text.removeprefix(prefix).strip()
    if not text:
        raise usage("There is no token: give one as the argument, or - and the token on standard input.")
    return text


def read_unverified(token: str) -> tuple[Mapping[str, object], Mapping[str, object]]:
    """Return header and claims of a token as it says them; whether they are true is not asked.

    Raises:
        CommandError: usage; it has not the form of a signed token.
    """
    from watchword.protocol.jose import b64url_decode
    from watchword.protocol.strict_json import parse_object

    segments = token.split(".")
    if len(segments) == 3 and token.isascii():
        try:
            return (
                parse_object(b64url_decode(segments[0].encode("ascii"))),
                parse_object(b64url_decode(segments[1].encode("ascii"))),
            )
        except ValueError:
            pass
    raise usage("This is not a signed token: it should have three parts with dots between, and begin with eyJ.")


def _response(token: str, kind: str, *, issuer: str) -> dict[str, object]:
    """Return the token as a token endpoint would answer it."""
    document: dict[str, object] = {"access_token": token, "token_type": kind, "issuer": issuer}
    try:
        _, claims = read_unverified(token)
    except CommandError:
        return document
    expires = claims.get(names.EXP)
    if isinstance(expires, int | float):
        document["expires_in"] = max(0, int(expires - system_clock().timestamp()))
        document["expires_at"] = to_wire(datetime.fromtimestamp(expires, UTC))
    return document | {name: claims[name] for name in (names.SCOPE, names.AUD) if name in claims}


def _time(value: object, now: datetime) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 253402300800:
        return f"{value!r} is no time"
    moment = datetime.fromtimestamp(value, UTC)
    return f"{to_wire(moment)} ({in_words(moment, now=now)})"
