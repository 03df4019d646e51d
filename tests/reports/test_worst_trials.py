from pathlib import Path

import numpy as np

from speakerlab.data.trials import Trials
from speakerlab.reports.worst_trials import worst_section, worst_trials

SCORES = np.array([0.9, 0.1, 0.8, 0.3, 0.95, 0.2])
LABELS = np.array([0, 1, 0, 1, 1, 0])


def test_the_worst_come_first():
    accepts, rejects = worst_trials(SCORES, LABELS, threshold=0.5)
    assert (accepts.tolist(), rejects.tolist()) == ([0, 2], [1, 3])
    accepts, rejects = worst_trials(SCORES, LABELS, threshold=0.2, most=1)
    assert (accepts.tolist(), rejects.tolist()) == ([0], [1])
    accepts, rejects = worst_trials(SCORES, 1 - LABELS, threshold=0.96)
    assert len(accepts) == 0 and len(rejects) == 3


def test_players_are_of_files_that_exist(tmp_path):
    there = tmp_path / "a b#.wav"
    there.touch()
    trials = Trials(LABELS[:1], np.array([0]), np.array([1]), ["a <b>", "c"], np.array([7]), "list")
    files = [there, Path(tmp_path, "gone.wav")]
    html = worst_section("Worst", "none", trials, SCORES[:1], np.array([0]), files)
    assert html.count("<audio") == 1 and 'preload="none"' in html
    assert f'src="file://{tmp_path}/a%20b%23.wav"' in html
    assert "a &lt;b&gt;" in html and "0.9000" in html and "line 7" in html
    assert "<audio" not in worst_section("Worst", "none", trials, SCORES[:1], np.array([0]), [])
    assert "<p>none at all</p>" in worst_section("W", "none at all", trials, SCORES, np.array([], int), files)
