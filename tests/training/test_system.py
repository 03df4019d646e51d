"""A training step, as Lightning runs it."""

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from speakerlab import InputError
from speakerlab.augment.chain import Chain
from speakerlab.augment.mixup import Mixup
from speakerlab.augment.recipe import Recipe
from speakerlab.encoders.ecapa import Ecapa
from speakerlab.encoders.pooling.statistics import Statistics
from speakerlab.features.fbank import Fbank
from speakerlab.features.raw import Raw
from speakerlab.fusion.fusion import Fusion
from speakerlab.losses.aam import AamSoftmax
from speakerlab.network import FusionNetwork, SpeakerNetwork
from speakerlab.training.fine_tuning import freeze
from speakerlab.training.schedules import Constant, MarginRamp, WarmupCosine
from speakerlab.training.system import SpeakerSystem, random_state, restore_random_state


def system(margin_schedule=None, schedule=None, compile_encoder=False, augment=None) -> SpeakerSystem:
    torch.manual_seed(0)
    network = SpeakerNetwork(
        Fbank(8), Ecapa(8, Statistics, channels=16, embed_dim=6, pooled_channels=24, dilations=(2,))
    )
    return SpeakerSystem(
        network=network,
        loss=AamSoftmax(6, 4, margin=0.2),
        augment=augment or Recipe(),
        optimizers={"optimizer": lambda groups: torch.optim.SGD(groups, lr=0.5, weight_decay=0.1)},
        schedule=schedule or Constant(),
        margin_schedule=margin_schedule or MarginRamp(0.0, 0.0),
        speakers=list("abcd"),
        config={},
        compile_encoder=compile_encoder,
    )


def batches(count: int) -> list[dict]:
    generator = torch.Generator().manual_seed(1)
    return [
        {
            "waveform": 0.1 * torch.randn(4, 4000, generator=generator),
            "speaker": torch.arange(4),
            "waveform_draws": {},
            "spectrum_draws": {},
        }
        for _ in range(count)
    ]


class Watch(pl.Callback):
    """What each batch reported, and the rate and margin that it was trained with."""

    def __init__(self):
        self.outputs, self.rates, self.margins = [], [], []

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.outputs.append({name: float(value) for name, value in outputs.items()})
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])
        self.margins.append(pl_module.margin)


def fit(model: SpeakerSystem, count: int = 4, **settings) -> Watch:
    watch = Watch()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    trainer = pl.Trainer(callbacks=[watch], enable_model_summary=False, **quiet, **settings)
    trainer.fit(model, DataLoader(batches(count), batch_size=None))
    return watch


def test_accumulation_reports_the_loss_itself():
    once, four = (fit(system(), max_epochs=1, accumulate_grad_batches=n).outputs[0] for n in (1, 4))
    assert four["batch_loss"] == pytest.approx(once["batch_loss"], rel=1e-6)


def test_the_step_is_the_loss_of_the_networks_embeddings():
    model = system()
    batch = batches(1)[0]
    outputs = model.training_step(batch, 0)
    embeddings = model.network.train()(batch["waveform"])
    cosine = F.normalize(embeddings) @ F.normalize(model.loss.classifier.weight).T
    angle = torch.arccos(cosine.double().clamp(-1, 1))
    shifted = torch.where(torch.eye(4, dtype=torch.bool), torch.cos(angle + 0.2), cosine.double())
    expected = -(32 * shifted).log_softmax(dim=1).diagonal().mean()
    assert float(outputs["loss"]) == pytest.approx(float(expected), rel=1e-4)
    assert float(outputs["accuracy"]) == (cosine.argmax(dim=1) == torch.arange(4)).float().mean()
    assert outputs["items"] == 4


class Double:
    """In place of masks of the spectrum."""

    def apply(self, x, drawn):
        return 2 * x


class Ends(nn.Module):
    """The first two values of features, as an encoder."""

    embed_dim = 2

    def forward(self, features, lengths=None):
        return features.flatten(1)[:, :2]


def fused() -> FusionNetwork:
    torch.manual_seed(0)
    branches = {"mel": SpeakerNetwork(Fbank(8), Ends()), "wave": SpeakerNetwork(Raw(), Ends())}
    return FusionNetwork(branches, Fusion([2, 2], "concatenate", embed_dim=6, norm="none", branch_dropout=0.0))


@pytest.mark.parametrize("weight", [None, 0.3])
def test_masks_are_for_spectra_and_mixup_is_for_the_features_of_each_branch(weight):
    """A waveform's only bin masked would be silence."""
    model = system(augment=Recipe(spectrum=Chain({"double": Double()}), mixup=None if weight is None else Mixup()))
    model.network = fused().train()
    batch = batches(1)[0] | {"spectrum_draws": {"double": {}}}
    x, seen = batch["waveform"], []
    mel, wave = 2 * model.network.branches["mel"].features(x)[0], x
    if weight is not None:
        batch["mixup_weight"] = torch.full((4,), weight)
        mel, wave = (weight * one + (1 - weight) * one[[2, 3, 0, 1]] for one in (mel, wave))
    model.network.fusion.register_forward_pre_hook(lambda _, inputs: seen.extend(inputs[0]))
    model.training_step(batch, 0)
    torch.testing.assert_close(seen[0], mel.flatten(1)[:, :2])
    torch.testing.assert_close(seen[1], wave[:, :2])


def test_saved_embeddings_of_branches_are_fused():
    model = system()
    model.network = fused().train()
    parts = [torch.randn(4, 2), torch.randn(4, 2)]
    outputs = model.training_step({"embeddings": parts, "speaker": torch.arange(4)}, 0)
    expected, _ = model.loss(model.network.fusion(parts), torch.arange(4))
    assert float(outputs["loss"]) == float(expected) and outputs["items"] == 4


def test_frozen_branches_keep_no_activations():
    """What autograd keeps of a step is the fusion's and the loss's, however large the branches are."""
    kept = {}
    for frozen in (False, True):
        model = system()
        encoder = Ecapa(8, Statistics, channels=16, embed_dim=6, pooled_channels=24)
        mel = SpeakerNetwork(Fbank(8), encoder)
        model.network = FusionNetwork({"mel": mel, "wave": SpeakerNetwork(Raw(), Ends())}, Fusion([6, 2], embed_dim=6))
        if frozen:
            freeze(model, ["network.branches"], batch_norms=False)
        model.train()
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda x: sizes.append(x.numel()) or x, lambda x: x):  # noqa: B023
            loss = model.training_step(batches(1)[0], 0)["loss"]
        loss.backward()
        kept[frozen] = sum(sizes)
        assert all((p.grad is None) is frozen for p in encoder.parameters())
        assert model.network.fusion.combine.gate.weight.grad is not None
    assert kept[True] < 0.2 * kept[False]


def test_what_was_frozen_trains_from_its_epoch_on():
    model = system()
    frozen = freeze(model, ["network.encoder"], batch_norms=False, until=2)
    model.frozen, start = frozen, model.network.encoder.project.weight.clone()
    seen = []

    class Look(pl.Callback):
        def on_train_batch_end(self, trainer, pl_module, *_):
            encoder = pl_module.network.encoder
            seen.append((not torch.equal(encoder.project.weight, start), encoder.training))

    watch = Look()
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    trainer = pl.Trainer(callbacks=[watch], max_epochs=4, enable_model_summary=False, **quiet)
    trainer.fit(model, DataLoader(batches(2), batch_size=None))
    assert seen == 4 * [(False, False)] + 4 * [(True, True)]


class Pairs(nn.Module):
    """A loss that compares embeddings and classifies nothing."""

    def forward(self, embeddings, speakers):
        return torch.pdist(embeddings).mean(), None


@pytest.mark.parametrize("weight", [0.2, 0.8])
def test_mixup_weights_features_and_losses_alike(weight):
    model, batch = system(), batches(1)[0]
    others = [2, 3, 0, 1]  # half a batch further
    features, _ = model.network.features(batch["waveform"], None)
    embeddings = model.network.encoder.train()(weight * features + (1 - weight) * features[others])
    (own, logits), (other, _) = (model.loss(embeddings, target) for target in (batch["speaker"], torch.tensor(others)))
    model = system(augment=Recipe(mixup=Mixup()))
    outputs = model.training_step(batch | {"mixup_weight": torch.tensor([weight, 0.5, 0.5, 0.5])}, 0)
    assert float(outputs["loss"]) == pytest.approx(float(weight * own + (1 - weight) * other), rel=1e-4)
    heavier = batch["speaker"] if weight > 0.5 else torch.tensor(others)
    assert float(outputs["accuracy"]) == (logits.argmax(dim=1) == heavier).float().mean()


def test_mixup_is_refused_for_losses_that_do_not_classify():
    model = system(augment=Recipe(mixup=Mixup()))
    model.loss = Pairs()
    with pytest.raises(InputError, match=r"^augment\.mixup needs a loss that classifies; Pairs compares"):
        model.training_step(batches(1)[0] | {"mixup_weight": torch.ones(4)}, 0)


def test_schedules_count_epochs_whatever_the_number_of_batches():
    for count in (2, 4):
        watch = fit(
            system(MarginRamp(0.0, 1.0), WarmupCosine(1.0, 0.0)), count=count, max_epochs=2, accumulate_grad_batches=1
        )
        assert watch.rates[0] == 0 and watch.rates[count // 2] == pytest.approx(0.25)  # half an epoch of warm-up
        assert watch.rates[count] == pytest.approx(0.5)
        assert watch.margins[count] == pytest.approx(0.1)  # one epoch of two


def test_norms_and_biases_are_spared_the_weight_decay():
    model = system()
    decayed, spared = model.configure_optimizers().param_groups
    assert (decayed["weight_decay"], spared["weight_decay"]) == (0.1, 0.0)
    assert all(parameter.ndim > 1 for parameter in decayed["params"])
    assert all(parameter.ndim <= 1 for parameter in spared["params"])
    assert len(decayed["params"]) + len(spared["params"]) == len(list(model.parameters()))


def test_random_state_is_restored():
    before = random_state()
    drawn = nn.functional.dropout(torch.ones(1000))
    restore_random_state(before)
    assert torch.equal(nn.functional.dropout(torch.ones(1000)), drawn)


def test_compiling_adds_no_parameters():
    assert system(compile_encoder=True).state_dict().keys() == system().state_dict().keys()
