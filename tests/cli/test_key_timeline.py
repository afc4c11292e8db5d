"""The drawing of keys: what it shows at which place."""

import re
from datetime import UTC, datetime

from watchword.cli.key_timeline import WIDTH, draw

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
KEYS = [
    {"kid": "gone-------", "algorithm": "ES256", "state": "retired", "published_at": "2020-01-01T00:00:00Z"},
    {
        "kid": "first-key-and-more",
        "algorithm": "ES256",
        "state": "active",
        "published_at": "2026-10-25T12:00:00Z",
        "activated_at": "2026-10-26T12:00:00Z",
        "next_state": "retiring",
        "next_at": "2026-11-25T12:00:00Z",
    },
    {
        "kid": "second-key-and-more",
        "algorithm": "ES256",
        "state": "published",
        "published_at": "2026-11-24T12:00:00Z",
        "next_state": "active",
        "next_at": "2026-11-25T12:00:00Z",
    },
]
PLANNED = [{"at": "2026-11-25T12:00:00Z", "state": "active", "algorithm": "ES256", "kid": "second-key-and-more"}]


def test_every_key_that_is_not_gone_has_a_bar():
    lines = list(draw(KEYS, PLANNED, now=NOW))
    bars = [line[22 : 22 + WIDTH] for line in lines if line.startswith("ES256")]
    assert [re.sub(r"(.)\1+", r"\1", bar.strip()) for bar in bars] == [".#-", ".#"]
    assert all(len(line.rstrip()) <= 22 + WIDTH + 14 for line in lines[:4])
    mark = lines[1].index("|") - 22
    assert [bar[mark] for bar in bars] == ["#", "."]


def test_what_is_to_come_is_told_in_words():
    last = list(draw(KEYS, PLANNED, now=NOW))[-1]
    assert last == "2026-11-25 12:00:00 UTC  ES256     second-key-a  begins to sign  (in 1 d)"


def test_a_key_that_was_made_this_moment_is_drawn():
    key = {"kid": "k", "algorithm": "ES256", "state": "prepared"}
    assert [line for line in draw([key], [], now=NOW) if line.startswith("ES256")] == [
        "ES256     k" + " " * (11 + WIDTH) + "  prepared"
    ]
