"""What is evaluated, and where results go."""

import logging

import numpy as np
import pytest
import torch

from speakerlab import InputError
from speakerlab.cli.launch import compose
from speakerlab.data.embedding_files.embeddings import checked
from speakerlab.data.embedding_files.formats import read_embeddings, write_embeddings
from speakerlab.data.utterances import utterances_in_files
from speakerlab.inference.source import Source, open_source, recorded


def request(tmp_path, **changes):
    """What the command line `key=value ...` means."""
    places = {"cache_dir": tmp_path / "cache", "output_dir": tmp_path / "out", "num_workers": 0}
    given = {"embeddings": "e.npz"} | places | changes
    return compose("evaluate", [f"{key}={value}" for key, value in given.items()])[0]


def test_saved_embeddings(tmp_path):
    write_embeddings(tmp_path / "e.npz", checked(["a", "b"], np.eye(2), "x"))
    source = open_source(request(tmp_path, embeddings=str(tmp_path / "e.npz"), trials="list.txt"), (), None)
    assert source.checkpoint is None and source.path == tmp_path / "e.npz" and list(source.systems) == ["model"]
    np.testing.assert_array_equal(source.systems["model"](utterances_in_files(["b"], None)), [[0, 1]])
    with pytest.raises(InputError, match="of list.txt have no embedding: c"):
        source.systems["model"](utterances_in_files(["c"], None))
    assert not (tmp_path / "out").exists() and not (tmp_path / "cache").exists()


def test_what_is_written(tmp_path, caplog):
    caplog.set_level(logging.DEBUG, logger="speakerlab")
    source = Source(tmp_path / "e.npz", None, {}, [torch.device("cpu")])
    cfg = request(tmp_path, save_embeddings=str(tmp_path / "kept.parquet"))
    with recorded(cfg, source, "list") as results:
        results.keep(utterances_in_files(["a", "b"], None, ["s", "t"]), np.eye(2))
        logging.getLogger("speakerlab").debug("in between")
    kept = read_embeddings(str(tmp_path / "kept.parquet"))
    assert kept.names == ["a", "b"] and kept.speakers == ["s", "t"]
    log = (tmp_path / "out" / "logs" / "evaluation_list.log").read_text()
    assert f"evaluation of {tmp_path}/e.npz on cpu: list" in log and "in between" in log
    with recorded(request(tmp_path), source, "list") as results:
        results.keep(utterances_in_files(["a", "b"], None), np.eye(2))  # nobody asked
    assert (tmp_path / "out" / "logs" / "evaluation_list.log").read_text().startswith(log)


def test_a_fusion_without_a_branch_takes_the_place_of_nothing(tmp_path):
    source = Source(tmp_path / "x.ckpt", None, {}, [torch.device("cpu")], without=("sincnet",))
    with recorded(request(tmp_path), source, "list") as results:
        assert results.name == "list_without_sincnet"
    assert (tmp_path / "out" / "logs" / "evaluation_list_without_sincnet.log").is_file()


def test_diverged_embeddings_are_not_saved(tmp_path):
    source = Source(tmp_path / "e.npz", None, {}, [torch.device("cpu")])
    cfg = request(tmp_path, save_embeddings=str(tmp_path / "kept.npz"))
    with (
        recorded(cfg, source, "list") as results,
        pytest.raises(InputError, match="the model's embeddings: 1 of 2 embeddings hold NaN"),
    ):
        results.keep(utterances_in_files(["a", "b"], None), np.array([[1.0, 2.0], [np.nan, 1.0]]))
    assert not (tmp_path / "kept.npz").exists()
