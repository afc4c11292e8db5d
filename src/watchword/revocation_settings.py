"""The settings of how APIs learn of revocations: the feed, and the status lists."""

from __future__ import annotations

from pydantic import BaseModel, Field


class RevocationSettings(BaseModel):
    """What of the server's settings is about telling what is revoked."""

    feed_heartbeat: int = Field(
        default=1, ge=1, le=30, description="Seconds between two signs of life of the revocation feed."
    )
    feed_connections: int = Field(
        default=3000,
        ge=1,
        le=60_000,
        description="Readers of the revocation feed at once, in one worker; more are refused.",
    )
    feed_connections_per_agent: int = Field(
        default=500, ge=1, le=60_000, description="How many of them with the tokens of one agent."
    )
    status_list: bool = Field(
        default=False, description="Give every token a place in a signed list that says whether it is revoked."
    )
    status_list_ttl: int = Field(default=10, ge=1, le=3600, description="Seconds for which such a list may be kept.")
