"""What is thrown at the readers of this package: bytes in a file, of which only an InputError may come.

Each target takes the bytes and an empty folder. Seeds are whole files, to be damaged.
"""

import contextlib
import gzip
import io
import json
import re
import shutil
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import py7zr
import torch
from refused import kaggle, open_here, png

from imgclf.callbacks.epoch_table import EpochTable
from imgclf.errors import InputError
from imgclf.images.archives import Limits, check_members, extract_7z, extract_zip, zip_members
from imgclf.images.idx import read_idx, write_idx
from imgclf.images.kaggle import read_labels, read_submission_ids
from imgclf.images.png_folder import decode_png_folder
from imgclf.report import compare, write_report
from imgclf.run.build import read_checkpoint
from imgclf.run_folder import RunFolder
from imgclf.sweep_folder import SweepFolder

Target = Callable[[bytes, Path], None]

_LIMITS = Limits(member_bytes=2**20, total_bytes=2**22, members=100)
_ALLOWED = re.compile(r"train/[1-9]\d*\.png")
_SETTINGS = "seed: 0\nmodel:\n  _target_: imgclf.models.mlp.MLP\n  hidden_sizes: [256]\noptimizer:\n  lr: 0.1\n"
_TABLE = "epoch,step,lr,train/loss,val/acc\n0,10,0.1,2.3,0.1\n1,20,0.1,1.3,0.5\n"


def idx(data: bytes, folder: Path) -> None:
    """An IDX file, plain or gzipped."""
    (folder / "some-ubyte").write_bytes(data)
    with contextlib.suppress(InputError):
        array = read_idx(folder / "some-ubyte")
        assert array.dtype == np.uint8
        plain = gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data
        assert plain == write_idx(array), "what is read is what was written"


def labels(data: bytes, folder: Path) -> None:
    """Both of the competition's lists."""
    (folder / "list.csv").write_bytes(data)
    for read in (read_labels, read_submission_ids):
        with contextlib.suppress(InputError):
            read(folder / "list.csv")


def image(data: bytes, folder: Path) -> None:
    """A PNG."""
    (folder / "1.png").write_bytes(data)
    with contextlib.suppress(InputError):
        decode_png_folder(folder, np.array([1]), folder / "out.npy", size=8, workers=1)
        assert np.load(folder / "out.npy").shape == (1, 3, 8, 8)


def zip_archive(data: bytes, folder: Path) -> None:
    """A zip: its table, and what is in it."""
    archive = folder / "a.zip"
    archive.write_bytes(data)
    with contextlib.suppress(InputError):
        members = zip_members(archive)
        check_members(archive, members, _ALLOWED, _LIMITS)
        files = [member.name for member in members if not member.is_folder]
        if files:
            extract_zip(archive, {name: folder / "out" / name for name in files})
    _nothing_outside(folder, {"a.zip", "out"})


def seven_zip(data: bytes, folder: Path) -> None:
    """A 7z, flat into a folder."""
    (folder / "a.7z").write_bytes(data)
    with contextlib.suppress(InputError):
        extract_7z(folder / "a.7z", folder / "out", allowed=_ALLOWED, limits=_LIMITS)
    _nothing_outside(folder, {"a.7z", "out"})


def _nothing_outside(folder: Path, expected: set[str]) -> None:
    assert {path.name for path in folder.iterdir()} <= expected


