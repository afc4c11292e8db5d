"""Server-sent events, in whatever pieces they come."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from watchword.protocol.event_stream import EventStreamReader, InvalidStream, ServerSentEvent

STREAM = (
    b": hello\n\n"
    b"event: revocations\nid: 1-7\ndata: one\n\n"
    b"data:two\r\ndata: lines\r\nretry: 5\r\n\r\n"
    b"id: 1-8\n\n"
    b"data: never ended\n"
)
EVENTS = [ServerSentEvent("one", "revocations", "1-7"), ServerSentEvent("two\nlines")]


@given(st.lists(st.integers(0, len(STREAM)), max_size=8).map(sorted))
def test_the_pieces_do_not_matter(cuts):
    reader = EventStreamReader(max_size=200)
    edges = [0, *cuts, len(STREAM)]
    assert [event for start, end in pairwise(edges) for event in reader.feed(STREAM[start:end])] == EVENTS


@pytest.mark.parametrize("piece", [b"data: " + b"x" * 100, b"data: x\n" * 20])
def test_an_event_without_an_end_is_refused(piece):
    reader = EventStreamReader(max_size=64)
    with pytest.raises(InvalidStream) as caught:
        reader.feed(piece)
    assert caught.value.reason == "stream.size"
    assert EventStreamReader(max_size=64).feed(b"data: x\n\n" * 20) == [ServerSentEvent("x")] * 20


def test_what_is_no_text_is_refused():
    with pytest.raises(InvalidStream) as caught:
        EventStreamReader(max_size=64).feed(b"data: \xff\n\n")
    assert caught.value.reason == "stream.encoding"
