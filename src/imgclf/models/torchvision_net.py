"""Classification networks of torchvision."""

from typing import Any

from torch import nn

from imgclf.errors import InputError, nearest


def torchvision_net(name: str, in_channels: int, num_classes: int) -> nn.Module:
    """A network without pretrained weights, float (n, in_channels, h, w) -> (n, num_classes).

    Args:
        name: as in ``torchvision.models.list_models()``.
        in_channels: torchvision's networks take 3; for another number the first convolution is replaced by one of the
            same form.
        num_classes: number of outputs.
    """
    from torchvision import models

    names = models.list_models(module=models)
    if name not in names:
        close = nearest(name, names)
        hint = f"did you mean {close}? " if close else ""
        raise InputError(f"model.net.name={name}: {hint}torchvision has {', '.join(names)}")
    # Inception and GoogLeNet would give a second output in training, and warn about their slow initial weights.
    extra = {"aux_logits": False, "init_weights": True} if name in ("googlenet", "inception_v3") else {}
    net: nn.Module = models.get_model(name, weights=None, num_classes=num_classes, **extra)
    if in_channels == 3:
        return net
    for path, old in net.named_modules():
        if isinstance(old, nn.Conv2d) and old.in_channels == 3:
            form: dict[str, Any] = {key: getattr(old, key) for key in ("kernel_size", "stride", "padding")}
            net.set_submodule(path, nn.Conv2d(in_channels, old.out_channels, bias=old.bias is not None, **form))
            return net
    raise InputError(f"{name} does not begin with a convolution of 3 channels: set data.in_channels=3")
