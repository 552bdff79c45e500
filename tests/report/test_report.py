"""Reports as files and as text."""

import csv
import io
import json
import os
import re
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from imgclf.errors import InputError
from imgclf.report import write_report
from imgclf.report.figures import learning_curves

MakeRun = Callable[..., Path]
EVIL = "</script><script>alert('x')</script>"


class Elements(HTMLParser):
    """Start tags with their attributes, and the texts between."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="", encoding="utf-8") as text:
        return list(csv.DictReader(text))


@pytest.fixture
def sweep(make_run: MakeRun, tmp_path: Path) -> Path:
    """Two rates, two sizes, two seeds; the larger the better."""
    number = 0
    for lr in (0.03, 0.3):
        for size in ([16], [64]):
            for seed in (0, 1):
                acc = 0.7 + lr / 10 + size[0] / 1000 + seed / 100
                settings = {"optimizer.lr": lr, "model.hidden_sizes": size}
                make_run(f"sweep/{number}", settings, seed=seed, acc=acc, epochs=3)
                number += 1
    return tmp_path / "sweep"


def test_the_table(sweep: Path) -> None:
    # lr 0.3, size 64: 0.794 and 0.804; mean 0.799, deviations ±0.005, sqrt(0.00005) = 0.0071.
    text = write_report([sweep]).text()
    lines = text.splitlines()
    assert lines[0].startswith("8 runs, 4 settings; by best/val/acc")
    table = [line.split() for line in lines[2:7]]
    assert table[0] == ["hidden_sizes", "lr", "best", "val", "acc", "test", "acc", "time", "img/s", "seeds"]
    assert table[1] == ["[64]", "0.3", "0.7990", "±", "0.0071", "0.7990", "±", "0.0071", "12.0", "s", "50,000", "2"]
    assert [row[:2] for row in table[1:]] == [["[64]", "0.3"], ["[64]", "0.03"], ["[16]", "0.3"], ["[16]", "0.03"]]
    assert "best:   uv run scripts/train.py optimizer.lr=0.3 'model.hidden_sizes=[64]'" in text
    assert all(len(line) <= 80 for line in lines if not line.startswith("best:"))


def test_what_is_called_best_is_chosen_by_validation(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("s/0", {"optimizer.lr": 0.1}, acc=0.7, test_acc=0.9)
    make_run("s/1", {"optimizer.lr": 0.3}, acc=0.8, test_acc=0.6)
    command = "uv run scripts/train.py optimizer.lr=0.3"
    report = write_report([tmp_path / "s"])
    assert report.text().splitlines()[-1] == f"best:   {command}"
    assert f"<p>Best: <code>{command}</code></p>" in report.html.read_text()
    assert [row["optimizer.lr"] for row in rows_of(report.csv)] == ["0.3", "0.1"]
    tested = write_report([tmp_path / "s"], sort="test/acc").text()
    assert tested.splitlines()[-2:] == ["note: best is chosen by best/val/acc", f"best:   {command}"]
    assert [line.split()[0] for line in tested.splitlines()[3:5]] == ["0.1", "0.3"]


def test_where_nothing_was_validated_the_report_says_so(make_run: MakeRun, tmp_path: Path) -> None:
    for i, acc in enumerate((0.5, 0.9)):
        make_run(f"s/{i}", {"optimizer.lr": i + 1.0}, metrics={"train/acc": acc, "test/acc": acc})
    report = write_report([tmp_path / "s"])
    line = "note: nothing was validated, so none is called best"
    assert report.text().splitlines()[-1] == line
    assert line in report.html.read_text()
    assert "best:" not in report.text()
    assert [row["test/acc"] for row in rows_of(report.csv)] == ["0.5", "0.9"], "as they were found"


def test_report_csv_has_a_row_a_run(sweep: Path) -> None:
    rows = rows_of(write_report([sweep]).csv)
    assert len(rows) == 8
    first = rows[0]
    assert (first["optimizer.lr"], first["model.hidden_sizes"], first["outcome"]) == ("0.3", "[64]", "finished")
    assert {row["seed"] for row in rows} == {"0", "1"}
    assert float(rows[0]["test/acc"]) == json.loads(Path(first["folder"], "metrics.json").read_text())["test/acc"]
    assert {"train/loss", "val/loss", "test/loss", "epochs", "seconds", "images_per_second"} <= first.keys()


def test_the_page_needs_nothing_else(sweep: Path) -> None:
    html = write_report([sweep]).html.read_text()
    tags = Elements(html).tags
    assert not [value for _, attrs in tags for name, value in attrs.items() if name in ("src", "xlink:href", "onload")]
    assert not [tag for tag, _ in tags if tag in ("link", "img", "iframe", "object")]
    assert "http" not in re.sub(r'http-equiv="Content-Security-Policy"', "", html)
    assert "url(" not in html
    links = [attrs["href"] for tag, attrs in tags if tag == "a"]
    assert len(links) == 8
    assert all((sweep / str(link)).is_dir() for link in links)


def panels(html: str) -> dict[str, ET.Element]:
    found = re.findall(r'<svg class="panel".*?</svg></svg>|<svg class="panel".*?<rect[^>]*/></svg>', html, re.DOTALL)
    trees = [ET.fromstring(text) for text in found]
    return {tree.attrib["aria-label"]: tree for tree in trees}


def test_the_charts(sweep: Path) -> None:
    charts = panels(write_report([sweep]).html.read_text())
    assert list(charts) == [
        "train loss", "val loss", "train acc", "val acc",
        "best val acc by hidden_sizes", "best val acc by lr", "learning rate",
    ]  # fmt: skip
    for name in ("train loss", "val acc"):
        assert len(list(charts[name].iter("polyline"))) == 4, "a line a setting"
        assert len(list(charts[name].iter("polygon"))) == 4, "and a band over its seeds"
    assert len(list(charts["learning rate"].iter("polyline"))) == 2, "a line a course"
    rate = charts["best val acc by lr"]
    assert len(list(rate.iter("circle"))) == 8, "a dot a run"
    assert {"0.03", "0.3"} <= {text.text for text in rate.iter("text")} | {t.tail for t in rate.iter("title")}


def test_curves_are_means_of_whole_runs_and_the_others_are_drawn_apart(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("s/0", seed=0, acc=0.4, loss=0.25)
    make_run("s/1", seed=1, acc=0.8, loss=0.75)
    make_run("s/2", seed=2, acc=0.1, loss=None)
    make_run("s/3", seed=3, acc=0.9, loss=0.01, epochs=2, outcome="interrupted")
    figure = learning_curves(write_report([tmp_path / "s"]).grouped)
    assert figure is not None
    chart = next(panel for panel in figure.panels if panel.title == "val acc")
    drawn = ET.fromstring(chart.svg()).find("svg")
    assert drawn is not None
    mean, *apart = drawn.iter("polyline")
    assert "stroke-dasharray" not in mean.attrib
    assert [line.find("title").text for line in apart] == [  # type: ignore[union-attr]
        "all runs (2: diverged)",
        "all runs (3: interrupted)",
    ]
    assert all("stroke-dasharray" in line.attrib for line in apart)
    # In the third epoch 0.4 and 0.8: mean 0.6, one standard deviation 0.2828 above and below.
    wide, high = chart.width - 70, chart.height - 72
    x, y = (float(number) for number in mean.attrib["points"].split()[-1].split(","))
    assert x == pytest.approx(chart.x.place(3.0) * wide, abs=0.1)
    assert y == pytest.approx((1 - chart.y.place(0.6)) * high, abs=0.1)
    band = next(drawn.iter("polygon")).attrib["points"].split()
    upper, lower = (float(place.split(",")[1]) for place in (band[2], band[3]))
    assert upper == pytest.approx((1 - chart.y.place(0.6 + 0.282843)) * high, abs=0.1)
    assert lower == pytest.approx((1 - chart.y.place(0.6 - 0.282843)) * high, abs=0.1)


def test_what_a_folder_says_is_never_executed(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("evil/<b>0", {"model.note": EVIL, f"model.{EVIL}": 1}, error=EVIL, acc=0.5)
    make_run("evil/javascript:alert(1)", {"model.note": '" onmouseover="alert(1)'}, metrics={"test/acc": 0.1, EVIL: 1})
    make_run("evil/2", {"model.note": "\x1b[2J\u202e"}, outcome="failed", error=EVIL + "\nsecond line")
    make_run("evil/3", {"model._target_": EVIL}, seed=EVIL, host=EVIL, git={"commit": EVIL})  # type: ignore[arg-type]
    (tmp_path / "evil" / "4").mkdir()
    (tmp_path / "evil" / "4" / "metrics.csv").write_text(f"epoch,{EVIL}\n0,{EVIL}\n")
    report = write_report([tmp_path / "evil"])
    html = report.html.read_text()
    elements = Elements(html)
    assert [tag for tag, _ in elements.tags].count("script") == 1, "the page's own"
    assert not [name for _, attrs in elements.tags for name in attrs if name.startswith("on")]
    assert all(str(attrs["href"]).startswith("./") for tag, attrs in elements.tags if tag == "a")
    assert "alert('x')" in "".join(elements.texts), "shown, as text"
    assert "script-src 'sha256-" in html
    text = report.text()
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_no_cell_becomes_a_formula(make_run: MakeRun, tmp_path: Path) -> None:
    values = ["=1+1", "+1", "-1", "@x", "=cmd|'/c calc'!A1", "\t=1", "-0.5", -0.5, 3, "plain"]
    for i, value in enumerate(values):
        make_run(f"s/{i}", {"model.note": value, "model.=key": 1 if i else 2}, acc=1 - i / 100)
    rows = rows_of(write_report([tmp_path / "s"]).csv)
    assert [row["model.note"] for row in rows] == [
        "'=1+1", "'+1", "'-1", "'@x", "'=cmd|'/c calc'!A1", "\\t=1", "'-0.5", "-0.5", "3", "plain",
    ]  # fmt: skip
    header = io.StringIO((tmp_path / "s" / "report.csv").read_text()).readline()
    assert not [cell for cell in header.split(",") if cell.startswith(("=", "+", "-", "@"))]


def test_a_half_finished_sweep(make_run: MakeRun, sweep: Path) -> None:
    three = {"optimizer.lr": 3.0, "model.hidden_sizes": [64]}
    make_run("sweep/8", three, outcome="failed", error="ValueError: no\nsecond", epochs=1)
    make_run("sweep/9", three, outcome="interrupted", error="stopped by SIGTERM", epochs=2)
    make_run("sweep/10", three, outcome="running", epochs=0)
    make_run("sweep/11", three, outcome="running", epochs=0)
    (sweep / "11" / "run.json").unlink()
    make_run("sweep/12", {"optimizer.lr": 0.3, "model.hidden_sizes": [64]}, outcome="running", seed=2)
    make_run("sweep/13", three, loss=None, acc=0.1)
    (sweep / "14").mkdir()  # of no run
    report = write_report([sweep])
    text = report.text()
    assert re.search(r"^  8 +failed +ValueError: no; 1 of 3 epochs$", text, re.MULTILINE)
    assert re.search(r"^  9 +interrupted +stopped by SIGTERM; 2 of 3 epochs$", text, re.MULTILINE)
    assert re.search(r"^  10 +unfinished +running, or killed; 0 of 3 epochs; last sign 2", text, re.MULTILINE)
    assert re.search(r"^  11 +not started +there is no run.json$", text, re.MULTILINE)
    assert re.search(r"^  13 +diverged +no number: test/loss, train/loss, val/loss$", text, re.MULTILINE)
    assert re.search(r"^\[64\] +0.3 .* 2/3$", text, re.MULTILINE), "two of three seeds have finished"
    assert re.search(r"^\[64\] +3.0 .* 1/5$", text, re.MULTILINE)
    outcomes = [row["outcome"] for row in rows_of(report.csv)]
    assert len(outcomes) == 14
    assert outcomes.count("finished") == 8
    row = next(row for row in rows_of(report.csv) if row["outcome"] == "diverged")
    assert (row["test/loss"], row["test/acc"]) == ("nan", "0.1")
    assert "diverged" in report.html.read_text()


def test_damaged_files_are_named_and_the_rest_reported(make_run: MakeRun, sweep: Path) -> None:
    (sweep / "0" / "metrics.csv").write_text("epoch,train/loss,val/loss\n0,1.0,1.0\n1,what,1.0\n2,0.5")
    (sweep / "1" / "metrics.csv").write_bytes(b"\xff\xfe\x00")
    (sweep / "2" / ".hydra" / "config.yaml").write_text("a: [")
    (sweep / "3" / ".hydra" / "config.yaml").unlink()
    (sweep / "4" / "run.json").write_text('{"outcome": "fini')
    (sweep / "5" / "metrics.json").write_text("[1, 2]")
    (sweep / "6" / "metrics.json").write_text('{"test/acc": "high", "val/acc": 1e999, "train/acc": true}')
    (sweep / "7" / "metrics.json").unlink()
    (sweep / "7" / ".hydra" / "overrides.yaml").write_text("1")
    report = write_report([sweep])
    text = " ".join(report.text(columns=200).split())
    for name in (
        "0 metrics.csv line 3 and 1 more cannot be read",
        "1 metrics.csv is no text",
        "2 .hydra/config.yaml is no YAML",
        "3 .hydra/config.yaml is missing",
        "4 run.json is no JSON",
        "5 metrics.json has no keys",
        "6 metrics.json test/acc is no number",
        "7 .hydra/overrides.yaml is no list of texts",
        "7 metrics.json is missing, although run.json says finished",
    ):
        assert name in text, name
    assert len(rows_of(report.csv)) == 8
    assert "metrics.csv line 3 and 1 more" in report.html.read_text()


def test_nothing_but_damaged_runs(tmp_path: Path) -> None:
    for name in ("run.json", "metrics.csv", "metrics.json"):
        (tmp_path / "s" / name.replace(".", "-")).mkdir(parents=True)
        (tmp_path / "s" / name.replace(".", "-") / name).mkdir()
    report = write_report([tmp_path / "s"])
    assert report.text().count("is no file") == 3
    assert len(rows_of(report.csv)) == 3


TOO_MUCH = {
    "nested": "[" * 100_000,
    "nested blocks": "- " * 50_000,
    "nested keys": "{a: " * 20_000,
    "laughs": "a0: &a0 [x]\n" + "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)),
    "merged": "a0: &a0 {k: v}\n"
    + "".join(f"a{i}: &a{i}\n  <<: [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 12)),
    "circle": "a: &a\n  b: *a\n",
    "long number": "a: 0x" + "f" * 5000,
    "not a day": "a: 2024-13-41\n",
    "strange": "? [1, 2]\n: !!binary aGVsbG8=\n2: !!set {a, b}\n3: 2024-01-02\n~: .nan\n",
    "code": "!!python/object/apply:os.system ['exit 1']\n",
}  # fmt: skip


@pytest.mark.parametrize("content", TOO_MUCH.values(), ids=TOO_MUCH)
def test_files_that_ask_too_much(make_run: MakeRun, tmp_path: Path, content: str) -> None:
    make_run("s/0", {"optimizer.lr": 0.3})
    make_run("s/1")
    (tmp_path / "s" / "1" / ".hydra" / "config.yaml").write_text(content)
    (tmp_path / "s" / "1" / ".hydra" / "overrides.yaml").write_text(content)
    (tmp_path / "s" / "1" / "run.json").write_text(content)
    begin = time.perf_counter()
    report = write_report([tmp_path / "s"])
    assert time.perf_counter() - begin < 10
    assert len(report.runs) == 2
    assert any(problem.startswith("run.json") for problem in report.runs[1].problems)


JUNK = st.one_of(
    st.binary(max_size=200),
    st.text(max_size=200).map(lambda text: text.encode("utf-8", "surrogatepass")),
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
        max_leaves=8,
    ).map(lambda value: json.dumps(value).encode()),
    st.lists(st.tuples(st.integers(-1, 10**12), st.floats() | st.text(max_size=5)), max_size=5).map(
        lambda rows: ("epoch,val/loss\n" + "\n".join(f"{a},{b}" for a, b in rows)).encode("utf-8", "surrogatepass")
    ),
)  # fmt: skip
FILES = ("run.json", "metrics.json", "metrics.csv", ".hydra/config.yaml", ".hydra/overrides.yaml")
KNOWN_KEYS = st.fixed_dictionaries(
    {},
    optional={
        name: st.none() | st.floats() | st.integers() | st.text(max_size=5) | st.just([1]) | st.just({"commit": "x"})
        for name in ("seed", "outcome", "error", "git", "test/acc", "val/acc", "val/loss", "seconds", "name", "trainer")
    },
).map(lambda value: json.dumps(value).encode())


@example({"metrics.csv": b'"'}, 80)
@example({"metrics.csv": b"epoch,epoch,,val/loss\n0,0,0,0\n"}, 80)
@example({"metrics.json": b'{"test/acc": null, "val/loss": 1e400}', "run.json": b"[]"}, 80)
@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(st.sampled_from(FILES), st.one_of(JUNK, KNOWN_KEYS), max_size=5), st.integers(1, 120))
def test_no_bytes_in_a_run_folder_stop_the_report(
    tmp_path_factory: pytest.TempPathFactory, files: dict[str, bytes], columns: int
) -> None:
    folder = tmp_path_factory.mktemp("s")
    good = {
        "run.json": b'{"seed": 0, "outcome": "finished"}',
        "metrics.json": b'{"test/acc": 0.5, "val/loss": 0.25}',
        "metrics.csv": b"epoch,val/loss\n0,0.5\n1,0.25\n",
        ".hydra/config.yaml": b"seed: 0\noptimizer:\n  lr: 0.1\n",
        ".hydra/overrides.yaml": b"[]",
    }
    for number, contents in enumerate([good, good | files]):
        for name, content in contents.items():
            file = folder / str(number) / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content)
    report = write_report([folder])
    text = report.text(columns)
    text.encode()
    assert len(rows_of(report.csv)) == 2
    assert any(run.metrics == {"test/acc": 0.5, "val/loss": 0.25} for run in report.runs)
    for problem in (problem for run in report.runs for problem in run.problems):
        assert problem.startswith((*FILES, "metrics.json"))
    assert [tag for tag, _ in Elements(report.html.read_text()).tags].count("script") == 1
    for chart in re.findall(r"<svg.*</svg>", report.html.read_text()):
        assert not re.search(r"[ ,\"](nan|inf)", chart)


def test_truncated_files_are_named(make_run: MakeRun, tmp_path: Path) -> None:
    """Half a JSON or YAML file, as a full disk leaves it."""
    folder = make_run("s/0")
    for name in ("run.json", "metrics.json"):
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: len(whole) // 2])
        assert any(p.startswith(f"{name} is no JSON") for p in write_report([tmp_path / "s"]).runs[0].problems)
        (folder / name).write_bytes(whole)


def test_every_line_fits_the_terminal(make_run: MakeRun, tmp_path: Path) -> None:
    for i in range(3):
        long = {f"model.a_long_name_{k}": f"value {i} {'x' * 30} {k}" for k in range(8)}
        make_run(
            f"{'n' * 60}{i}",
            {**long, "model.漢字": "漢字" * 10 + str(i)},
            outcome="finished" if i else "failed",
            error="e" * 300,
        )
    for columns in (40, 80, 100, 200):
        text = write_report([tmp_path]).text(columns)
        for line in text.splitlines():
            wide = sum(2 if "\u3000" <= c <= "\u9fff" else 1 for c in line)
            assert wide <= max(columns, 80) or line.startswith("best:"), line
            if columns < 80 and not line.startswith(("best:", "3 runs")):
                assert wide <= columns, line
    assert "no room for" in write_report([tmp_path]).text(80)
    assert "…" in write_report([tmp_path]).text(80)


def test_long_tables_are_cut_and_say_so(make_run: MakeRun, tmp_path: Path) -> None:
    for i in range(12):
        make_run(f"s/{i}", {"optimizer.lr": 0.01 * (i + 1)}, outcome="finished" if i < 7 else "failed", error=f"no {i}")
    text = write_report([tmp_path / "s"]).text(rows=3)
    assert "… and 4 more settings, in report.html" in text
    assert "… and 2 more, in report.html" in text
    html = write_report([tmp_path / "s"]).html.read_text()
    assert all(f">{i}<" in html for i in range(12))


def test_where_it_is_written(sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert write_report([sweep]).html == sweep / "report.html"
    assert write_report([sweep], tmp_path / "a" / "b").csv == tmp_path / "a" / "b" / "report.csv"
    monkeypatch.chdir(tmp_path)
    made = write_report(["sweep/0", "sweep/1"]).html
    assert made.parts[:2] == ("logs", "reports")
    assert made.exists()
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_report_lies_in_no_ones_way(sweep: Path) -> None:
    """Reporting again finds the same runs, and the report itself is none."""
    first = write_report([sweep])
    again = write_report([sweep])
    assert [run.name for run in again.runs] == [run.name for run in first.runs] == [str(i) for i in range(8)]


def test_runs_are_found_once(sweep: Path, tmp_path: Path) -> None:
    (sweep / "best").symlink_to(sweep / "0")
    assert len(write_report([sweep]).runs) == 8
    assert len(write_report([sweep, sweep / "0", sweep], tmp_path / "out").runs) == 8
    assert len(write_report([sweep / "best"], tmp_path / "out").runs) == 1


def test_bad_input(sweep: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no folder"):
        write_report([tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="there is no run in"):
        write_report([tmp_path / "empty"])
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot be written to .*choose out="):
        write_report([sweep], tmp_path / "file")


@pytest.mark.skipif(sys.platform != "linux", reason="other file systems refuse such names")
def test_a_folder_whose_name_is_no_text(make_run: MakeRun, tmp_path: Path) -> None:
    make_run("s/0")
    os.rename(os.fsencode(tmp_path / "s" / "0"), os.fsencode(tmp_path / "s") + b"/caf\xe9")  # noqa: PTH104
    report = write_report([tmp_path / "s"])
    assert report.runs[0].name == "caf\\udce9"
    assert "./caf%E9" in report.html.read_text()


@pytest.fixture(scope="module")
def thousand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A thousand runs of 250 settings, made from one whole configuration."""
    folder = tmp_path_factory.mktemp("thousand")
    config = (Path(__file__).parent / "config.yaml").read_text()
    numbers = {"train/acc": 0.9, "train/loss": 0.2, "val/acc": 0.8, "val/loss": 0.4, "test/acc": 0.8, "test/loss": 0.4}
    names = [*numbers][:4]
    for i in range(1000):
        seed, lr, size = i % 4, 0.001 * 1.1 ** (i // 20), 2 ** (i // 4 % 5)
        run = folder / str(i)
        (run / ".hydra").mkdir(parents=True)
        changed = (
            config.replace("lr: 0.1", f"lr: {lr}").replace("seed: 0", f"seed: {seed}").replace("- 256", f"- {size}")
        )
        (run / ".hydra" / "config.yaml").write_text(changed)
        (run / ".hydra" / "overrides.yaml").write_text(f"- optimizer.lr={lr}\n- seed={seed}\n")
        (run / "run.json").write_text(json.dumps({"seed": seed, "outcome": "finished", "git": {"commit": "1" * 40}}))
        (run / "metrics.json").write_text(
            json.dumps(numbers | {"epochs": 20, "seconds": 3.0, "images_per_second": 9e4})
        )
        rows = [
            f"{e},{e},{lr},{','.join(str(numbers[n] * (1 + i / 1e4) * (e + 1) / 20) for n in names)},1\n"
            for e in range(20)
        ]
        (run / "metrics.csv").write_text(f"epoch,step,lr,{','.join(names)},seconds\n" + "".join(rows))
    return folder


def test_a_thousand_runs_take_seconds(thousand: Path) -> None:
    begin = time.process_time()  # whatever else the machine is doing
    report = write_report([thousand])
    report.text()
    seconds = time.process_time() - begin
    assert len(report.runs) == 1000
    assert len(report.grouped.groups) == 250
    assert report.html.stat().st_size < 10e6
    assert seconds < 10, f"took {seconds:.1f} s; 3 to be expected"


def test_torch_is_not_needed() -> None:
    code = "import sys, imgclf.report; assert not {'torch', 'hydra', 'matplotlib', 'numpy'} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", code], check=True)
