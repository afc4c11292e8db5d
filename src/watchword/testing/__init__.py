"""For tests of watchword and of what is built on it: frozen clock, in-process server, contract kits."""
