"""The names of the environment variables that the client side reads, and of those it knows it cannot use yet."""

from __future__ import annotations

from typing import Final

CLIENT_VARIABLES: Final = (
    "WATCHWORD_API_KEY",
    "WATCHWORD_API_KEY_FILE",
    "WATCHWORD_CLIENT_CERT",
    "WATCHWORD_CLIENT_ID",
    "WATCHWORD_CLIENT_KEY",
    "WATCHWORD_CLIENT_SECRET",
    "WATCHWORD_CLIENT_SECRET_FILE",
    "WATCHWORD_CREDENTIALS",
    "WATCHWORD_DATA",
    "WATCHWORD_DPOP",
    "WATCHWORD_DPOP_KEY_FILE",
    "WATCHWORD_FEDERATED_TOKEN_FILE",
    "WATCHWORD_FEDERATED_TOKEN_FROM",
    "WATCHWORD_ISSUER",
    "WATCHWORD_OPERATOR_TOKEN",
    "WATCHWORD_OPERATOR_TOKEN_FILE",
    "WATCHWORD_PRIVATE_KEY_FILE",
    "WATCHWORD_PROFILE",
    "WATCHWORD_RESOURCE",
    "WATCHWORD_SCOPE",
    "WATCHWORD_URL",
)
"""``client/chain.py`` says what each does."""
