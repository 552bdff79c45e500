"""Pictures and tables of the textbook chapters: what scripts/figures.py opens.

A class a figure; its fields are the keys of conf/figure/<name>.yaml. ``draw`` prints the table and gives back the
files it wrote.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import torch
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf

from imgclf.arguments import task_overrides
from imgclf.build import built
from imgclf.data.module import ImageData
from imgclf.errors import InputError
from imgclf.evaluate import data_for, trained_model, weights_file
from imgclf.figures.activations import activation_curve, activation_table, draw_activations
from imgclf.figures.canvas import save
from imgclf.figures.costs import cost, cost_csv, cost_table, draw_costs
from imgclf.figures.feature_maps import Example, draw_feature_maps, stage_outputs
from imgclf.figures.filters import draw_filters, first_filters
from imgclf.figures.schedules import Panel, draw_schedules, rate_table
from imgclf.figures.stages import draw_stages, part_label, shape_text, stage_table, stages
from imgclf.log import speak
from imgclf.models.activations import ACTIVATIONS
from imgclf.models.classifier import Classifier
from imgclf.run_folder import write_whole
from imgclf.schedules.base import Schedule

Split = Literal["validation", "test"]


def figures(config: DictConfig) -> None:
    """Draw the configured figure, and say which files were written.

    Args:
        config: composed and checked.
    """
    speak(None)
    figure: Figure = built(config, "figure")
    files = figure.draw(config, Path(config.folder))
    print("\nwritten:")
    for file in files:
        print(f"  {file}")


class Figure(ABC):
    """One of the choices of the group ``figure``."""

    @abstractmethod
    def draw(self, config: DictConfig, folder: Path) -> list[Path]:
        """Print the table, write the pictures into ``folder``.

        Args:
            config: the whole configuration; what other groups build is taken from it.
            folder: made where it is missing.

        Returns:
            The files written.

        Raises:
            InputError: something in the configuration cannot be drawn.
        """


@dataclass(frozen=True)
class Activations(Figure):
    """Activation functions and their derivatives.

    names: which, or None for all that the networks know. low, high: where x begins and, exclusively, ends. step:
    from one x to the next.
    """

    names: list[str] | None
    low: float
    high: float
    step: float

    def draw(self, config: DictConfig, folder: Path) -> list[Path]:
        if self.step <= 0 or self.low + self.step >= self.high:
            raise InputError(
                f"figure.low={self.low}, figure.high={self.high}, figure.step={self.step}: give a low below the high, "
                "and a step above 0 and smaller than what lies between them"
            )
        names = list(ACTIVATIONS) if self.names is None else self.names
        unknown = [name for name in names if name not in ACTIVATIONS]
        if unknown or not names:
            raise InputError(f"figure.names must be some of {', '.join(ACTIVATIONS)}, got {unknown or names}")
        inputs = np.arange(self.low, self.high, self.step, dtype=np.float64)
        curves = {name: activation_curve(ACTIVATIONS[name](), inputs) for name in names}
        at_zero = {name: activation_curve(ACTIVATIONS[name](), np.zeros(1)) for name in names}
        print(activation_table(curves, at_zero))
        return [save(draw_activations(curves), folder / "activations.png")]


@dataclass(frozen=True)
class Schedules(Figure):
    """Learning rates over the updates of a run.

    updates: length of the run. warmup_updates: of the second line in each panel. table_every: updates from one
    column of the table to the next. curves: by name, the initial rate ``lr`` and the configuration of a
    ``schedule``. Where the group schedule is chosen, that one is drawn instead, as configured and at optimizer.lr.
    """

    updates: int
    warmup_updates: int
    table_every: int
    curves: Mapping[str, Any]

    def draw(self, config: DictConfig, folder: Path) -> list[Path]:
        for key, value in (("updates", self.updates), ("table_every", self.table_every)):
            if value < 1:
                raise InputError(f"figure.{key} must be at least 1, got {value}")
        panels: dict[str, Panel]
        _refuse_what_is_not_drawn(own="schedule" in config)
        if "schedule" in config:
            schedule: Schedule = built(config, "schedule")
            name = type(schedule).__name__
            panels = {name: {"": self._rates(schedule, config.optimizer.lr)}}
            unit = "epoch" if schedule.interval == "epoch" else "optimizer step"
        else:
            name, panels, unit = "schedules", dict(self._all(config.figure.curves)), "update"
        shown = sorted({*range(0, self.updates, self.table_every), self.updates - 1})
        print(rate_table(panels, shown))
        return [save(draw_schedules(panels, unit), folder / f"{name.lower()}.png")]

    def _all(self, curves: DictConfig) -> Iterator[tuple[str, Panel]]:
        for name, entry in curves.items():
            warmed = OmegaConf.merge(entry, {"schedule": {"warmup_updates": self.warmup_updates}})
            assert isinstance(warmed, DictConfig)
            try:
                panel = {"plain": self._rates(built(entry, "schedule"), entry.lr)}
                if self.warmup_updates:
                    panel["after a warm-up"] = self._rates(built(warmed, "schedule"), entry.lr)
            except InputError as error:
                raise InputError(f"figure.curves.{name!s}: {error}") from error
            yield str(name), panel

    def _rates(self, schedule: Schedule, initial_rate: float) -> list[float]:
        return [initial_rate * schedule.curve(update, self.updates) for update in range(self.updates)]


def _refuse_what_is_not_drawn(*, own: bool) -> None:
    """Of one's own schedule the rate is optimizer.lr, of the chapters' those in figure.curves; the other means nothing.

    Args:
        own: whether ``schedule=CHOICE`` was given.
    """
    unused = ("figure.curves", "figure.warmup_updates") if own else ("optimizer",)
    for override in task_overrides():
        if override.lstrip("+~").startswith(unused):
            remedy = (
                "leave one of the two out; schedule.warmup_updates and optimizer.lr are what it is drawn with"
                if own
                else "add schedule=CHOICE to draw one at that rate, or change figure.curves.NAME.lr"
            )
            raise InputError(f"{override} changes nothing {'with' if own else 'without'} schedule=CHOICE: {remedy}")


@dataclass(frozen=True)
class Shapes(Figure):
    """What an image becomes in the network of the groups model and data; no image is read.

    depth: 1 for the parts of the network, 2 for their parts too, and so on.
    """

    depth: int

    def draw(self, config: DictConfig, folder: Path) -> list[Path]:
        if self.depth < 1:
            raise InputError(f"figure.depth must be at least 1, got {self.depth}")
        model, image = _shapes_only(config, "model")
        input_shape = tuple(image.shape[1:])
        rows = stages(model.net, image, self.depth)
        # One of torchvision's networks is known by its name there, ours by their classes.
        name = str(OmegaConf.select(config, "model.net.name", default=type(model).__name__))
        whole = cost(name, model.net, image)
        print(stage_table(input_shape, rows, whole))
        title = f"{whole.name}: {shape_text(input_shape, '×')} to {rows[-1].shape[0]} classes, "
        title += f"{whole.parameters:,} parameters"
        file = folder / f"{whole.name.lower()}_{shape_text(input_shape, 'x')}.png"
        return [save(draw_stages(title, input_shape, rows), file)]


@dataclass(frozen=True)
class Costs(Figure):
    """Parameters and multiply-adds of networks, for an image of data.in_channels and data.resize.

    networks: by name, configurations of models.
    """

    networks: Mapping[str, Any]

    def draw(self, config: DictConfig, folder: Path) -> list[Path]:
        if not self.networks:
            raise InputError("figure.networks is empty: add one with '+model@figure.networks.NAME=CHOICE'")
        costs = []
        for name in self.networks:
            model, image = _shapes_only(config.figure.networks, name)
            costs.append(cost(name, model.net, image))
        print(cost_table(costs))
        size = f"{config.data.in_channels}×{config.data.resize}×{config.data.resize}"
        title = f"images of {size}, {config.data.num_classes} classes"
        table_file, picture = folder / "costs.csv", folder / "costs.png"
        write_whole(table_file, cost_csv(costs))
        return [table_file, save(draw_costs(title, costs), picture)]


@dataclass(frozen=True)
class Features(Figure):
    """What the network of the run folder ``run`` has learnt to look for, and what it sees in some images.

    split: which images of the run's data. images: their numbers in it, from 0. stages: paths of parts of the network,
    such as b3.0, or None for its first ``stage_count``. channels: feature maps drawn of each. filters: of the first
    layer, at most.
    """

    split: Split
    images: list[int]
    stages: list[str | int] | None
    stage_count: int
    channels: int
    filters: int

    def draw(self, config: DictConfig, folder: Path) -> list[Path]:
        for key in ("stage_count", "channels", "filters"):
            if getattr(self, key) < 1:
                raise InputError(f"figure.{key} must be at least 1, got {getattr(self, key)}")
        weights = weights_file(config)
        model = trained_model(config)
        assert isinstance(model, Classifier)
        net = model.eval().net
        data = data_for(model, config)
        pixels, labels = self._chosen(data)
        inputs = data.to_input(pixels)
        filters = first_filters(net, (inputs.shape[1], inputs.shape[2], inputs.shape[3]))
        names = None if self.stages is None else [str(name) for name in self.stages]
        outputs = stage_outputs(net, inputs, names, self.stage_count)
        with torch.no_grad():
            probabilities = model(inputs).softmax(dim=1)
        examples = []
        for index, number in enumerate(self.images):
            best = int(probabilities[index].argmax())
            answer = f"{data.class_names[best]} {float(probabilities[index, best]):.2f}"
            truth = [] if labels is None else [data.class_names[int(labels[index])]]
            maps = {part_label(net, name): output[index].numpy() for name, output in outputs.items()}
            examples.append(Example(pixels[index].numpy(), "\n".join([*truth, f"→ {answer}"]), maps))
            print(f"{self.split} image {number}: {', '.join([*truth, f'classified as {answer}'])}")
        title = f"{type(model).__name__}, {weights.name}"
        return [
            save(draw_filters(filters, self.filters), folder / "filters.png"),
            save(draw_feature_maps(title, examples, self.channels), folder / "feature_maps.png"),
        ]

    def _chosen(self, data: ImageData) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Images uint8 (n, c, h, w) and labels int64 (n,), these None where the test images have none."""
        if self.split not in get_args(Split):
            raise InputError(f"figure.split must be validation or test, got {self.split!r}")
        is_labelled = self.split == "validation" or data.has_test_labels
        stage = "fit" if self.split == "validation" else "test" if is_labelled else "predict"
        data.prepare_data()
        data.setup(stage)
        images = {"fit": "val_set", "test": "test_set", "predict": "unlabelled_set"}[stage]
        part = getattr(data, images)
        outside = [index for index in self.images if not 0 <= index < len(part)]
        if outside or not self.images:
            raise InputError(
                f"figure.images={self.images}: the {self.split} images have the numbers 0 to {len(part) - 1}; give "
                "a list of such numbers"
            )
        pixels, labels = part[torch.tensor(self.images)]
        return pixels, labels if is_labelled else None


def _shapes_only(config: DictConfig, key: str) -> tuple[Classifier, torch.Tensor]:
    """A network and an image (1, c, h, w) on the meta device: shapes but no numbers, so that no size costs anything."""
    try:
        with torch.device("meta"):
            model = built(config, key)
    except InstantiationException:  # a constructor that needs numbers, such as RegNet's
        model = built(config, key)
    assert isinstance(model, Classifier)
    image = model.example_input_array
    assert isinstance(image, torch.Tensor)
    model.net.to("meta")
    return model.eval(), image.to("meta")
