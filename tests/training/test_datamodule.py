"""What training processes see of an epoch, recorded by them: real runs, killed, resumed, and of two processes."""

import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from processes import ROOT, run_forked, run_new

sys.path.insert(0, str(ROOT / "benchmarks"))
from exactly_once import TWO, Recorder, counts, trained_on

EPOCHS = 2
RECORD = [
    f"+callbacks.recorder={{_target_: {Recorder.__module__}.Recorder}}",
    f"trust=[{Recorder.__module__}.Recorder]",
]
# sampler -> what makes its epochs of 24 utterances short: 6 speakers with 4 utterances of 1 s
SETTINGS = {
    "random": ["sampler.batch_size=4"],
    "speaker_balanced": ["sampler.batch_size=4"],
    "length_bucketed": ["sampler.max_seconds=5.5", "loader.crop_seconds=null"],
    "speakers_x_utterances": ["sampler.speakers_per_batch=4"],
    "hard_speakers": ["sampler.anchors=2", "sampler.similar=2"],
}


@pytest.fixture
def training(folders, tiny):
    """Arguments of a run that writes a checkpoint at every step."""

    def make(sampler: str) -> list[str]:
        return [
            *folders.overrides(),
            *(word for word in tiny if not word.startswith("sampler.")),
            f"sampler={sampler}",
            *SETTINGS[sampler],
            "name=tiny",
            f"trainer.max_epochs={EPOCHS}",
            "callbacks.verification.every_n_epochs=0",
            "callbacks.checkpoints.every_minutes=0.000001",
            *RECORD,
        ]

    return make


def seen(cwd: Path, processes: int = 1) -> tuple[list[list[dict]], int]:
    """Each rank's batches that the final weights have seen, and how many were lost with a killed process."""
    (run,) = cwd.glob("outputs/tiny/*/")
    found = [trained_on(run / f"seen_{rank}.jsonl") for rank in range(processes)]
    return [batches for batches, _ in found], sum(lost for _, lost in found)


def assert_as_promised(sampler: str, ranks: list[list[dict]]) -> None:
    for epoch in range(EPOCHS):
        if sampler == "speaker_balanced":  # and over the epochs, each utterance as often: 4 visits, 4 utterances
            assert counts(ranks, epoch, "speaker") == dict.fromkeys(range(6), 4)
        assert counts(ranks, epoch, "utterance") == Counter(range(24))


@pytest.mark.parametrize("sampler", ["random", "speaker_balanced", "length_bucketed"])
def test_a_killed_and_resumed_run_sees_each_utterance_once(tmp_path, training, sampler):
    killed = run_forked("train.py", *training(sampler), cwd=tmp_path, kill=("last.ckpt", 9))
    assert killed.rc == -9, killed.stderr
    done = run_forked("train.py", *training(sampler), "ckpt=last", cwd=tmp_path)
    assert done.rc == 0 and "continuing" in done.stdout, done.stderr
    ranks, lost = seen(tmp_path)
    # The ninth checkpoint was not to be: the recorder may have been told of that step before or after.
    assert lost <= 1
    assert_as_promised(sampler, ranks)


def test_hard_speakers_survive_a_kill(tmp_path, training):
    """The same batches as without one: the neighbours are in the checkpoint."""
    training = training("hard_speakers")
    assert run_forked("train.py", *training, cwd=tmp_path / "whole").rc == 0
    # Six batches an epoch: in the second, whose neighbours are those of the end of the first.
    assert run_forked("train.py", *training, cwd=tmp_path / "killed", kill=("last.ckpt", 9)).rc == -9
    (left,) = (tmp_path / "killed").glob("outputs/tiny/*/checkpoints/last.ckpt")
    state = torch.load(left, weights_only=True)["SpeakerDataModule"]
    assert state["neighbours"].shape == (6, 2) and (state["epoch"], state["batches"]) == (1, 2)
    assert run_forked("train.py", *training, "ckpt=last", cwd=tmp_path / "killed").rc == 0
    (whole,), _ = seen(tmp_path / "whole")
    (resumed,), _ = seen(tmp_path / "killed")
    assert resumed == whole and len(whole) == 6 * EPOCHS
    for batch in whole[6:]:
        anchor, other, *_ = batch["speaker"]
        assert other == state["neighbours"][anchor, 0]


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["random", "speaker_balanced", "length_bucketed"])
def test_two_processes_see_each_utterance_once(tmp_path, training, sampler, monkeypatch):
    ranks = trained_by_two(training(sampler), tmp_path, monkeypatch)
    assert_as_promised(sampler, ranks)


@pytest.mark.slow
def test_two_processes_each_get_whole_groups_of_a_speaker(tmp_path, training, monkeypatch):
    ranks = trained_by_two(training("speakers_x_utterances"), tmp_path, monkeypatch)
    for first, second in zip(*ranks, strict=True):
        assert not set(first["speaker"]) & set(second["speaker"])
        for batch in (first, second):
            assert batch["speaker"][::2] == batch["speaker"][1::2] and len(set(batch["utterance"])) == 4


@pytest.mark.slow
def test_two_processes_know_the_same_neighbours(tmp_path, training, monkeypatch):
    """On the embedded corpus, whose 80 speakers fill batches for two."""
    more = ["data=mini", "sampler.anchors=4", "sampler.similar=8", "sampler.utterances_per_speaker=2"]
    arguments = [word for word in training("hard_speakers") if not word.startswith("data")]
    ranks = trained_by_two([*arguments, *more], tmp_path, monkeypatch)
    (checkpoint,) = tmp_path.glob("outputs/tiny/*/checkpoints/last.ckpt")
    neighbours = torch.load(checkpoint, weights_only=True)["SpeakerDataModule"]["neighbours"]
    assert neighbours.shape == (80, 14)
    for first, second in zip(*ranks, strict=True):
        speakers = first["speaker"][::2] + second["speaker"][::2]
        assert len(set(speakers)) == 32  # were the lists not the same, some would be on both


def trained_by_two(arguments: list[str], cwd: Path, monkeypatch) -> list[list[dict]]:
    """What the two processes of a real run trained on."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT / "benchmarks"))
    done = run_new("train.py", *arguments, *TWO, "trainer.precision=32-true", cwd=cwd)
    assert done.rc == 0, done.stderr
    ranks, lost = seen(cwd, 2)
    assert len(ranks[0]) == len(ranks[1]) and lost == 0
    return ranks


def test_too_small_a_corpus_stops_before_a_run_has_a_folder(tmp_path, training):
    done = run_forked("train.py", *training("speakers_x_utterances"), "sampler.speakers_per_batch=7", cwd=tmp_path)
    assert done.rc == 1 and done.stderr.count("\n") == 1
    assert "error: sampler.speakers_per_batch=7: there are only 6 speakers" in done.stderr
    assert not (tmp_path / "outputs").exists()
