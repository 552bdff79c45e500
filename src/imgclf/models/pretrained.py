"""Weights that exist already: torchvision's, a file's, another run's; put into a network as far as they fit."""

import contextlib
import logging
import re
from collections import OrderedDict
from collections.abc import Mapping
from itertools import permutations
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from imgclf.errors import InputError, hint

log = logging.getLogger(__name__)
_WRAPPERS = ("module.", "_orig_mod.", "net.", "model.")  # DDP, torch.compile, Lightning's modules give such names
_PLACES = "encoder.pos_embedding"  # of torchvision's vision transformers, one for each place in the image
_SHOWN = 4  # names of tensors, each time
# What torchvision's files of DenseNet and ViT still call otherwise, and its own loaders translate.
_RENAMED = {
    r"(denselayer\d+\.(?:norm|conv))\.([12]\.)": r"\1\2",
    r"(encoder_layer_\d+\.mlp)\.linear_1\.": r"\1.0.",
    r"(encoder_layer_\d+\.mlp)\.linear_2\.": r"\1.3.",
}


def read_checkpoint(file: Path, remedy: str = "restore it or train again") -> dict[str, Any]:
    """Tensors and plain values of a file of torch's or safetensors'; nothing in it is executed."""
    try:
        if file.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(file))
        return dict(torch.load(file, map_location="cpu", weights_only=True))
    except ImportError:
        raise InputError(f"{file}: safetensors is not installed: uv run --extra export ...") from None
    except Exception as error:  # torch raises many kinds for damaged files
        first = f"{type(error).__name__}: {str(error).strip()}".partition("\n")[0][:100]
        raise InputError(f"{file} cannot be read as a checkpoint ({first}): {remedy}") from error


def read_weights(file: Path) -> dict[str, Tensor]:
    """A state_dict, by itself or in a checkpoint."""
    found: Any = read_checkpoint(file, "give a state_dict, or safetensors")
    for key in ("state_dict", "model"):
        found = found[key] if isinstance(found.get(key), dict) else found
    state = {name: value for name, value in found.items() if isinstance(value, Tensor)}
    if not state:
        raise InputError(f"{file} holds no tensors by name: give a state_dict, or safetensors")
    return state


def torchvision_weights(name: str, weights: str) -> dict[str, Tensor]:
    """Of a network of torchvision, by name, ``DEFAULT`` or as ``IMAGENET1K_V1``, downloaded once with its checksum."""
    from torchvision.models import get_model_weights

    known = get_model_weights(name)
    if weights in known.__members__:
        try:
            return dict(known[weights].get_state_dict(progress=True, check_hash=True))
        except (OSError, RuntimeError) as error:
            url = known[weights].url
            raise InputError(f"{url} cannot be had ({error}): give the file by model.net.weights=FILE") from error
    if not Path(weights).is_file():
        right = hint(weights, known.__members__)
        raise InputError(f"model.net.weights={weights}: neither weights of {name} nor a file. {right}")
    return read_weights(Path(weights))


def fit_weights(net: nn.Module, state: Mapping[str, Tensor], source: str) -> None:
    """Put into ``net`` what fits it by name and shape, and say what was loaded, left out, and stays as it was made.

    A convolution that was made for another number of colours gets its weights' sum over the colours, or that spread
    evenly over them, so that it answers a grey picture as before. What a vision transformer adds by place is
    interpolated for another size.
    """
    own, loaded, adapted = net.state_dict(), {}, []
    starts = ["".join(words) for count in range(4) for words in permutations(_WRAPPERS, count)]
    start = max(starts, key=lambda s: sum(name.startswith(s) and name[len(s) :] in own for name in state))
    state = {name.removeprefix(start): tensor for name, tensor in state.items()}
    for old, now in _RENAMED.items():
        state = {name if name in own else re.sub(old, now, name): tensor for name, tensor in state.items()}
    if type(net).__module__ == "torchvision.models.vision_transformer" and (places := state.get(_PLACES)) is not None:
        from torchvision.models.vision_transformer import interpolate_embeddings

        with contextlib.suppress(ValueError):  # of no square of places
            state = interpolate_embeddings(net.image_size, net.patch_size, OrderedDict(state))
        if places.shape != state[_PLACES].shape:
            adapted.append(f"{_PLACES}, from {places.shape[1]} to {state[_PLACES].shape[1]} places")
    for name, tensor in own.items():
        given = state.get(name)
        if given is None or given.ndim != tensor.ndim:
            continue
        if given.shape == tensor.shape:
            loaded[name] = given
        elif {*given.shape[1:2], *tensor.shape[1:2]} == {1, 3} and given[:, 0].shape == tensor[:, 0].shape:
            loaded[name] = given.sum(1, keepdim=True).expand_as(tensor) / tensor.shape[1]
            adapted.append(f"{name}, from {given.shape[1]} to {tensor.shape[1]} channels")
    if not loaded:
        both = f"it has {next(iter(state), 'none')}, {type(net).__name__} {next(iter(own), 'none')}"
        raise InputError(f"{source}: none of its tensors fit; {both}: give weights of the same network")
    own.update(loaded)  # and keeps the versions of its parts, for which some ask
    net.load_state_dict(own)
    said = [f"weights of {source}: {len(loaded)} of {len(own)} tensors loaded"]
    new, left = [name for name in own if name not in loaded], [name for name in state if name not in loaded]
    for what, names in (("adapted", adapted), ("newly made", new), ("left out", left)):
        if names:
            more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
            said.append(f"{what}: {', '.join(names[:_SHOWN])}{more}")
    log.info("; ".join(said))
