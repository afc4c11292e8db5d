"""Decisions: what the authorization server does; knows no framework and no database."""
