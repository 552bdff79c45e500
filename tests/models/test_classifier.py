"""What all networks share: loss, accuracy, and the check that network and images fit."""

import math
from typing import Any

import pytest
import torch
from conftest import quiet_trainer
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader
from torchmetrics.classification import MulticlassAccuracy
from torchmetrics.functional.classification import multiclass_accuracy

from imgclf.errors import InputError
from imgclf.models.classifier import Classifier
from imgclf.models.losses import CrossEntropy, Focal
from imgclf.models.metrics import BalancedAccuracy, ClassAccuracy, MacroAUROC
from imgclf.models.torchvision_net import torchvision_net
from imgclf.models.totals import Totals


def classifier(net: nn.Module | None = None, channels: int = 1, size: int = 4, **settings: Any) -> Classifier:
    """Of three classes; a linear one if nothing is given."""
    torch.manual_seed(0)
    net = net or nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    return Classifier(net, **{"in_channels": channels, "image_size": size, "num_classes": 3} | settings)


@pytest.mark.parametrize(
    ("net", "channels", "size", "message"),
    [
        (None, 1, 28, r"Sequential cannot take images of 1x28x28 .* data.resize.* fits is 4$"),
        (nn.Conv2d(3, 2, 3), 1, 8, r"images of 1x8x8 .* no size up to 512 fits, choose another data.in_channels"),
        (nn.Sequential(nn.Flatten(), nn.Linear(16, 10)), 1, 4, r"outputs of shape \(1, 10\) .* num_classes=3"),
    ],
)
def test_a_network_that_does_not_fit_the_images_is_refused(net: Any, channels: int, size: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        classifier(net, channels, size)


def test_label_smoothing_shapes_the_training_loss_and_not_what_is_reported() -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(16, 3), nn.Dropout().eval())
    model = classifier(net, label_smoothing=0.3)
    assert [part.training for part in net] == [True, True, False], "as it was given"
    for p in model.parameters():
        nn.init.zeros_(p)
    model.net[1].bias.data = torch.tensor([2.0, 0.0, 0.0])
    batch = (torch.rand(4, 1, 4, 4), torch.zeros(4, dtype=torch.int64))
    # logits (2, 0, 0): log-sum-exp = log(e² + 2); smoothed target (0.8, 0.1, 0.1)
    log_sum = math.log(math.exp(2) + 2)
    assert model.training_step(batch, 0).item() == pytest.approx(log_sum - 0.8 * 2)
    model.validation_step(batch, 0)
    assert model.totals["val"].compute()["loss"].item() == pytest.approx(log_sum - 2)


