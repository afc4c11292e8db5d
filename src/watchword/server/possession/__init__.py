"""The ways to prove that one holds a key, one file each; ``server/binding.py`` asks them all."""
