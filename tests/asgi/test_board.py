"""What the workers of one server tell each other."""

import os

import pytest

from watchword.asgi.board import _BLOB, _HALF, _HEAD, _WHICH_AT, Board


def test_a_new_board_says_nothing() -> None:
    board = Board(2)
    assert [board.read(place) for place in range(2)] == [b"", b""]
    assert [board.last_beat(place) for place in range(2)] == [0.0, 0.0]


def test_each_worker_has_a_place_of_its_own() -> None:
    board = Board(3)
    for place in range(3):
        board.publish(place, b"worker %d" % place)
        board.beat(place, 10.5 + place)
    assert [board.read(place) for place in range(3)] == [b"worker 0", b"worker 1", b"worker 2"]
    assert [board.last_beat(place) for place in range(3)] == [10.5, 11.5, 12.5]


def test_the_last_text_is_shown() -> None:
    board = Board(1)
    for text in (b"a" * 1000, b"b", b"c" * 100):
        board.publish(0, text)
        assert board.read(0) == text


def test_a_text_that_is_too_long_leaves_the_one_before() -> None:
    board = Board(2)
    board.publish(0, b"before")
    board.publish(1, b"other")
    board.publish(0, bytes(_HALF))
    assert (board.read(0), board.read(1)) == (b"before", b"other")


@pytest.mark.parametrize("written", [0, 4, _BLOB.size, _BLOB.size + 3])
def test_a_worker_killed_while_it_writes_leaves_what_it_had_shown(written: int) -> None:
    board = Board(1)
    board.publish(0, b"first")
    board.publish(0, b"second")
    other = _HEAD + (1 - board._memory[_WHICH_AT]) * _HALF
    board._memory[other : other + written] = b"\xff" * written
    assert board.read(0) == b"second"


def test_a_text_that_is_not_whole_is_not_shown() -> None:
    board = Board(1)
    board.publish(0, b"second")
    board._memory[_HEAD + board._memory[_WHICH_AT] * _HALF + _BLOB.size] ^= 1
    assert board.read(0) == b""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system cannot fork")
def test_a_child_writes_where_its_parent_reads() -> None:
    board = Board(2)
    child = os.fork()
    if child == 0:
        board.publish(1, b"from the child")
        os._exit(0)
    os.waitpid(child, 0)
    assert board.read(1) == b"from the child"