def run_folder(data: bytes, folder: Path) -> None:
    """One of a run's files, chosen by the first byte, read by reports, by resuming and by its sweep."""
    run = folder / "sweep" / "0"
    (run / ".hydra").mkdir(parents=True)
    names = [".hydra/config.yaml", ".hydra/overrides.yaml", "run.json", "metrics.json", "metrics.csv", "../sweep.json"]
    whole = {
        names[0]: _SETTINGS,
        names[1]: "- seed=0\n",
        names[2]: "{}",
        names[3]: '{"val/acc": 0.5}',
        names[4]: _TABLE,
    }
    for name, text in whole.items():
        (run / name).write_text(text)
    (run / names[data[0] % len(names)] if data else run / names[0]).write_bytes(data[1:])
    with contextlib.suppress(InputError):
        write_report([folder / "sweep"], str(folder / "out")).text()
    for read in (
        lambda: compare(str(run), str(run)),
        RunFolder(run).read_config,
        RunFolder(run).read_run,
        RunFolder(run).read_metrics,
        EpochTable(run / "metrics.csv").metrics,
        lambda: SweepFolder.existing(folder / "sweep"),
    ):
        with contextlib.suppress(InputError):
            read()


def checkpoint(data: bytes, folder: Path) -> None:
    """A checkpoint."""
    (folder / "best.ckpt").write_bytes(data)
    with contextlib.suppress(InputError):
        assert isinstance(read_checkpoint(folder / "best.ckpt"), dict)


def overrides(data: bytes, folder: Path) -> None:
    """A command line, an argument a line; composed and checked, and nothing run."""
    arguments = [line for line in data.decode("utf-8", "replace").split("\n") if line and "\0" not in line]
    # Flags have meanings of their own (help, completion, plugins); folders are made where the command says.
    arguments = [a for a in arguments if not a.startswith("-") and "hydra." not in a and not a.startswith("name")]
    answer = open_here("train", "fuzz.targets:do_nothing", [*arguments, f"hydra.run.dir={folder}/run"])
    assert answer.code in (0, 2), answer.err
    assert "Traceback" not in answer.err, answer.err
    assert (answer.code == 2) == ("error: " in answer.err), answer.err


def do_nothing(config: object) -> None:
    """In place of training."""


TARGETS: dict[str, Target] = {
    target.__name__: target
    for target in (idx, labels, image, zip_archive, seven_zip, run_folder, checkpoint, overrides)
}


@cache
def seeds(name: str) -> list[bytes]:
    """Whole files for a target."""
    array = write_idx(np.arange(24, dtype=np.uint8).reshape(2, 3, 4))
    small = {f"train/{i}.png": png(i, size=8) for i in (1, 2)}
    packed, solid, saved = io.BytesIO(), io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in small.items():
            archive.writestr(member, content)
    with py7zr.SevenZipFile(solid, "w", filters=[{"id": py7zr.FILTER_LZMA2, "preset": 0}]) as archive:
        for member, content in small.items():
            archive.writestr(content, member)
    torch.save({"state_dict": {"net.weight": torch.ones(2, 2)}, "epoch": 1, "loops": {"a": [1, 2.5, None]}}, saved)
    sweep = {"arguments": ["seed=0,1"], "hydra_arguments": [], "is_grid": True, "jobs": []}
    texts = [_SETTINGS, "- seed=0\n- model=mlp\n", '{"outcome": "failed", "error": "x"}', '{"val/acc": NaN}', _TABLE]
    lines = ["model=lenet\nseed=1", "data.batch_size=8\noptimizer.lr=1e-3", "model.hidden_sizes=[1,2]\n+a.b={c:1}"]
    lines += ["~model.dropout\nschedule=cosine\nname='a b'", "trainer=cpu\n++x=${seed}\ntest=false"]
    return {
        "idx": [array, gzip.compress(array, mtime=0)],
        "labels": [b"id,label\n1,cat\n2,dog\n", kaggle()["sampleSubmission.csv"]],
        "image": [small["train/1.png"], png(3, "P", size=8)],
        "zip_archive": [packed.getvalue()],
        "seven_zip": [solid.getvalue()],
        "run_folder": [bytes([i]) + text.encode() for i, text in enumerate([*texts, json.dumps(sweep)])],
        "checkpoint": [saved.getvalue()],
        "overrides": [line.encode() for line in lines],
    }[name]


def emptied(folder: Path) -> Path:
    """The folder without what an earlier input left."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder
