"""Saved embeddings as a corpus: what is trained on, and what judges."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from speakerlab import InputError
from speakerlab.data.corpora.embeddings import EmbeddingsCorpus
from speakerlab.data.corpus import Corpus
from speakerlab.data.development import write_development_trials
from speakerlab.data.embedding_files.embeddings import checked
from speakerlab.data.embedding_files.formats import write_embeddings
from speakerlab.data.splits import part_of
from speakerlab.data.trials import read_trials

SPEAKERS, EACH = 8, 6
NAMES = [f"s{i}/{j}.wav" for i in range(SPEAKERS) for j in range(EACH)]
WHO = [name.split("/")[0] for name in NAMES]
OPEN = ["train" if who < "s4" else "val" if who < "s6" else "test" for who in WHO]
CLOSED = [("train", "train", "train", "train", "val", "test")[i % EACH] for i in range(len(NAMES))]
SETTINGS = {
    "trials": None,
    "split": None,
    "split_by": "utterance",
    "heldout_speakers": 3,
    "heldout_trials": 40,
    "allow_overlap": False,
    "task": "verification",
    "seed": 1,
}
Save = Callable[..., str]


@pytest.fixture
def save(tmp_path) -> Save:
    """`save("a.npz", splits=OPEN)`: a file of embeddings of all utterances; its path."""

    def save_one(name: str, names=NAMES, dim: int = 4, speakers=WHO, splits=None, checkpoint=None) -> str:
        rows = np.random.default_rng(dim).standard_normal((len(names), dim))
        found = replace(checked(names, rows, "made", speakers, splits), checkpoint=checkpoint)
        write_embeddings(tmp_path / name, found)
        return str(tmp_path / name)

    return save_one


def load(branches, **changes) -> Corpus:
    return EmbeddingsCorpus(branches, **SETTINGS | changes).load()


def names(table) -> list[str]:
    return table["utterance"].to_pylist()


def test_a_split_that_was_saved_divides(save):
    corpus = load([save("a.npz", splits=OPEN), save("b.npy", NAMES[::-1], dim=3, speakers=None)])
    assert names(corpus.train) == [name for name, part in zip(NAMES, OPEN, strict=True) if part == "train"]
    assert corpus.speakers == [f"s{i}" for i in range(4)] and corpus.saved.dims == [4, 3]
    for trials, judges in ((corpus.trials, {"s4", "s5"}), (corpus.test_trials, {"s6", "s7"})):
        assert {name[:2] for name in trials.utterances} == judges
        ends = [(trials.utterances[a][:2], trials.utterances[b][:2]) for a, b in zip(trials.enrol, trials.test)]
        assert [int(a == b) for a, b in ends] == trials.labels.tolist()
    assert corpus.development == [] and corpus.test_files == [] and "24 utterances of 4 speakers" in corpus.notes[0]


def test_a_closed_set_for_identification(save):
    both = [save("a.npz", splits=CLOSED), save("b.parquet")]
    corpus = load(both, task="identification")
    for table, part in ((corpus.train, "train"), (corpus.validation, "val"), (corpus.test, "test")):
        assert names(table) == [name for name, one in zip(NAMES, CLOSED, strict=True) if one == part]
    assert corpus.trials is None and len(corpus.speakers) == SPEAKERS
    with pytest.raises(InputError, match="task=verification is judged on speakers that are not trained on"):
        load(both)


def test_a_split_that_is_asked_for(save, tmp_path):
    """In place of the saved ones, which need not agree."""
    both = [save("a.npz", splits=OPEN), save("b.npz", splits=CLOSED)]
    shares = {"train": 0.5, "val": 0.25, "test": 0.25}
    corpus = load(both, task="identification", split=shares)
    assert Counter(corpus.train["speaker"].to_pylist()) == dict.fromkeys([f"s{i}" for i in range(SPEAKERS)], 3)
    corpus = load(both, split=shares, split_by="speaker")
    assert len(corpus.speakers) == 4 and not {name[:2] for name in corpus.trials.utterances} & set(corpus.speakers)
    assert len({name[:2] for name in corpus.test_trials.utterances}) == 2
    places = {"train": 1, "val": 2, "test": 3}
    lines = [f"{places[part]} {name}\n" for name, part in zip(NAMES, CLOSED, strict=True)]
    (tmp_path / "split.txt").write_text("".join(lines))
    corpus = load(both, task="identification", split="split.txt")  # beside the embeddings
    assert len(corpus.train) == 4 * SPEAKERS
    with pytest.raises(InputError, match=r"a\.npz and .*b\.npz differ in the split of \d+ of 48 utterances, such as s"):
        load(both)


def test_held_out_speakers_where_no_split_is_known(save):
    both = [save("a.npz"), save("b.npz")]
    corpus = load(both)
    judges = {name[:2] for name in corpus.trials.utterances}
    assert len(judges) == 3 and sorted(judges | set(corpus.speakers)) == sorted(set(WHO))
    assert not judges & set(corpus.speakers) and len(corpus.trials) == 40
    with pytest.raises(InputError, match="task=identification tells training speakers apart in other recordings"):
        load(both, task="identification")


def list_of(path: Path, *lines: str) -> Path:
    path.write_text("".join(f"{line}\n" for line in lines))
    return path


@pytest.mark.parametrize("splits", [None, OPEN])
def test_a_list_of_trials(save, tmp_path, splits):
    both = [save("a.npz", splits=splits), save("b.npz")]
    trials = list_of(tmp_path / "list.txt", "1 s6/0.flac s6/1.wav", "0 s6/0.flac s7/1.wav")
    corpus = load(both, trials=str(trials))
    assert corpus.trials.utterances == ["s6/0.flac", "s6/1.wav", "s7/1.wav"]
    trained = [f"s{i}" for i in range(6 if splits is None else 4)]  # the split says, or whoever is not judged by
    assert corpus.speakers == trained and len(corpus.train) == EACH * len(trained)
    missing = list_of(tmp_path / "more.txt", "1 s6/0.wav s6/9.wav", "0 s6/0.wav s7/1.wav")
    with pytest.raises(InputError, match=r"a\.npz: 1 of the 3 utterances of .*more\.txt have no embedding: s6/9\.wav"):
        load(both, trials=str(missing))


def test_speakers_who_are_trained_on_do_not_judge_unless_forced(save, tmp_path):
    both = [save("a.npz", splits=OPEN), save("b.npz")]
    trials = list_of(tmp_path / "list.txt", "1 s6/0.wav s6/1.wav", "0 s6/0.wav s1/1.wav")
    with pytest.raises(InputError, match=r"list\.txt: 1 of its speakers are trained on, such as s1; .*allow_overlap"):
        load(both, trials=str(trials))
    corpus = load(both, trials=str(trials), allow_overlap=True)
    assert len(corpus.speakers) == 4 and "the EER flatters the model" in corpus.notes[-1]


def test_the_runs_own_trials_where_the_embeddings_are_of_a_run(save, tmp_path):
    """With the audio of their utterances, for a checkpoint that can hear."""
    run = tmp_path / "outputs" / "tiny" / "1"
    checkpoint = str(run / "checkpoints" / "best.ckpt")
    both = [save("a.npz", splits=OPEN, checkpoint=checkpoint), save("b.npz", splits=OPEN)]
    with pytest.raises(
        InputError, match=r"a\.npz is of .*best\.ckpt, and the development trials of its run are gone: g"
    ):
        load(both)
    for name, speaker in (("development", "s4"), ("test", "s7")):
        lines = [f"1 {speaker}/0.wav {speaker}/1.wav", f"0 {speaker}/0.wav s6/1.wav"]
        trials = read_trials(list_of(tmp_path / f"{name}.txt", *lines))
        files = [tmp_path / "audio" / one for one in trials.utterances]
        write_development_trials(run, trials, files, name)
    corpus = load(both)
    assert corpus.trials.utterances == ["s4/0.wav", "s4/1.wav", "s6/1.wav"] and len(corpus.train) == 4 * EACH
    assert corpus.development == [tmp_path / "audio" / name for name in corpus.trials.utterances]
    assert corpus.test_trials.utterances[0] == "s7/0.wav" and len(corpus.test_files) == 3
    assert load(both, split={"train": 0.5, "val": 0.5}, split_by="speaker").trials.source != corpus.trials.source
    (run / "utterances").mkdir()  # it identified speakers: its trials are not what it was judged by
    assert {name[:2] for name in load(both).trials.utterances} == {"s4", "s5"}


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"branches": "a.npz"}, r"data\.branches=a\.npz must be a list of files or folders of embeddings"),
        ({"branches": ["a.npz", None]}, r"data\.branches: None is no file or folder of embeddings"),
        ({"branches": {"a": "a.npz", "b": 3}}, r"data\.branches: 3 is no file or folder of embeddings"),
        ({"branches": []}, r"data\.branches=\[\] must be a list"),
        ({"trials": "x", "split": {"train": 0.5, "val": 0.5}}, r"data\.trials and data\.split both say"),
        ({"trials": "x", "task": "identification"}, r"data\.trials is for task=verification"),
        ({"split": {"train": 0.5, "val": 0.4}}, "must add up to 1"),
        ({"split": {"train": 0.5, "val": 0.5}}, "add data.split_by=speaker, or task=identification"),
    ],
)
def test_settings_that_make_no_sense_are_refused_before_anything_is_read(changes, message):
    with pytest.raises(InputError, match=message):
        EmbeddingsCorpus(**{"branches": ["a.npz", "b.npz"]} | SETTINGS | changes)


def test_what_can_not_be_used_is_named(save, tmp_path):
    good = save("a.npz")
    (tmp_path / "empty").mkdir()
    (tmp_path / "cut.npz").write_bytes(Path(good).read_bytes()[:200])
    for second, message in [
        (str(tmp_path / "gone.npz"), r"data\.branches=.*gone\.npz: there is no such file or folder"),
        (str(tmp_path / "empty"), r"data\.branches=.*empty: this folder holds no embeddings"),
        (str(tmp_path / "cut.npz"), r"cut\.npz: not a readable \.npz file"),
        (
            save("few.npz", NAMES[:40], speakers=WHO[:40]),
            r"few\.npz: 8 of the 48 utterances of .*a\.npz have no embedd",
        ),
        (save("other.npz", speakers=["eve"] * 48), r"a\.npz and .*other\.npz differ in the speaker of 48 of 48"),
    ]:
        with pytest.raises(InputError, match=message) as caught:
            load([good, second])
        assert "\n" not in str(caught.value)
    nobody = [save("c.npz", speakers=None), save("d.npz", speakers=None)]
    with pytest.raises(InputError, match=r"c\.npz, .*d\.npz: none says speakers; save one with them"):
        load(nobody)
    assert len(part_of(load([nobody[0], good]).train, "")) == 30  # one that tells is enough
