"""A run's network as a file for other programs: ONNX, torch.export, or safetensors."""

import importlib.util
import json
import logging
import warnings
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig
from torch import Tensor, nn

from imgclf.errors import Failed, InputError, say
from imgclf.inference import Predictor, load
from imgclf.log import speak
from imgclf.run_folder import RunFolder, written_aside

_NEEDED = {"onnx": ("onnx", "onnxscript", "onnxruntime"), "torch": (), "safetensors": ("safetensors",)}
_ENDINGS = {"onnx": "onnx", "torch": "pt2", "safetensors": "safetensors"}
_LARGEST_DIFFERENCE = 1e-4  # of probabilities; kernels of another program add in another order


class Exported(nn.Module):
    """From stored pictures to probabilities: the second step of preprocessing, the network, softmax.

    Args:
        predictor: whose network and preprocessing these are.
    """

    def __init__(self, predictor: Predictor) -> None:
        super().__init__()
        self.net, self.to_input = predictor.model.net, predictor.data.to_input

    def forward(self, images: Tensor) -> Tensor:
        """Pictures uint8 (n, channels, size, size) as the run stores them to probabilities float32 (n, classes)."""
        return self.net(self.to_input(images)).softmax(dim=1)


def export(config: DictConfig) -> None:
    """Write the network of ``config.run`` as ``config.format``, and hold it against the run's own predictions.

    Raises:
        InputError: what writes that format is not installed.
        Failed: the file gives other probabilities.
    """
    lacking = [name for name in _NEEDED[config.format] if importlib.util.find_spec(name) is None]
    if lacking:
        raise InputError(f"format={config.format} needs {', '.join(lacking)}: uv run --extra export scripts/export.py")
    speak(None)
    predictor = load(config.run, config.checkpoint, config.trust)
    predictor.model.float()
    decode, stored = predictor.data.decode, predictor.data.decode.size
    file = RunFolder(config.run).path / "exported" / f"{config.checkpoint}.{_ENDINGS[config.format]}"
    about = {
        "class_names": json.dumps(predictor.class_names),
        "pixels": f"uint8 (n, {decode.channels}, {stored}, {stored})",
        "fit": decode.fit,
        "mean": json.dumps(list(predictor.data.mean or ())),
        "std": json.dumps(list(predictor.data.std or ())),
    }
    draws = np.random.default_rng(0)  # pictures of any brightness
    shape = (8, decode.channels, stored, stored)
    images = (draws.random(shape) * draws.random((8, 1, 1, 1)) * 256).astype(np.uint8)
    predictor.model.average_flips = False
    inputs = predictor.data.to_input(torch.from_numpy(images))
    with torch.no_grad():  # first: what is kept of it must not be a tracer's
        wanted = predictor.model.predict_step((inputs, inputs), 0).numpy()
    with written_aside(file) as aside:
        found = _WRITERS[config.format](predictor, aside, torch.from_numpy(images), about)
        difference = float(np.abs(found - wanted).max())
        if not difference <= _LARGEST_DIFFERENCE:
            raise Failed(f"{file} was not kept: its probabilities differ from the run's by up to {difference:.2g}")
    say(f"{file}: {file.stat().st_size / 1e6:.1f} MB, {about['pixels']} to {len(predictor.class_names)} classes")
    say(f"largest difference from the run's own probabilities on {len(images)} pictures of noise: {difference:.1e}")


def _program(predictor: Predictor, images: Tensor) -> torch.export.ExportedProgram:
    # With two pictures: a batch of one would be taken for a fixed size.
    any_number = {"images": {0: torch.export.Dim("n")}}
    return torch.export.export(Exported(predictor).eval(), (images[:2],), dynamic_shapes=any_number)


def _write_torch(predictor: Predictor, file: Path, images: Tensor, about: dict[str, str]) -> NDArray[np.float32]:
    with file.open("wb") as out:
        torch.export.save(_program(predictor, images), out, extra_files={"about.json": json.dumps(about)})
    with file.open("rb") as saved:
        program = torch.export.load(saved).module()
    return np.concatenate([program(part).detach().numpy() for part in images.tensor_split([5])])


def _write_onnx(predictor: Predictor, file: Path, images: Tensor, about: dict[str, str]) -> NDArray[np.float32]:
    import onnxruntime

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own parts
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            _program(predictor, images), input_names=["images"], output_names=["probabilities"], verbose=False
        )
    assert program is not None
    program.model.metadata_props.update(about)
    program.save(file)
    session = onnxruntime.InferenceSession(file.read_bytes(), providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"images": part.numpy()})[0] for part in images.tensor_split([1])])


def _write_safetensors(predictor: Predictor, file: Path, images: Tensor, about: dict[str, str]) -> NDArray[np.float32]:
    from safetensors.torch import load_file, save_file

    state = predictor.model.net.state_dict()
    save_file({name: tensor.contiguous().clone() for name, tensor in state.items()}, file, metadata=about)
    state.update(load_file(file))
    predictor.model.net.load_state_dict(state)
    with torch.no_grad():
        return Exported(predictor).eval()(images).numpy()


_WRITERS = {"onnx": _write_onnx, "torch": _write_torch, "safetensors": _write_safetensors}
