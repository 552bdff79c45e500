"""Testing a finished run: what scripts/evaluate.py opens.

Torch is loaded by the module of the evaluation, in the processes that evaluate.
"""

from omegaconf import DictConfig

from imgclf.run.processes import in_processes
from imgclf.run.weights import weights_file


def evaluate(config: DictConfig) -> int:
    """Test the checkpoint ``config.checkpoint`` of the run folder ``config.run``.

    Args:
        config: composed and checked; data and trainer are the run's own unless the command line changed them.

    Returns:
        The exit code.
    """
    return in_processes(config, "imgclf.run.evaluation:evaluate_rank", str(weights_file(config)))
