"""One optimizer of several parts against the parts by themselves, and with the regularisers that need it."""

import copy
from functools import partial

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from ranks import on_ranks
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from speakerlab.augment.recipe import Recipe
from speakerlab.build import build, build_loss, build_network
from speakerlab.config import check
from speakerlab.training.assembly import optimizer_nodes
from speakerlab.training.composite_optimizer import CompositeOptimizer
from speakerlab.training.schedules import Constant, WarmupCosine
from speakerlab.training.system import SpeakerSystem


def parts(seed: int = 0) -> tuple[list[torch.nn.Parameter], list[torch.optim.Optimizer]]:
    torch.manual_seed(seed)
    weights = [torch.nn.Parameter(torch.randn(4, 3)), torch.nn.Parameter(torch.randn(5))]
    return weights, [
        torch.optim.AdamW([weights[0]], lr=0.1, weight_decay=0.2),
        torch.optim.Adagrad([weights[1]], lr=0.3),
    ]


def backward(weights: list[torch.nn.Parameter], step: int) -> torch.Tensor:
    loss = (weights[0] * (step + 1)).sin().sum() + (weights[1] - step).square().sum()
    loss.backward()
    return loss


def test_it_steps_each_part_as_it_would_by_itself():
    (apart, single), (together, own) = parts(), parts()
    composite = CompositeOptimizer(own)
    for step in range(4):
        for optimizer in single:
            optimizer.zero_grad()
        backward(apart, step)
        for optimizer in single:
            optimizer.step()
        composite.zero_grad()
        loss = composite.step(lambda step=step: backward(together, step))
        assert loss is not None
    for first, second in zip(apart, together, strict=True):
        assert torch.equal(first, second)


def test_a_rate_set_on_a_group_reaches_the_part():
    weights, own = parts()
    composite = CompositeOptimizer(own)
    before = [weight.detach().clone() for weight in weights]
    composite.param_groups[0]["lr"] = 0.0
    backward(weights, 0)
    composite.step()
    assert torch.equal(weights[0], before[0]) and not torch.equal(weights[1], before[1])


def test_states_go_through_a_checkpoint_and_a_move():
    (first, own), (second, others) = parts(), parts()
    composite, resumed = CompositeOptimizer(own), CompositeOptimizer(others)
    backward(first, 0)
    composite.step()
    with torch.no_grad():
        for source, target in zip(first, second, strict=True):
            target.copy_(source)
    resumed.load_state_dict(copy.deepcopy(composite.state_dict()))
    for parameter, state in list(resumed.state.items()):  # as Lightning moves them to a device
        resumed.state[parameter] = {name: value.clone() for name, value in state.items()}
    resumed.param_groups[1]["lr"] = composite.param_groups[1]["lr"] = 0.01  # the groups are those of the loaded parts
    for weights, optimizer in ((first, composite), (second, resumed)):
        optimizer.zero_grad()
        backward(weights, 1)
        optimizer.step()
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one, other)


def test_looking_at_states_changes_nothing():
    """Adagrad has its states from the start, and Lightning moves them before the other part has any."""
    weights, own = parts()
    composite = CompositeOptimizer(own)
    for parameter, state in composite.state.items():
        composite.state[parameter] = state
    assert not own[0].state and list(own[1].state) == [weights[1]]
    assert composite.state_dict()["parts"][1]["state"][0]["sum"].shape == weights[1].shape
    with pytest.raises(KeyError):
        composite.state[weights[0]]


def test_gradients_of_all_parts_are_clipped_together():
    weights, own = parts()
    composite = CompositeOptimizer(own)
    backward(weights, 3)
    parameters = [parameter for group in composite.param_groups for parameter in group["params"]]
    norm = torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    assert norm > 1 and torch.cat([w.grad.flatten() for w in weights]).norm() == pytest.approx(1.0, rel=1e-4)


# --- Center losses as they train, under Lightning's clipping, accumulation and checkpoints


