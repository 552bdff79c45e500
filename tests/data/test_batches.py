"""Which images are held out, which form which batch, and how two runs are told to have seen the same ones."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imgclf.data.batches import BatchLoader, ImageArray, TrainBatches, eval_batches
from imgclf.data.split import fold_split, stratified_split
from imgclf.errors import InputError


def images(count: int = 10, size: int = 4) -> ImageArray:
    pixels = torch.arange(count * 3 * size * size, dtype=torch.int64).remainder(251).to(torch.uint8)
    return ImageArray(pixels.view(count, 3, size, size), torch.arange(count) % 10)


def drawn(epoch: int = 0, **arguments: int | bool) -> list[list[int]]:
    batches = TrainBatches(**{"count": 10, "batch_size": 4, "seed": 0} | arguments)  # type: ignore[arg-type]
    batches.set_epoch(epoch)
    assert len(list(batches)) == len(batches)
    return [b.tolist() for b in batches]


def test_the_order_depends_on_seed_and_epoch_and_on_nothing_else() -> None:
    torch.manual_seed(1)
    first = drawn(3, seed=5, count=100)
    torch.manual_seed(2)
    assert drawn(3, seed=5, count=100) == first
    assert first not in (drawn(4, seed=5, count=100), drawn(3, seed=6, count=100))
    assert drawn(shuffle=False) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert drawn(shuffle=False, drop_last=True) == [[0, 1, 2, 3], [4, 5, 6, 7]]


@given(rest=st.integers(0, 150), share=st.integers(1, 16), world_size=st.integers(1, 4), drop_last=st.booleans())
def test_an_epoch_is_the_same_on_several_processes(rest: int, share: int, world_size: int, drop_last: bool) -> None:
    batch_size = share * world_size
    form: Any = {"count": batch_size + rest, "batch_size": batch_size, "drop_last": drop_last}
    alone = drawn(2, **form)
    if not drop_last:
        assert sorted(sum(alone, [])) == list(range(batch_size + rest))
    parts = list(zip(*(drawn(2, **form, rank=r, world_size=world_size) for r in range(world_size)), strict=True))
    assert all(len({len(part) for part in batch}) == 1 for batch in parts)
    together, full = [sum(batch, []) for batch in parts], 1 + rest // batch_size
    assert together[:full] == alone[:full]
    # Of a smaller last batch only what cannot be shared equally is missing.
    assert sum(map(len, alone)) - sum(map(len, together)) < world_size


@given(count=st.integers(1, 300), batch_size=st.integers(1, 64), world_size=st.integers(1, 7))
def test_evaluation_counts_every_image_once(count: int, batch_size: int, world_size: int) -> None:
    if count < world_size:
        with pytest.raises(InputError, match="fewer devices"):
            eval_batches(count, batch_size, world_size=world_size)
        return
    parts = [eval_batches(count, batch_size, rank=rank, world_size=world_size) for rank in range(world_size)]
    assert [i for part in parts for batch in part for i in batch.tolist()] == list(range(count))


def test_batches_that_cannot_be_had_are_refused_with_the_remedy() -> None:
    with pytest.raises(InputError, match=r"data.batch_size=10 .* multiple of 4"):
        drawn(count=100, batch_size=10, world_size=4)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_loader_continues_in_the_middle_of_an_epoch(num_workers: int) -> None:
    def loader() -> BatchLoader:
        return BatchLoader(images(), TrainBatches(10, 2, seed=3), num_workers)

    def labels(of: BatchLoader, epoch: int = 1, count: int = 5) -> list[list[int]]:
        of.sampler.set_epoch(epoch)  # type: ignore[union-attr]
        return [labels.tolist() for (_, labels), _ in zip(of, range(count), strict=False)]

    whole, stopped, resumed = loader(), loader(), loader()
    before = labels(stopped, count=2)
    resumed.load_state_dict({"epoch": 1, "batches": 2})
    assert before + labels(resumed) == labels(whole)
    assert len(labels(resumed, epoch=2)) == 5, "the next epoch is whole again"


def test_a_balanced_sampler_draws_all_classes_equally_often_the_same_for_any_number_of_processes() -> None:
    labels = torch.cat([torch.zeros(900), torch.ones(100)]).long()
    whole = TrainBatches(1000, 100, seed=1, balanced=labels)
    batches = list(whole)
    assert 0.45 < labels[torch.cat(batches)].float().mean() < 0.55
    halves = [list(TrainBatches(1000, 100, seed=1, balanced=labels, rank=rank, world_size=2)) for rank in (0, 1)]
    assert all(torch.equal(torch.cat(pair), batch) for *pair, batch in zip(*halves, batches, strict=True))
    whole.set_epoch(1)
    assert not torch.equal(next(iter(whole)), batches[0])


NAMES = "abcde"  # of classes


def test_each_class_gives_the_same_share() -> None:
    labels = np.repeat(np.arange(3), [100, 50, 10])
    train, val = stratified_split(labels, 0.1, 0, NAMES)
    assert (np.bincount(labels[val]).tolist(), np.bincount(labels[train]).tolist()) == ([10, 5, 1], [90, 45, 9])
    first, again, other = (stratified_split(labels, 0.1, seed, NAMES)[1].tolist() for seed in (1, 1, 2))
    assert first == again != other
    with pytest.raises(InputError, match="class cat has 1 image"):
        stratified_split(np.array([0, 0, 1]), 0.5, 0, ["dog", "cat"])


@given(sizes=st.lists(st.integers(2, 30), min_size=1, max_size=5), fraction=st.floats(0.01, 0.99), seed=st.integers(0))
def test_no_image_is_in_both_parts_and_none_is_lost(sizes: list[int], fraction: float, seed: int) -> None:
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    train, val = stratified_split(labels, fraction, seed, NAMES)
    assert sorted([*train, *val]) == list(range(len(labels)))
    assert set(labels[train]) == set(labels[val]) == set(range(len(sizes))), "every class is in both parts"
    folds = [fold_split(labels, 2, fold, seed, NAMES) for fold in (0, 1)]
    assert all(sorted([*kept, *out]) == list(range(len(labels))) for kept, out in folds)
    assert sorted(np.concatenate([out for _, out in folds])) == list(range(len(labels)))


def test_a_fingerprint_is_of_every_pixel_every_label_and_the_shape_and_of_nothing_else() -> None:
    one = images().fingerprint()
    assert one == images().fingerprint()
    assert (one["images"], one["type"], one["of"], len(one["digest"])) == ([10, 3, 4, 4], "uint8", 10, 16)
    pixel, label = images(), images()
    pixel.images[9, 2, 3, 3] += 1
    label.labels[9] = 0
    reshaped = ImageArray(images().images.view(10, 12, 2, 2), images().labels)
    assert len({x.fingerprint()["digest"] for x in (images(), pixel, label, reshaped)}) == 4
