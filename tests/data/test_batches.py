"""Which images form which batch."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from imgclf.data.batches import EvalBatches, ImageArray, TrainBatches, TrainLoader
from imgclf.errors import InputError


def drawn(epoch: int = 0, **arguments: int | bool) -> list[list[int]]:
    batches = TrainBatches(**{"count": 10, "batch_size": 4, "seed": 0} | arguments)  # type: ignore[arg-type]
    batches.set_epoch(epoch)
    return [b.tolist() for b in batches]


@given(
    count=st.integers(1, 200),
    batch_size=st.integers(1, 64),
    seed=st.integers(0, 2**40),
    epoch=st.integers(0, 9),
)
def test_an_epoch_shows_every_image_exactly_once(count: int, batch_size: int, seed: int, epoch: int) -> None:
    batches = drawn(epoch, count=count, batch_size=batch_size, seed=seed)
    assert sorted(sum(batches, [])) == list(range(count))
    assert all(len(b) == batch_size for b in batches[:-1])


def test_the_order_depends_on_seed_and_epoch_and_on_nothing_else() -> None:
    torch.manual_seed(1)
    first = drawn(3, seed=5, count=100)
    torch.manual_seed(2)
    assert drawn(3, seed=5, count=100) == first
    assert drawn(4, seed=5, count=100) != first
    assert drawn(3, seed=6, count=100) != first


def test_without_shuffling_the_images_come_in_their_order() -> None:
    assert drawn(shuffle=False) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert drawn(shuffle=False, drop_last=True) == [[0, 1, 2, 3], [4, 5, 6, 7]]


@given(count=st.integers(4, 200), share=st.integers(1, 16), world_size=st.integers(1, 4), drop_last=st.booleans())
def test_processes_together_see_the_batches_that_one_process_sees(
    count: int, share: int, world_size: int, drop_last: bool
) -> None:
    batch_size = share * world_size
    if count < batch_size:
        drop_last = False
    alone = drawn(2, count=count, batch_size=batch_size, drop_last=drop_last)
    parts = [
        drawn(2, count=count, batch_size=batch_size, drop_last=drop_last, rank=r, world_size=world_size)
        for r in range(world_size)
    ]
    together = [sum(batch, []) for batch in zip(*parts, strict=True)]
    assert together[: count // batch_size] == alone[: count // batch_size]
    # Of a smaller last batch only what cannot be shared equally is missing.
    assert sum(map(len, alone)) - sum(map(len, together)) < world_size
    for batch in zip(*parts, strict=True):
        assert len({len(part) for part in batch}) == 1


@given(count=st.integers(1, 300), batch_size=st.integers(1, 64), world_size=st.integers(1, 7))
def test_evaluation_counts_every_image_once_whatever_the_number_of_processes(
    count: int, batch_size: int, world_size: int
) -> None:
    if count < world_size:
        with pytest.raises(InputError, match="fewer devices"):
            EvalBatches(count, batch_size, world_size=world_size)
        return
    seen: list[int] = []
    for rank in range(world_size):
        batches = EvalBatches(count, batch_size, rank=rank, world_size=world_size)
        mine = [b.tolist() for b in batches]
        assert len(mine) == len(batches)
        seen += sum(mine, [])
    assert seen == list(range(count))


def test_a_batch_that_cannot_be_shared_equally_is_refused_with_the_remedy() -> None:
    with pytest.raises(InputError, match=r"data.batch_size=10 .* multiple of 4"):
        TrainBatches(100, 10, seed=0, world_size=4)


def test_a_batch_larger_than_the_data_is_refused_when_it_would_be_dropped() -> None:
    with pytest.raises(InputError, match="at most 9"):
        TrainBatches(9, 10, seed=0, drop_last=True)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_loader_continues_in_the_middle_of_an_epoch(num_workers: int) -> None:
    images = ImageArray(torch.arange(40, dtype=torch.uint8).view(10, 1, 2, 2), torch.arange(10))

    def loader() -> TrainLoader:
        return TrainLoader(images, TrainBatches(10, 2, seed=3), num_workers)

    whole = loader()
    whole.sampler.set_epoch(1)
    labels = [b[1].tolist() for b in whole]

    stopped = loader()
    stopped.sampler.set_epoch(1)
    iterator = iter(stopped)
    before = [next(iterator)[1].tolist() for _ in range(2)]
    state = stopped.state_dict()

    resumed = loader()
    resumed.load_state_dict(state)
    resumed.sampler.set_epoch(1)
    assert before + [b[1].tolist() for b in resumed] == labels
    resumed.sampler.set_epoch(2)
    assert len(list(resumed)) == 5, "the next epoch is whole again"


def test_a_chosen_part_is_addressed_by_its_own_positions() -> None:
    images = torch.arange(5, dtype=torch.uint8).view(5, 1, 1, 1)
    part = ImageArray(images, torch.arange(5), chosen=torch.tensor([4, 2]))
    assert len(part) == 2
    pixels, labels = part[torch.tensor([1, 0])]
    assert pixels.flatten().tolist() == labels.tolist() == [2, 4]


def test_a_set_on_a_device_holds_its_own_images_and_no_others() -> None:
    images = torch.arange(5, dtype=torch.uint8).view(5, 1, 1, 1).expand(5, 3, 2, 2).contiguous()
    part = ImageArray(images, torch.arange(5)).part(np.array([4, 1]))
    assert part.nbytes == 2 * 3 * 2 * 2
    moved = part.on(torch.device("cpu"))
    assert moved.images.shape == (2, 3, 2, 2)
    for positions in ([0, 1], [1], [1, 0, 0]):
        for here, there in zip(part[torch.tensor(positions)], moved[torch.tensor(positions)], strict=True):
            assert torch.equal(here, there)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU on this machine")
def test_images_on_a_gpu_are_the_same_images() -> None:
    images = torch.randint(0, 256, (7, 3, 4, 4), dtype=torch.uint8)
    there = ImageArray(images, torch.arange(7)).on(torch.device("cuda"))
    batch, labels = there[torch.tensor([6, 0])]
    assert batch.is_cuda
    assert torch.equal(batch.cpu(), images[[6, 0]])
    assert labels.tolist() == [6, 0]
