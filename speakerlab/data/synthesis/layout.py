"""Who is in the corpus `mini`, where their files lie, and its trials; `mini.py` tells the whole."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class MiniLayout:
    """How much to make; `seed` chooses the people and all they say.

    Raises:
        ValueError: where a count is too small for trials across sessions and within a gender.
    """

    train_speakers: int = 80
    test_speakers: int = 24
    sessions: int = 3
    utterances: int = 4
    seed: int = 2

    def __post_init__(self):
        least = {"train_speakers": 1, "test_speakers": 4, "sessions": 2, "utterances": 1, "seed": 0}
        for name, minimum in least.items():
            if getattr(self, name) < minimum:
                raise ValueError(f"{name}={getattr(self, name)} must be at least {minimum}")

    @property
    def speakers(self) -> range:
        """All speakers' numbers, from 1; those to train on come first."""
        return range(1, self.train_speakers + self.test_speakers + 1)

    @property
    def files_per_speaker(self) -> int:
        return self.sessions * self.utterances

    def split(self, speaker: int) -> str:
        return "dev" if speaker <= self.train_speakers else "test"

    def file(self, speaker: int, session: int, utterance: int) -> str:
        """For instance `dev/id00001/session1/00001.flac`; sessions and utterances count from 1."""
        return f"{self.split(speaker)}/{speaker_name(speaker)}/session{session}/{utterance:05d}.flac"

    def files(self, speaker: int) -> list[tuple[int, int]]:
        """A speaker's (session, utterance) in order."""
        return [(s, u) for s in range(1, self.sessions + 1) for u in range(1, self.utterances + 1)]


DEFAULT_LAYOUT = MiniLayout()


def speaker_name(speaker: int) -> str:
    return f"id{speaker:05d}"


def speaker_gender(speaker: int) -> str:
    """Women and men take turns: "f" for 1, "m" for 2."""
    return "mf"[speaker % 2]


def draw_trials(layout: MiniLayout) -> list[tuple[int, str, str]]:
    """`(label, enrol, test)` in random order: all cross-session pairs of a test speaker, and as many non-targets.

    Non-targets are two speakers of one gender: across genders the pitch alone would decide.
    """
    rng = np.random.default_rng([layout.seed, 0, 0, 0])
    files = [
        (speaker, session, layout.file(speaker, session, utterance))
        for speaker in layout.speakers
        if layout.split(speaker) == "test"
        for session, utterance in layout.files(speaker)
    ]
    pairs = [(a, b) for i, a in enumerate(files) for b in files[i + 1 :]]
    targets = [(1, a[2], b[2]) for a, b in pairs if a[0] == b[0] and a[1] != b[1]]
    others = [(0, a[2], b[2]) for a, b in pairs if a[0] != b[0] and speaker_gender(a[0]) == speaker_gender(b[0])]
    chosen = rng.choice(len(others), size=min(len(targets), len(others)), replace=False)
    trials = targets + [others[index] for index in chosen]
    return [trials[index] for index in rng.permutation(len(trials))]
