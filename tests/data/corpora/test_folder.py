import csv

import numpy as np
import pytest
import soundfile

from speakerlab import InputError
from speakerlab.data.corpora.folder import FolderCorpus
from speakerlab.data.manifest import files_of


def add(root, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(root / name, np.zeros(4000), 8000)


@pytest.fixture
def root(tmp_path):
    """Six speakers with three files of half a second each."""
    add(tmp_path / "train", *(f"s{speaker}/{session}/1.wav" for speaker in range(6) for session in "xyz"))
    return tmp_path / "train"


@pytest.fixture
def corpus(tmp_path, root):
    """Makes the corpus, with these settings unless others are given."""

    def make(**settings) -> FolderCorpus:
        defaults = {
            "root": str(root),
            "trials": None,
            "trials_root": None,
            "n_speakers": None,
            "split": None,
            "split_by": "session",
            "heldout_speakers": 2,
            "heldout_trials": 8,
            "allow_overlap": False,
            "min_seconds": 0.1,
            "stereo": "quarantine",
            "max_bad_share": 0.0,
            "task": "verification",
            "seed": 1,
            "cache_dir": str(tmp_path / "cache"),
        }
        return FolderCorpus(**(defaults | settings))

    return make


def test_drawn_trials_are_over_held_out_speakers(corpus, root):
    loaded = corpus().load()
    speakers = set(loaded.train["speaker"].to_pylist())
    held_out = {name.split("/")[0] for name in loaded.trials.utterances}
    assert len(speakers) == 4 and len(held_out) == 2 and not speakers & held_out
    assert loaded.train.num_rows == 12
    assert loaded.development == [root / name for name in loaded.trials.utterances]
    assert all(file.is_file() for file in loaded.development)
    assert loaded.trials.labels.tolist().count(1) == 4 == loaded.trials.labels.tolist().count(0)
    for label, enrol, test in zip(loaded.trials.labels, loaded.trials.enrol, loaded.trials.test, strict=True):
        first, second = (loaded.trials.utterances[i].split("/")[0] for i in (enrol, test))
        assert label == (first == second)
    assert (
        loaded.notes[0].startswith("train: 18 utterances of 6 speakers") and loaded.notes[1] == "8 development trials"
    )


def spoil(path) -> None:
    """Write samples that are no numbers: the header alone is as good as any."""
    soundfile.write(path, np.full(4000, np.nan), 8000, subtype="FLOAT")


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"split": {"train": 0.5, "val": 0.5}, "split_by": "speaker"},
        {"split": {"train": 0.4, "val": 0.3, "test": 0.3}, "task": "identification"},
    ],
)
def test_nobody_is_judged_by_files_that_cant_be_decoded(corpus, root, tmp_path, settings):
    settings |= {"max_bad_share": 0.2}
    whole = corpus(**settings).load()
    files = whole.development or files_of(whole.validation, np.arange(len(whole.validation)))
    spoil(files[0])
    loaded = corpus(**settings).load()
    now = loaded.development or files_of(loaded.validation, np.arange(len(loaded.validation)))
    assert files[0] not in now and now
    assert loaded.notes[0].startswith("train: 18 utterances of 6 speakers")  # as the headers say
    assert any(
        note.startswith("left out 1 file that can't be decoded, to be judged by others") for note in loaded.notes
    )
    with open(tmp_path / "cache/manifests/undecodable.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["path"], row["reason"]) == (str(files[0]), "NaN")


def test_too_many_of_them_stop_the_run(corpus, root):
    spoil(corpus().load().development[0])
    with pytest.raises(
        InputError, match=r"1 of 18 audio files \(5\.6 %\) can't be used, more than data\.max_bad_share=0"
    ):
        corpus().load()


def test_the_seed_draws(corpus):
    assert corpus().load().trials.utterances == corpus().load().trials.utterances
    assert len({frozenset(corpus(seed=seed).load().train["speaker"].to_pylist()) for seed in range(6)}) > 1


@pytest.mark.parametrize("given_root", [True, False])
def test_listed_trials_use_all_speakers_for_training(corpus, tmp_path, given_root):
    add(tmp_path / "dev", "p/1.wav", "p/2.flac", "q/1.wav")
    path = (tmp_path if given_root else tmp_path / "dev") / "list.txt"
    path.write_text("1 p/1.wav p/2.wav\n0 q/1.wav p/1.wav\n")
    loaded = corpus(trials=str(path), trials_root=str(tmp_path / "dev") if given_root else None).load()
    assert loaded.train.num_rows == 18
    assert loaded.trials.utterances == ["p/1.wav", "p/2.wav", "q/1.wav"]
    assert loaded.development == [tmp_path / "dev" / name for name in ("p/1.wav", "p/2.flac", "q/1.wav")]


def test_several_roots(corpus, tmp_path, root):
    add(tmp_path / "more", "t0/1.wav", "t0/2.wav")
    add(tmp_path / "dev1", "p/1.wav")
    add(tmp_path / "dev2", "q/1.wav")
    (tmp_path / "list.txt").write_text("0 p/1.wav q/1.wav\n1 q/1.wav q/1.wav\n")
    loaded = corpus(
        root=[str(root), str(tmp_path / "more")],
        trials=str(tmp_path / "list.txt"),
        trials_root=[str(tmp_path / "dev1"), str(tmp_path / "dev2")],
    ).load()
    assert len(set(loaded.train["speaker"].to_pylist())) == 7
    assert loaded.development == [tmp_path / "dev1" / "p/1.wav", tmp_path / "dev2" / "q/1.wav"]


def test_trials_over_training_speakers_are_refused(corpus, tmp_path, root):
    add(tmp_path / "train", "s0/extra/9.wav")  # not that recording, but that speaker
    (tmp_path / "list.txt").write_text("1 s0/x/1.wav s0/extra/9.wav\n")
    with pytest.raises(InputError, match="2 of 2 development utterances belong to training speakers"):
        corpus(trials=str(tmp_path / "list.txt"), trials_root=str(root)).load()


def test_overlap_may_be_forced(corpus, tmp_path, root):
    (tmp_path / "list.txt").write_text("1 s0/x/1.wav s0/y/1.wav\n0 s0/x/1.wav s1/x/1.wav\n")
    given = {"trials": str(tmp_path / "list.txt"), "trials_root": str(root)}
    loaded = corpus(**given, allow_overlap=True).load()
    assert len(loaded.trials) == 2
    assert loaded.notes[-1].startswith("3 of 3 development utterances belong to training speakers, for example ")


def test_an_official_list_over_other_copies_of_the_training_speakers(corpus, tmp_path):
    """Found by its name, and refused by VoxCeleb1's names, whatever folder the audio is in."""
    for folder in ("train", "vox1/wav"):
        add(tmp_path / folder, "id10001/v/1.wav", "id10002/v/1.wav")
    add(tmp_path / "vox1/wav", "id10270/v/1.wav")
    (tmp_path / "vox1/trials").mkdir()
    lines = ["1 id10270/v/1.wav id10270/v/1.wav\n", "0 id10001/v/1.wav id10270/v/1.wav\n"]
    (tmp_path / "vox1/trials/veri_test2.txt").write_text("".join(lines[i % 2] for i in range(37611)))
    given = {"trials": "vox1_o_cleaned", "trials_root": [str(tmp_path / "vox1"), str(tmp_path / "vox1/wav")]}
    with pytest.raises(InputError, match="veri_test2.txt: 1 of its speakers are trained on, such as id10001"):
        corpus(**given).load()
    loaded = corpus(**given, allow_overlap=True).load()
    assert len(loaded.trials) == 37611 and loaded.notes[-1].endswith("the EER flatters the model")


def test_missing_audio_is_named_with_its_line(corpus, tmp_path):
    add(tmp_path / "dev", "p/1.wav")
    (tmp_path / "dev" / "list.txt").write_text("1 p/1.wav p/1.wav\n0 p/1.wav q/7.wav\n")
    with pytest.raises(InputError, match=r"1 of 2 utterances have no file .*q/7\.wav \(line 2\)"):
        corpus(trials=str(tmp_path / "dev" / "list.txt")).load()


@pytest.mark.parametrize("count", [1, 5])
def test_too_few_speakers_on_a_side_are_refused(corpus, count):
    with pytest.raises(InputError, match=f"heldout_speakers={count} must leave at least 2 of 6"):
        corpus(heldout_speakers=count).load()


def test_a_closed_set_split(corpus):
    loaded = corpus(task="identification", split={"train": 0.4, "val": 0.3, "test": 0.3}).load()
    assert loaded.trials is None
    for part in (loaded.train, loaded.validation, loaded.test):
        assert sorted(part["speaker"].to_pylist()) == [f"s{i}" for i in range(6)]
    assert loaded.notes[1] == "identification of 6 speakers; utterances: train 6, val 6, test 6"


def test_a_split_by_speaker(corpus):
    loaded = corpus(split={"train": 0.34, "val": 0.33, "test": 0.33}, split_by="speaker").load()
    assert len(set(loaded.train["speaker"].to_pylist())) == 2
    assert len(loaded.trials) == len(loaded.test_trials) == 8
    assert len({name.split("/")[0] for name in (*loaded.trials.utterances, *loaded.test_trials.utterances)}) == 4
    assert all(file.is_file() for file in (*loaded.development, *loaded.test_files))


def test_the_first_speakers(corpus):
    loaded = corpus(n_speakers=4).load()
    assert {*loaded.train["speaker"].to_pylist()} | {name[:2] for name in loaded.trials.utterances} == {
        "s0",
        "s1",
        "s2",
        "s3",
    }


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"task": "identification"}, "task=identification .* add 'data.split="),
        ({"split": {"train": 0.5, "val": 0.5}}, "judged on speakers that are not trained on"),
        ({"split": {"train": 0.5, "val": 0.5}, "split_by": "speaker", "trials": "x.txt"}, "give one of them"),
        ({"trials_root": "x"}, "data.trials_root is given without data.trials"),
    ],
)
def test_wrong_combinations_stop_before_the_scan(corpus, tmp_path, settings, message):
    with pytest.raises(InputError, match=message):
        corpus(**settings)
    assert not (tmp_path / "cache").exists()
