"""Accepting tokens: verify, say who is calling, answer 401 and 403 as the standards ask."""
