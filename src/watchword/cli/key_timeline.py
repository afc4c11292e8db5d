"""The life of signing keys, drawn: a line for each, from left to right."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from watchword.cli.output import Document
from watchword.cli.times import in_words

WIDTH: Final = 60
_GONE: Final = frozenset({"retired", "compromised"})
_MEMBERS: Final = ("published_at", "activated_at", "retiring_at", "retired_at")
_MARKS: Final = (".", "#", "-", " ")
_SHOWN: Final = 12
_MARGIN: Final = timedelta(hours=1)
_MOVES: Final = {"published": "is published", "active": "begins to sign", "retired": "leaves the key set"}


def draw(keys: Sequence[Document], planned: Sequence[Document], *, now: datetime) -> Iterator[str]:
    """Give the lines of the drawing: a bar for each key that is not gone, then what is to come in words."""
    living = [key for key in keys if key.get("state") not in _GONE]
    lives = [_life(key) for key in living]
    moments = [now, *(moment for life in lives for moment in life), *(_at(step) for step in planned)]
    first, last = min(moments) - _MARGIN, max(moments) + _MARGIN
    column = int((now - first) / (last - first) * WIDTH)
    indent = " " * (10 + _SHOWN)
    yield f"{indent}{first:%Y-%m-%d %H:%M}{f'{last:%Y-%m-%d %H:%M} UTC':>{WIDTH - 16}}"
    yield f"{indent}{' ' * column}| now"
    for key, life in zip(living, lives, strict=True):
        bar = _bar(life, first, last)
        yield f"{key['algorithm']!s:<8}  {str(key['kid'])[:_SHOWN]:<{_SHOWN}}{bar}  {key['state']}".rstrip()
    yield f"{indent}. published   # signs   - its tokens are still verified"
    for step in planned:
        who = str(step.get("kid", ""))[:_SHOWN] or "the next key"
        when = f"{_at(step):%Y-%m-%d %H:%M:%S} UTC"
        what = _MOVES[str(step["state"])]
        yield f"{when}  {step['algorithm']!s:<8}  {who:<{_SHOWN}}  {what}  ({in_words(_at(step), now=now)})"


def _life(key: Document) -> list[datetime]:
    """Return when the key entered, or will enter, each state from the first that is known."""
    life = [datetime.fromisoformat(value) for name in _MEMBERS if isinstance(value := key.get(name), str)]
    following = key.get("next_at")
    return [*life, datetime.fromisoformat(following)] if isinstance(following, str) else life


def _bar(life: Sequence[datetime], first: datetime, last: datetime) -> str:
    """Return a cell for every part of the time, marked as the key then stands; of what is to come, as planned."""
    cell = (last - first) / WIDTH
    cells = []
    for number in range(WIDTH):
        ends = first + cell * (number + 1)
        entered = sum(moment < ends for moment in life)
        cells.append(_MARKS[entered - 1] if entered else " ")
    return "".join(cells)


def _at(step: Document) -> datetime:
    return datetime.fromisoformat(str(step["at"]))
