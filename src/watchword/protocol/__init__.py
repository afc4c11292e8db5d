"""The rules of each RFC: pure functions over values; no I/O, no clock, no logging."""
