"""Starting from other weights, freezing, and rates by module."""

import pytest
import torch
from omegaconf import DictConfig, OmegaConf
from torch import nn

from speakerlab import InputError
from speakerlab.training.fine_tuning import check_freezing, freeze, parameter_groups, start_from


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.blocks = nn.ModuleList([nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)) for _ in range(2)])
        self.project = nn.Linear(3, 4)
        self.embedding_norm = nn.BatchNorm1d(4)

    def forward(self, x):
        for block in self.blocks:
            x = block(x)
        return self.embedding_norm(self.project(x))


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.BatchNorm1d(3)
        self.encoder = Encoder()

    @property
    def branches(self) -> dict[str, nn.Module]:
        return {"": self}


class System(nn.Module):
    def __init__(self, seed: int, speakers: int = 5):
        super().__init__()
        torch.manual_seed(seed)
        self.network = Network()
        self.loss = nn.Linear(4, speakers, bias=False)


def checkpoint(seed: int = 1, **sizes) -> dict:
    return {"state_dict": System(seed, **sizes).state_dict(), "speakers": list("abcde"), "epoch": 7}


def same(system: System, contents: dict, part: str) -> bool:
    return all(
        torch.equal(value, contents["state_dict"][name])
        for name, value in system.state_dict().items()
        if name.startswith(part)
    )


@pytest.mark.parametrize(
    "parts, loaded, fresh",
    [
        (["network"], ["network"], ["loss"]),
        (["network.encoder"], ["network.encoder"], ["loss"]),
        (["network", "loss"], ["network", "loss"], []),
        (["network.encoder.blocks.0"], ["network.encoder.blocks.0."], ["network.encoder.project", "loss"]),
    ],
)
def test_the_parts_asked_for_are_loaded_and_no_others(parts, loaded, fresh):
    system, contents = System(0), checkpoint()
    said = start_from(system, contents, parts, list("abcde"))
    assert said == f"weights of {', '.join(parts)} from a checkpoint of epoch 8"  # which Lightning calls 7
    assert all(same(system, contents, part) for part in loaded)
    assert not any(same(system, contents, part) for part in fresh)


def test_a_loss_is_of_its_own_speakers():
    with pytest.raises(InputError, match="5 speakers are not the 5 of this corpus"):
        start_from(System(0), checkpoint(), ["network", "loss"], list("abcdf"))


@pytest.mark.parametrize("speakers", ["ace", "edcba"])
def test_a_loss_is_kept_for_some_of_its_speakers(speakers):
    """As without the voices of speed perturbation: two rows a speaker, a bias each, a scale for all."""

    def loss(count: int) -> nn.ModuleDict:
        return nn.ModuleDict(
            {"rows": nn.Linear(4, 2 * count), "classes": nn.Linear(4, count), "scale": nn.Linear(1, 1)}
        )

    system, old = System(0), System(1)
    system.loss, old.loss = loss(len(speakers)), loss(5)
    start_from(system, {"state_dict": old.state_dict(), "speakers": list("abcde")}, ["loss"], list(speakers))
    new, old = system.loss.state_dict(), old.loss.state_dict()
    for place, speaker in enumerate(speakers):
        known = "abcde".index(speaker)
        for end in ("weight", "bias"):
            assert torch.equal(new[f"classes.{end}"][place], old[f"classes.{end}"][known])
            for row in (0, 1):
                assert torch.equal(new[f"rows.{end}"][2 * place + row], old[f"rows.{end}"][2 * known + row])
    assert torch.equal(new["scale.weight"], old["scale.weight"])


@pytest.mark.parametrize(
    "parts, message",
    [
        (
            ["network.encodr"],
            r"fine_tuning\.load: there is no module 'network.encodr'; there are network\.feat",
        ),
        (["nothing"], "there are network, loss"),
    ],
)
def test_unknown_parts_are_named(parts, message):
    with pytest.raises(InputError, match=message):
        start_from(System(0), checkpoint(), parts, list("abcde"))


def test_weights_of_another_shape_are_refused():
    with pytest.raises(InputError, match="the checkpoint's loss does not fit this one: size mismatch for weight"):
        start_from(System(0), checkpoint(speakers=6), ["loss"], list("abcde"))


def test_frozen_modules_stay_whatever_is_called():
    system = System(0)
    note = freeze(system, ["network.encoder.blocks.0"], batch_norms=False).note
    assert note == "frozen: 18 of 86 parameters"
    before = {name: value.clone() for name, value in system.state_dict().items()}
    system.train()
    optimizer = torch.optim.SGD([p for p in system.parameters() if p.requires_grad], lr=1.0)
    system.loss(system.network.encoder(torch.randn(8, 3))).square().sum().backward()
    optimizer.step()
    changed = {name for name, value in system.state_dict().items() if not torch.equal(value, before[name])}
    assert changed and not any(name.startswith("network.encoder.blocks.0") for name in changed)
    assert not system.network.encoder.blocks[0][1].training and system.network.encoder.blocks[1][1].training


