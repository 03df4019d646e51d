"""Speakers who each hum one tone, and a network and loss that tell tones apart: what they must answer is known."""

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import soundfile
import torch
from torch import nn

from speakerlab.data.manifest import as_manifest
from speakerlab.losses.aam import AamSoftmax

HERTZ = (200, 300, 400, 500, 600, 700, 800)
SPEAKERS = [f"s{i}" for i in range(len(HERTZ))]


def write_tones(root: Path, tones: list[tuple[str, int]]) -> pa.Table:
    """A manifest of files in which a speaker hums the tone with a number in `HERTZ`, of different lengths."""
    names = [f"{speaker}/x/{i}.flac" for i, (speaker, _) in enumerate(tones)]
    samples = [6000 + 500 * i for i in range(len(tones))]
    for name, (_, tone), count in zip(names, tones, samples, strict=True):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        wave = 0.3 * np.cos(2 * np.pi * HERTZ[tone] * np.arange(count) / 16000)
        soundfile.write(root / name, wave, 16000)
    size = len(tones)
    columns = {"utterance": names, "path": names, "speaker": [speaker for speaker, _ in tones], "samples": samples}
    columns |= {"session": ["x"] * size, "root": [str(root)] * size, "first_sample": [0] * size}
    columns |= {"sample_rate": [16000] * size, "split": ["test"] * size, "gender": [""] * size}
    return as_manifest(pa.table({name: pa.array(cells) for name, cells in columns.items()}), "tones")


class ToneNetwork(nn.Module):
    """`(batch, samples)`, lengths `-> (batch, tones)`: how much of each tone is in a waveform."""

    embed_dim = len(HERTZ)

    def forward(self, waveform: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        time = torch.arange(waveform.shape[1]) / 16000
        waves = torch.stack([torch.cos(2 * math.pi * hertz * time) for hertz in HERTZ])
        return waveform @ waves.T / lengths[:, None] + 1e-4


def tone_loss(voices: int = 1) -> AamSoftmax:
    """Class i is tone i, for each voice that speed perturbation makes; further voices fit better than the own."""
    loss = AamSoftmax(len(HERTZ), voices * len(HERTZ))
    with torch.no_grad():
        own = torch.eye(len(HERTZ)) + 0.1
        loss.classifier.weight.copy_(torch.cat([own, *[torch.eye(len(HERTZ)).roll(1, 0)] * (voices - 1)]))
    return loss
