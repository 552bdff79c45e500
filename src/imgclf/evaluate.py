"""Testing a finished run from its folder, and what prediction shares with it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Callback, LightningModule, Trainer, seed_everything

from imgclf import distributed
from imgclf.arguments import key_of, task_overrides
from imgclf.build import built, built_group, built_trainer, load_weights, require_same_form
from imgclf.check import require_arguments
from imgclf.data.module import ImageData
from imgclf.distributed import is_first
from imgclf.errors import InputError, say
from imgclf.log import log, speak
from imgclf.run_folder import RunFolder
from imgclf.summary import evaluation_table
from imgclf.trust import read_run_config


def evaluate(config: DictConfig) -> None:
    """Test the checkpoint ``config.checkpoint`` of the run folder ``config.run``, and print its figures.

    Data and trainer are the run's own unless the command line changed them.
    """
    require_run(config)  # refused before any process is started
    OmegaConf.set_struct(config, False)
    config.own_images = not any(override.lstrip("+").startswith("data") for override in task_overrides())
    distributed.run(evaluate_process, config)


def evaluate_process(config: DictConfig) -> None:
    """One process of an evaluation, on its share of the images; the first prints the figures of all."""
    speak(None)
    seed_everything(config.seed, verbose=False)
    model, data = trained(config)
    if config.average_flips is not None:
        model.average_flips = config.average_flips
    trainer = bare_trainer(config)
    data.fingerprints, folder = {}, RunFolder(config.run)
    trainer.test(model, datamodule=data, verbose=False)
    if is_first():
        then, now = ((about or {}).get("test", {}) for about in (folder.told().get("data"), data.fingerprints))
        if config.own_images and then and then.get("digest") != now.get("digest"):
            log.warning("the test images are not those of the run's own test: some may have been trained on")
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        if not metrics:
            raise InputError("nothing was tested: give trainer.limit_test_batches=1.0, or how many")
        say(evaluation_table(metrics, str(weights_file(config))))


def require_run(config: DictConfig) -> None:
    """Refuse a run without weights; have a folder of pictures matched with the run's classes by name, and, where it was
    chosen anew, prepared as the run has prepared its own but for what the command line says."""
    weights_file(config)
    run = read_run_config(RunFolder.existing(config.run), config.trust)["data"]
    kind: Any = get_class(run["_target_"])
    names = run.get("class_names") or getattr(kind, "class_names", None)
    if names and "class_names" in config.data:
        if not isinstance(names, Sequence):  # of a class whose instances count them
            names = map(str, range(run["num_classes"]))
        OmegaConf.set_struct(config, False)
        given = [key_of(override) for override in task_overrides()]
        kept = ("in_channels", "stored_size", "fit", "resize", "mean", "std") if "data" in given else ()
        run = {"stored_size": getattr(kind, "stored_size", None) or run["resize"]} | run
        own = {k: run[k] for k in kept if k in run and k in config.data and f"data.{k}" not in given}
        config.data.update(own | {"class_names": list(names), "num_classes": run["num_classes"]})


def weights_file(config: DictConfig) -> Path:
    """The checkpoint that ``config.run`` and ``config.checkpoint`` (best or last) name, if it is there."""
    file = RunFolder.existing(config.run).checkpoints / f"{config.checkpoint}.ckpt"
    if not file.exists():
        raise InputError(f"there is no {file}: train first, or choose another checkpoint, best or last")
    return file


def trained(config: DictConfig) -> tuple[LightningModule, ImageData]:
    """The network as the run configured it, with the weights of the chosen checkpoint, and the images of
    ``config.data``, where it has any, else the run's own, which must be of the form that the network takes."""
    folder = RunFolder.existing(config.run)
    run = OmegaConf.create(read_run_config(folder, config.trust) | {"folder": str(folder.path.absolute())})
    try:
        require_arguments({"model": OmegaConf.to_container(run.model, resolve=True)})
        model: LightningModule = built(run, "model")
    except InputError as error:
        told = f"{folder.config_file}: {error}. Is it of another version of this program? Use that one, or train again"
        raise InputError(told) from error
    load_weights(model, weights_file(config))
    chosen = config if "data" in config else run
    data: ImageData = built(chosen, "data")
    require_same_form(model, data)
    for key in ("mean", "std"):
        then, now = list(run.data.get(key) or ()), list(chosen.data.get(key) or ())
        if then != now and is_first():
            log.warning(f"data.{key}={now}, but the network was trained with {then}: expect worse figures")
    return model, data


def bare_trainer(config: DictConfig, *callbacks: Callback) -> Trainer:
    """A Trainer that writes nothing."""
    own = {"logger": False, "default_root_dir": str(config.run), "enable_checkpointing": False}
    return built_trainer(config, callbacks=[*built_group(config, "callbacks").values(), *callbacks], **own)