SPEAKERS = 4
RATES = {"center": 0.1, "contrastive_center": 0.001}
each_regulariser = pytest.mark.parametrize("regulariser", sorted(RATES))


@pytest.fixture
def make(compose, tiny):
    """`make("center")`: the system of `loss=softmax regulariser=center`, the same weights each time."""

    def build_system(regulariser: str, *overrides: str, schedule=None) -> SpeakerSystem:
        cfg, choices = compose("loss=softmax", f"regulariser={regulariser}", *tiny, *overrides)
        cfg = check(cfg, "train", choices)
        torch.manual_seed(0)
        network = build_network(cfg)
        return SpeakerSystem(
            network=network,
            loss=build_loss(cfg, network.embed_dim, SPEAKERS),
            augment=Recipe(),
            optimizers={key: partial(build, node, key) for key, node in optimizer_nodes(cfg).items()},
            schedule=schedule or Constant(),
            margin_schedule=Constant(),
            speakers=list("abcd"),
            config={},
        )

    return build_system


class Batches(pl.LightningDataModule):
    """The same random waveforms every epoch, of the first three speakers of four."""

    def __init__(self, count: int):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.dataset = [
            {
                "waveform": 0.1 * torch.randn(4, 4000, generator=generator),
                "speaker": torch.randint(SPEAKERS - 1, (4,), generator=generator),
                "waveform_draws": {},
                "spectrum_draws": {},
            }
            for _ in range(count)
        ]

    def train_dataloader(self) -> DataLoader:
        return DataLoader(self.dataset, batch_size=None)


def trainer(**settings) -> pl.Trainer:
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    return pl.Trainer(enable_model_summary=False, **quiet, **settings)


def centers(system: SpeakerSystem) -> torch.Tensor:
    return system.loss.losses["regulariser"].centers.detach().clone()


@each_regulariser
def test_the_centres_have_an_optimizer_of_their_own(make, regulariser):
    system = make(regulariser)
    main, spared, own = system.configure_optimizers().param_groups
    assert own["params"][0] is system.loss.losses["regulariser"].centers and len(own["params"]) == 1
    assert own["lr"] == RATES[regulariser] and "base_lr" not in own
    everything = [id(parameter) for group in (main, spared, own) for parameter in group["params"]]
    assert sorted(everything) == sorted(id(parameter) for parameter in system.parameters())


@each_regulariser
def test_the_centres_move_though_the_schedule_holds_the_rest(make, regulariser):
    """At a rate of 0 for the network. The first step of Adagrad is its rate, in the direction of the gradient."""
    system = make(regulariser, schedule=lambda epoch, total: 0.0)
    before, network = centers(system), copy.deepcopy(system.network)
    trainer(max_epochs=1).fit(system, datamodule=Batches(1))
    for first, second in zip(network.parameters(), system.network.parameters()):
        assert torch.equal(first, second)
    moved = (centers(system) - before).abs()
    rate = RATES[regulariser]
    present = Batches(1).dataset[0]["speaker"].unique()
    torch.testing.assert_close(moved[present], torch.full_like(moved[present], rate), rtol=1e-3, atol=1e-6)
    if regulariser == "center":
        assert moved[SPEAKERS - 1].max() == 0  # who is not in the batch stays


@each_regulariser
def test_the_schedule_leaves_the_rate_of_the_centres(make, regulariser):
    system, rates = make(regulariser, schedule=WarmupCosine(1.0, 0.0)), []

    class Watch(pl.Callback):
        def on_train_batch_end(self, trainer, *_):
            rates.append([group["lr"] for group in trainer.optimizers[0].param_groups])

    trainer(max_epochs=2, callbacks=[Watch()]).fit(system, datamodule=Batches(2))
    main, spared, own = zip(*rates)
    assert set(own) == {RATES[regulariser]} and len(set(main)) > 2 and main == spared


