"""The classifier's nearest speakers, against the full matrix; how they reach the sampler and the checkpoint stands in
test_datamodule."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from speakerlab import InputError
from speakerlab.losses.aam import AamSoftmax
from speakerlab.losses.center import CenterLoss
from speakerlab.training.similar_speakers import SimilarSpeakers, check_use, class_weights, nearest


@pytest.mark.parametrize("rows, count, block", [(50, 7, 2**24), (50, 7, 200), (50, 49, 1), (2, 1, 2**24)])
def test_nearest(rows, count, block):
    weights = torch.randn(rows, 6, generator=torch.Generator().manual_seed(0)) * torch.rand(rows, 1) * 9
    found = nearest(weights, count, block)
    plain = weights.double().numpy()
    units = plain / np.linalg.norm(plain, axis=1, keepdims=True)
    for row, neighbours in enumerate(found):
        cosines = units @ units[row]
        expected = [other for other in np.argsort(-cosines).tolist() if other != row][:count]
        assert neighbours.tolist() == expected
    assert found.dtype == np.int32


def test_equal_rows_are_not_their_own_neighbours():
    found = nearest(torch.ones(5, 3), 4)
    assert all(sorted(row) == [other for other in range(5) if other != i] for i, row in enumerate(found.tolist()))


def test_memory_is_bounded():
    """20,000 classes: the full matrix would take 1.6 GB; a block takes 4 MB and its best few."""
    largest = 0

    class Watch(torch.overrides.TorchFunctionMode):
        def __torch_function__(self, function, types, args=(), kwargs=None):
            nonlocal largest
            result = function(*args, **(kwargs or {}))
            if isinstance(result, torch.Tensor):
                largest = max(largest, result.numel())
            return result

    with Watch():
        nearest(torch.randn(20_000, 2), 3, block=2**20)
    assert largest <= 2**20


class Strategy:
    """As much of Lightning's as the callback uses: rank 1 of two is told what rank 0 found."""

    def __init__(self, told=None):
        self.told = told

    def broadcast(self, found):
        return found if self.told is None else self.told


def trainer(epoch: int, told=None):
    return SimpleNamespace(
        current_epoch=epoch,
        is_global_zero=told is None,
        strategy=Strategy(told),
        datamodule=SimpleNamespace(sampler=SimpleNamespace(neighbours=None, candidates=6)),
    )


def module(loss, speakers: int = 4):
    return SimpleNamespace(loss=loss, speakers=list("abcdefgh")[:speakers])


def test_every_other_epoch():
    callback, loss = SimilarSpeakers(every_n_epochs=2), AamSoftmax(8, 4)
    refreshed = []
    for epoch in range(4):
        running = trainer(epoch)
        callback.on_train_epoch_end(running, module(loss))
        refreshed.append(running.datamodule.sampler.neighbours is not None)
    assert refreshed == [False, True, False, True]
    expected = nearest(loss.classifier.weight, 3).tolist()  # of four, three others
    assert running.datamodule.sampler.neighbours.tolist() == expected


def test_other_ranks_take_what_the_first_found():
    told = np.array([[1], [0]])
    running = trainer(0, told)
    SimilarSpeakers().on_train_epoch_end(running, module(AamSoftmax(8, 4)))
    assert running.datamodule.sampler.neighbours is told


@pytest.mark.parametrize("loss", [torch.nn.Identity(), CenterLoss(8, 4)])
def test_a_loss_without_a_row_for_each_speaker_is_refused(loss):
    with pytest.raises(InputError, match=rf"weights for each speaker.*{type(loss).__name__}"):
        check_use(SimpleNamespace(neighbours=None), loss)


def test_a_sampler_that_has_no_use_for_it_is_refused():
    with pytest.raises(InputError, match="choose sampler=hard_speakers"):
        check_use(SimpleNamespace(), AamSoftmax(8, 4))


def test_class_weights_are_the_losses_rows():
    loss = AamSoftmax(8, 4)
    assert torch.equal(class_weights(loss), loss.classifier.speaker_weights()) and not class_weights(loss).requires_grad


def test_bad_intervals_are_refused():
    with pytest.raises(ValueError, match="every_n_epochs=0 must be at least 1"):
        SimilarSpeakers(every_n_epochs=0)
