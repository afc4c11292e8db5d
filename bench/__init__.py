"""How fast watchword is, and beside whom: ``./scripts/bench``. Measures on loopback only."""
