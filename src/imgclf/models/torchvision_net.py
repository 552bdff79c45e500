"""Classification networks of torchvision and of timm, with the weights that come with them, or a file's."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from imgclf.errors import InputError, hint
from imgclf.models.pretrained import fit_weights, read_weights, torchvision_weights


def torchvision_net(
    name: str, in_channels: int, num_classes: int, weights: str | None = None, image_size: int | None = None
) -> nn.Module:
    """A network of torchvision, float (n, in_channels, h, w) -> (n, num_classes).

    Args:
        name: as in ``torchvision.models.list_models()``.
        in_channels: torchvision's networks take 3; for another number the first convolution is replaced by one of the
            same form.
        num_classes: number of outputs.
        weights: ``DEFAULT`` or another name of torchvision's for them, which are downloaded, or a file, .pth or
            .safetensors; the layer that gives the logits is made anew where it has another number of classes.
        image_size: pixels of a side, for which vision transformers are made; None for their 224.

    Raises InputError: there is no such network, or there are no such weights.
    """
    from torchvision import models

    _require_torchvision(name)
    # Inception and GoogLeNet would give a second output in training, and warn about their slow initial weights; theirs
    # want other means, to which they turn ImageNet's: always, since what goes on with them names no weights.
    extra: dict[str, Any] = {}
    if name in ("googlenet", "inception_v3"):
        extra = {"aux_logits": False, "init_weights": True, "transform_input": in_channels == 3}
    if name.startswith("vit_") and image_size is not None:
        if image_size % (patch := int(name.rpartition("_")[2])):
            raise InputError(f"data.resize={image_size}: {name} cuts images into squares of {patch}, give a multiple")
        extra = {"image_size": image_size}
    net: nn.Module = models.get_model(name, weights=None, num_classes=num_classes, **extra)
    if in_channels != 3:
        _replace_first_convolution(net, name, in_channels)
    if weights is not None:
        fit_weights(net, torchvision_weights(name, weights), f"model.net.weights={weights}")
    return net


def _require_torchvision(name: str) -> None:
    from torchvision import models

    names = models.list_models(module=models)
    if name not in names:
        raise InputError(f"model.net.name={name}: torchvision has none. {hint(name, names)}")


def _replace_first_convolution(net: nn.Module, name: str, in_channels: int) -> None:
    for path, old in net.named_modules():
        if isinstance(old, nn.Conv2d) and old.in_channels == 3:
            form: dict[str, Any] = {key: getattr(old, key) for key in ("kernel_size", "stride", "padding")}
            net.set_submodule(path, nn.Conv2d(in_channels, old.out_channels, bias=old.bias is not None, **form))
            return
    raise InputError(f"{name} does not begin with a convolution of 3 channels: set data.in_channels=3")


def timm_net(name: str, in_channels: int, num_classes: int, weights: str | None = None) -> nn.Module:
    """A network of timm, float (n, in_channels, h, w) -> (n, num_classes).

    Args:
        name: as in ``timm.list_models()``, its tag with it: ``resnet18.a1_in1k``.
        in_channels: of the images.
        num_classes: number of outputs.
        weights: ``DEFAULT``, which is downloaded, or a file, .pth or .safetensors.

    Raises InputError: timm is not installed, or has no such network.
    """
    timm = _timm(name)
    try:
        make = partial(timm.create_model, name, in_chans=in_channels)  # which fits trained weights to the channels
        net: nn.Module = make(num_classes=num_classes)
        state = make(pretrained=True).state_dict() if weights == "DEFAULT" else None
    except (OSError, RuntimeError) as error:  # the latter for a tag that timm does not know
        raise InputError(f"model.net.name={name} model.net.weights={weights} cannot be had: {error}") from error
    if weights is not None:
        fit_weights(net, state or read_weights(Path(weights)), f"model.net.weights={weights}")
    return net


def _timm(name: str) -> Any:
    """The library, if it is there and has such a network."""
    try:
        import timm
    except ImportError:
        raise InputError("model=timm is an extra: uv run --extra timm scripts/train.py ...") from None
    known = timm.list_models()
    if name.partition(".")[0] not in known:
        right = hint(name, known, otherwise="timm.list_models() gives all")
        raise InputError(f"model.net.name={name}: timm has none. {right}")
    return timm


def preprocessing(net: Mapping[str, Any]) -> dict[str, Any]:
    """``mean`` and ``std`` by colour, of pixels in [0, 1], and ``size`` in pixels, of what the weights were trained on.

    Args:
        net: the node ``model.net`` of the configuration: ``_target_``, ``name`` and ``weights``.

    Raises InputError: there is no such network, or timm has no weights for it.
    """
    if net["_target_"].endswith("timm_net"):
        try:
            found = _timm(net["name"]).get_pretrained_cfg(net["name"])
        except RuntimeError:  # for a tag that timm does not know
            found = None
        if found is None:
            raise InputError(f"model.net.name={net['name']}: timm has no weights for it; leave model.net.weights out")
        return {"mean": list(found.mean), "std": list(found.std), "size": found.input_size[-1]}
    from torchvision.models import get_model_weights

    _require_torchvision(net["name"])
    known = get_model_weights(net["name"])
    transforms = known.__members__.get(net["weights"], known.DEFAULT).transforms()  # of a file nobody knows
    return {"mean": transforms.mean, "std": transforms.std, "size": transforms.crop_size[0]}
