"""Every snippet of the README and of docs/ does what the page says.

The fenced ``bash``, ``console`` and ``python`` blocks of a page run in order in one empty folder, with the project's own
environment first on PATH and a HOME of their own. Shell variables and the current folder carry over from block to block;
python blocks see the environment. A block fails the test when it exits non-zero, or, for ``console``, when a ``$ command``
prints something else than the lines below it (``...`` stands for anything; no lines: anything goes). Blocks of other
languages (json, text, toml, ...) are only shown.

HTML comments on the lines right above a fence say what is different about it:

    <!-- not run: REASON -->       it is not run, and the reason is worth reading
    <!-- background -->            a server: left running until the page ends, the next block waits until it prints "ready"
    <!-- background: TEXT -->      the same, waiting for TEXT
    <!-- exits: N -->              it is meant to exit with N
    <!-- file: NAME -->            it is not run: it is the content of the file NAME, for later blocks
    <!-- example: PATH -->         it is not run: it is, word for word, a part of this repository's file PATH

and anywhere in a page, on a line of its own:

    <!-- with: dev server -->      ``watchword dev`` runs beside the page, on its default address
    <!-- with: PostgreSQL -->      a PostgreSQL server is there, named by PGHOST, PGPORT and PGUSER
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import rule
from tests.docs.snippets import POSTGRES, RUN, SERVER, BadPage, Session, Snippet, check_snippet, read_snippets
from tests.postgres import require_postgres

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def play(page: str, name: str, session: Session) -> None:
    """Act a whole page out."""
    snippets = list(read_snippets(page, name))
    for snippet in snippets:
        check_snippet(snippet)
    if SERVER.search(page):
        session.start(name, "exec watchword dev", until="ready")
    if POSTGRES.search(page):
        require_postgres()
        session.start_postgres()
    for snippet in snippets:
        session.play(snippet)


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    session = Session(tmp_path, ROOT)
    try:
        yield session
    finally:
        session.close()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_page_does_what_it_says(page: Path, session: Session) -> None:
    play(page.read_text(), str(page.relative_to(ROOT)), session)


@rule("R9700-2.5-01")
@pytest.mark.parametrize("page", ["README.md", "docs/features/agents.md", "docs/features/login.md"])
def test_the_first_agent_that_a_page_registers_has_a_key(page: str) -> None:
    first = next(line for line in (ROOT / page).read_text().splitlines() if "watchword agent create " in line)
    assert "--auth private_key_jwt" in first


def test_the_readme_has_snippets_that_run() -> None:
    snippets = read_snippets((ROOT / "README.md").read_text(), "README.md")
    assert any(snippet.language in RUN and "not run" not in snippet.markers for snippet in snippets)


GOOD = """
<!-- with no meaning here -->

```bash
name=world
mkdir sub && cd sub
```

Prose.

  ```console
  $ echo "hello $name" \\
  >   from "$(basename "$PWD")"
  hello ... from sub
  ```

<!-- file: sub/greet.py -->
```python
print("from a file")
```

```python
import os, sys
assert os.environ["name"] == "world"
exec(open("greet.py").read())
```

<!-- exits: 3 -->
```bash
exit 3
```

<!-- not run: it would take your computer with it -->
```bash
exit 1
```

<!-- background: listening -->
```bash
echo listening; exec sleep 60
```

<!-- example: README.md -->
```text
# watchword
```
"""


def test_a_page_with_every_marker_passes(session: Session) -> None:
    play(GOOD.replace("<!-- with no meaning here -->", ""), "good.md", session)
    assert session.running[0].poll() is None


@pytest.mark.parametrize(
    ("page", "said"),
    [
        ("```bash\nfalse\ntrue\n```\n", "bad.md:1: exited 1, not 0"),
        ("```bash\nfalse | true\n```\n", "exited 1, not 0"),
        ("```bash\necho $unset\n```\n", "exited 1, not 0"),
        ("```python\nraise SystemExit(2)\n```\n", "exited 2, not 0"),
        ("```console\n$ echo a\nb\n```\n", "echo a printed"),
        ("```console\necho a\n```\n", "begins with"),
        ("<!-- exits: 1 -->\n```bash\ntrue\n```\n", "exited 0, not 1"),
        ("<!-- background -->\n```bash\necho no\n```\n", "did not print 'ready'"),
        ("<!-- not run: -->\n```bash\ntrue\n```\n", "says nothing after the colon"),
        ("<!-- not running: because -->\n```bash\ntrue\n```\n", "no such marker: not running"),
        ("<!-- example: README.md -->\n```python\nnot in there\n```\n", "word for word"),
        ("```sh\ntrue\n```\n", "write bash, console or python"),
        ("```bash\ntrue\n", "not closed"),
    ],
)
def test_a_page_that_does_not_hold_fails_the_build(page: str, said: str, session: Session) -> None:
    with pytest.raises(BadPage) as failure:
        play(page, "bad.md", session)
    assert said in str(failure.value)


def test_markers_belong_to_the_fence_right_below_them() -> None:
    page = "<!-- exits: 2 -->\n\n```bash\nexit 2\n```\n\ntext\n\n```bash\ntrue\n```\n"
    assert [snippet.markers for snippet in read_snippets(page, "page.md")] == [{"exits": "2"}, {}]
    assert next(read_snippets(page, "page.md")) == Snippet("page.md:3", "bash", "exit 2\n", {"exits": "2"})
