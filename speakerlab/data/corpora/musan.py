"""MUSAN: music, noise and speech to add to recordings (Snyder, Chen and Povey, 2015).

    musan/noise/free-sound/noise-free-sound-0000.wav

Its kind is the split; nobody in it is a speaker to train on.
"""

from pathlib import Path

from speakerlab.data.prepare.described import Recording, Speaker, stem_of

LAYOUT = "musan/[music|noise|speech]/COLLECTION/FILE.wav"
AUGMENT = {"augment.noise_dir": "noise", "augment.music_dir": "music", "augment.babble_dir": "speech"}


def describe(path: str) -> Recording | None:
    """The columns that a path tells.

    >>> describe("musan/music/fma/music-fma-0000.wav")[:4]
    ('music-fma-0000', '', 'fma', 'music')
    """
    *_, kind, collection, _ = ["", "", *path.split("/")]
    return Recording(stem_of(path), "", collection, kind) if kind in AUGMENT.values() else None


def read_speakers(folder: Path) -> dict[str, Speaker]:
    """None."""
    return {}
