"""The one error that users see: the rule, what came, what to do."""

from collections.abc import Iterable
from difflib import get_close_matches


class TenorError(ValueError):
    """A mistake that the user can mend. The command line prints it and exits with 2."""


def plural(count: int, noun: str) -> str:
    """1 row, 2,000 rows"""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of a sentence: `; did you mean 'x'?` for the known name nearest to `name`, else a full stop."""
    by_folded = {k.casefold(): k for k in known}
    close = get_close_matches(name.casefold(), by_folded, n=1, cutoff=0.5)
    return f"; did you mean {by_folded[close[0]]!r}?" if close else "."
