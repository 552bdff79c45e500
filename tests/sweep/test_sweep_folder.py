"""sweep.json and the states of a sweep's jobs."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from imgclf.errors import InputError
from imgclf.holding import held, is_held
from imgclf.run_folder import RunFolder
from imgclf.sweep_folder import Job, SweepFolder


def job(folder: str, key: str = "k", *overrides: str) -> Job:
    return Job(folder, key, overrides)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    sweep = SweepFolder(tmp_path / "sweep")
    sweep.path.mkdir()
    sweep.arguments, sweep.hydra_arguments = ["seed=1,2"], ["hydra/launcher=joblib"]
    one = sweep.add(job("0", "a", "seed=1"))
    two = sweep.add(job("0", "b", "seed=2"))
    assert (one.folder, two.folder) == ("0", "1")
    sweep.write()
    again = SweepFolder.existing(sweep.path)
    assert (again.jobs, again.arguments, again.hydra_arguments) == (
        [one, two],
        ["seed=1,2"],
        ["hydra/launcher=joblib"],
    )
    assert again.by_key("b") == two
    assert again.by_key("c") is None
    assert again.by_folder(sweep.path / "0") == one


def test_a_new_job_gets_a_folder_that_clashes_with_none(tmp_path: Path) -> None:
    sweep = SweepFolder(tmp_path)
    (tmp_path / "1").mkdir()  # of something else
    assert [sweep.add(job(name, name)).folder for name in ("0", "0", "2", "lr=0.1", "lr=0.1")] == [
        "0",
        "2",
        "3",
        "lr=0.1",
        "lr=0.1_1",
    ]


def test_only_what_sets_a_job_apart_is_shown(tmp_path: Path) -> None:
    sweep = SweepFolder(tmp_path)
    one, two = sweep.add(job("0", "a", "seed=1", "test=false")), sweep.add(job("1", "b", "seed=2", "test=false"))
    assert (sweep.shown(one), sweep.shown(two)) == ("seed=1", "seed=2")


def test_a_job_stands_where_its_files_say(tmp_path: Path) -> None:
    sweep = SweepFolder(tmp_path)
    one = sweep.add(job("0"))
    folder = sweep.folder(one)
    assert sweep.state(one) == "not begun"
    folder.claim()
    assert sweep.state(one) == "interrupted", "killed in its first moment"
    folder.write_run(outcome="running")
    assert sweep.state(one) == "interrupted"
    folder.write_run(outcome="failed", error="ValueError: first\nsecond")
    assert sweep.state(one) == "failed"
    assert sweep.error(one) == "ValueError: first"
    folder.write_metrics({"epochs": 1})
    assert sweep.state(one) == "finished"


def test_a_stop_file_that_says_nothing_still_stops(tmp_path: Path) -> None:
    sweep = SweepFolder(tmp_path)
    assert sweep.stopped() is None
    sweep.stop("stopped by SIGTERM", 15)
    assert sweep.stopped() == {"why": "stopped by SIGTERM", "signal": 15}
    for content in ("", "[]", "{"):
        sweep.stop_file.write_text(content)
        assert sweep.stopped() == {"why": f"{sweep.stop_file} says so", "signal": 0}


HOLD = "import sys, pathlib; from imgclf.holding import held\nwith held(pathlib.Path(sys.argv[1]), 'a run'):\n"


def test_a_folder_is_held_until_its_process_ends_however_it_ends(tmp_path: Path) -> None:
    sweep = SweepFolder(tmp_path)
    one = sweep.add(job("0"))
    folder = sweep.folder(one)
    folder.claim()
    command = [sys.executable, "-c", HOLD + "    print('held', flush=True); input()", str(folder.path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    assert sweep.state(one) == "running"
    with pytest.raises(InputError, match=f"by process {process.pid} on .*wait for its end"), held(folder.path, "a run"):
        pass
    process.kill()
    process.communicate()
    assert not is_held(folder.path)
    with held(folder.path, "a run"):
        assert sweep.state(one) == "interrupted", "a process does not stand in its own way"


def test_a_stop_is_said_with_its_reason_and_forgotten_by_the_next_start(tmp_path: Path) -> None:
    sweep = SweepFolder(tmp_path)
    assert sweep.stopped() is None
    sweep.stop("stopped by SIGTERM", 15)
    assert SweepFolder(tmp_path).stopped() == {"why": "stopped by SIGTERM", "signal": 15}
    with sweep.held():
        assert sweep.stopped() is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is damaged"),
        ("[]", "is damaged"),
        ('{"arguments": []}', "is damaged"),
        (
            json.dumps(
                {
                    "arguments": [],
                    "hydra_arguments": [],
                    "is_grid": True,
                    "jobs": [{"folder": "../x", "key": "", "overrides": []}],
                }
            ),
            "outside",
        ),
    ],
)
def test_a_damaged_file_is_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "sweep.json").write_text(text)
    with pytest.raises(InputError, match=rf"sweep.json.*{message}"):
        SweepFolder.existing(tmp_path)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"lacks sweep\.json"):
        SweepFolder.existing(tmp_path)
    with pytest.raises(InputError, match="there is no folder"):
        SweepFolder.existing(tmp_path / "nowhere")


def test_a_failure_leaves_its_traceback(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    try:
        raise RuntimeError("what went wrong")
    except RuntimeError as error:
        folder.write_error(error, process=1)
    text = folder.error_file.read_text()
    assert text.startswith("process 1\nTraceback")
    assert "test_sweep_folder.py" in text
    assert "RuntimeError: what went wrong" in text
