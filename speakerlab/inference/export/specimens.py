"""The recordings that an export is checked on."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from speakerlab import InputError
from speakerlab.data.audio import play, read_audio
from speakerlab.data.development import read_development_trials, read_utterances, run_folder
from speakerlab.data.synthesis.channel import draw_channel, record
from speakerlab.data.synthesis.layout import speaker_gender
from speakerlab.data.synthesis.rendering import SAMPLE_RATE
from speakerlab.data.synthesis.speech import speak
from speakerlab.data.synthesis.voice import draw_delivery, draw_voice
from speakerlab.data.tree import list_audio
from speakerlab.data.trials import Trials, only_between
from speakerlab.data.utterances import PartDataset, utterances_of_rows
from speakerlab.data.wav import from_pcm16

MOST = 100  # recordings
MOST_SECONDS = 10.0  # of each, from its start
VOICES, SENTENCES = 6, 2  # that are made where there are no recordings


@dataclass(frozen=True, eq=False)
class Specimens:
    """Recordings, and pairs of them to compare.

    Attributes:
        waveforms: `(samples,)` float32 each, at the model's sample rate.
        origin: what they are, in words.
        pairs: `(pairs, 2)` positions in `waveforms`.
        labels: `(pairs,)` 1 for the same speaker and 0 for others; None where nobody said, or all are of one kind.
    """

    waveforms: list[np.ndarray]
    origin: str
    pairs: np.ndarray
    labels: np.ndarray | None = None


def find_specimens(checkpoint: Path | None, sample_rate: int, audio: Sequence[str] = ()) -> Specimens:
    """The given recordings; else some of the development set of the checkpoint's run, if they are still there; else
    voices that are made.

    Args:
        checkpoint: that is exported; None where it lies in no run.
        sample_rate: of the model, in hertz.
        audio: files and folders.

    Raises:
        InputError: if a given file can't be used, or there is none.
    """
    if audio:
        return _given(audio, sample_rate)
    run = None if checkpoint is None else run_folder(checkpoint)
    try:
        found = None if run is None else _of_run(run, sample_rate)
    except InputError:  # the recordings are gone, or the run was of saved embeddings
        found = None
    return found or _made(sample_rate)


def _given(audio: Sequence[str], sample_rate: int) -> Specimens:
    files: list[Path] = []
    for one in audio:
        path = Path(one).expanduser()
        files += [path / name for name in list_audio(path)["path"].to_pylist()] if path.is_dir() else [path]
    if not files:
        raise InputError(f"--audio {' '.join(audio)}: there is no audio file")
    files = [files[place] for place in _spread(len(files), MOST)]
    waveforms = [_cut(read_audio(file, sample_rate=sample_rate), sample_rate) for file in files]
    return Specimens(waveforms, f"{_count(len(files))} of --audio", _all_pairs(len(files)))


def _of_run(run: Path, sample_rate: int) -> Specimens | None:
    """None where the run was of saved embeddings."""
    if (run / "trials" / "development.txt").is_file():
        trials, files = read_development_trials(run)
        if not files:
            return None
        chosen = _some_utterances(trials, MOST)
        kept = only_between(trials, chosen)
        by_name = dict(zip(trials.utterances, files, strict=True))
        waveforms = [_cut(read_audio(by_name[name], sample_rate=sample_rate), sample_rate) for name in kept.utterances]
        labels = kept.labels if len(np.unique(kept.labels)) == 2 else None
        pairs = np.stack([kept.enrol, kept.test], axis=1)
        return Specimens(waveforms, f"{_count(len(waveforms))} of the run's development trials", pairs, labels)
    utterances = utterances_of_rows(read_utterances(run, "val"))
    rows = _spread(len(utterances), MOST)
    waveforms = [_cut(waveform, sample_rate) for _, waveform in _read(PartDataset(utterances, rows, sample_rate))]
    pairs = _all_pairs(len(rows))
    speakers = np.array(utterances.speakers)[rows]
    labels = (speakers[pairs[:, 0]] == speakers[pairs[:, 1]]).astype(np.int8)
    origin = f"{_count(len(rows))} of the run's validation utterances"
    return Specimens(waveforms, origin, pairs, labels if len(np.unique(labels)) == 2 else None)


def _read(dataset: PartDataset):
    return (dataset[row] for row in range(len(dataset)))


def _some_utterances(trials: Trials, most: int) -> np.ndarray:
    """Which utterances to take, `(utterances,)` bool: of targets and non-targets in turn, until there are so many."""
    kept = np.zeros(len(trials.utterances), bool)
    kinds = [np.flatnonzero(trials.labels == label) for label in (1, 0)]
    spread = [kind[_spread(len(kind), most)] for kind in kinds if len(kind)]
    for turn in range(max(map(len, spread))):
        for kind in spread:
            if turn < len(kind) and kept.sum() <= most - 2:
                kept[[trials.enrol[kind[turn]], trials.test[kind[turn]]]] = True
    return kept


def _made(sample_rate: int) -> Specimens:
    """Synthetic voices, the same each time; too few and too plain to know an error rate by."""
    waveforms = []
    for number in range(VOICES):
        voice = draw_voice(np.random.default_rng([number, 0]), speaker_gender(number))
        for sentence in range(SENTENCES):
            generator = np.random.default_rng([number, 1 + sentence])
            spoken = speak(voice, draw_delivery(generator, generator), generator)
            recording = record(spoken, draw_channel(generator), level_db=0.0, rng=generator)  # (samples,) int16
            waveforms.append(play(from_pcm16(recording), SAMPLE_RATE, sample_rate, 1.0))
    origin = f"{len(waveforms)} sentences of synthetic voices (--audio gives others)"
    return Specimens(waveforms, origin, _all_pairs(len(waveforms)))


def _spread(count: int, most: int) -> np.ndarray:
    """At most so many of so many positions, evenly."""
    return np.unique(np.linspace(0, count - 1, min(count, most)).round().astype(np.int64))


def _all_pairs(count: int) -> np.ndarray:
    return np.array(list(combinations(range(count), 2)), np.int64).reshape(-1, 2)


def _cut(waveform: np.ndarray, sample_rate: int) -> np.ndarray:
    return waveform[: round(MOST_SECONDS * sample_rate)]


def _count(recordings: int) -> str:
    return "1 recording" if recordings == 1 else f"{recordings} recordings"
