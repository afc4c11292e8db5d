"""What a command says: data on stdout in the form asked for, talk on stderr.

``json`` and ``yaml`` are the admin API's own members and nothing else on stdout. ``name`` is one identifier a line, for shell
loops. ``table`` is for people. In no form can text from elsewhere steer the terminal it is shown on.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

Document = Mapping[str, object]

TABLE: Final = "table"
JSON: Final = "json"
YAML: Final = "yaml"
NAME: Final = "name"
FORMATS: Final = (TABLE, JSON, YAML, NAME)


@dataclass(frozen=True, slots=True)
class View:
    """How one kind of object is shown: the member that names it and the columns of its list."""

    name: str
    columns: tuple[str, ...]


def documents(page: Document) -> Sequence[Document]:
    """Return the objects of one page of a list."""
    items = page.get("items")
    return [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []


def print_list(items: Sequence[Document], view: View, form: str) -> None:
    """Print objects: an array in JSON and YAML."""
    if form == NAME:
        for item in items:
            write(_cell(item.get(view.name, "")))
    elif form == TABLE:
        rows = [[_cell(item.get(column, "")) for column in view.columns] for item in items]
        print_table([column.upper() for column in view.columns], rows)
    else:
        print_value(items, form)


def print_record(record: Document, view: View, form: str) -> None:
    """Print one object."""
    if form == NAME:
        write(_cell(record.get(view.name, "")))
    elif form == TABLE:
        print_facts(record)
    else:
        print_value(record, form)


def print_value(value: object, form: str) -> None:
    """Print a value as JSON or YAML."""
    if form == YAML:
        import yaml

        write(yaml.safe_dump(_plain(value), sort_keys=False, allow_unicode=_is_printable(value)).rstrip("\n"))
    else:
        write(to_json(value, indent=2))


def to_json(value: object, *, indent: int | None = None) -> str:
    """Return JSON in which letters stay letters, and what does not show as itself is an escape."""
    return json.dumps(_plain(value), indent=indent, ensure_ascii=not _is_printable(value))


def _is_printable(value: object) -> bool:
    """JSON and YAML escape control characters of ASCII themselves; others, and what turns the direction, they may not."""
    return all(letter.isprintable() or letter.isascii() for letter in json.dumps(_plain(value), ensure_ascii=False))


def print_facts(record: Document) -> None:
    """Print the members of one object, one a line; those that are empty are left out."""
    cells = {name: _cell(value) for name, value in record.items()}
    width = max((len(name) for name in cells), default=0)
    for name, cell in cells.items():
        if cell:
            write(f"{name:<{width}}  {cell}")


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: drawn on a terminal, aligned columns elsewhere, where nothing is cut."""
    rows = [[clean(cell) for cell in row] for row in rows]
    if sys.stdout.isatty():
        _print_drawn(headings, rows)
        return
    lines = [headings, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headings))]
    for line in lines:
        write("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())


def _print_drawn(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)


def write(line: str) -> None:
    """Write one line of data."""
    sys.stdout.write(line + "\n")


def talk(line: str) -> None:
    """Write one line for the person at the terminal."""
    sys.stdout.flush()  # what was printed before is read before, also where both go to one place
    sys.stderr.write(line + "\n")


def _cell(value: object) -> str:
    match value:
        case bool():
            return "yes" if value else "no"
        case Mapping():
            text = " ".join(f"{key}={_cell(item)}" for key, item in value.items())
        case list() | tuple():
            text = " ".join(_cell(item) for item in value)
        case _:
            text = str(value)
    return clean(text)


def clean(text: str) -> str:
    """Return the text with everything that could steer a terminal shown as an escape."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
