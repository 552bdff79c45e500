"""One process of an evaluation."""

from omegaconf import DictConfig

from imgclf.run.processes import is_first, speak
from imgclf.run.trained import bare_trainer, data_for, trained_model
from imgclf.summary import evaluation_table


def evaluate_rank(config: DictConfig, weights: str) -> int:
    """Test a network on its share of the images; the first process prints the table.

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
