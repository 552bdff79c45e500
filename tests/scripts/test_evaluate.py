"""scripts/evaluate.py as a user runs it."""

import re
import shutil
from pathlib import Path

import pytest
import torch
from conftest import Door


@pytest.fixture
def trained(door: Door, tmp_path: Path) -> Path:
    door("train.py", "debug=fast", "hydra.run.dir=run", "test=false")
    return tmp_path / "run"


def test_only_the_run_folder_is_needed(door: Door, tmp_path: Path, trained: Path) -> None:
    best = door("evaluate.py", "run=run").stdout
    assert re.search(r"test +\d\.\d+ +0\.\d+", best)
    shutil.move(trained, tmp_path / "a place of its own")
    again = door("evaluate.py", "run=a place of its own").stdout
    assert again == best.replace("run/", "a place of its own/")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a place of its own"], "nothing is written elsewhere"


def test_bad_input(door: Door, tmp_path: Path, trained: Path) -> None:
    def refused(*arguments: str) -> str:
        done = door("evaluate.py", *arguments, expect=2)
        assert "Traceback" not in done.stderr
        return done.stderr

    assert "there is no folder nowhere" in refused("run=nowhere")
    assert "Did you mean" in refused("run=run", "data.eval_batchsize=3")
    assert "run" in refused()

    best = trained / "checkpoints" / "best.ckpt"
    whole = best.read_bytes()
    best.write_bytes(whole[: len(whole) // 2])
    assert "best.ckpt cannot be read as a checkpoint" in refused("run=run")
    best.write_bytes(b"")
    assert "best.ckpt cannot be read as a checkpoint" in refused("run=run")
    torch.save({"state_dict": {"net.1.weight": torch.zeros(3)}}, best)
    assert "holds other weights than MLP has" in refused("run=run")
    best.unlink()
    assert "best.ckpt" in refused("run=run")
    assert "checkpoint=worst" in refused("run=run", "checkpoint=worst")


def test_a_malicious_checkpoint_is_not_executed(door: Door, tmp_path: Path, trained: Path) -> None:
    class Attack:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            import os

            return os.system, (f"touch {tmp_path / 'owned'}",)

    torch.save({"state_dict": Attack()}, trained / "checkpoints" / "best.ckpt")
    done = door("evaluate.py", "run=run", expect=2)
    assert "cannot be read as a checkpoint" in done.stderr
    assert not (tmp_path / "owned").exists()
