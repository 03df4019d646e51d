"""Embeddings that are kept, of a run's whole corpus."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from tones import write_tones

from speakerlab import InputError
from speakerlab.cli.launch import compose
from speakerlab.data.corpus import Corpus
from speakerlab.data.development import write_development, write_development_trials
from speakerlab.data.embedding_files.formats import read_embeddings
from speakerlab.data.manifest import write_manifest
from speakerlab.data.splits import with_split
from speakerlab.data.trials import read_trials
from speakerlab.data.utterances import utterances_in_files
from speakerlab.inference.saving import save, whole_corpus


def request(**changes):
    return compose("evaluate", ["ckpt=x", *(f"{key}={value}" for key, value in changes.items())])[0]


def test_what_is_written(tmp_path, caplog):
    caplog.set_level("INFO", logger="speakerlab")
    utterances = utterances_in_files(["a", "b"], None, ["s", "t"])
    save(tmp_path / "x.parquet", utterances, np.eye(2), tmp_path / "run" / "best.ckpt", ["train", "val"])
    found = read_embeddings(str(tmp_path / "x.parquet"))
    assert (found.names, found.speakers, found.splits) == (["a", "b"], ["s", "t"], ["train", "val"])
    assert found.checkpoint == str(tmp_path / "run" / "best.ckpt")
    assert f"2 embeddings are in {tmp_path / 'x.parquet'}" in caplog.text
    save(tmp_path / "x.parquet", utterances, np.eye(2), None)
    found = read_embeddings(str(tmp_path / "x.parquet"))
    assert found.splits is None and found.checkpoint is None


@pytest.fixture
def run(tmp_path):
    """A checkpoint in a run's folder, trained on the folder `audio` with two of its speakers held out, or on some of
    each speaker's recordings."""
    write_tones(tmp_path / "audio", [(f"s{i}", i) for i in range(6) for _ in range(3)])
    checkpoint = tmp_path / "run" / "checkpoints" / "best.ckpt"
    checkpoint.parent.mkdir(parents=True)

    def make(*overrides: str):
        from omegaconf import OmegaConf

        from speakerlab.build import build_corpus

        folder = ["data=folder", f"data.root={tmp_path / 'audio'}", "data.min_seconds=0.1", f"cache_dir={tmp_path}/c"]
        cfg, _ = compose("train", [*folder, *overrides])
        corpus = build_corpus(cfg)
        config = OmegaConf.to_container(cfg, resolve=True)
        torch.save({"config": config, "speakers": corpus.speakers, "state_dict": {}}, checkpoint)
        write_development(tmp_path / "run", corpus)
        return checkpoint, corpus

    return make


def test_all_that_a_run_was_trained_on_and_judged_by(run, tmp_path):
    checkpoint, corpus = run("data.heldout_speakers=2", "data.heldout_trials=10")
    found, splits = whole_corpus(request(), checkpoint)
    assert len(found) == len(set(found.names)) == 18 and splits == ["train"] * 12 + ["val"] * 6
    assert found.names[:12] == corpus.train["utterance"].to_pylist() and set(found.speakers[:12]) == set(
        corpus.speakers
    )
    assert found.names[12:] == corpus.trials.utterances and found.files[12:] == [str(f) for f in corpus.development]
    told = dict(zip(found.names[12:], found.speakers[12:], strict=True))
    for label, one, other in zip(corpus.trials.labels, corpus.trials.enrol, corpus.trials.test, strict=True):
        if label:
            assert told[corpus.trials.utterances[one]] == told[corpus.trials.utterances[other]]
    more = tmp_path / "more.txt"
    more.write_text("1 x/1.wav x/2.wav\n0 x/1.wav y/1.wav\n")
    write_development_trials(tmp_path / "run", read_trials(more), [tmp_path / f"{i}.wav" for i in range(3)], "test")
    found, splits = whole_corpus(request(), checkpoint)
    assert splits[18:] == ["test"] * 3 and found.names[18:] == ["x/1.wav", "x/2.wav", "y/1.wav"]


def test_a_closed_set(run):
    checkpoint, corpus = run(
        "task=identification", "data.split={train: .4, val: .3, test: .3}", "data.split_by=utterance"
    )
    found, splits = whole_corpus(request(), checkpoint)
    for part, table in (("train", corpus.train), ("val", corpus.validation), ("test", corpus.test)):
        mine = [row for row, split in enumerate(splits) if split == part]
        assert [found.names[row] for row in mine] == table["utterance"].to_pylist()
        assert [found.speakers[row] for row in mine] == table["speaker"].to_pylist()
    assert len(found) == 18


def test_all_of_a_manifest(tmp_path):
    table = write_tones(tmp_path / "audio", [("s3", 3), ("s0", 0), ("s6", 6)])
    for parts, expected in ((["train", "val", "dev"], ["train", "val", "dev"]), (["train", "", "val"], None)):
        write_manifest(with_split(table, pa.array(parts)), tmp_path / "m.parquet")
        found, splits = whole_corpus(request(manifest=tmp_path / "m.parquet"), tmp_path / "lone.ckpt")
        assert found.names == table["utterance"].to_pylist() and splits == expected
        assert found.speakers == ["s3", "s0", "s6"]


def test_what_can_not_be_told_is_refused(run, tmp_path):
    with pytest.raises(InputError, match=r"lone\.ckpt lies in no run's folder; give manifest=MANIFEST"):
        whole_corpus(request(), tmp_path / "lone.ckpt")
    checkpoint, corpus = run("data.heldout_speakers=2", "data.heldout_trials=10")
    trained = corpus.train["utterance"][0].as_py()
    (tmp_path / "list.txt").write_text(f"1 {trained} x/2.wav\n")
    files = [tmp_path / "1.wav", tmp_path / "2.wav"]
    write_development_trials(tmp_path / "run", read_trials(tmp_path / "list.txt"), files)
    with pytest.raises(InputError, match=f"utterances of train and of val are both called {trained}; rename"):
        whole_corpus(request(), checkpoint)
    other = Corpus(corpus.train, None, [], validation=corpus.train.slice(0, 1))
    write_development(tmp_path / "run", other)
    with pytest.raises(InputError, match=f"utterances of train and of val are both called {trained}"):
        whole_corpus(request(), checkpoint)
