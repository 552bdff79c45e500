"""What the command line says is checked here, before anything heavy is imported.

`check.check` holds a composed configuration against the constructors it names; `suggest.explain` puts Hydra's
errors into words. Neither imports torch, Lightning or the classes it speaks of: it reads their source files.
"""

import difflib
from collections.abc import Iterable


def nearest(word: str, candidates: Iterable[str], cutoff: float = 0.6) -> str | None:
    """The candidate most like `word` (upper and lower case are alike), or None if none comes near.

    `cutoff` is the least likeness in [0, 1], in difflib's ratio: twice the matching letters over all letters.
    """
    by_lower: dict[str, str] = {}
    for candidate in candidates:
        by_lower.setdefault(candidate.lower(), candidate)
    found = difflib.get_close_matches(word.lower(), list(by_lower), n=1, cutoff=cutoff)
    return by_lower[found[0]] if found else None
