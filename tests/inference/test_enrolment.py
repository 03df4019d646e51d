"""Two parts of a corpus, and what is made of them."""

import numpy as np
import pyarrow as pa
import pytest
import torch
from omegaconf import OmegaConf
from tones import write_tones

from speakerlab import InputError
from speakerlab.data.embedding_files.embeddings import checked
from speakerlab.data.embedding_files.formats import read_embeddings, write_embeddings
from speakerlab.data.manifest import concat_manifests, write_manifest
from speakerlab.data.splits import with_split
from speakerlab.inference.embedding import SavedEmbedder
from speakerlab.inference.enrolment import claim, find_parts, joined, recognise, speaker_numbers
from speakerlab.inference.source import Source


def cfg(**changes):
    plain = {"ckpt": None, "embeddings": "e.npz", "manifest": None, "enrolment": None, "split": None}
    return OmegaConf.create(plain | changes)


def source(embed) -> Source:
    return Source("e.npz", None, {"model": embed}, [torch.device("cpu")])


def saved(tmp_path, name: str, names: list[str], speakers: list[str] | None):
    path = tmp_path / name
    rows = np.random.default_rng(len(names)).standard_normal((len(names), 4))
    write_embeddings(path, checked(names, rows, name, speakers))
    return read_embeddings(str(path))


def test_two_splits_of_a_manifest(tmp_path):
    parts = [write_tones(tmp_path / name, [("s0", 0), ("s1", 1)]) for name in ("train", "test")]
    renamed = []
    for name, table in zip(("train", "test"), parts, strict=True):
        table = with_split(table, pa.array([name] * 2))
        names = pa.array([f"{name}/{one}" for one in table["utterance"].to_pylist()])
        renamed.append(table.set_column(0, "utterance", names))
    write_manifest(concat_manifests(renamed), tmp_path / "m.parquet")

    def embed(utterances):
        return utterances

    given = cfg(manifest=str(tmp_path / "m.parquet"))
    enrolled, tested = find_parts(given, source(embed))
    assert enrolled.embed is tested.embed is embed
    assert enrolled.utterances.names == ["train/s0/x/0.flac", "train/s1/x/1.flac"]
    assert enrolled.utterances.files == [str(tmp_path / "train/s0/x/0.flac"), str(tmp_path / "train/s1/x/1.flac")]
    assert tested.utterances.speakers == ["s0", "s1"]
    with pytest.raises(InputError, match="has no utterance of split 'val'"):
        find_parts(cfg(manifest=str(tmp_path / "m.parquet"), enrolment="val"), source(embed))


def test_two_files(tmp_path):
    saved(tmp_path, "known.pkl", ["a", "b", "c"], ["s", "s", "t"])
    embed = SavedEmbedder(saved(tmp_path, "test.npz", ["d", "e"], ["t", "s"]), "")
    enrolled, tested = find_parts(cfg(enrolment=str(tmp_path / "known.pkl")), source(embed))
    assert enrolled.utterances.names == ["a", "b", "c"] and tested.utterances.speakers == ["t", "s"]
    assert enrolled.embed(enrolled.utterances).shape == (3, 4)
    utterances, rows = joined(enrolled, tested, [np.zeros((3, 2)), np.ones((2, 2))])
    assert utterances.names == ["a", "b", "c", "d", "e"] and utterances.speakers == ["s", "s", "t", "t", "s"]
    assert rows[:, 0].tolist() == [0, 0, 0, 1, 1]

    silent = SavedEmbedder(saved(tmp_path, "silent.npz", ["d", "e"], None), "")
    with pytest.raises(InputError, match=r"silent\.npz: says no speakers; save it with them"):
        find_parts(cfg(enrolment=str(tmp_path / "known.pkl")), source(silent))
    same = SavedEmbedder(saved(tmp_path, "same.npz", ["d", "b", "a"], ["s", "s", "t"]), "")
    with pytest.raises(InputError, match="2 of the 3 utterances to recognise are enrolled themselves, such as a"):
        find_parts(cfg(enrolment=str(tmp_path / "known.pkl")), source(same))


def test_numbers_of_speakers():
    speakers, known, classes = speaker_numbers(["t", "s", "u", "s"], ["u", "u", "s"])
    assert speakers == ["s", "t", "u"] and known.tolist() == [1, 0, 2, 0] and classes.tolist() == [2, 2, 0]
    with pytest.raises(InputError, match="2 of the 3 speakers .* not among the 2 who are enrolled, such as v"):
        speaker_numbers(["s", "t"], ["s", "w", "v"])
    with pytest.raises(InputError, match="only speaker s is enrolled"):
        speaker_numbers(["s", "s"], ["s"])


def test_people_who_are_far_apart():
    generator = np.random.default_rng(0)
    known, classes = np.repeat(np.arange(4), 3), np.array([3, 0, 2, 1, 1])
    embeddings = [np.eye(4)[part] + 0.05 * generator.standard_normal((len(part), 4)) for part in (known, classes)]
    for guesses in recognise(embeddings, known, classes, 3).values():
        assert guesses.predicted.tolist() == classes.tolist() and (guesses.probability > 0.9).all()
    speakers, names = ["s", "t", "u", "v"], ["a", "b", "c", "d", "e"]
    trials, scores = claim(embeddings, known, classes, speakers, names)
    assert len(trials) == 20 and trials.labels.sum() == 5
    for label, enrol, test, score in zip(trials.labels, trials.enrol, trials.test, scores, strict=True):
        speaker, name = trials.utterances[enrol], trials.utterances[test]
        assert label == (speakers.index(speaker) == classes[names.index(name)]) == (score > 0.5)
