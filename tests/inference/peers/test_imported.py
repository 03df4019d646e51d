import os
import zipfile

import pytest
import torch

from speakerlab import InputError
from speakerlab.inference.peers.imported import blocks_of_layers, file_in, read_tensors, renamed, shape_of


def test_what_wraps_the_tensors_is_taken_off(tmp_path):
    state = {"a": torch.arange(3), "b": torch.ones(2, 2)}
    for wrapped in (state, {"state_dict": state, "epoch": 3}, {"model_state_dict": state}, {"model": state}):
        torch.save(wrapped, tmp_path / "file.pt")
        found = read_tensors(tmp_path / "file.pt")
        assert found.keys() == state.keys() and all(torch.equal(found[name], state[name]) for name in state)
    torch.save(state, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert torch.equal(read_tensors(tmp_path / "old.pt")["b"], state["b"])


class Bomb:
    """What pickle runs when it reads it."""

    def __reduce__(self):
        return os.mkdir, ("made-by-a-checkpoint",)


def test_code_is_never_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for new in (True, False):
        torch.save({"a": torch.ones(1), "b": Bomb()}, "file.pt", _use_new_zipfile_serialization=new)
        with pytest.raises(InputError, match="file.pt can't be read as weights: it is damaged, or holds code"):
            read_tensors("file.pt")
    assert not os.path.exists("made-by-a-checkpoint")


@pytest.mark.parametrize(
    "contents, message",
    [
        ({}, "holds no tensors by name"),
        ([torch.ones(1)], "holds no tensors by name"),
        ({"a": torch.ones(1), "lr": 0.1}, "holds 'lr', which is no tensor"),
        ({3: torch.ones(1)}, "holds 3, which is no tensor"),
        ({"a": torch.tensor([1.0, torch.inf])}, "a holds NaN or infinity"),
        ({"a": torch.ones(2).to_sparse()}, "a sparse tensor"),
        ({"a": torch.zeros(1).expand(10**12)}, "its tensors share their values"),
        (dict.fromkeys("ab", torch.zeros(9)), "its tensors share their values"),
    ],
)
def test_anything_else_is_refused(tmp_path, contents, message):
    torch.save(contents, tmp_path / "file.pt")
    with pytest.raises(InputError, match=message):
        read_tensors(tmp_path / "file.pt")


def test_damage_is_said_in_a_line(tmp_path):
    torch.save({"a": torch.ones(1000)}, tmp_path / "file.pt")
    whole = (tmp_path / "file.pt").read_bytes()
    for damaged in (whole[:1500], b"no weights", b""):
        (tmp_path / "file.pt").write_bytes(damaged)
        with pytest.raises(InputError, match="file.pt can't be read as weights") as caught:
            read_tensors(tmp_path / "file.pt")
        assert "\n" not in str(caught.value)


def test_an_archive_that_grows_is_refused(tmp_path):
    torch.save({"a": torch.zeros(1_000_000)}, tmp_path / "file.pt")
    with zipfile.ZipFile(tmp_path / "file.pt") as plain, zipfile.ZipFile(tmp_path / "bomb.pt", "w") as packed:
        for entry in plain.infolist():
            packed.writestr(entry.filename, plain.read(entry), zipfile.ZIP_DEFLATED)
    assert (tmp_path / "bomb.pt").stat().st_size < 10_000
    with pytest.raises(InputError, match="is a compressed archive"):
        read_tensors(tmp_path / "bomb.pt")


def test_pickles_of_many_steps_are_refused_at_once(tmp_path):
    """A list of one byte takes 64 in memory: in an archive, and in a file as torch wrote them before 1.6."""
    torch.save({"a": torch.zeros(3)}, tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    assert read_tensors(tmp_path / "old.pt").keys() == {"a"}
    lists = b"\x80\x02" + b"]" * (5 << 20) + b"."
    old = (tmp_path / "old.pt").read_bytes()
    place = old.index(b"\x80\x02}", 20)  # the pickle of the tensors follows three of what wrote them
    (tmp_path / "lists.pt").write_bytes(old[:place] + lists)
    with zipfile.ZipFile(tmp_path / "archive.pt", "w") as archive:
        archive.writestr("a/data.pkl", lists)
    for name in ("lists.pt", "archive.pt"):
        with pytest.raises(InputError, match="takes over 1,000,000 steps"):
            read_tensors(tmp_path / name)


def test_a_folder_is_looked_through(tmp_path):
    with pytest.raises(InputError, match="there is no a.pt and no b.pt in this folder"):
        file_in(tmp_path, ["a.pt", "b.pt"])
    (tmp_path / "b.pt").touch()
    assert file_in(tmp_path, ["a.pt", "b.pt"]) == file_in(tmp_path / "b.pt", ["a.pt"]) == tmp_path / "b.pt"
    with pytest.raises(InputError, match="c.pt: there is no such file"):
        file_in(tmp_path / "c.pt", ["a.pt"])


def test_two_tensors_get_no_common_name():
    with pytest.raises(InputError, match="the tensors a and b would both be c here"):
        renamed({"a": torch.ones(1), "b": torch.ones(1)}, [("a|b", "c")])


def test_shapes_and_blocks():
    state = {f"layer{stage}.{block}.x": torch.ones(1) for stage in range(1, 5) for block in range(stage)}
    assert blocks_of_layers(state, "ResNet") == [1, 2, 3, 4]
    for name in ("layer5.0.x", "layer2.3.x"):
        with pytest.raises(InputError, match="are not those of a ResNet"):
            blocks_of_layers(state | {name: torch.ones(1)}, "ResNet")
    assert shape_of(state, "layer1.0.x", 1, "ResNet") == (1,)
    with pytest.raises(InputError, match="layer1.0.x is \\(1,\\), not of 2 axes as in every ResNet"):
        shape_of(state, "layer1.0.x", 2, "ResNet")
    with pytest.raises(InputError, match="holds no y, which every ResNet has"):
        shape_of(state, "y", 2, "ResNet")
