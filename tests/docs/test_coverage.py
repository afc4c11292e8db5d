"""The documentation names everything there is, and nothing that is not there."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest

from tests.docs import facts
from tests.docs.snippets import RUN, Session, read_snippets
from watchword.operations.roles import LEAST_ROLE
from watchword.ports.audit import AuditEvent
from watchword.server.audit_chain import Flaw

ROOT = Path(__file__).parents[2]
FEATURES = sorted((ROOT / "docs" / "features").glob("*.md"))
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.py"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]

HEADINGS = [
    "What it is for",
    "On the server",
    "In the client",
    "On the resource",
    "What is refused and why",
    "Settings",
    "Errors",
    "Audit fields",
    "Sections",
]
REFUSALS = "What is refused and why"
TOKEN_SECONDS = 30

_CODE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")


def read(name: str) -> str:
    return (ROOT / "docs" / "features" / name).read_text(encoding="utf-8")


def prose(page: str) -> str:
    """A page without its fenced blocks."""
    return re.sub(r"^( *)(`{3,})[^\n]*\n.*?^\1\2$", "", page, flags=re.MULTILINE | re.DOTALL)


def rows(page: str) -> list[list[str]]:
    """The cells of every table row; an escaped bar is no border."""
    lines = [line for line in prose(page).splitlines() if line.startswith("|") and not line.startswith("|-")]
    return [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def section(page: str, heading: str) -> str:
    return page.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def codes(text: str) -> list[str]:
    return _CODE.findall(text)


def refusal_rows() -> list[list[str]]:
    return [row for page in FEATURES for row in rows(section(page.read_text(encoding="utf-8"), REFUSALS))]


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("page", FEATURES, ids=name_of)
def test_a_feature_page_has_the_fixed_headings_in_their_order(page: Path) -> None:
    assert re.findall(r"^## (.+)$", prose(page.read_text(encoding="utf-8")), re.MULTILINE) == HEADINGS


@pytest.mark.parametrize("page", FEATURES, ids=name_of)
def test_no_heading_stands_over_nothing(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert [heading for heading in HEADINGS if not section(text, heading).strip()] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in _LINK.findall(prose(page.read_text(encoding="utf-8"))):
        if link.startswith(("https://", "mailto:")):
            continue
        path, _, fragment = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{name_of(page)}: {link}"
        if fragment:
            headings = re.findall(r"^#+ (.+)$", prose(target.read_text(encoding="utf-8")), re.MULTILINE)
            assert fragment in map(anchor, headings), f"{name_of(page)}: {link}"


def test_every_feature_page_is_linked_from_the_readme() -> None:
    links = _LINK.findall((ROOT / "README.md").read_text(encoding="utf-8"))
    assert [name_of(page) for page in FEATURES if name_of(page) not in links] == []


def test_decisions_are_numbered_from_one_and_each_says_its_number() -> None:
    pages = sorted((ROOT / "docs/decisions").glob("*.md"))
    assert [page.name[:4] for page in pages] == [f"{number:04}" for number in range(1, len(pages) + 1)]
    headings = [page.read_text(encoding="utf-8").partition(".")[0] for page in pages]
    assert headings == [f"# {number}" for number in range(1, len(pages) + 1)]


def test_every_reason_stands_in_a_table_that_says_what_to_do() -> None:
    told = {code for row in refusal_rows() if len(row) == 3 and all(row) for code in codes(row[0])}
    assert sorted(facts.reasons() - told) == []


def test_no_table_of_refusals_names_a_reason_that_does_not_exist() -> None:
    told = {code for row in refusal_rows() if len(row) == 3 for code in codes(row[0])}
    assert sorted(told - facts.reasons()) == []


def test_no_reason_is_put_together_unseen() -> None:
    assert facts.new_compositions() == set()


def test_every_field_of_an_audit_event_has_its_row() -> None:
    told = [codes(row[0])[0] for row in rows(section(read("audit.md"), "Audit fields")) if codes(row[0])]
    assert told == list(AuditEvent.__dataclass_fields__)


def test_every_action_and_the_role_it_needs_stand_in_the_table() -> None:
    told = {codes(row[0])[0]: codes(row[1])[0] for row in rows(read("admin-api.md")) if codes(row[0]) and codes(row[1])}
    assert {action: told.get(action) for action in LEAST_ROLE} == {
        action: str(role) for action, role in LEAST_ROLE.items()
    }
    assert sorted(facts.ACTIONS - set(codes(read("audit.md")))) == []


def test_every_reason_of_a_success_and_every_flaw_stands_on_the_page_of_the_audit() -> None:
    assert sorted({*facts.success_reasons(), *Flaw} - set(codes(read("audit.md")))) == []


@pytest.mark.parametrize("name", facts.settings())
def test_every_setting_has_its_row_with_variable_and_default(name: str) -> None:
    variable, default = facts.settings()[name]
    (row,) = [row for row in rows(read("configuration.md")) if codes(row[0])[:1] == [name]]
    assert codes(row[1]) == [variable]
    spelt = str(default).lower() if isinstance(default, bool) else str(default)
    if default in (None, ()):
        assert row[2] == "none"
    elif "PydanticUndefined" not in spelt:
        assert codes(row[2]) == [spelt]
    assert row[3]


def test_every_variable_of_the_client_side_stands_on_the_page_of_the_configuration() -> None:
    assert sorted(facts.variables() - set(codes(read("configuration.md")))) == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_page_names_a_variable_that_means_nothing(page: Path) -> None:
    named = set(re.findall(r"\bWATCHWORD_[A-Z0-9_]*[A-Z0-9]\b", page.read_text(encoding="utf-8")))
    assert sorted(name for name in named - facts.variables() if not name.startswith("WATCHWORD_TEST_")) == []


def command_rows() -> dict[str, list[str]]:
    found = {}
    for row in rows(read("command-line.md")):
        typed = codes(row[0])[0] if codes(row[0]) else ""
        if typed.startswith("watchword "):
            words = re.match(r"watchword(?: [a-z-]+)+", typed)
            assert words is not None, typed
            found[words[0]] = row
    return found


def test_the_table_of_commands_is_the_tree_of_commands() -> None:
    assert sorted(command_rows()) == sorted(facts.commands())


@pytest.mark.parametrize("name", facts.commands())
def test_every_option_of_a_command_stands_in_its_row_and_no_other(name: str) -> None:
    row = command_rows()[name]
    told = {option for code in codes(row[1]) for option in re.findall(r"(?<![\w-])--?[A-Za-z][a-z-]*", code)}
    assert told == facts.commands()[name].options - facts.common_options()


def test_the_options_of_every_command_stand_on_the_page() -> None:
    told = {
        option
        for code in codes(read("command-line.md"))
        for option in re.findall(r"(?<![\w-])--?[A-Za-z][a-z-]*", code)
    }
    assert sorted(facts.common_options() - told) == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_page_names_a_command_that_does_not_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    shown = "".join(snippet.text for snippet in read_snippets(text, name_of(page)) if snippet.language in RUN)
    typed = re.findall(r"^(?:\$ )?(watchword .+)$", shown, re.MULTILINE) + codes(prose(text))
    assert [line for line in typed if line.startswith("watchword ") and not is_a_command(line)] == []


def is_a_command(line: str) -> bool:
    """A command, a group of commands, ``token``'s short form, or options first."""
    names = facts.commands()
    groups = {name.rpartition(" ")[0] for name in names if name.count(" ") == 2}
    words = line.split()
    starts = {" ".join(words[:length]) for length in (2, 3)}
    is_group = len(words) == 2 and line in groups
    return words[1].startswith("-") or is_group or words[1] == "token" or not starts.isdisjoint(names)


