"""Keeping a data directory well: copied, put back, moved, brought forward, examined. On the machine itself."""
