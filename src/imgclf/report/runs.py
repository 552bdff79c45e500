"""Run folders -> tables. What stands in them may come from anyone and may be damaged: it is shown, never trusted."""

import csv
import functools
import io
import json
import math
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from imgclf.errors import InputError
from imgclf.run_folder import RunFolder, flat

FINISHED, DIVERGED = "finished", "diverged"
_FILES = {"run.json", "metrics.json"}  # not metrics.csv, which a CSVLogger has as well, in a folder of its own
_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass
class Runs:
    """Tables with a row a run."""

    about: pd.DataFrame  # name, folder, dataset, seed, outcome, note, problems, overrides, run (run.json), begun
    settings: pd.DataFrame  # of the resolved configuration, dotted keys; JSON texts: 1, 1.0 and "1" are three values
    metrics: pd.DataFrame  # final ones
    curves: pd.DataFrame  # run, epoch, and metrics; a row an epoch

    @property
    def problems(self) -> pd.DataFrame:
        """Name and problem, a row a problem."""
        return self.about[["name", "problems"]].explode("problems").dropna()


def read_runs(folders: Sequence[Path]) -> Runs:
    """All runs beneath some folders, each once; an InputError where a folder is missing or holds none."""
    found: dict[Path, Path] = {}
    top = Path(os.path.commonpath([folder.resolve() for folder in folders]))
    for folder in folders:
        places = [(Path(place), {*names, *files}) for place, names, files in os.walk(folder.resolve())]
        inside = [path for path, names in places if names & _FILES or (path / ".hydra" / "config.yaml").exists()]
        if not inside:
            what = f"no run in {folder}" if folder.is_dir() else f"no folder {folder}"
            raise InputError(f"there is {what}: give a folder of runs, such as logs/sweeps/NAME/DATE_TIME")
        inside.sort(key=lambda path: re.sub(r"\d+", lambda digits: digits[0].zfill(9), str(path)))
        top_of = folder.resolve().parent if [folder.resolve()] == inside else folder.resolve()  # runs given one by one
        found |= {path: top_of for path in inside if path not in found}
    parts = [_read_run(path, source, top) for path, source in found.items()]
    about, settings, metrics, epochs = zip(*parts, strict=True)
    rows = [row | {"run": run} for run, rows in enumerate(epochs) for row in rows]
    curves = pd.DataFrame([{"run": 0, "epoch": math.nan}, *rows]).replace([math.inf, -math.inf], math.nan)
    curves = curves.dropna(subset="epoch").drop_duplicates(["run", "epoch"], keep="last")
    index = range(len(about))
    return Runs(pd.DataFrame(about), pd.DataFrame(settings, index), pd.DataFrame(metrics, index, dtype=float), curves)


def _read_run(folder: Path, source: Path, top: Path) -> tuple[Any, ...]:
    """What there is; files that are missing or damaged are named among the problems."""
    files, problems = RunFolder(folder), list[str]()
    settings = _read(files.config_file, _settings, problems) or {}
    if not settings and not problems:
        problems.append("config.yaml is missing")
    run = _read(files.run_file, json.loads, problems) or {}
    given = _read(files.metrics_file, functools.partial(json.loads, parse_int=float), problems)
    rows = _read(files.table_file, _rows, problems, list) or []
    metrics = {printable(name): value for name, value in (given or {}).items()}
    problems += [f"metrics.json: {k} is no number" for k, v in metrics.items() if not isinstance(v, float | None)]
    metrics = {k: v if isinstance(v, float) and math.isfinite(v) else math.nan for k, v in metrics.items()}
    outcome = run.get("outcome")
    if given is not None:
        is_lost = any(name.endswith("/loss") and math.isnan(value) for name, value in metrics.items())
        outcome = DIVERGED if is_lost or outcome == DIVERGED else FINISHED
    elif problems or outcome not in ("failed", "interrupted", DIVERGED):
        outcome = "damaged" if problems or outcome == FINISHED else "unfinished"
    why = printable(str(run.get("error") or "").strip().partition("\n")[0])
    place = settings.get("data.dir", settings.get("data.file", ""))
    dataset = [settings.get("data._target_", "").rpartition(".")[2], place]
    about = {
        "name": printable(folder.relative_to(top) if folder != top else folder.name),
        "folder": printable(folder),
        "dataset": " ".join(dataset).replace('"', "").strip() or "unknown data",
        "seed": settings.get("seed", "?"),
        "repeat": f"{settings.get('seed', '?')}, fold {settings.get('data.fold')}"
        if settings.get("data.folds")
        else settings.get("seed", "?"),
        "outcome": outcome,
        "note": f"{why}{'; ' if why else ''}{len(rows)} of {settings.get('trainer.max_epochs', '?')} epochs",
        "problems": problems,
        "overrides": _read(files.overrides_file, _yaml, problems, list),
        "run": run,
        "begun": bool(settings) and bool(metrics or rows),
    }
    return about, {"sweep": json.dumps(os.path.relpath(source, top))} | settings, metrics, rows


def _read(file: Path, parse: Callable[[str], Any], problems: list[str], kind: type = dict) -> Any:
    """A file's contents; None where it is missing or damaged."""
    try:
        content = parse(file.read_text(encoding="utf-8"))
        if not isinstance(content, kind):
            raise ValueError(f"it holds no {kind.__name__}")
    except FileNotFoundError:
        return None
    except Exception as error:  # PyYAML and csv alone raise a dozen kinds for damaged files
        problems.append(f"{file.name} is damaged: {printable(error)}")
        return None
    return content


def _rows(text: str) -> list[dict[str, float]]:
    rows = csv.DictReader(io.StringIO(text), strict=True)
    return [{"epoch": float(row["epoch"])} | {printable(k): float(v or "nan") for k, v in row.items()} for row in rows]


def _yaml(text: str) -> Any:
    if re.search(r"(^|[\s\[{,])&\w", text) or len(re.findall(r"[\[{]|[-?:] [-?]", text)) > 500:
        raise ValueError("nested or repeated as no run writes it")  # which can fill the stack, or the memory
    return yaml.load(text, _Loader)


def _settings(text: str) -> dict[str, str]:
    """Dotted key -> JSON; read by top-level keys, most of which the runs of a sweep have in common."""
    parts = re.split(r"^(?=\w)", text, flags=re.MULTILINE)
    return {key: value for part in parts for key, value in _section(part).items()}


@functools.lru_cache(maxsize=10_000)
def _section(text: str) -> dict[str, str]:
    content = _yaml(text) or {}
    if not isinstance(content, dict):
        raise ValueError("it holds no keys")
    return {printable(k): printable(json.dumps(v, default=str, ensure_ascii=False)) for k, v in flat(content).items()}


def printable(text: Any) -> str:
    """A text on one line, with everything escaped that no terminal should be sent."""
    line = str(text) if str(text).isprintable() else " ".join(str(text).split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
