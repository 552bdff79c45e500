"""Run folders -> tables and pictures; knows the files of a run folder and nothing of training."""
