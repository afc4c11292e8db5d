"""Thousands of requests that nobody would send, over real sockets: refused, answered, and nothing more."""
