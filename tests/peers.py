"""Networks of other programs, written down from their publications as functions of tensors by name: a reference for
what is imported. Features are `(1, frames, dim)` or planes `(1, channels, dim, frames)`, one utterance at a time."""

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from speakerlab.build import load_checkpoint, network_from_checkpoint
from speakerlab.cli.main import main
from speakerlab.network import SpeakerNetwork

State = dict[str, Tensor]
SHORTEST = 4000  # samples


class RandomState:
    """Draws the tensors of a network by name; batch norms far from the identity."""

    def __init__(self, seed: int = 0):
        self.state: State = {}
        self.generator = torch.Generator().manual_seed(seed)

    def weight(self, name: str, *shape: int, bias: bool = True) -> None:
        """Of a convolution or a linear layer, which keeps the size of what it sees."""
        inputs = max(int(torch.tensor(shape[1:]).prod()), 1)
        self.state[f"{name}.weight"] = torch.randn(shape, generator=self.generator) * (2 / inputs) ** 0.5
        if bias:
            self.state[f"{name}.bias"] = 0.1 * torch.randn(shape[0], generator=self.generator)

    def norm(self, name: str, channels: int) -> None:
        """Of a batch norm."""
        self.state[f"{name}.weight"] = 0.5 + torch.rand(channels, generator=self.generator)
        self.state[f"{name}.bias"] = 0.2 * torch.randn(channels, generator=self.generator)
        self.state[f"{name}.running_mean"] = 0.1 * torch.randn(channels, generator=self.generator)
        self.state[f"{name}.running_var"] = 0.5 + torch.rand(channels, generator=self.generator)
        self.state[f"{name}.num_batches_tracked"] = torch.tensor(7)


def norm(state: State, name: str, x: Tensor) -> Tensor:
    mean, variance, weight, bias = (state[f"{name}.{end}"] for end in ("running_mean", "running_var", "weight", "bias"))
    shape = (1, -1, *(1,) * (x.ndim - 2))
    return (x - mean.view(shape)) / (variance.view(shape) + 1e-5).sqrt() * weight.view(shape) + bias.view(shape)


def conv1d(state: State, name: str, x: Tensor, dilation: int = 1) -> Tensor:
    """Of unchanged length."""
    weight = state[f"{name}.weight"]
    return F.conv1d(x, weight, state.get(f"{name}.bias"), padding=dilation * (weight.shape[2] // 2), dilation=dilation)


def conv2d(state: State, name: str, x: Tensor, stride: int | tuple[int, int] = 1) -> Tensor:
    """Padded by half its kernel."""
    weight = state[f"{name}.weight"]
    return F.conv2d(x, weight, state.get(f"{name}.bias"), stride=stride, padding=weight.shape[2] // 2)


def linear(state: State, name: str, x: Tensor) -> Tensor:
    return F.linear(x, state[f"{name}.weight"], state.get(f"{name}.bias"))


def gate2d(state: State, name: str, x: Tensor) -> Tensor:
    """Squeeze-and-excitation by the layers `<name>.0` and `<name>.2`."""
    scale = linear(state, f"{name}.2", linear(state, f"{name}.0", x.mean(dim=(2, 3))).relu()).sigmoid()
    return x * scale[:, :, None, None]


def weighted(x: Tensor, weights: Tensor, floor: float) -> Tensor:
    """Mean and deviation over the last axis: `(1, 2 * channels)`."""
    mean = (weights * x).sum(dim=-1)
    variance = (weights * x.square()).sum(dim=-1) - mean.square()
    return torch.cat([mean, variance.clamp(min=floor).sqrt()], dim=1)


def speech(samples: int, seed: int) -> Tensor:
    """A tone whose loudness comes and goes, in noise: `(samples,)`."""
    generator = torch.Generator().manual_seed(seed)
    time = torch.arange(samples) / 16000
    tone = sum(torch.sin(2 * torch.pi * (110 + 20 * seed) * k * time) / k for k in range(1, 15))
    return 0.05 * tone * (1 + torch.sin(2 * torch.pi * 4 * time)) + 0.01 * torch.randn(samples, generator=generator)


def imported(peer: str, source: Path, target: Path) -> SpeakerNetwork:
    """The network of the checkpoint that `speakerlab import` writes."""
    main(["import", peer, str(source), "-o", str(target)])
    return network_from_checkpoint(load_checkpoint(target))


def check_close(found: Tensor, expected: Tensor) -> None:
    """Embeddings `(utterances, embed_dim)` to 1e-4 of their norms."""
    assert ((found - expected).norm(dim=1) < 1e-4 * expected.norm(dim=1).clamp(min=1.0)).all()


@torch.inference_mode()
def check_embeddings(network: SpeakerNetwork, reference: Callable[[Tensor], Tensor]) -> None:
    """From waveforms on, each utterance alone and all of them in one batch that is padded with anything.

    Args:
        network: that was imported.
        reference: `(samples,) -> (1, embed_dim)`.
    """
    utterances = [speech(samples, seed) for seed, samples in enumerate((16000, SHORTEST, 9999))]
    utterances[2] = 0.01 * F.avg_pool1d(utterances[2][None], 9, 1, 4)[0]  # quiet, and hardly anything above 2 kHz
    expected = torch.cat([reference(utterance) for utterance in utterances])
    directions = F.normalize(expected)
    assert (directions @ directions.T).fill_diagonal_(-1).max() < 0.999  # or else everything is the same anyway
    alone = torch.cat([network(utterance[None]) for utterance in utterances])
    check_close(alone, expected)
    together = torch.nn.utils.rnn.pad_sequence(utterances, batch_first=True, padding_value=0.3)
    lengths = torch.tensor([len(utterance) for utterance in utterances])
    check_close(network(together, lengths), expected)
