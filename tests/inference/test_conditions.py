"""Which trials belong to which condition."""

from pathlib import Path

import numpy as np
import pytest

from speakerlab.data.trial_speakers import speakers_by_targets
from speakerlab.data.trials import Trials
from speakerlab.inference.conditions import results_by_condition

# Two women and two men, each with two utterances in session 1 and two in session 2.
NAMES = [f"{speaker}/{session}/{i}.wav" for speaker in "abcd" for session in (1, 2) for i in (1, 2)]


@pytest.fixture
def found(tmp_path):
    files = [tmp_path / name for name in NAMES]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "speakers.csv").write_text("speaker,gender\na,f\nb,f\nc,m\nd,m\n")
    enrol, test = np.triu_indices(len(NAMES), k=1)
    enrol[::2], test[::2] = test[::2], enrol[::2].copy()  # either side comes first
    speakers = np.array([name[0] for name in NAMES])
    labels = (speakers[enrol] == speakers[test]).astype(np.int8)
    lines = np.arange(1, len(labels) + 1, dtype=np.int32)
    trials = Trials(labels, enrol.astype(np.int32), test.astype(np.int32), NAMES, lines, "")
    seconds = np.linspace(1.0, 8.5, len(NAMES))

    def run(seconds: np.ndarray = seconds, files: list[Path] = files):
        numbers = speakers_by_targets(trials)
        scores = np.random.default_rng(0).normal(size=len(trials)) + trials.labels
        return results_by_condition(trials, scores, numbers, seconds, files, [], 0.5, 0)

    return run


def test_parts_by_hand(found):
    results = found()
    gender = {name: (one.targets, one.nontargets) for name, one in results["gender"].items()}
    # Each speaker has 6 pairs, of which 2 within a session; two speakers have 16 pairs between them.
    assert gender == {"female": (12, 16), "male": (12, 16), "one of each": (0, 64)}
    assert results["gender"]["one of each"].eer is None
    sessions = {name: (one.targets, one.nontargets) for name, one in results["session (targets)"].items()}
    assert sessions == {"the same": (8, 96), "different": (16, 96)}
    durations = results["duration (shorter side)"]
    assert sum(one.targets for one in durations.values()) == 24
    assert list(results) == ["duration (shorter side)", "gender", "session (targets)"]


def test_what_is_unknown_is_left_out(found):
    flat = [Path("/nowhere/a.wav")] * len(NAMES)
    assert found(np.full(len(NAMES), 3.0), flat) == {}
