"""Testing a finished run: what scripts/evaluate.py opens."""

from omegaconf import DictConfig

from imgclf.run.processes import in_processes, is_first, speak
from imgclf.run.trained import bare_trainer, data_for, trained_model, weights_file
from imgclf.summary import evaluation_table


def evaluate(config: DictConfig) -> int:
    """Test the checkpoint ``config.checkpoint`` of the run folder ``config.run``.

    Args:
        config: composed and checked; data and trainer are the run's own unless the command line changed them.

    Returns:
        The exit code.
    """
    return in_processes(config, f"{__name__}:evaluate_rank", str(weights_file(config)))


def evaluate_rank(config: DictConfig, weights: str) -> int:
    """One process of an evaluation.

    Args:
        config: of scripts/evaluate.py.
        weights: the checkpoint, for the table.

    Returns:
        The exit code.
    """
    speak(None)
    model = trained_model(config)
    data = data_for(model, config)
    trainer = bare_trainer(config)
    trainer.test(model, datamodule=data, verbose=False)
    if is_first():
        metrics = {name: float(value) for name, value in trainer.callback_metrics.items()}
        print(evaluation_table(metrics, weights))
    return 0
