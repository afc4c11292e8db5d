"""One framework per file, imported only when asked for."""
