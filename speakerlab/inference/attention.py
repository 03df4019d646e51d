"""Which frames of an utterance a trained network's pooling listens to."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from speakerlab import InputError
from speakerlab.features.mel_spectrogram import MelSpectrogram
from speakerlab.features.pipeline import fixed_frames
from speakerlab.network import FusionNetwork, SpeakerNetwork


@dataclass(frozen=True, eq=False)
class Attention:
    """Attention over one utterance, or over the part of it that a network with a fixed number of frames takes.

    Attributes:
        weights: `(weightings, frames)`, each summing to one; the pooling's frames may be longer than the features'.
        spectrogram: `(frames, bands)` log-mel, in dB, of the same stretch of time.
        seconds: how long that is.
    """

    weights: np.ndarray
    spectrogram: np.ndarray
    seconds: float

    @property
    def relative(self) -> np.ndarray:
        """The weights as multiples of those of an average over time, `(weightings, frames)`."""
        return self.weights * self.weights.shape[1]


def attentive_branch(network: SpeakerNetwork | FusionNetwork, name: str | None = None) -> SpeakerNetwork:
    """The branch whose pooling weighs frames; a network that is one is its own.

    Args:
        network: any.
        name: of the branch; None is the first that weighs frames.

    Raises:
        InputError: if there is none, or none of this name.
    """
    branches = dict(network.branches.items())
    if name is not None and name not in branches:
        known = ", ".join(branch for branch in branches if branch)
        raise InputError(f"there is no branch {name}: " + (f"there are {known}" if known else "this is no fusion"))
    faults = []
    for branch in branches.values() if name is None else [branches[name]]:
        try:
            attentive_pooling(branch)
            return branch
        except InputError as error:
            faults.append(error)
    raise faults[0]


def attentive_pooling(network: SpeakerNetwork) -> nn.Module:
    """The part of the network that weighs frames; see `speakerlab.encoders.pooling`.

    Raises:
        InputError: if it has none.
    """
    for module in network.encoder.modules():
        # Of its class: a network may have a submodule of this name that does something else.
        if hasattr(module, "out_dim") and callable(getattr(type(module), "attention", None)):
            return module
    name, pooling = type(network.encoder).__name__, getattr(network.encoder, "pooling", None)
    if pooling is None:
        raise InputError(f"there is no attention to draw: {name} has no pooling over time")
    raise InputError(
        f"there is no attention to draw: {name} pools by {type(pooling).__name__}, which weighs no frames; "
        "train it with pooling=attentive_statistics or the like"
    )


@torch.inference_mode()
def attend(network: SpeakerNetwork, waveform: np.ndarray, sample_rate: int) -> Attention:
    """The attention of a network in evaluation mode over one utterance, `(samples,)`, as it is when it is embedded.

    Raises:
        InputError: if the network weighs no frames.
    """
    pooling, seen = attentive_pooling(network), []
    handle = pooling.register_forward_pre_hook(lambda _, arguments: seen.append(arguments))
    audio = torch.from_numpy(waveform)[None]  # (1, samples)
    try:
        network(audio.to(next(network.parameters()).device))
    finally:
        handle.remove()
    weights = pooling.attention(*seen[0])[0]  # (weightings, frames)
    mel = MelSpectrogram(num_mels=64, sample_rate=sample_rate)
    picture, _ = mel(audio)  # (1, frames, bands)
    pipeline = network.features
    if pipeline.target_frames is not None:
        picture = fixed_frames(picture, None, pipeline.target_frames, pipeline.pad)
    seconds = picture.shape[1] * mel.framing.shift / sample_rate
    return Attention(weights.cpu().numpy(), picture[0].numpy(), seconds)
