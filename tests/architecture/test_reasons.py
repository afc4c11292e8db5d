"""Every reason for which a request is refused has a public sentence, and every sentence belongs to a reason."""

import ast
import re
import string
from collections.abc import Iterator

import pytest

from tests import rule
from tests.architecture.sources import ROOT, Module, calls_in, modules
from watchword import errors
from watchword.protocol.descriptions import DESCRIPTIONS, UNAUTHENTICATED, describe

FEATURES = ROOT / "docs" / "features"


def _subclasses(cls: type) -> set[str]:
    return {cls.__name__}.union(*(_subclasses(below) for below in cls.__subclasses__()))


SHARING = {"InvalidAssertion", "InvalidClient", "InvalidToken"}
"""Classes of which every reason has the same sentence: of a login or a token that failed, nobody is told which check it was."""

DESCRIBED = _subclasses(errors.OAuthError) - SHARING
SHIPPED = [module for module in modules() if module.part != "testing"]


def reasons_raised(module: Module) -> Iterator[str]:
    """Return the reasons given as literals to a described error, or looked up by ``describe``."""
    for name, call in calls_in(module.tree):
        if call.args and (name in DESCRIBED or name == "describe"):
            yield from _literals(call.args[0])


def _literals(expression: ast.expr) -> Iterator[str]:
    if isinstance(expression, ast.IfExp):
        yield from _literals(expression.body)
        yield from _literals(expression.orelse)
    elif isinstance(expression, ast.Constant) and isinstance(expression.value, str):
        yield expression.value


def literals_anywhere() -> set[str]:
    """Return every text in the sources but the table's own: where a reason may be handed on in a variable."""
    return {
        node.value
        for module in SHIPPED
        if module.name != "watchword.protocol.descriptions"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str)
    }


RAISED = {reason for module in SHIPPED for reason in reasons_raised(module)}


def test_every_reason_has_a_sentence():
    assert sorted(RAISED - DESCRIPTIONS.keys()) == []


def test_every_sentence_has_a_reason():
    assert sorted(DESCRIPTIONS.keys() - RAISED - literals_anywhere()) == []


@pytest.mark.parametrize("reason", DESCRIPTIONS)
def test_a_reason_is_a_dotted_name(reason):
    assert re.fullmatch(r"[a-z_]+(\.[a-z0-9_]+)+", reason)


@rule("R6749-5.2-04", "KF-86")
@pytest.mark.parametrize("sentence", [UNAUTHENTICATED, *DESCRIPTIONS.values()])
def test_a_sentence_keeps_to_the_alphabet_of_error_descriptions(sentence):
    assert re.fullmatch(r"[\x20-\x21\x23-\x5B\x5D-\x7E]+", sentence)
    assert sentence.endswith((".", "}"))


@rule("R6749-5.2-04", "KF-86", "TRAP-24")
@pytest.mark.parametrize("reason", DESCRIPTIONS)
def test_whatever_the_facts_hold_the_description_keeps_to_its_alphabet(reason):
    names = [name for _, name, _, _ in string.Formatter().parse(DESCRIPTIONS[reason]) if name]
    text = describe(reason, dict.fromkeys(names, '"\\\r\n\x1b<b>é\u202e' + "x" * 1000))
    assert re.fullmatch(r"[\x20-\x21\x23-\x5B\x5D-\x7E]+", text)
    assert len(text) < 800


def test_every_reason_stands_on_a_feature_page():
    pages = [page.read_text(encoding="utf-8") for page in FEATURES.glob("*.md")]
    missing = [reason for reason in sorted(DESCRIPTIONS) if not any(f"`{reason}`" in page for page in pages)]
    assert missing == []