@each_regulariser
def test_clipping_and_accumulation_reach_all_of_it(make, regulariser):
    """Against two optimizers stepped by hand: the mean gradient of two batches, clipped as one vector. Plain gradient
    descent for the network, since Adam does not mind the length of a gradient."""
    batches, clip = Batches(6), 0.05
    system, reference = (make(regulariser, "optimizer=sgd").train() for _ in range(2))
    settings = {"accumulate_grad_batches": 2, "gradient_clip_val": clip, "max_epochs": 1}
    trainer(**settings).fit(system, datamodule=batches)

    own = reference.loss.losses["regulariser"].centers
    others = [parameter for parameter in reference.parameters() if parameter is not own]
    decayed, spared = [p for p in others if p.ndim > 1], [p for p in others if p.ndim <= 1]
    parts = [
        torch.optim.SGD(
            [{"params": decayed, "weight_decay": 1e-4}, {"params": spared}], lr=0.1, momentum=0.9, nesterov=True
        ),
        torch.optim.Adagrad([own], RATES[regulariser]),
    ]
    for place in range(0, 6, 2):
        reference.zero_grad()
        for batch in batches.dataset[place : place + 2]:
            (reference.training_step(batch, 0)["loss"] / 2).backward()
        assert torch.nn.utils.clip_grad_norm_(reference.parameters(), clip) > clip
        for part in parts:
            part.step()
    for (name, first), second in zip(system.named_parameters(), reference.parameters()):
        torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-6, msg=lambda text, name=name: f"{name}: {text}")


class Step(torch.nn.Module):
    """A training step as what a module does, which is what torch shares among processes."""

    def __init__(self, system: SpeakerSystem):
        super().__init__()
        self.system = system

    def forward(self, batch: dict) -> torch.Tensor:
        return self.system.training_step(batch, 0)["loss"]


def steps_of_a_rank(rank: int, system: SpeakerSystem) -> dict:
    torch.set_num_threads(1)  # two ranks share the CPUs
    step, optimizer = DistributedDataParallel(Step(system)), system.configure_optimizers()
    for batch in Batches(6).dataset[rank::2]:
        optimizer.zero_grad()
        step(batch).backward()
        torch.nn.utils.clip_grad_norm_(system.parameters(), 0.05)
        optimizer.step()
    return {name: parameter.detach().numpy() for name, parameter in system.named_parameters()}


@each_regulariser
def test_two_processes_step_as_one_that_accumulates(make, regulariser, tmp_path):
    """The mean of both batches' gradients, clipped as one vector; the centres are the same in both."""
    single = make(regulariser, "optimizer=sgd").train()
    settings = {"accumulate_grad_batches": 2, "gradient_clip_val": 0.05, "max_epochs": 1}
    trainer(**settings).fit(single, datamodule=Batches(6))
    first, second = on_ranks(tmp_path, steps_of_a_rank, make(regulariser, "optimizer=sgd").train())
    for name, parameter in single.named_parameters():
        assert (first[name] == second[name]).all(), name
        np.testing.assert_allclose(first[name], parameter.detach().numpy(), rtol=1e-4, atol=1e-6, err_msg=name)


@each_regulariser
def test_a_resumed_run_keeps_the_state_of_the_centres(make, regulariser, tmp_path):
    """Four epochs without a break, and two and two: the same weights, bit for bit."""
    undisturbed, first, resumed = (make(regulariser) for _ in range(3))
    trainer(max_epochs=4).fit(undisturbed, datamodule=Batches(3))
    stopped = trainer(max_epochs=2)
    stopped.fit(first, datamodule=Batches(3))
    stopped.save_checkpoint(tmp_path / "last.ckpt")
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)["optimizer_states"][0]["parts"][1]
    assert state["state"][0]["step"] == 6 and state["state"][0]["sum"].max() > 0
    trainer(max_epochs=4).fit(resumed, datamodule=Batches(3), ckpt_path=tmp_path / "last.ckpt", weights_only=True)
    for one, other in zip(undisturbed.parameters(), resumed.parameters()):
        assert torch.equal(one, other)
    assert not torch.equal(centers(first), centers(resumed))