@given(sizes=st.lists(st.integers(1, 20), min_size=2, max_size=6), seed=st.integers(0, 2**31))
def test_totals_are_those_of_all_images_at_once_however_batched_and_interrupted(sizes: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    totals, later = Totals(), Totals()
    batches = [(torch.randn(n, 5, generator=generator), torch.randint(5, (n,), generator=generator)) for n in sizes]
    for logits, labels in batches[:-1]:
        totals.update(nn.functional.cross_entropy(logits, labels), logits, labels)
    later.restore(totals.snapshot(), rank=0, world_size=1)
    later.update(nn.functional.cross_entropy(*batches[-1]), *batches[-1])
    logits, labels = (torch.cat(parts) for parts in zip(*batches, strict=True))
    values = later.compute()
    torch.testing.assert_close(values["loss"], nn.functional.cross_entropy(logits, labels))
    torch.testing.assert_close(values["acc"], multiclass_accuracy(logits, labels, 5, average="micro"))


def test_an_epochs_loss_is_exact_in_little_precision() -> None:
    model = classifier(optimizer=lambda parameters: torch.optim.SGD(parameters, 0.0))
    for p in model.parameters():
        nn.init.zeros_(p)
    trainer = quiet_trainer(max_epochs=1, precision="16-true")
    batch = (torch.rand(1000, 1, 4, 4), torch.arange(1000) % 3)
    trainer.fit(model, DataLoader([batch] * 30, batch_size=None))  # 30,000 images: more than 16 bits can count
    assert trainer.callback_metrics["train/loss"].item() == pytest.approx(math.log(3), rel=1e-4)
    assert trainer.callback_metrics["train/acc"].item() == pytest.approx(0.334)


def test_with_averaged_flips_an_image_and_its_mirror_image_are_predicted_alike() -> None:
    model, images = classifier(), torch.rand(5, 1, 4, 4)
    both = [model.predict_step((i, torch.zeros(5)), 0) for i in (images, images.flip(3))]
    assert not torch.allclose(*both)
    model.average_flips = True
    averaged = [model.predict_step((i, torch.zeros(5)), 0) for i in (images, images.flip(3))]
    torch.testing.assert_close(averaged[0], averaged[1])
    torch.testing.assert_close(averaged[0], (both[0] + both[1]) / 2)
    torch.testing.assert_close(model.validation_step((images, torch.zeros(5, dtype=torch.int64)), 0).exp(), averaged[0])


@pytest.mark.parametrize("name", ["squeezenet1_1", "googlenet"])
def test_a_torchvision_network_takes_grey_images(name: str) -> None:
    model = classifier(torchvision_net(name, in_channels=1, num_classes=3), size=64)
    assert model.train()(torch.rand(2, 1, 64, 64)).shape == (2, 3)


def test_googlenet_is_the_same_network_wherever_its_weights_come_from() -> None:
    assert torchvision_net("googlenet", in_channels=3, num_classes=3).transform_input


def test_metrics_share_no_sums_with_one_another_nor_validation_with_test() -> None:
    settings: Any = ({"average": "none"}, {"average": "micro", "top_k": 2})
    model = classifier(metrics={name: MulticlassAccuracy(3, **s) for name, s in zip("ab", settings, strict=True)})
    probabilities = torch.tensor([[0.6, 0.3, 0.1], [0.3, 0.6, 0.1], [0.1, 0.3, 0.6]])
    for stage, labels in (("val", [0, 1, 2]), ("val", [1, 0, 1]), ("test", [0, 1, 2])):
        model.more_metrics(stage).update(probabilities, torch.tensor(labels))
    assert [model.more_metrics(s).compute()[f"{s}/b"] for s in ("val", "test")] == [1, 1]
    assert model.more_metrics("val").compute()["val/a"].tolist() == [0.5, pytest.approx(1 / 3), 1]


@pytest.mark.filterwarnings("ignore:No positive samples")
def test_metrics_by_class_are_of_those_that_have_images() -> None:
    probabilities = torch.tensor([[0.6, 0.3, 0.1], [0.1, 0.6, 0.3], [0.1, 0.3, 0.6]])
    found = [metric(3)(probabilities, torch.tensor([0, 1, 1])) for metric in (BalancedAccuracy, MacroAUROC)]
    assert found == [0.75, 0.875], "of 1 and 1/2; of 1 and, for one pair of two being level, 3/4"
    assert ClassAccuracy(3)(probabilities, torch.tensor([0, 1, 1])).isnan().tolist() == [False, False, True]


LOGITS = torch.tensor([[2.0, 0.0], [0.0, 1.0], [1.0, 1.0], [0.0, 3.0]])
LABELS = torch.tensor([0, 0, 0, 1])


def test_balanced_weights_are_of_all_images_by_those_of_a_class() -> None:
    loss = CrossEntropy(class_weights="balanced")
    loss.prepare(LABELS, num_classes=3)
    assert loss.weight is not None
    torch.testing.assert_close(loss.weight, torch.tensor([4 / (3 * 3), 4 / (3 * 1), 0]), msg="the third has no image")
    wanted = nn.functional.cross_entropy(LOGITS, LABELS, weight=torch.tensor([4 / (2 * 3), 4 / (2 * 1)]))
    loss.prepare(LABELS, num_classes=2)
    torch.testing.assert_close(loss(LOGITS, LABELS), wanted)
    torch.testing.assert_close(loss(LOGITS, nn.functional.one_hot(LABELS).float()), wanted, msg="as of mixed images")
    loss.weight = torch.tensor([0.0, 1.0])
    assert loss(LOGITS[:1], LABELS[:1]) == 0, "of an image that does not count, not 0/0"


def test_focal_loss() -> None:
    plain, focal = Focal(gamma=0.0), Focal(gamma=2.0)
    torch.testing.assert_close(plain(LOGITS, LABELS), nn.functional.cross_entropy(LOGITS, LABELS))
    p = [1 / (1 + math.exp(-margin)) for margin in (2, -1, 0, 3)]  # of the right classes
    wanted = sum(-((1 - q) ** 2) * math.log(q) for q in p) / 4
    assert focal(LOGITS, LABELS).item() == pytest.approx(wanted, rel=1e-5)
    torch.testing.assert_close(focal(LOGITS, nn.functional.one_hot(LABELS).float()), focal(LOGITS, LABELS))
