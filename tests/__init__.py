"""The test suite. ``rule`` marks a test with the rows of the ledger (``tests/rules.toml``) that it proves."""

import pytest

rule = pytest.mark.rule

__all__ = ["rule"]
