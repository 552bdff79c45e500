"""What a run is, as text beside its curves."""

import shlex

from pytorch_lightning import Callback, LightningModule, Trainer

from imgclf.callbacks.board import writers
from imgclf.run_folder import RunFolder

_LONGEST_LINE = 100  # letters that the page has room for


class RunText(Callback):
    """The command that gives this run again, where it came from, and its whole configuration, from its folder.

    A resumed run adds what it was resumed with at the step from which it goes on.
    """

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        folder = RunFolder(trainer.default_root_dir)
        for writer in writers(trainer):
            for tag, text in texts(folder).items():
                writer.add_text(f"run/{tag}", text, trainer.global_step)


def texts(folder: RunFolder) -> dict[str, str]:
    """Markdown by name, of what the folder has: ``command``, ``provenance``, ``configuration``."""
    found = {}
    if folder.overrides_file.is_file():
        words = ["uv run scripts/train.py", *map(shlex.quote, folder.read_overrides())]
        line = " ".join(words)
        found["command"] = _block(line if len(line) <= _LONGEST_LINE else " \\\n    ".join(words))
    run = folder.read_run()
    if run:
        git = run.get("git") or {}
        rows = {
            "started": run.get("start"),
            "resumed": ", ".join(run.get("resumed", [])) or None,
            "commit": git.get("commit"),
            "changed since the commit": ", ".join(git.get("changed", [])) or None,
            "host": run.get("host"),
            "Python": run.get("python"),
            **run.get("versions", {}),
        }
        lines = [f"| {name} | {value} |" for name, value in rows.items() if value is not None]
        found["provenance"] = "\n".join(["| | |", "|---|---|", *lines])
    if folder.config_file.is_file():
        found["configuration"] = _block(folder.config_file.read_text(encoding="utf-8"))
    return found


def _block(text: str) -> str:
    """Markdown that shows the text as it is."""
    return "".join(f"    {line}\n" for line in text.splitlines())
