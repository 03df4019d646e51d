import hashlib

import pytest
import torch

from speakerlab import InputError
from speakerlab.build import build_network, load_checkpoint, network_from_checkpoint
from speakerlab.cli.launch import compose
from speakerlab.inference.model import described
from speakerlab.inference.peers.conversion import check_fit, convert, write
from speakerlab.inference.peers.imported import Imported

OVERRIDES = [
    "model=lstm",
    "model.encoder.hidden=4",
    "model.encoder.layers=1",
    "model.encoder.embed_dim=3",
    "features.num_mels=8",
]


@pytest.fixture(scope="module")
def cfg():
    return compose("train", OVERRIDES)[0]


@pytest.fixture
def imported(cfg, tmp_path) -> Imported:
    torch.manual_seed(0)
    weights = build_network(cfg).state_dict()
    source = tmp_path / "theirs.pt"
    source.write_bytes(b"weights")
    return Imported(
        source, "an LSTM of Somebody", "lstm", OVERRIDES, weights, {name: f"their.{name}" for name in weights}
    )


def test_a_checkpoint_holds_all_that_is_needed(imported, cfg, tmp_path):
    imported.speakers, imported.classifier = ["a", "b"], torch.ones(2, 3)
    checkpoint, parameters = convert(imported, cfg, "somebody")
    write(checkpoint, tmp_path / "out.ckpt")
    found = load_checkpoint(tmp_path / "out.ckpt")
    assert found["speakers"] == ["a", "b"] and found["config"]["data"] is None
    assert found["imported"] == {
        "peer": "somebody",
        "file": "theirs.pt",
        "sha256": hashlib.sha256(b"weights").hexdigest(),
    }
    network = network_from_checkpoint(found)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, imported.weights[name])
    assert parameters == sum(parameter.numel() for parameter in network.parameters())
    assert torch.equal(found["state_dict"]["loss.classifier.weight"], torch.ones(2, 3))
    assert "imported from somebody's theirs.pt, trained on 2 classes" in described(tmp_path / "out.ckpt")


def test_halves_become_floats_and_counters_may_be_missing(imported, cfg):
    imported.weights = {name: tensor.half() for name, tensor in imported.weights.items()}
    checkpoint, _ = convert(imported, cfg, "somebody")
    assert {tensor.dtype for tensor in checkpoint["state_dict"].values()} <= {torch.float32, torch.int64}


def test_every_tensor_that_does_not_fit_is_named(imported, cfg):
    weights = imported.weights
    missing, misshapen = list(weights)[:2]
    del weights[missing]
    weights[misshapen] = torch.zeros(5, 5)
    weights["more"] = torch.zeros(2)
    imported.origins["more"] = "their.more"
    with torch.device("meta"):
        expected = build_network(cfg).state_dict()
    with pytest.raises(InputError) as caught:
        check_fit(imported, expected)
    first, *lines = str(caught.value).splitlines()
    assert first.endswith(
        "theirs.pt is not an LSTM of Somebody as this program knows it: 3 tensors do not fit; nothing was written"
    )
    assert lines == [
        "  theirs, unknown here:   their.more (2,)",
        f"  ours, not in the file:  {missing} {tuple(expected[missing].shape)}",
        f"  of another shape:       their.{misshapen} (5, 5); here {misshapen} {tuple(expected[misshapen].shape)}",
    ]


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "out.ckpt").write_bytes(b"mine")
    with pytest.raises(InputError, match="out.ckpt is there already; give another -o"):
        write({}, tmp_path / "out.ckpt")
    assert (tmp_path / "out.ckpt").read_bytes() == b"mine"
    with pytest.raises(InputError, match="there is no such folder"):
        write({}, tmp_path / "none" / "out.ckpt")
