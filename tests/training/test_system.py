"""A training step, as Lightning runs it."""

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from speakerlab import InputError
from speakerlab.augment.mixup import Mixup
from speakerlab.augment.recipe import Recipe
from speakerlab.encoders.ecapa import Ecapa
from speakerlab.encoders.pooling.statistics import Statistics
from speakerlab.features.fbank import Fbank
from speakerlab.losses.aam import AamSoftmax
from speakerlab.network import SpeakerNetwork
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
