"""Reports as files and as text."""

import csv
import os
import re
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from imgclf.errors import InputError
from imgclf.report.terminal import write_report

MakeRun = Callable[..., Path]
EVIL = "</script><script>alert('x')</script><img src=x onerror=alert(1)>"


def rows_of(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "report.csv").read_text(encoding="utf-8").splitlines()))


def test_a_search_has_parallel_coordinates_and_rank_correlations(make_run: MakeRun, tmp_path: Path) -> None:
    for number in range(1, 7):
        make_run(f"s/{number}", {"optimizer.lr": number / 10}, acc=0.5 + number / 20)
    write_report([tmp_path / "s"])
    html = (tmp_path / "s" / "report.html").read_text()
    assert ("best/val/acc: lr +1.00" in html, '"type":"parcoords"' in html.replace(" ", "")) == (True, True)


@pytest.fixture
def sweep(make_run: MakeRun, tmp_path: Path) -> Path:
    """Two rates, two sizes, two seeds; the larger the better."""
    for number in range(8):
        lr, size, seed = (0.03, 0.3)[number // 4], ([16], [64])[number // 2 % 2], number % 2
        acc = 0.7 + lr / 10 + size[0] / 1000 + seed / 100
        make_run(f"sweep/{number}", {"optimizer.lr": lr, "model.hidden_sizes": size}, seed=seed, acc=acc)
    return tmp_path / "sweep"


def test_the_text_and_the_csv(sweep: Path) -> None:
    # lr 0.3, size 64: 0.794 and 0.804; mean 0.799, deviations ±0.005, sqrt(0.00005) = 0.0071.
    lines = write_report([sweep]).splitlines()
    assert lines[0].startswith("FashionMNISTMini: 8 runs, 4 settings; by best/val/acc (largest first); mean ±")
    table = [line.split() for line in lines[1:6]]
    assert table[0] == ["hidden_sizes", "lr", "best/val/acc", "seeds", "test/acc", "seconds"]
    assert table[1] == ["[64]", "0.3", *["0.7990", "±", "0.0071", "2", "0.7990", "±", "0.0071", "12.0", "s"]]
    assert [row[:2] for row in table[1:]] == [["[64]", "0.3"], ["[64]", "0.03"], ["[16]", "0.3"], ["[16]", "0.03"]]
    assert "best: uv run scripts/train.py optimizer.lr=0.3 'model.hidden_sizes=[64]'" in lines
    assert all(len(line) <= 80 for line in lines[1:6])
    assert "… and 3 more, in report.html" in write_report([sweep], rows=1)
    rows = rows_of(sweep)
    assert [row["name"] for row in rows] == ["6", "7", "2", "3", "4", "5", "0", "1"], "those of the best first"
    assert (rows[0]["optimizer.lr"], rows[0]["outcome"], rows[0]["folder"]) == ("0.3", "finished", str(sweep / "6"))
    assert float(rows[0]["test/acc"]) == pytest.approx(0.794)
    minutes, rates = "[0.0166667, 0.0333333, 0.05]", "[4e-07, 4e-07, 4e-07]"  # three epochs of a second
    found = [(sweep / "report.html").read_text().count(text) for text in (minutes, rates)]
    assert found == [12, 4], "of val/loss, val/acc and lr of four settings"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium")
def test_the_page_draws_its_charts(sweep: Path, tmp_path: Path) -> None:
    write_report([sweep])
    options = f"--headless=new --no-sandbox --virtual-time-budget=5000 --user-data-dir={tmp_path}/profile --dump-dom"
    command = ["chromium", *options.split(), (sweep / "report.html").as_uri()]
    page = subprocess.run(command, capture_output=True, text=True, timeout=200).stdout
    titles = re.findall(r'class="(?:y|y2|y3)title"[^>]*>([^<]*)<', page)
    assert titles == ["val/loss", "val/acc", "lr", *["best/val/acc"] * 2], "curves, and a chart for each setting"
    assert page.count('class="legendtoggle"') == 4, "a line a setting"


def test_what_a_folder_says_is_shown_and_never_executed(make_run: MakeRun, tmp_path: Path) -> None:
    make_run(f"s/<b>{EVIL.replace('/', '')}", {"model.note": EVIL, f"model.{EVIL}": 1}, error=EVIL, acc=0.5)
    make_run("s/1", {"model.note": '" onmouseover="alert(1)'}, metrics={"val/acc": 0.1, EVIL: 1})
    make_run("s/2", {"model.note": "\x1b[2J\u202e", "data._target_": EVIL}, outcome="failed", error="\x1b[2J" + EVIL)
    formulas = ["=1+1", "+x", "-x", "@x", "=cmd|'/c calc'!A1", -0.5, 3, "plain"]
    for i, value in enumerate(formulas):
        make_run(f"s/{i + 4}", {"model.note": value, "model.=key": i}, acc=0.4 - i / 100)
    odd = b"/caf\xe9\n" if os.uname().sysname == "Linux" else b"/cafe\n"  # others know UTF-8 alone
    os.rename(os.fsencode(tmp_path / "s" / "2"), os.fsencode(tmp_path / "s") + odd)  # noqa: PTH104
    text = write_report([tmp_path / "s"])
    assert not {"\x1b", "\u202e"} & set(text), text
    assert "caf\\udce9" in text or b"\xe9" not in odd
    notes = {row["name"]: row["model.note"] for row in rows_of(tmp_path / "s")}
    harmless = ["'=1+1", "'+x", "'-x", "'@x", "'=cmd|'/c calc'!A1", "-0.5", "3", "plain"]
    assert [notes[str(i + 4)] for i in range(8)] == harmless, "no cell becomes a formula"
    tags: list[tuple[str, list[tuple[str, str | None]]]] = []
    parser = HTMLParser()
    parser.handle_starttag = lambda tag, attrs: tags.append((tag, attrs))  # type: ignore[method-assign]
    parser.feed((tmp_path / "s" / "report.html").read_text())
    assert {tag for tag, _ in tags}.isdisjoint({"img", "b", "a", "link", "iframe"}), "nothing is loaded from elsewhere"
    assert not {name for _, attrs in tags for name, _ in attrs} - {"lang", "charset", "name", "content", "class"}


def test_a_half_finished_sweep_with_damaged_files(make_run: MakeRun, sweep: Path) -> None:
    new = {"optimizer.lr": 3.0}
    make_run("sweep/8", new, outcome="failed", error="ValueError: no\nsecond", epochs=1)
    make_run("sweep/9", new, outcome="running", epochs=0)
    for name, content in {
        "0/metrics.csv": b"epoch,train/loss,val/loss\n0,1.0,1.0\n1,what,1.0\n2,0.5",
        "2/.hydra/config.yaml": b"a: [",
        "4/run.json": b'{"outcome": "fini',
        "5/metrics.json": b"[1, 2]",
        "6/metrics.json": b'{"test/acc": "high", "val/acc": 1e999, "epochs": 3}',
        "7/.hydra/overrides.yaml": b"1",
    }.items():
        (sweep / name).write_bytes(content)
    (sweep / "3" / ".hydra" / "config.yaml").unlink()
    text, html = " ".join(write_report([sweep], columns=300).split()), (sweep / "report.html").read_text()
    for outcome in ("8 failed ValueError: no; 1 of 3 epochs", "9 unfinished 0 of 3 epochs", "5 damaged"):
        assert outcome in text, outcome
    for problem in (
        *("0 metrics.csv is damaged", "2 config.yaml is damaged", "3 config.yaml is missing", "4 run.json is damaged"),
        *("5 metrics.json is damaged", "6 metrics.json: test/acc is no number", "7 overrides.yaml is damaged"),
    ):
        assert (problem in text, problem[2:] in html) == (True, True), problem
    assert len(rows_of(sweep)) == 10


LAUGHS = "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12))


@pytest.mark.parametrize("content", ["[" * 100_000, f"a: 0x{'f' * 5000}", "!!python/name:os.system\n", LAUGHS])
def test_files_that_ask_too_much(make_run: MakeRun, tmp_path: Path, content: str) -> None:
    make_run("s/0", {"optimizer.lr": 0.3}, acc=0.9)
    for name in (".hydra/config.yaml", ".hydra/overrides.yaml", "run.json", "metrics.csv"):
        (make_run(f"s/{name}") / name).write_text(content)
    text = write_report([tmp_path / "s"])
    assert "run.json is damaged" in text
    assert "best: uv run scripts/train.py optimizer.lr=0.3" in text


def test_several_folders_and_none(sweep: Path, make_run: MakeRun, tmp_path: Path) -> None:
    (sweep / "best").symlink_to(sweep / "0")
    make_run("other/0", acc=0.99)
    text = write_report([sweep, tmp_path / "other", sweep / "0"], str(tmp_path / "a" / "b"))
    assert "9 runs, 5 settings" in text, "each run once"
    assert re.search(r"^other +\[256\] +0.1 +0.9900 +1 ", text, re.MULTILINE)
    assert len(rows_of(tmp_path / "a" / "b")) == 9
    assert not list(tmp_path.rglob("*.tmp"))
    with pytest.raises(InputError, match="there is no run in"):
        write_report([tmp_path / "a"])
    with pytest.raises(InputError, match=r"cannot be written to .*choose out="):
        write_report([sweep], str(sweep / "0" / "run.json"))
