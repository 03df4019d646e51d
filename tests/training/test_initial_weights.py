"""Networks that begin with another run's weights, branch by branch."""

import pytest
import torch
from omegaconf import OmegaConf

from speakerlab import InputError
from speakerlab.build import build_network
from speakerlab.cli.launch import compose
from speakerlab.training.initial_weights import branch_start, initialise

SMALL = ["model=xvector", "model.encoder.channels=8", "model.encoder.pooled_channels=8", "model.encoder.embed_dim=4"]


@pytest.fixture
def start(tmp_path):
    """A checkpoint of a small network, and a fusion's config in which it is the branch `a`."""
    cfg, _ = compose("train", SMALL)
    torch.manual_seed(5)
    weights = {
        f"network.{name}": torch.rand_like(value.float()) for name, value in build_network(cfg).state_dict().items()
    }
    contents = {
        "config": OmegaConf.to_container(cfg, resolve=True),
        "speakers": ["a"],
        "state_dict": weights,
        "global_step": 3,
    }
    torch.save(contents, tmp_path / "a.ckpt")
    branches = f"model.branches={{a: {{ckpt: {tmp_path / 'a.ckpt'}}}, b: {{overrides: {SMALL}}}}}"
    return tmp_path / "a.ckpt", compose("train", ["model=fusion", branches])[0], weights


def test_a_branch_begins_with_its_checkpoint_and_others_do_not(start):
    path, cfg, weights = start
    network = build_network(cfg).train()
    assert initialise(network, cfg) == (f"model.branches.a.ckpt={path}: its weights, of step 3",)
    for name, value in network.branches["a"].state_dict().items():
        assert torch.equal(value, weights[f"network.{name}"].to(value.dtype)), name
    other = network.branches["b"].state_dict()
    assert not torch.equal(other["encoder.segment6.weight"], weights["network.encoder.segment6.weight"])
    assert all(module.training for module in network.modules())  # as it was built
    assert branch_start(cfg, "a") == str(path) and branch_start(cfg, "b") is None
    single, _ = compose("train", SMALL)
    assert branch_start(single, "") is None and initialise(build_network(single), single) == ()


def test_weights_that_do_not_fit_name_the_branch(start):
    path, cfg, _ = start
    contents = torch.load(path, weights_only=True)
    del contents["state_dict"]["network.encoder.segment6.weight"]
    torch.save(contents, path)
    with pytest.raises(InputError, match=rf"^model\.branches\.a\.ckpt={path}: the checkpoint's weights do not fit"):
        initialise(build_network(cfg), cfg)


def test_a_front_ends_weights_are_asked_for_by_its_branch():
    cfg, _ = compose("train", ["model=fusion", "model.branches.mel_cnn.overrides=[model=wavlm_base_ecapa]"])
    with torch.device("meta"):
        network = build_network(cfg)
    (note,) = initialise(network, cfg)
    assert note.startswith("model.branches.mel_cnn.model.encoder: weights=null: warning")
    cfg.model.branches.mel_cnn.model.encoder.weights = "nowhere.pt"
    with torch.device("meta"):
        network = build_network(cfg)
    with pytest.raises(InputError, match=r"^model\.branches\.mel_cnn\.model\.encoder: weights=nowhere\.pt"):
        initialise(network, cfg)
