"""``watchword dev``: one command, and there is a server to play with, an API in it and an agent that may use it."""

from __future__ import annotations

import shlex
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from watchword.cli.exits import usage
from watchword.cli.output import JSON, Document, print_value, write
from watchword.cli.profiles import write_private
from watchword.cli.session import DEV_DIRECTORY, Session
from watchword.protocol import names

if TYPE_CHECKING:
    from watchword.cli.admin_client import AdminClient
    from watchword.doors import BoundAddresses

RESOURCE: Final = "my-api"
SCOPES: Final = ("read:data", "write:data")
AGENT: Final = "demo"
CURL_FILE: Final = "demo.curl"


async def dev(
    session: Session,
    listen: Annotated[
        str, typer.Option("--listen", metavar="H:P", help="Where to listen; port 0 takes a free one.")
    ] = "127.0.0.1:8020",
    management: Annotated[
        str | None, typer.Option("--management", metavar="H:P", help="Where probes and metrics are.")
    ] = None,
) -> None:
    """Run a server to play with. It keeps its store in ./watchword-dev, and makes it when it is not there."""
    from watchword.config import DEFAULT, load_settings
    from watchword.listening import Address, parse_listen
    from watchword.serving import serve

    wanted = parse_listen(listen)
    if not wanted.is_loopback:
        raise usage("`watchword dev` is for this machine: listen on 127.0.0.1, or use `watchword serve`.")
    address = Address(wanted.host, wanted.port or free_port(wanted.host))
    issuer = f"http://{address}"
    data = session.choices.data or DEV_DIRECTORY
    flags = {"data": data, "issuer": issuer, "listen": str(address), "management": management or _free_management()}
    loaded = load_settings(flags)
    is_asked = loaded.origins["log_level"] != DEFAULT
    settings = loaded.settings if is_asked else loaded.settings.model_copy(update={"log_level": "warning"})
    await prepare(data, issuer)
    await serve(settings, ready=lambda bound: greet(session, data, bound))


async def prepare(data: Path, issuer: str) -> None:
    """Make what is not there yet: the store, the resource, the agent, and the file with the agent's credential."""
    from watchword.bootstrap import initialise, is_initialised
    from watchword.cli.admin_client import open_local
    from watchword.config import load_settings
    from watchword.upkeep.issuer import move_store

    if is_initialised(data):
        if load_settings({"data": data}).settings.issuer != issuer:
            await move_store(data, issuer)
    else:
        await initialise(data, issuer)
    async with open_local(data) as admin:
        if await _find(admin, "resources", RESOURCE) is None:
            await admin.post("resources", body={"name": RESOURCE, "scopes": list(SCOPES)})
        if not (data / CURL_FILE).exists():
            write_private(data / CURL_FILE, await _demo_credential(admin), overwrite=False)


async def _demo_credential(admin: AdminClient) -> str:
    """Return a curl configuration that asks for a token; made anew when it was lost, for no secret is shown twice."""
    agent = await _find(admin, "agents", AGENT)
    if agent is None:
        permission = {"resource": RESOURCE, "scopes": [SCOPES[0]]}
        made = await admin.post("agents", body={"name": AGENT, "owner": "watchword dev", "permissions": [permission]})
    else:
        made = await admin.post("agents", AGENT, "credentials", body={"kind": "client_secret", "label": CURL_FILE})
    return (
        f'user = "{made["client_id"]}:{made["client_secret"]}"\n'
        f'data = "{names.GRANT_TYPE}={names.CLIENT_CREDENTIALS}"\n'
        f'data = "{names.SCOPE}={SCOPES[0]}"\n'
    )


async def _find(admin: AdminClient, kind: str, name: str) -> Document | None:
    """Look without asking for what may not be there: that would be the first refusal in a newcomer's trail."""
    return next((one for one in await admin.pages(kind) if one["name"] == name), None)


def greet(session: Session, data: Path, bound: BoundAddresses) -> None:
    """Say where the server is and what to try; every line that begins with two blanks can be copied as it is."""
    token_endpoint, jwks_uri = bound.issuer + names.PATH_TOKEN, bound.issuer + names.PATH_JWKS
    if session.form == JSON:
        facts = {"issuer": bound.issuer, "data": str(data), "token_endpoint": token_endpoint, "jwks_uri": jwks_uri}
        print_value({**facts, "management": bound.management, "curl_config": str(data / CURL_FILE)}, JSON)
    else:
        place = "" if data == DEV_DIRECTORY else f" --data {shlex.quote(str(data))}"
        for line in (
            "ready",
            f"issuer      {bound.issuer}",
            f"data        {data} (kept)",
            f"management  http://{bound.management}/readyz",
            "",
            "A token for the agent demo, which may read:",
            f"  curl -s -K {shlex.quote(str(data / CURL_FILE))} {token_endpoint}",
            "The keys that tokens are verified with:",
            f"  curl -s {jwks_uri}",
            "An agent of your own, a token for it, and what happened:",
            f"  watchword agent create reader --resource {RESOURCE} --scope {SCOPES[0]} --save-profile reader{place}",
            "  watchword token reader",
            f"  watchword audit tail{place}",
        ):
            write(line)
    sys.stdout.flush()


def free_port(host: str, wanted: int = 0) -> int:
    """Return ``wanted`` if it is free on this host, else a port that is.

    Raises:
        OSError: the host is none of this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, wanted))
        except OSError:
            if wanted == 0:
                raise
            return free_port(host)
        return int(probe.getsockname()[1])


def _free_management() -> str:
    return f"127.0.0.1:{free_port('127.0.0.1', 8022)}"