@pytest.mark.parametrize("name", facts.metrics())
def test_every_metric_has_its_row_with_its_labels(name: str) -> None:
    (row,) = [row for row in rows(read("operations.md")) if codes(row[0])[:1] == [name]]
    assert tuple(codes(row[1])) == facts.metrics()[name]


OWN_NAMES = {"watchword_challenge", "watchword_challenge_endpoint", "watchword_events_endpoint"}
"""A method, and a member of the metadata."""


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_page_names_a_metric_that_does_not_exist(page: Path) -> None:
    named = {code for code in codes(page.read_text(encoding="utf-8")) if re.fullmatch(r"watchword_[a-z_]+", code)}
    assert sorted(named - facts.metrics().keys() - {"watchword_", *OWN_NAMES}) == []


@pytest.mark.parametrize("event", facts.log_events())
def test_every_event_of_the_log_has_its_row_with_its_fields(event: str) -> None:
    (row,) = [row for row in rows(read("operations.md")) if codes(row[0])[:1] == [event] and len(row) == 4]
    assert set(codes(row[2])) == facts.log_events()[event]


def test_the_table_of_routes_is_that_of_the_openapi_document() -> None:
    told = {code for row in rows(read("admin-api.md")) for code in codes(row[0]) if re.match(r"[A-Z]+ /", code)}
    assert told == facts.routes()


@pytest.mark.parametrize("example", EXAMPLES, ids=name_of)
def test_every_example_is_shown_whole_on_a_page(example: Path) -> None:
    shown = [
        snippet
        for page in PAGES
        for snippet in read_snippets(page.read_text(encoding="utf-8"), name_of(page))
        if snippet.markers.get("example") == name_of(example)
    ]
    assert any(snippet.text == example.read_text(encoding="utf-8") for snippet in shown)


def test_copying_the_readme_gives_a_token_in_half_a_minute(tmp_path: Path) -> None:
    session = Session(tmp_path, ROOT)
    began = time.monotonic()
    try:
        for snippet in read_snippets((ROOT / "README.md").read_text(encoding="utf-8"), "README.md"):
            session.play(snippet)
            if "/oauth/token" in snippet.text:
                break
        else:
            pytest.fail("the README gets no token")
    finally:
        seconds = time.monotonic() - began
        session.close()
    assert seconds < TOKEN_SECONDS
