"""Give the package a name of your own: ``uv run scripts/rename.py NAME``.

Every ``imgclf``, and ``IMGCLF`` of environment variables, in the files that git knows becomes NAME, and src/imgclf
moves to src/NAME. LICENSE and CITATION.cff stay: they say where the code comes from.
"""

import re
import subprocess
import sys
from importlib.machinery import PathFinder
from keyword import iskeyword
from pathlib import Path
from typing import NoReturn

OLD = "imgclf"
ROOT = Path(__file__).parents[1]


def refuse(why: str) -> NoReturn:
    print(f"error: {why}", file=sys.stderr)
    sys.exit(2)


def git(*arguments: str, may_fail: bool = False) -> str:
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
    if done.returncode and not may_fail:
        refuse(f"git {arguments[0]}: {done.stderr.strip()}")
    return done.stdout


def rename(name: str) -> None:
    """Rename the package in this checkout.

    Args:
        name: of a Python package and of a distribution: lower case letters, digits, and _ between them.
    """
    if not re.fullmatch(r"[a-z](_?[a-z0-9])*", name) or iskeyword(name):
        refuse(f"{name} cannot name a package: take lower case letters, digits and single _, and no keyword")
    if name in sys.stdlib_module_names or PathFinder.find_spec(name, [*sys.path, str(ROOT), str(ROOT / "tests")]):
        refuse(f"{name} is taken: `import {name}` already finds something else")
    if git("grep", "-liw", name, "--", "src", "conf", ":!conf/schema.json", may_fail=True):
        refuse(f"{name} is taken: src or conf has this word, which could not be told from the package any more")
    if git("status", "--porcelain"):
        refuse("there are changes that are not committed, from which these could not be told: see `git status`")
    for file in map(ROOT.joinpath, git("ls-files", "-z").rstrip("\0").split("\0")):
        old = file.read_bytes()
        new = old
        for was, becomes in ((OLD, name), (OLD.upper(), name.upper())):
            new = re.sub(rf"(?<![A-Za-z]){was}(?![A-Za-z])".encode(), becomes.encode(), new)
        if new != old and b"\0" not in old and file.name not in ("LICENSE", "CITATION.cff"):
            file.write_bytes(new)
    git("mv", f"src/{OLD}", f"src/{name}")
    print(f"The package is {name} now. Next: uv sync; uv run ruff check --fix . && uv run ruff format .;")
    print("uv run pytest; git commit -a. To go back instead: git reset --hard")


if __name__ == "__main__":
    rename(sys.argv[1]) if len(sys.argv) == 2 else refuse("uv run scripts/rename.py NAME")
