"""What may be told of an exception that nobody has foreseen: kind and place. Its words and its trace may hold what was sent."""

from __future__ import annotations


def place_of(bug: BaseException) -> str:
    """Return file and line of where it was raised."""
    trace = bug.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"{trace.tb_frame.f_code.co_filename.rpartition('/')[2]}:{trace.tb_lineno}"
