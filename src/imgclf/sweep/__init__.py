"""Sweeps that survive a failing job, can be stopped and resumed, and check all their points before the first.

What a sweep knows stands in files: ``sweep.json`` in its folder says which configuration has which folder, and each
job's own files say how far it came. So it makes no difference which launcher runs the jobs, in which process.

::

    start.py      when Hydra begins a sweep: compose and check all points, resume, send the jobs past jobs.py
    points.py     composing the points of a sweep, without torch
    preflight.py  building what they describe, with torch
    jobs.py       between Hydra's sweeper and its launcher: which jobs still have to run, and in which folder
    job.py        one job, in whatever process the launcher runs it
    isolation.py  nothing of a job is left for the next in the same process
    ledger.py     the files
    finish.py     the summary at the end, the report, the exit code
"""
