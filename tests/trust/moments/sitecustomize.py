"""Sends a signal at a chosen moment of a run; the folder of this file is put on the PYTHONPATH of the run.

A moment is a number of function calls since the run took its folder (``all``), or of those within a function that
writes: ``save`` (checkpoints), ``files`` (any other file written aside), ``cache`` (decoded images). So it can lie
anywhere, in the middle of any write, and is the same on a fast and a slow machine.

In the environment, ``IMGCLF_MOMENT`` is JSON: ``signal`` (its number), ``region``, ``count``, ``process`` (the one that
counts, None for a run of one), ``target`` (``self``, ``parent`` or ``all`` processes), and ``told``, a file to say in
where it was. Without a signal the calls are only counted, into ``told``.
"""

import json
import os
import sys
import traceback
from pathlib import Path
from types import FrameType
from typing import Any

REGIONS = {
    "save": ("callbacks/checkpoints.py", "save"),
    "files": ("imgclf/run_folder.py", "write_whole"),
    "cache": ("images/cache.py", "_build"),
}


class Moments:
    """Counts calls, and acts at one of them."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        self.counts = dict.fromkeys(("all", *REGIONS), 0)
        self.depth = dict.fromkeys(REGIONS, 0)
        self.frames: list[tuple[FrameType, str]] = []
        self.process = os.getpid()

    def __call__(self, frame: FrameType, event: str, arg: object) -> None:
        if event == "call":
            name = frame.f_code.co_name
            for region, (file, function) in REGIONS.items():
                if name == function and frame.f_code.co_filename.endswith(file):
                    self.frames.append((frame, region))
                    self.depth[region] += 1
        elif event == "return":
            if self.frames and self.frames[-1][0] is frame:
                self.depth[self.frames.pop()[1]] -= 1
            return
        elif event != "c_call":
            return
        self.counts["all"] += 1
        for region, depth in self.depth.items():
            if depth:
                self.counts[region] += 1
        if "signal" in self.plan and self.counts[self.plan["region"]] == self.plan["count"]:
            self.act(frame)

    def act(self, frame: FrameType) -> None:
        sys.setprofile(None)
        if os.getpid() != self.process:
            return  # a process forked by the run, which counts on
        Path(self.plan["told"]).write_text("".join(traceback.format_stack(frame)))
        processes = [os.getpid()]
        if self.plan["target"] != "self":
            # The parent is the command; its children are all processes of the run.
            command = os.getppid() if "RANK" in os.environ else os.getpid()
            children = Path(f"/proc/{command}/task/{command}/children").read_text().split()
            processes = [command] if self.plan["target"] == "parent" else [*map(int, children), command]
        for process in processes:
            os.kill(process, self.plan["signal"])

    def tell(self) -> None:
        if "signal" not in self.plan:
            Path(self.plan["told"]).write_text(json.dumps(self.counts))


def watch(plan: dict[str, Any]) -> None:
    if os.environ.get("RANK") != plan["process"]:
        return
    moments = Moments(plan)
    begun = False

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal begun
        if event != "open" or not isinstance(arguments[0], str | os.PathLike):
            return
        file = os.fspath(arguments[0])
        # A run takes its folder with run.json; a process of several reads its configuration once all is loaded.
        if not begun and file.endswith("config.yaml" if "RANK" in os.environ else "run.json"):
            begun = True
            sys.setprofile(moments)
        elif begun and ".metrics.json." in file:
            moments.tell()

    sys.addaudithook(audit)


if "IMGCLF_MOMENT" in os.environ:
    watch(json.loads(os.environ["IMGCLF_MOMENT"]))
