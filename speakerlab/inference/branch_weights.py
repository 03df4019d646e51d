"""Which branch a fusion trusts, in clean speech, in noise and over the telephone."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from speakerlab import InputError
from speakerlab.augment.noise import AdditiveNoise
from speakerlab.augment.telephone import LINE_RATE, Telephone
from speakerlab.network import FusionNetwork

CLEAN = "clean"
Noise = Callable[[np.random.Generator, int], np.ndarray]  # samples -> (samples,) at any level
Condition = Callable[[np.ndarray, int], np.ndarray]  # (samples,), number of the utterance -> (samples,)


@dataclass(frozen=True, eq=False)
class BranchWeights:
    """What a fusion makes of some utterances in one condition.

    Attributes:
        weights: `(utterances, branches)`, which sum to one; where each dimension has its own, their mean.
        by_dimension: `(branches, embed_dim)`, mean over the utterances; None where a branch has one weight.
        cosines: `(utterances, branches + 1)` of each branch's embedding, and the fused one last, with that of the same
            utterance when clean; both relative to the mean of the clean ones, which says nothing of who speaks.
    """

    weights: np.ndarray
    by_dimension: np.ndarray | None
    cosines: np.ndarray


def pink_noise(generator: np.random.Generator, samples: int) -> np.ndarray:
    """Noise with as much power in each octave, as rooms and streets have it: `(samples,)` float32."""
    spectrum = np.fft.rfft(generator.standard_normal(samples))
    spectrum /= np.sqrt(np.maximum(np.arange(len(spectrum)), 1))
    return np.fft.irfft(spectrum, samples).astype(np.float32)


def recorded_noise(clips: AdditiveNoise) -> Noise:
    """Windows of recordings."""
    return lambda generator, samples: clips.draw(generator, samples)["noise"]


def make_conditions(snrs: Sequence[float], noise: Noise, sample_rate: int) -> dict[str, Condition]:
    """Clean speech, noise at each signal-to-noise ratio in dB, and a telephone line where the sample rate allows.

    An utterance has the same noise at each ratio.
    """

    def noisy(snr: float) -> Condition:
        def change(waveform: np.ndarray, number: int) -> np.ndarray:
            drawn = noise(np.random.default_rng([0, number]), len(waveform))
            draws = {"noise": torch.from_numpy(drawn)[None], "snr_db": torch.tensor([snr], dtype=torch.float32)}
            return AdditiveNoise.apply(torch.from_numpy(waveform)[None], draws)[0].numpy()

        return change

    conditions: dict[str, Condition] = {CLEAN: lambda waveform, number: waveform}
    conditions |= {f"noise, {snr:g} dB": noisy(snr) for snr in snrs}
    if sample_rate % LINE_RATE == 0:
        line = Telephone(1.0, sample_rate)

        def telephoned(waveform: np.ndarray, number: int) -> np.ndarray:
            law = torch.from_numpy(line.draw(np.random.default_rng([1, number]), len(waveform))["law"])[None]
            return line.apply(torch.from_numpy(waveform)[None], {"law": law})[0].numpy()

        conditions["telephone"] = telephoned
    return conditions


@torch.inference_mode()
def weigh(
    network: FusionNetwork, waveforms: Iterable[np.ndarray], conditions: Mapping[str, Condition]
) -> dict[str, BranchWeights]:
    """The weights of a network in evaluation mode over utterances `(samples,)`, by condition, of which the first is
    clean.

    Raises:
        InputError: if it is no fusion, or one that weighs no branches.
    """
    if not hasattr(network, "fusion"):
        raise InputError(f"there are no branches to weigh: {type(network.encoder).__name__} is a network of its own")
    weights: dict[str, list[Tensor]] = {name: [] for name in conditions}
    embeddings: dict[str, list[list[Tensor]]] = {name: [] for name in conditions}
    for number, waveform in enumerate(waveforms):
        for name, change in conditions.items():
            audio = torch.from_numpy(change(waveform, number))[None]  # (1, samples)
            parts = [branch(audio) for branch in network.branches.values()]  # (1, dim) each
            try:
                weights[name].append(network.fusion.weights(parts)[0])  # (branches[, embed_dim])
            except ValueError as error:
                raise InputError(f"there are no weights to draw: {error}") from error
            embeddings[name].append([*parts, network.fuse(parts)])
    by_network = {name: [torch.cat(column) for column in zip(*rows, strict=True)] for name, rows in embeddings.items()}
    clean = next(iter(by_network.values()))
    return {name: _gathered(weights[name], by_network[name], clean) for name in conditions}


def _gathered(weights: list[Tensor], embeddings: list[Tensor], clean: list[Tensor]) -> BranchWeights:
    """Of one condition: weights of each utterance, and `(utterances, dim)` of each branch and of the fusion."""
    every = torch.stack(weights).numpy()  # (utterances, branches[, embed_dim])
    by_dimension = None if every.ndim == 2 else every.mean(axis=0)
    means = every if every.ndim == 2 else every.mean(axis=2)
    cosines = []
    for one, other in zip(embeddings, clean, strict=True):
        centre = other.mean(dim=0) if len(other) > 1 else torch.zeros(())  # of one utterance nothing would be left
        cosines.append(F.cosine_similarity(one - centre, other - centre))
    return BranchWeights(means, by_dimension, torch.stack(cosines, dim=1).numpy())
