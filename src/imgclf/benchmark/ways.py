"""How each thing is measured."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from imgclf.benchmark.clock import Moments
from imgclf.benchmark.made_up import competition
from imgclf.benchmark.plan import Case, Comparison, Plan
from imgclf.distributed import cores
from imgclf.errors import InputError
from imgclf.run_folder import RunFolder


class Ways:
    """How each thing is measured: always in processes of their own, one at a time.

    Args:
        plan: what to compare.
        folder: for the runs and the made-up images; must not exist.
        scripts: where train.py and predict.py are.
    """

    def __init__(self, plan: Plan, folder: Path, scripts: Path) -> None:
        self.plan = plan
        self.folder = folder
        self.scripts = scripts
        self.pictures = folder / "made_up"
        self.tree = competition(self.pictures, plan.images, plan.images // 5)
        self.runs: dict[str, Path] = {}
        self.counter = 0
        self.grown_mb: dict[int, float] = {}
        self.halves: dict[str, float] = {}

    def comparisons(self) -> list[Comparison]:
        """All rows, unmeasured."""
        rows = []
        for part in self.plan.parts:
            rows += getattr(self, f"_{part}")()
        return rows

    # --- rows ---

    def _training(self) -> list[Comparison]:
        def ways(name: str) -> dict[str, Callable[[], float]]:
            return {
                "product": lambda: self._product_train(name),
                "limit": lambda: self._limit_train(name),
                "plain": lambda: self._plain_train(name),
            }

        return [Comparison(f"training {name}", "images/s", ways(name)) for name in self.plan.training]

    def _loading(self) -> list[Comparison]:
        def plain(workers: int) -> Callable[[], float]:
            return lambda: self._child("plain_loading", run=self._run("mlp"), workers=workers)

        ways = {
            "product": lambda: self._loading_by_the_product("mlp", augment=False),
            "plain": plain(self.plan.plain_workers),
        }
        return [Comparison("Fashion-MNIST batches", "images/s", ways)]

    def _augmentation(self) -> list[Comparison]:
        tree = str(self.tree)

        def product() -> float:
            return self._loading_by_the_product("resnet18", augment=True)

        from_files = {
            "product": product,
            "plain": lambda: self._child("plain_loading", run=self._run("resnet18"), workers=cores(), tree=tree),
        }
        transforms = {
            "product": product,
            "plain": lambda: self._child("plain_augmentation", tree=tree, images=self.plan.images),
        }
        return [
            Comparison("augmented batches of PNG files", "images/s", from_files),
            Comparison("augmentation alone", "images/s", transforms),
        ]

    def _decoding(self) -> list[Comparison]:
        def way(measurement: str) -> Callable[[], float]:
            folder = str(self.pictures / "train")
            return lambda: self._child(measurement, folder=folder, least_seconds=self.plan.seconds)

        ways = {"product": way("product_decoding"), "limit": way("bare_decoding")}
        return [Comparison("decoding PNG files", "images/s", ways)]

    def _evaluation(self) -> list[Comparison]:
        ways = {"product": lambda: self._product_evaluation("resnet18"), "plain": self._plain_classification("valid")}
        return [Comparison("evaluating resnet18", "images/s", ways)]

    def _prediction(self) -> list[Comparison]:
        ways = {"product": lambda: self._product_prediction("resnet18"), "plain": self._plain_classification("test")}
        return [Comparison("predicting resnet18", "images/s", ways)]

    def _plain_classification(self, part: str) -> Callable[[], float]:
        folder = str(self.tree / part)
        return lambda: self._child("plain_classification", run=self._run("resnet18"), folder=folder)

    def _start(self) -> list[Comparison]:
        imports = "import torch, torchvision, pytorch_lightning"
        ways = {"product": self._product_start, "limit": lambda: self._seconds([sys.executable, "-c", imports])}
        return [Comparison("start to first step (limit: imports)", "s", ways)]

    def _pictures(self) -> list[Comparison]:
        def speed(*overrides: str) -> Callable[[], float]:
            return lambda: self._product_whole_epochs(overrides)

        defaults = {"product": speed(), "limit": speed("callbacks=bare")}
        halves = {"product": lambda: self._half_of_a_run("product"), "limit": lambda: self._half_of_a_run("limit")}
        return [
            Comparison("TensorBoard (limit: curves alone)", "images/s", defaults),
            Comparison("all pictures (limit: epochs without)", "images/s", halves),
        ]

    def _growth(self) -> list[Comparison]:
        def speed(count: int) -> Callable[[], float]:
            return lambda: self._product_growth(count)

        def memory(count: int) -> Callable[[], float]:
            return lambda: self.grown_mb[count]

        rows = []
        for count in self.plan.growth:
            rows.append(Comparison(f"training mlp on {count:,}", "images/s", {"product": speed(count)}))
            rows.append(Comparison(f"{count:,}: memory without mapped files", "MB", {"product": memory(count)}))
        return rows

    # --- measurements ---

    def _run(self, case: str) -> str:
        """The run folder of a case, trained first where that has not happened yet."""
        if case not in self.runs:
            self._product_train(case)
        return str(self.runs[case])

    def _product_train(self, name: str) -> float:
        case = self.plan.training[name]
        folder, moments = self._train(name, case.epochs)
        self.runs.setdefault(name, folder)
        seconds = (moments.epochs() if case.batches is None else moments.steps())[1:]
        return self._images(folder, case) * len(seconds) / sum(seconds)

    def _images(self, folder: Path, case: Case) -> int:
        """Training images an epoch."""
        config = RunFolder.existing(folder).read_config()
        if case.batches is not None:
            return case.batches * int(config["data"]["batch_size"])
        return int(RunFolder(folder).read_run()["train_images"])

    def _train(self, name: str, epochs: int, case: Case | None = None, *more: str) -> tuple[Path, Moments]:
        case = case or self.plan.training[name]
        self.counter += 1
        folder = self.folder / "runs" / f"{name}_{self.counter}"
        given = [f"{key}={value}" for key, value in case.overrides.items()]
        overrides = [*given, *more, f"trainer.max_epochs={epochs}", "test=false", f"hydra.run.dir={folder}"]
        if case.batches is not None:
            overrides.append(f"trainer.limit_train_batches={case.batches}")
        if case.pictures:
            overrides.append(f"data.dir={self.pictures}")
        return folder, self._clocked("train.py", overrides, folder)

    def _clocked(self, script: str, overrides: list[str], folder: Path) -> Moments:
        file = folder.parent / f"{folder.name}_{script}.json"
        clock = ["+callbacks.clock._target_=imgclf.benchmark.clock.Clock", f"+callbacks.clock.file={file}"]
        self._output([sys.executable, str(self.scripts / script), *overrides, *clock])
        return Moments.read(file)

    def _limit_train(self, name: str) -> float:
        case, run = self.plan.training[name], self._run(name)
        trained = RunFolder(run).read_run()
        return self._child(
            "limit_train",
            run=run,
            epochs=case.epochs,
            batches=case.batches,
            bfloat16="bf16" in str(trained["precision"]),
            channels_last=trained["channels_last"],
            skip=1,
        )

    def _plain_train(self, name: str) -> float:
        case = self.plan.training[name]
        tree = str(self.tree) if case.pictures else None
        workers = 0 if case.pictures else self.plan.plain_workers
        return self._child("plain_train", run=self._run(name), batches=case.batches, workers=workers, tree=tree)

    def _loading_by_the_product(self, name: str, augment: bool) -> float:
        run, seconds = self._run(name), self.plan.seconds
        return self._child("product_loading", run=run, augment=augment, least_seconds=seconds)

    def _product_evaluation(self, name: str) -> float:
        _, moments = self._train(name, 3)
        seconds = moments.stage("val")[1:]
        images = sum(1 for _ in (self.tree / "valid").rglob("*.png"))
        return images * len(seconds) / sum(seconds)

    def _product_prediction(self, name: str) -> float:
        run = Path(self._run(name))
        moments = self._clocked("predict.py", [f"run={run}", "average_flips=false", "trust=[imgclf.benchmark.]"], run)
        return self.plan.images // 5 / sum(moments.stage("predict"))

    def _product_start(self) -> float:
        begin = time.time()
        _, moments = self._train("mlp", 1)
        return moments.times("first")[0] - begin

    def _product_whole_epochs(self, overrides: tuple[str, ...]) -> float:
        case = self.plan.picture_case
        folder, moments = self._train("pictures", case.epochs, case, *overrides)
        seconds = moments.whole_epochs()[1:]
        return self._images(folder, case) * len(seconds) / sum(seconds)

    def _half_of_a_run(self, name: str) -> float:
        """Epochs with all pictures (``product``) or without (``limit``), every other one of the same run.

        Two runs differ by more than the pictures cost. The half that is not asked for now is kept for when it is.
        """
        if name not in self.halves:
            self.halves |= self._train_with_pictures_every_other_epoch()
        return self.halves.pop(name)

    def _train_with_pictures_every_other_epoch(self) -> dict[str, float]:
        case = self.plan.picture_case
        every_other = [f"callbacks.{name}.every_n_epochs=2" for name in ("confusion", "mistakes", "histograms")]
        overrides = ("callbacks=[pictures,histograms]", *every_other)
        folder, moments = self._train("pictures", 2 * case.epochs, case, *overrides)
        seconds, images = moments.whole_epochs(), self._images(folder, case)
        halves = {"product": seconds[1::2], "limit": seconds[2::2]}  # the first is not counted
        return {name: images * len(half) / sum(half) for name, half in halves.items()}

    def _product_growth(self, count: int) -> float:
        self.counter += 1
        folder = self.folder / "runs" / f"growth_{self.counter}"
        data = {
            "_target_": "imgclf.benchmark.made_up.MadeUpImages",
            "file": self.folder / f"{count}.npy",
            "count": count,
        }
        # Two epochs at least: the first reads the file into the page cache.
        epochs = max(2, 2 * max(self.plan.growth) // count // 10)
        overrides = [
            "test=false",
            f"trainer.max_epochs={epochs}",
            f"hydra.run.dir={folder}",
            *(f"{'' if key == '_target_' else '+'}data.{key}={value}" for key, value in data.items()),
        ]
        moments = self._clocked("train.py", overrides, folder)
        self.grown_mb[count] = moments.private_mb
        seconds = moments.epochs()[1:]
        return int(RunFolder(folder).read_run()["train_images"]) * len(seconds) / sum(seconds)

    # --- processes ---

    def _child(self, measurement: str, skip: int = 0, **arguments: Any) -> float:
        """Images per second of one measurement; ``skip`` leaves its first epochs out."""
        command = [sys.executable, "-m", "imgclf.benchmark.child", measurement, json.dumps(arguments)]
        result = json.loads(self._output(command).splitlines()[-1])
        seconds = result["seconds"][skip:]
        return result["images"] * len(seconds) / sum(seconds)

    def _seconds(self, command: list[str]) -> float:
        begin = time.time()
        self._output(command)
        return time.time() - begin

    def _output(self, command: list[str]) -> str:
        # Bytecode is cached, as it is for users.
        environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise InputError(f"{' '.join(command)}\nended with {done.returncode}:\n{done.stderr[-2000:]}")
        return done.stdout
