"""What time it is at the server, learned from its ``Date`` header."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

_WORTH_KNOWING = timedelta(seconds=2)
_LARGEST = timedelta(days=366)


def parse_http_date(value: str) -> datetime | None:
    """Return the moment an HTTP date names (RFC 9110 §5.6.7), or nothing when it names none."""
    try:
        moment = parsedate_to_datetime(value)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


class ServerTime:
    """How far the server's clock is ahead of ours.

    The header has whole seconds and the answer was under way, so less than two seconds count as none. Only answers of the
    issuer itself may teach it: somebody else's clock must not move ours.
    """

    def __init__(self) -> None:
        self.offset = timedelta(0)

    def learn(self, date: str | None, *, sent_at: datetime, received_at: datetime) -> None:
        """Take the offset from the ``Date`` of an answer; a missing or senseless one teaches nothing."""
        moment = parse_http_date(date) if date else None
        if moment is None:
            return
        offset = moment - (sent_at + (received_at - sent_at) / 2)
        if abs(offset) <= _LARGEST:
            self.offset = offset if abs(offset) >= _WORTH_KNOWING else timedelta(0)
