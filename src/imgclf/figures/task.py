"""What scripts/figures.py does: a class a figure, which prints a table, and draws pictures named as their files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from matplotlib.figure import Figure
from omegaconf import DictConfig, OmegaConf
from pydantic import Field
from pytorch_lightning import seed_everything
from pytorch_lightning.tuner.tuning import Tuner

from imgclf.arguments import task_overrides
from imgclf.build import build, built, built_trainer
from imgclf.errors import Failed, InputError, say
from imgclf.figures import curves, networks
from imgclf.finetuning import Freeze, init_from
from imgclf.log import speak
from imgclf.models.classifier import Classifier
from imgclf.models.layers import ACTIVATIONS, Activation
from imgclf.ranges import AtLeast0, AtLeast1, NumberAbove0
from imgclf.run_folder import written_aside
from imgclf.schedules.base import Schedule

_SETTLING = 10  # steps, after which the mean that Lightning keeps of the loss says something
_KEPT = 0.98  # of that mean, from step to step


def figures(config: DictConfig) -> None:
    """Print the table of the configured figure, write its pictures, and say where."""
    speak(None)
    pictures: dict[str, Figure] = built(config, "figure").draw(config)
    for name, picture in pictures.items():
        file = Path(config.folder) / f"{name}.png"
        with written_aside(file) as aside:
            picture.savefig(aside, format="png")
        say(f"written: {file}")


@dataclass(frozen=True)
class Activations:
    """Activation functions, those of ``names`` or all, and their derivatives, for x from ``low`` to below ``high``."""

    names: Annotated[list[Activation], Field(min_length=1)] | None
    low: float
    high: float

    def draw(self, config: DictConfig) -> dict[str, Figure]:
        drawn, inputs = {}, np.linspace(self.low, self.high, 160, endpoint=False)
        say(f"{'activation':10}  {'value at 0':>10}  {'derivative at 0':>15}  {'largest derivative':>18}")
        for name in self.names or ACTIVATIONS:
            zero = curves.activation_curve(ACTIVATIONS[name](), np.zeros(1))
            drawn[name] = curves.activation_curve(ACTIVATIONS[name](), inputs)
            say(f"{name:10}  {zero.values[0]:10.4g}  {zero.slopes[0]:15.4g}  {drawn[name].slopes.max():18.4g}")
        return {"activations": curves.draw_activations(drawn)}


@dataclass(frozen=True)
class Schedules:
    """Learning rates over so many ``updates``; where the group schedule is chosen, that one's, at optimizer.lr.

    warmup_updates: of the second line in each panel. curves: by name, the initial rate ``lr`` and a ``schedule``.
    """

    updates: AtLeast1
    warmup_updates: AtLeast0
    curves: Annotated[Mapping[str, Any], Field(min_length=1)]

    def draw(self, config: DictConfig) -> dict[str, Figure]:
        own = "schedule" in config
        unused = ("figure.curves", "figure.warmup_updates") if own else ("optimizer",)
        if given := [override for override in task_overrides() if override.lstrip("+~").startswith(unused)]:
            raise InputError(f"{given[0]} changes nothing {'with' if own else 'without'} schedule=CHOICE: leave it out")
        if own and "lr" not in config.optimizer:
            raise InputError("optimizer.lr is not given, and drawn from: add +optimizer.lr=RATE")
        entries = {config.schedule._target_.split(".")[-1]: config} if own else config.figure.curves
        lines = {"as configured": {}} if own else {"plain": {}, "warmed up": {"warmup_updates": self.warmup_updates}}
        shown = sorted({*range(0, self.updates, max(1, self.updates // 6)), self.updates - 1})
        say(f"{'learning rate at update':25}" + "".join(f" {update:8}" for update in shown))
        panels: dict[str, dict[str, list[float]]] = {}
        for name, entry in entries.items():
            lr = config.optimizer.lr if own else entry.lr
            panel = panels[f"{name}, from {lr:g}"] = {}
            for line, warmup in lines.items():
                schedule: Schedule = built(entry, "schedule", **warmup)
                if not schedule.is_planned:
                    raise InputError(f"schedule: only training knows the rates of {name}; choose another")
                panel[line] = [schedule.curve(update, self.updates) for update in range(self.updates)]
                say(f"{f'{name}, {line}':25}" + "".join(f" {lr * panel[line][update]:8.3g}" for update in shown))
        return {"schedules": curves.draw_schedules(panels, schedule.interval, label="share of the initial rate")}


@dataclass(frozen=True)
class Shapes:
    """What an image becomes in the parts of a network; to a ``depth`` of 2 in their parts too, and so on."""

    depth: AtLeast1

    def draw(self, config: DictConfig) -> dict[str, Figure]:
        model = _without_numbers(config, "model")
        whole, *parts = networks.stages(model, self.depth)
        image = " x ".join(map(str, model.input_shape[1:]))
        _say_costs([networks.Stage("input", "", image, 0, 0), *parts, whole._replace(name="in all")])
        finest = [s for s in parts if s.parameters and not any(p.name.startswith(f"{s.name}.") for p in parts)]
        name = OmegaConf.select(config, "model.net.name", default=type(model).__name__)
        title = f"{name}: {image} to {whole.output} classes, {whole.parameters:,} parameters"
        file = f"{name}_{image}".lower().replace(" ", "")
        return {file: networks.draw_costs(title, {f"{s.name}: {s.output}": s for s in finest})}


@dataclass(frozen=True)
class Costs:
    """Parameters and multiply-adds of ``networks``, by name, for an image of the form that ``data`` says."""

    networks: Annotated[Mapping[str, Any], Field(min_length=1)]

    def draw(self, config: DictConfig) -> dict[str, Figure]:
        nodes, data = config.figure.networks, config.data
        costs = {name: networks.stages(_without_numbers(nodes, name), depth=0)[0] for name in nodes}
        _say_costs([stage._replace(name=name) for name, stage in costs.items()])
        title = f"for an image of {data.in_channels} x {data.resize} x {data.resize}, {data.num_classes} classes"
        return {"costs": networks.draw_costs(title, costs)}


@dataclass(frozen=True)
class LearningRates:
    """Loss of a network whose rate, one for all layers, rises from ``min_lr`` to ``max_lr`` within so many ``steps``,
    by Lightning's finder (Smith 2017, Cyclical Learning Rates, section 3.3); a tenth of where it is lowest is safe."""

    min_lr: NumberAbove0
    max_lr: NumberAbove0
    steps: Annotated[int, Field(ge=20)]

    def draw(self, config: DictConfig) -> dict[str, Figure]:
        if OmegaConf.select(config, "optimizer.head_lr_factor") not in (None, 1):
            raise InputError("optimizer.head_lr_factor: leave it out, since one rate is tried for all layers")
        seed_everything(config.seed, verbose=False)
        data, model, callbacks = build(config)
        if config.get("init_from"):
            init_from(model, config.init_from, config.data)
        own = {"logger": False, "default_root_dir": config.folder, "enable_model_summary": False, "max_epochs": -1}
        trainer = built_trainer(config, **own)
        for freezing in (callback for callback in callbacks if isinstance(callback, Freeze)):
            freezing.on_train_epoch_start(trainer, model)  # the finder calls no callback
        span: dict[str, Any] = {"min_lr": self.min_lr, "max_lr": self.max_lr, "num_training": self.steps}
        found = Tuner(trainer).lr_find(model, datamodule=data, update_attr=False, **span)
        known = 0 if found is None else int(np.isfinite(found.results["loss"]).sum())  # once it is not, it stays so
        if found is None or known < 2 * _SETTLING:
            raise Failed("the loss grew at once: give smaller figure.min_lr and figure.max_lr")
        rates, losses = (found.results[name][_SETTLING:known] for name in ("lr", "loss"))
        # Lightning corrects for the mean's start at 0 with a step too many: its first losses look low.
        losses = [mean * (1 - _KEPT ** (n + 1)) / (1 - _KEPT**n) for n, mean in enumerate(losses, _SETTLING + 1)]
        found.results = {"lr": rates, "loss": losses}
        suggested = rates[int(np.argmin(losses))] / 10
        say(f"suggestion, a tenth of the rate with the lowest loss: optimizer.lr={suggested:.2g}")
        figure, ((axes,),) = curves.sheet(5)
        found.plot(ax=axes)
        axes.axvline(suggested, color=curves.VERMILLION, label=f"suggested: {suggested:.2g}")
        axes.set_ylim(0.8 * min(losses), 1.2 * losses[0])
        axes.legend(frameon=False)
        return {"lr_range": figure}


def _without_numbers(config: DictConfig, key: str) -> Classifier:
    """A network that knows its shapes but has no weights, so that no size costs anything."""
    try:
        with torch.device("meta"):
            model: Classifier = built(config, key)
    except RuntimeError:  # a constructor that computes, such as RegNet's
        model = built(config, key)
    model.example_input_array = torch.zeros(model.input_shape, device="meta")
    return model.to("meta")


def _say_costs(rows: Sequence[networks.Stage]) -> None:
    say(f"{'part':14} {'class':17} {'output':>15} {'parameters':>13} {'multiply-adds':>15}")
    for name, kind, output, parameters, multiply_adds in rows:
        say(f"{name:14} {kind:17} {output:>15} {parameters:13,} {multiply_adds:15,}")
