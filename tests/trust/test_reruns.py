"""A run done again from its folder."""

import json
import re
from pathlib import Path
from typing import Any

from conftest import Door
from run_files import metrics, run_json, table

SHORT = ("trainer.max_epochs=2", "data.batch_size=500", "model.dropout=0.3", "logger=none")


def edit(file: Path, **changes: Any) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_a_run_is_done_again_and_compared(door: Door, tmp_path: Path) -> None:
    door("train.py", *SHORT, "hydra.run.dir=first")
    first = tmp_path / "first"

    # Only as it was, once.
    for given in ("optimizer.lr=0.3", "~model.dropout", "-m", "resume=first"):
        told = door("train.py", "rerun=first", given, expect=2).stderr
        assert given.partition("=")[0] in told
        assert "leave" in told

    done = door("train.py", "rerun=first")
    again = Path(re.search(r"run folder: +(\S+)", done.stdout)[1])  # type: ignore[index]
    assert again.parent == tmp_path / "logs" / "runs" / "mlp_fashion_mnist_mini"
    assert f"the same numbers as {first}" in done.stdout
    assert metrics(again) == metrics(first)
    assert table(again) == table(first)
    assert run_json(again)["rerun_of"] == str(first)
    assert run_json(again)["reproduced"] is True
    assert "not as" not in done.stderr

    # The first run as another machine would have left it.
    edit(first / "run.json", threads=7, versions={"torch": "2.0.0"}, git={"commit": "f" * 40, "dirty": False})
    edit(first / "metrics.json", **{"test/acc": 0.5})
    done = door("train.py", "rerun=first", "hydra.run.dir=third", expect=1)
    began = done.stderr[: done.stderr.index("epoch 1/2")]
    for line in ("versions.torch: 2.0.0 then,", "git.commit: ffff"):
        assert line in began, "said before training"
        assert line in done.stdout, "and as what may be the reason"
    assert f"other numbers than {first}: test/acc\n" in done.stdout
    assert "Traceback" not in done.stderr
    assert run_json(tmp_path / "third")["reproduced"] is False

    (first / "metrics.json").unlink()
    assert "resume=" in door("train.py", "rerun=first", expect=2).stderr


def test_a_run_is_not_resumed_on_other_images_and_says_what_else_has_changed(door: Door, tmp_path: Path) -> None:
    door("train.py", *SHORT, "trainer.max_epochs=1", "hydra.run.dir=run")
    file = tmp_path / "run" / "run.json"
    data = json.loads(file.read_text())["data"]
    assert data["train"]["images"] == [10000, 1, 28, 28]
    assert data["test"]["images"] == [2000, 1, 28, 28]
    edit(file, data=data | {"train": data["train"] | {"digest": "0" * 16}})
    done = door("train.py", "resume=run", "trainer.max_epochs=2", expect=2)
    assert "train images have changed" in done.stderr
    edit(file, data=data, versions={"torch": "2.0.0"})
    done = door("train.py", "resume=run", "trainer.max_epochs=2")
    assert "versions.torch: 2.0.0 then, " in done.stderr
