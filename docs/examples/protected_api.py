"""A protected API: who holds read:data may read the note, who holds write:data may write it.

ISSUER=https://login.example.com python -m uvicorn protected_api:app --app-dir docs/examples --lifespan off
"""

import json
import os
from datetime import timedelta

from watchword import ClientSecretBasic, Login
from watchword.resource import Guard, RevocationFeed, Rule, Verifier, current_caller
from watchword.resource.guard import Receive, Scope, Send

NOTE = {"text": "the door is green", "by": "nobody yet"}


async def api(scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer a request that the guard has let in: whoever is here may do what they ask."""
    if scope["method"] == "POST":
        NOTE["by"] = current_caller().client_id
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(NOTE).encode()})


def read_feed() -> RevocationFeed | None:
    """Hear of what is revoked, where this API has a login of its own: ``agent create --serves my-api``."""
    if "SERVER_CLIENT_ID" not in os.environ:
        return None
    client = ClientSecretBasic(os.environ["SERVER_CLIENT_ID"], os.environ["SERVER_CLIENT_SECRET"])
    return RevocationFeed(login=Login(issuer=os.environ["ISSUER"], client=client))


verifier = Verifier(
    issuer=os.environ["ISSUER"],
    audience="my-api",
    leeway=timedelta(seconds=int(os.environ.get("LEEWAY", "30"))),  # how far this machine's clock may be behind
    base_url=os.environ.get("BASE_URL"),  # where callers find this API: with it, tokens bound to a key are taken, too
    revocation=read_feed(),
)
app = Guard(
    api,
    verifier,
    rules=[
        Rule("/note", methods=["GET"], scopes=["read:data"]),
        Rule("/note", methods=["POST"], scopes=["write:data"]),
    ],
    public=["/health"],
)
