"""What all networks share: loss, accuracy, and the check that network and images fit."""

import math
from typing import Any

import pytest
import torch
from conftest import quiet_trainer
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader
from torchmetrics.functional.classification import multiclass_accuracy

from imgclf.errors import InputError
from imgclf.models.classifier import Classifier
from imgclf.models.torchvision_net import torchvision_net
from imgclf.models.totals import Totals


def linear(size: int = 4, classes: int = 3) -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(size * size, classes))


def test_any_module_can_be_the_network() -> None:
    model = Classifier(linear(), in_channels=1, image_size=4, num_classes=3)
    assert model(torch.rand(5, 1, 4, 4)).shape == (5, 3)


def test_a_network_that_cannot_take_the_images_is_refused_before_training() -> None:
    with pytest.raises(InputError, match=r"Sequential cannot take images of 1x28x28 .* data.resize.* fits is 4$"):
        Classifier(linear(4), in_channels=1, image_size=28, num_classes=3)


def test_a_network_that_takes_other_channels_is_refused_whatever_the_size() -> None:
    net = nn.Sequential(nn.Conv2d(3, 2, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(InputError, match=r"images of 1x8x8 .* no size up to 512 fits, choose another data.in_channels"):
        Classifier(net, in_channels=1, image_size=8, num_classes=2)


def test_a_network_that_asserts_its_size_is_refused_alike() -> None:
    class Exacting(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            assert images.shape[-1] == 24, "made for 24 pixels"
            return images.mean(dim=(2, 3))

    with pytest.raises(InputError, match=r"(?s)Exacting cannot .* made for 24 pixels.* the smallest that fits is 24$"):
        Classifier(Exacting(), in_channels=2, image_size=32, num_classes=2)


def test_a_network_with_another_number_of_classes_is_refused() -> None:
    with pytest.raises(InputError, match=r"outputs of shape \(1, 10\) .* num_classes=3"):
        Classifier(linear(4, 10), in_channels=1, image_size=4, num_classes=3)


def test_the_check_leaves_batch_statistics_and_training_mode_alone() -> None:
    net = nn.Sequential(nn.BatchNorm2d(1), linear())
    Classifier(net, in_channels=1, image_size=4, num_classes=3)
    assert net.training
    assert net[0].num_batches_tracked == 0


def test_training_without_an_optimizer_says_so() -> None:
    with pytest.raises(InputError, match="without an optimizer"):
        Classifier(linear(), in_channels=1, image_size=4, num_classes=3).configure_optimizers()


def test_label_smoothing_shapes_the_training_loss_and_not_what_is_reported() -> None:
    model = Classifier(linear(), in_channels=1, image_size=4, num_classes=3, label_smoothing=0.3)
    for p in model.parameters():
        nn.init.zeros_(p)
    model.net[1].bias.data = torch.tensor([2.0, 0.0, 0.0])
    batch = (torch.rand(4, 1, 4, 4), torch.zeros(4, dtype=torch.int64))
    # logits (2, 0, 0): log-sum-exp = log(e² + 2); smoothed target (0.8, 0.1, 0.1)
    log_sum = math.log(math.exp(2) + 2)
    assert model.training_step(batch, 0).item() == pytest.approx(log_sum - 0.8 * 2)
    model.validation_step(batch, 0)
    assert model.stage_totals("val").compute()["loss"].item() == pytest.approx(log_sum - 2)


@settings(max_examples=30, deadline=None)
@given(sizes=st.lists(st.integers(1, 20), min_size=1, max_size=6), seed=st.integers(0, 2**31))
def test_totals_are_those_of_all_images_at_once_however_they_are_batched(sizes: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    totals, all_logits, all_labels = Totals(), [], []
    for n in sizes:
        logits = torch.randn(n, 5, generator=generator)
        labels = torch.randint(5, (n,), generator=generator)
        totals.update(nn.functional.cross_entropy(logits, labels), logits, labels)
        all_logits.append(logits)
        all_labels.append(labels)
    logits, labels = torch.cat(all_logits), torch.cat(all_labels)
    values = totals.compute()
    torch.testing.assert_close(values["loss"], nn.functional.cross_entropy(logits, labels))
    torch.testing.assert_close(values["acc"], multiclass_accuracy(logits, labels, 5, average="micro"))


def test_with_averaged_flips_an_image_and_its_mirror_image_are_predicted_alike() -> None:
    torch.manual_seed(0)
    model = Classifier(linear(), in_channels=1, image_size=4, num_classes=3)
    images = torch.rand(5, 1, 4, 4)
    both = [model.predict_step((i, torch.zeros(5)), 0) for i in (images, images.flip(3))]
    assert not torch.allclose(*both)
    model.average_flips = True
    averaged = [model.predict_step((i, torch.zeros(5)), 0) for i in (images, images.flip(3))]
    torch.testing.assert_close(averaged[0], averaged[1])
    torch.testing.assert_close(averaged[0], (both[0] + both[1]) / 2)


def test_totals_continue_from_a_snapshot() -> None:
    logits, labels = torch.eye(3), torch.tensor([0, 1, 0])
    whole, first, second = Totals(), Totals(), Totals()
    whole.update(torch.tensor(1.0), logits, labels)
    whole.update(torch.tensor(4.0), logits[:1], labels[:1])
    first.update(torch.tensor(1.0), logits, labels)
    second.restore(first.snapshot(), rank=0, world_size=1)
    second.update(torch.tensor(4.0), logits[:1], labels[:1])
    assert second.compute() == whole.compute() == {"loss": (3 * 1 + 4) / 4, "acc": 3 / 4}


@pytest.mark.parametrize("name", ["resnet18", "squeezenet1_1", "googlenet"])
def test_a_torchvision_network_takes_grey_images(name: str) -> None:
    model = Classifier(
        torchvision_net(name, in_channels=1, num_classes=10), in_channels=1, image_size=64, num_classes=10
    )
    assert model.train()(torch.rand(2, 1, 64, 64)).shape == (2, 10)


def test_an_unknown_torchvision_network_suggests_the_nearest() -> None:
    with pytest.raises(InputError, match=r"model.net.name=resnet81: did you mean resnet18\?"):
        torchvision_net("resnet81", in_channels=1, num_classes=10)


@pytest.mark.parametrize(
    ("net", "precision", "channels_last", "expected"),
    [
        ("convolutions", "bf16-mixed", "auto", True),
        ("convolutions", "32-true", "auto", False),
        ("convolutions", "32-true", True, True),
        ("convolutions", "bf16-mixed", False, False),
        ("linear", "bf16-mixed", "auto", False),
    ],
)
def test_the_memory_format_follows_network_and_precision(
    net: str, precision: Any, channels_last: Any, expected: bool
) -> None:
    convolutions = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2))
    linear = nn.Sequential(nn.Flatten(), nn.Linear(3 * 8 * 8, 2))
    seen: list[bool] = []
    model = Classifier(
        convolutions if net == "convolutions" else linear,
        in_channels=3,
        image_size=8,
        num_classes=2,
        channels_last=channels_last,
        optimizer=lambda parameters: torch.optim.SGD(parameters, 0.1),
    )
    model.net[0].register_forward_pre_hook(
        lambda module, inputs: seen.append(inputs[0].is_contiguous(memory_format=torch.channels_last))
    )
    trainer = quiet_trainer(max_epochs=1, precision=precision)
    batches = [(torch.rand(4, 3, 8, 8), torch.tensor([0, 1, 0, 1]))]
    trainer.fit(model, DataLoader(batches, batch_size=None))
    assert seen == [expected]
    if net == "convolutions":
        assert model.net[0].weight.is_contiguous(memory_format=torch.channels_last) == expected


def test_compiling_translates_the_network_once_and_leaves_its_names_alone() -> None:
    model = Classifier(
        nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), in_channels=1, image_size=2, num_classes=2, compile=True
    )
    names = list(model.state_dict())
    model.trainer = quiet_trainer()
    model.setup("fit")
    compiled = model.net._compiled_call_impl
    assert compiled is not None
    model.setup("test")
    assert model.net._compiled_call_impl is compiled
    assert list(model.state_dict()) == names
