"""Whether a run that was done again came to the same numbers, and if not, what was different about it."""

from collections.abc import Iterator
from typing import Any

from imgclf.report import compare
from imgclf.report.files import read_table
from imgclf.report.settings import flat, identity
from imgclf.run_folder import RunFolder

# Of metrics.json and metrics.csv: what the clock says.
_OF_THE_CLOCK = ("seconds", "images_per_second")

# Entries of run.json, each with all below it, that can change numbers; in the order in which they are likely to.
_MATTER = (
    "data",
    "git.commit",
    "git.dirty",
    "git.diff",
    "device",
    "gpu",
    "processes",
    "threads",
    "precision",
    "channels_last",
    "instructions",
    "cpu",
    "versions",
    "python",
    "cuda",
    "cudnn",
    "platform",
)


def provenance_differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """In what two runs differ that can change their numbers, a line each; only what both have recorded.

    Args:
        before: contents of the first run's run.json.
        now: of the other's.
    """
    one, other = flat(before), flat(now)
    differing = [key for key in one if key in other and identity(one[key]) != identity(other[key])]
    matter = [key for entry in _MATTER for key in differing if key == entry or key.startswith(f"{entry}.")]
    return [f"{key}: {one[key]} then, {other[key]} now" for key in matter]


def verdict(original: RunFolder, again: RunFolder) -> tuple[bool, str]:
    """Whether the numbers of two finished runs are the same, and a text that says so or in what the runs differ."""
    differing = list(_differing(original, again))
    if not differing:
        return True, f"the same numbers as {original.path}: every epoch and every final metric, to the last digit"
    named = ", ".join(differing[:6]) + (f" and {len(differing) - 6} more" if len(differing) > 6 else "")
    reasons = provenance_differences(original.read_run(), again.read_run())
    if original.read_run().get("resumed"):
        reasons.append("the first run was resumed, perhaps with other settings than it had begun with")
    why = "".join(f"\n  {line}" for line in reasons)
    why = f"what may be the reason:{why}" if why else "nothing that is recorded explains it"
    return False, f"other numbers than {original.path}: {named}\n{why}\n\n{compare(original.path, again.path)}"


def _differing(original: RunFolder, again: RunFolder) -> Iterator[str]:
    """Names of what is not the same."""
    one, other = original.read_metrics() or {}, again.read_metrics() or {}
    for name in dict.fromkeys([*one, *other]):
        if name not in _OF_THE_CLOCK and identity(one.get(name)) != identity(other.get(name)):
            yield name
    (a, wrong), (b, also_wrong) = read_table(original.table_file), read_table(again.table_file)
    if wrong or also_wrong or a.epochs != b.epochs:
        yield "the epochs of metrics.csv"
        return
    for name in dict.fromkeys([*a.columns, *b.columns]):
        if name not in _OF_THE_CLOCK and identity(a.columns.get(name)) != identity(b.columns.get(name)):
            yield f"metrics.csv's column {name}"
