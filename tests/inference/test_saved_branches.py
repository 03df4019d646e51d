"""Fusing what is saved of a model's branches."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from speakerlab import InputError
from speakerlab.data.embedding_files.embeddings import checked
from speakerlab.data.embedding_files.formats import write_embeddings
from speakerlab.data.utterances import utterances_in_files
from speakerlab.inference.saved_branches import FusionEmbedder, origins_of, read_branches

NAMES = [f"{i}.wav" for i in range(9)]
ROWS = {"a": np.arange(27.0).reshape(9, 3), "b": -np.arange(18.0).reshape(9, 2)}


class Summed(nn.Module):
    """The mean of each branch that is there, in a column of its own; the least that is asked of a fusion."""

    embed_dim = 2

    def __init__(self):
        super().__init__()
        self.branches = nn.ModuleDict({"first": nn.Identity(), "second": nn.Identity()})
        self.branches["first"].embed_dim, self.branches["second"].embed_dim = 3, 2

    def fuse(self, parts):
        there = next(part for part in parts if part is not None)
        assert not torch.is_grad_enabled() and there.dtype == torch.float32
        return torch.stack([there[:, 0] * 0 if part is None else part.mean(dim=1) for part in parts], dim=1)


@pytest.fixture
def sources(tmp_path) -> dict[str, str]:
    """`a` in order, `b` in another."""
    for name, order in (("a", slice(None)), ("b", slice(None, None, -1))):
        write_embeddings(tmp_path / f"{name}.npz", checked(NAMES[order], ROWS[name][order], "made"))
    return {"first": str(tmp_path / "a.npz"), "second": str(tmp_path / "b.npz")}


def fused(given, names=NAMES, origins=None) -> np.ndarray:
    network = Summed()
    found = read_branches(given if isinstance(given, str) else OmegaConf.create(given), network, origins or {})
    return FusionEmbedder(network, found, torch.device("cpu"), "list.txt")(utterances_in_files(names, None))


def test_utterances_by_name_in_order_or_by_branch(sources, monkeypatch):
    monkeypatch.setattr("speakerlab.inference.saved_branches.AT_ONCE", 4)
    wanted = ["7.flac", "0.wav", "3.wav", "7.wav", "8", "1.wav"]
    expected = np.stack([ROWS[name].mean(axis=1)[[7, 0, 3, 7, 8, 1]] for name in ("a", "b")], axis=1)
    for given in (list(sources.values()), sources, dict(reversed(sources.items()))):
        np.testing.assert_allclose(fused(given, wanted), expected, rtol=1e-6)


def test_a_branch_may_be_missing(sources, caplog):
    caplog.set_level("INFO", logger="speakerlab")
    for given in (
        {"second": sources["second"]},
        {"first": None, "second": sources["second"]},
        [None, sources["second"]],
    ):
        found = fused(given)
        np.testing.assert_allclose(found, np.stack([np.zeros(9), ROWS["b"].mean(axis=1)], axis=1), rtol=1e-6)
    assert "without branch first, which embeddings leaves out" in caplog.text


def test_what_is_not_the_models_is_refused(sources, tmp_path):
    first, second = sources.values()
    for given, message in [
        (
            [first],
            r"embeddings has 1 source, but the model 2 branches \(first, second\): .*such as embeddings={first: P",
        ),
        (first, "embeddings has 1 source, but the model 2 branches"),
        ([first, second, first], "embeddings has 3 sources"),
        ({"frist": first}, r"embeddings\.frist: the model's branches are first, second; did you mean first"),
        ({"first": None}, "embeddings leaves out every branch; give at least one of first, second"),
        ([second, first], r"b\.npz: its embeddings have 2 numbers, but those of the model's branch first 3"),
        ([first, 3], "embeddings: 3, given for second, is no file or folder of embeddings"),
        ([first, str(tmp_path / "gone.npz")], r"embeddings=.*gone\.npz: there is no such file"),
    ]:
        with pytest.raises(InputError, match=message):
            fused(given)
    with pytest.raises(InputError, match=r"a\.npz: 1 of the 1 utterances of list\.txt have no embedding: x"):
        fused(list(sources.values()), ["x"])


def test_sources_that_say_other_speakers_are_refused(sources, tmp_path):
    """Of the utterances that are asked for; what else they say is not looked at."""
    given = {}
    for name, speakers in (("first", "ssssttttt"), ("second", "sssstttts")):
        rows = ROWS["a" if name == "first" else "b"]
        given[name] = str(tmp_path / f"{name}.npz")
        write_embeddings(tmp_path / f"{name}.npz", checked(NAMES, rows, "made", list(speakers)))
    assert len(fused(given, NAMES[:8])) == 8
    with pytest.raises(InputError, match=r"first\.npz and .*second\.npz differ in the speaker of 1 of 2 .*: t and s"):
        fused(given, NAMES[7:])
    assert len(fused(given | {"second": sources["second"]})) == 9  # says no speakers


@pytest.mark.parametrize("told_by", ["checkpoints", "training"])
def test_branches_that_changed_places_are_refused(tmp_path, told_by):
    """Of one size, they would be fused in silence."""
    for name in ("one", "two", "other"):
        embeddings = replace(checked(NAMES, ROWS["a"], "made"), checkpoint=f"/runs/{name}.ckpt")
        write_embeddings(tmp_path / f"{name}.npz", embeddings)
    one, two, other = (str(tmp_path / f"{name}.npz") for name in ("one", "two", "other"))
    known = told_by == "checkpoints"
    nodes = {
        "first": {"ckpt": "/runs/one.ckpt" if known else None},
        "second": {"ckpt": "/runs/two.ckpt" if known else None},
    }
    for saved in ([one, two], {"second": two, "first": one}):
        config = {"model": {"branches": nodes}, "data": {} if known else {"branches": saved}}
        origins = origins_of(config)
        assert origins == {"first": "/runs/one.ckpt", "second": "/runs/two.ckpt"}
        network = Summed()
        network.branches["second"].embed_dim = 3
        assert len(read_branches(OmegaConf.create([one, two]), network, origins)) == 2
        assert len(read_branches(OmegaConf.create([other, two]), network, origins)) == 2  # moved, or of another epoch
        with pytest.raises(
            InputError, match=r"two\.npz is of /runs/two\.ckpt, the branch second, but was given for first"
        ):
            read_branches(OmegaConf.create([two, one]), network, origins)
    gone = {"model": {"branches": {name: {"ckpt": None} for name in nodes}}, "data": {"branches": ["gone", "x.npz"]}}
    assert origins_of(gone) == {} == origins_of({"model": {}, "data": {}})