def test_batch_norms_are_frozen_but_for_the_last():
    system = System(0)
    freeze(system, [], batch_norms=True)
    system.train()
    encoder = system.network.encoder
    frozen = [block[1] for block in encoder.blocks]
    assert all(not norm.training and not norm.weight.requires_grad for norm in frozen)
    assert encoder.embedding_norm.training and encoder.embedding_norm.weight.requires_grad
    assert all(block[0].weight.requires_grad for block in encoder.blocks)
    system.eval()
    assert not encoder.embedding_norm.training


def test_something_must_be_left_to_train():
    with pytest.raises(InputError, match="leaves nothing to train"):
        freeze(System(0), ["network", "loss"], batch_norms=False)


def test_a_module_without_batch_norms_is_named():
    system = System(0)
    system.network.encoder = nn.Linear(3, 4)
    with pytest.raises(InputError, match="has no batch norm to freeze"):
        freeze(system, [], batch_norms=True)


def test_every_parameter_is_in_one_group_of_its_rate():
    system = System(0)
    apart = {system.loss.weight}
    groups = parameter_groups(system, apart, {"network.encoder": 0.1, "network.encoder.project": 2.0})
    found = {parameter: (rate, group.get("weight_decay")) for rate, group in groups for parameter in group["params"]}
    assert groups[0][0] == 1.0  # the rate that the log shows
    assert sum(len(group["params"]) for _, group in groups) == len(found) == len(list(system.parameters())) - 1
    for name, parameter in system.named_parameters():
        if parameter in apart:
            assert parameter not in found
            continue
        rate = 2.0 if "project" in name else 0.1 if "encoder" in name else 1.0
        assert found[parameter] == (rate, None if parameter.ndim > 1 else 0.0), name


def test_frozen_parameters_are_in_no_group():
    system = System(0)
    freeze(system, ["network.encoder"], batch_norms=False)
    groups = parameter_groups(system, set(), {})
    left = {parameter for _, group in groups for parameter in group["params"]}
    assert left == {system.network.features.weight, system.network.features.bias, system.loss.weight}


def test_thawed_modules_train_and_frozen_batch_norms_do_not():
    system = System(0)
    encoder = system.network.encoder
    frozen = freeze(system, ["network.encoder", "network.encoder.blocks"], batch_norms=True, until=2)
    assert frozen.note == "frozen: 60 of 86 parameters, 48 of them until epoch 2 is over"
    norms = {parameter for block in encoder.blocks for parameter in block[1].parameters()}
    assert frozen.later == set(encoder.parameters()) - norms
    assert not freeze(System(0), ["network.encoder"], batch_norms=False).later
    system.train()
    assert not encoder.training and not encoder.embedding_norm.training
    frozen.thaw()
    assert encoder.training and encoder.embedding_norm.training and encoder.blocks.training
    assert all(parameter.requires_grad is (parameter not in norms) for parameter in encoder.parameters())
    assert not any(block[1].training for block in encoder.blocks)
    system.eval()
    assert not encoder.training and not encoder.blocks.training


def test_an_optimizer_has_what_is_thawed_later_from_the_start():
    """And passes over it while it has no gradient: neither its decay nor its momentum moves."""
    system = System(0)
    frozen = freeze(system, ["network.encoder"], batch_norms=False, until=1)
    groups = parameter_groups(system, set(), {"network.encoder": 0.1}, frozen.later)
    assert {p for _, group in groups for p in group["params"]} == set(system.parameters())
    assert {rate for rate, group in groups for p in group["params"] if p in frozen.later} == {0.1}
    optimizer = torch.optim.AdamW([group for _, group in groups], lr=0.1, weight_decay=0.1)
    before = {name: value.clone() for name, value in system.network.encoder.state_dict().items()}
    system.train()
    system.loss(system.network.encoder(torch.randn(8, 3))).square().sum().backward()
    optimizer.step()
    assert all(torch.equal(value, before[name]) for name, value in system.network.encoder.state_dict().items())
    assert not any(parameter in optimizer.state for parameter in frozen.later)


def config(**changes) -> DictConfig:
    tuning = {"freeze": ["network"], "unfreeze_epoch": 2} | changes
    return OmegaConf.create({"fine_tuning": tuning, "trainer": {"max_epochs": 5}})


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"freeze": []}, r"unfreeze_epoch=2: fine_tuning\.freeze names nothing"),
        ({"unfreeze_epoch": 0}, r"unfreeze_epoch=0 must lie in 1 to 4, within trainer\.max_epochs=5"),
        ({"unfreeze_epoch": 5}, r"unfreeze_epoch=5 must lie in 1 to 4"),
    ],
)
def test_an_epoch_that_thaws_nothing_is_refused(changes, message):
    with pytest.raises(InputError, match=message):
        check_freezing(config(**changes))
    check_freezing(config())
    check_freezing(config(unfreeze_epoch=None, freeze=[]))


@pytest.mark.parametrize("rates, message", [({"network.x": 1.0}, "no module 'network.x'"), ({"loss": 0.0}, "positive")])
def test_bad_rates_are_refused(rates, message):
    with pytest.raises(InputError, match=message):
        parameter_groups(System(0), set(), rates)
