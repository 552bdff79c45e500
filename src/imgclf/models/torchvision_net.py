"""Classification networks of torchvision."""

from torch import nn

from imgclf.errors import InputError


def torchvision_net(name: str, in_channels: int, num_classes: int) -> nn.Module:
    """Build a network by its torchvision name, without pretrained weights.

    Args:
        name: as in ``torchvision.models.list_models()``.
        in_channels: channels of the images. torchvision's networks take 3; for another number the first
            convolution is replaced by one of the same form.
        num_classes: number of outputs.

    Returns:
        A module that maps float (n, in_channels, h, w) to (n, num_classes).

    Raises:
        InputError: torchvision has no such network, or it does not begin with a convolution of 3 channels.
    """
    import difflib

    from torchvision import models

    names = models.list_models(module=models)
    if name not in names:
        close = difflib.get_close_matches(name, names, n=1)
        hint = f"did you mean {close[0]}? " if close else ""
        raise InputError(f"model.net.name={name}: {hint}torchvision has {', '.join(names)}")
    # Inception and GoogLeNet would give a second output in training, and warn about their slow initial weights.
    extra = {"aux_logits": False, "init_weights": True} if name in ("googlenet", "inception_v3") else {}
    net = models.get_model(name, weights=None, num_classes=num_classes, **extra)
    if in_channels != 3:
        _replace_first_convolution(net, in_channels)
    return net


def _replace_first_convolution(net: nn.Module, in_channels: int) -> None:
    for path, module in net.named_modules():
        if isinstance(module, nn.Conv2d) and module.in_channels == 3:
            parent, _, attribute = path.rpartition(".")
            first = nn.Conv2d(
                in_channels,
                module.out_channels,
                kernel_size=module.kernel_size,  # type: ignore[arg-type]
                stride=module.stride,  # type: ignore[arg-type]
                padding=module.padding,  # type: ignore[arg-type]
                bias=module.bias is not None,
            )
            setattr(net.get_submodule(parent), attribute, first)
            return
    raise InputError(f"{type(net).__name__} does not begin with a convolution of 3 channels: set data.in_channels=3")
