"""Sends a signal at a chosen moment of a run; the folder of this file is put on the PYTHONPATH of the run.

A moment is a number of steps (the callback in ticks.py tells of them) or of files in the run folder that have been
opened, renamed or removed; so it lies anywhere, in the middle of any write, and is the same on a fast and a slow
machine. ``IMGCLF_MOMENT`` is JSON: ``folder`` of the run, ``signal``, ``kind`` (step or file), ``count``, ``rank`` (of
the process that counts, null for a run of one), ``target`` (``self``, or ``parent``: the command), and ``told``, a file
to say where it was. Without a signal it is only counted, into ``told``.
"""

import json
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import Any


def watch(plan: dict[str, Any]) -> None:
    if os.environ.get("RANK") != plan["rank"]:
        return

    def is_of_the_run(file: str) -> bool:
        return plan["folder"] in file and "tfevents" not in file  # which a thread writes, now or then

    counts, busy = {"step": 0, "file": 0}, False

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal busy
        kind = {"imgclf.step": "step", "open": "file", "os.rename": "file", "os.remove": "file"}.get(event)
        if kind is None or busy or (kind == "file" and not is_of_the_run(str(arguments[0]))):
            return
        busy = True
        counts[kind] += 1
        if "signal" not in plan:
            Path(plan["told"]).write_text(json.dumps(counts))
        elif kind == plan["kind"] and counts[kind] == plan["count"]:
            Path(plan["told"]).write_text("".join(traceback.format_stack()[-12:]))
            os.kill(os.getppid() if plan["target"] == "parent" else os.getpid(), signal.Signals[plan["signal"]])
        busy = False

    sys.addaudithook(audit)


if "IMGCLF_MOMENT" in os.environ:
    watch(json.loads(os.environ["IMGCLF_MOMENT"]))
