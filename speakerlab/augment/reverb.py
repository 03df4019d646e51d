"""Reverberation by measured or simulated room impulse responses.

Ko et al.: "A study on data augmentation of reverberant speech for robust speech recognition", ICASSP 2017.
"""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from speakerlab.augment.clips import Reader, check_clips
from speakerlab.augment.filtering import convolve
from speakerlab.augment.level import match_level
from speakerlab.augment.probability import check_probability
from speakerlab.augment.shoebox import ShoeboxRooms

# Kept before the direct path: its rise in a band-limited recording, without which the response would be coloured.
LEAD_SECONDS = 0.001
# The largest sample is a reflection in some measured rooms, up to 25 ms late; the first half as large is the sound.
DIRECT_SHARE = 0.5


def align_response(response: np.ndarray, taps: int, lead: int) -> np.ndarray:
    """A response of `taps` samples whose direct path is at sample `lead` and whose largest magnitude was 1.

    The direct path is the first sample within 6 dB of the largest. Silence is no room: it becomes the unit impulse,
    which changes nothing.

    Args:
        response: `(samples,)`, of any length and level, empty too.

    Returns:
        `(taps,)` float32, cut or padded with zeros at either end.

    >>> align_response(np.array([0.0, 0.1, -0.5, 0.2]), taps=4, lead=1)
    array([ 0.2, -1. ,  0.4,  0. ], dtype=float32)
    """
    aligned = np.zeros(taps, np.float32)
    magnitude = np.abs(response)
    peak = magnitude.max(initial=0.0)
    if peak == 0.0:
        aligned[lead] = 1.0
        return aligned
    direct = int((magnitude >= DIRECT_SHARE * peak).argmax())
    before = min(direct, lead)
    kept = response[direct - before : direct - lead + taps]
    aligned[lead - before : lead - before + len(kept)] = kept / peak
    return aligned


def reverberate(speech: Tensor, response: Tensor, lead: int) -> Tensor:
    """Linear convolution of each item with its own response, aligned with the input and at the input's RMS.

    Sample `lead` of the response is time 0 and what rings on beyond the input's end is cut, so the output is as long as
    the input and not delayed.

    Args:
        speech: `(batch, samples)`.
        response: `(batch, taps)`.
        lead: samples of the response before its direct path.

    Returns:
        `(batch, samples)` float32.
    """
    with torch.autocast(speech.device.type, enabled=False):
        speech = speech.float()
        return match_level(convolve(speech, response.float(), lead), speech)


class Reverb:
    """Puts an item into a random room, every response with equal chance.

    The responses are those of a folder, or, without one, of simulated rooms (see `shoebox`). They are taken whole, cut
    1 ms before their direct path, a delay that is taken back, and cut or padded to `seconds`. The output has the
    input's RMS exactly, so it may exceed its peak.

    A file should hold one microphone's response: `read` averages channels, which combs the two ears of a binaural one.

    Args:
        folder: where the clips come from, for messages; None simulates.
        clips: (path, samples, sample rate) of each response, as their headers say.
        read: decodes part of a file; see `clips.Reader`.
        probability: chance that an item gets a room.
        seconds: length of every response; the reverberation that is later is cut.
        rooms: number of simulated rooms.
        rt60_seconds: shortest and longest reverberation time of a simulated room.
        sample_rate: of the training audio and of what `read` gives, in hertz.

    Raises:
        ValueError: for a folder without clips, a range or a probability that is none, or if `seconds` is not longer
            than the lead.
    """

    def __init__(
        self,
        folder: str | None = None,
        clips: Sequence[tuple[str, int, int]] = (),
        read: Reader | None = None,
        probability: float = 1.0,
        seconds: float = 1.0,
        rooms: int = 500,
        rt60_seconds: Sequence[float] = (0.2, 0.8),
        sample_rate: int = 16000,
    ):
        if not LEAD_SECONDS < seconds < float("inf"):
            raise ValueError(f"seconds={seconds} must be finite and more than {LEAD_SECONDS}")
        self.clips = () if folder is None else check_clips(folder, clips)
        self.read = read
        self.rooms = ShoeboxRooms(rooms, rt60_seconds, seconds, sample_rate)
        self.probability = check_probability(probability)
        self.lead = round(LEAD_SECONDS * sample_rate)
        self.taps = max(round(seconds * sample_rate), self.lead + 1)

    def draw(self, generator: np.random.Generator, samples: int) -> dict[str, np.ndarray]:
        """One item's `response` `(taps,)`, whatever `samples`."""
        chance, which = generator.random(2)
        if chance >= self.probability:
            return self.neutral(samples)
        if self.clips:
            clip = self.clips[int(which * len(self.clips))]
            response = self.read(clip.path, 0, clip.samples)
        else:
            response = self.rooms.response(int(which * len(self.rooms)))
        return {"response": align_response(response, self.taps, self.lead)}

    def neutral(self, samples: int) -> dict[str, np.ndarray]:
        """What an item that is spared gets: the unit impulse."""
        return {"response": align_response(np.zeros(0, np.float32), self.taps, self.lead)}

    def apply(self, x: Tensor, drawn: dict[str, Tensor]) -> Tensor:
        """`(batch, samples)` with `response` `(batch, taps)` `-> (batch, samples)`."""
        return reverberate(x, drawn["response"], self.lead)
