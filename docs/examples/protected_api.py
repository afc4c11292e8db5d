"""A protected API: who holds read:data may read the note, who holds write:data may write it.

ISSUER=https://login.example.com python -m uvicorn protected_api:app --app-dir docs/examples --lifespan off
"""

import json
import os
from datetime import timedelta

from watchword.resource import Guard, Rule, Verifier, current_caller
from watchword.resource.guard import Receive, Scope, Send

NOTE = {"text": "the door is green", "by": "nobody yet"}


async def api(scope: Scope, _receive: Receive, send: Send) -> None:
    """Answer a request that the guard has let in: whoever is here may do what they ask."""
    if scope["method"] == "POST":
        NOTE["by"] = current_caller().client_id
    headers = [(b"content-type", b"application/json"), (b"cache-control", b"no-store")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(NOTE).encode()})


verifier = Verifier(
    issuer=os.environ["ISSUER"],
    audience="my-api",
    leeway=timedelta(seconds=int(os.environ.get("LEEWAY", "30"))),  # how far this machine's clock may be behind
    base_url=os.environ.get("BASE_URL"),  # where callers find this API: with it, tokens bound to a key are taken, too
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
