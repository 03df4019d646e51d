"""What is chosen, by a clock that only the encoder moves; and what real compiling leaves behind."""

from types import SimpleNamespace

import pytest
import pytorch_lightning as pl
import torch
import torch._dynamo
from processes import run_new
from torch import nn
from torch.utils.data import DataLoader

from speakerlab.augment.recipe import Recipe
from speakerlab.losses.aam import AamSoftmax
from speakerlab.network import SpeakerNetwork
from speakerlab.training import compiling
from speakerlab.training.compiling import MEASURED, SETTLING, Compiling
from speakerlab.training.schedules import Constant, MarginRamp
from speakerlab.training.system import SpeakerSystem

BOTH = SETTLING + MEASURED + 1  # steps until something is decided


class Raw(nn.Module):
    def forward(self, waveform, lengths=None):
        return waveform, None


class Slow(nn.Module):
    """An encoder that takes two seconds of the clock."""

    embed_dim = 6

    def __init__(self, clock):
        super().__init__()
        self.clock = clock
        self.project = nn.Linear(10, 6)

    def forward(self, x, frames):
        self.clock.now += 2.0
        return self.project(x)


@pytest.fixture
def machine(monkeypatch):
    """A clock, and a compiler whose functions take `compiled` seconds, the first of them 100 more."""
    clock = SimpleNamespace(now=0.0, compiled=1.0, calls=0)

    def compile_it(forward):
        def compiled(x, frames):
            found = forward(x, frames)
            clock.now += clock.compiled - 2.0 + (100.0 if clock.calls == 0 else 0.0)
            clock.calls += 1
            return found

        return compiled

    monkeypatch.setattr(compiling, "time", SimpleNamespace(perf_counter=lambda: clock.now))
    monkeypatch.setattr(torch, "compile", compile_it)
    with torch._dynamo.config.patch(suppress_errors=False):  # given back afterwards
        yield clock


def fit(clock, callback: Compiling, batches: int, epochs: int = 1) -> SpeakerSystem:
    system = SpeakerSystem(
        network=SpeakerNetwork(Raw(), Slow(clock)),
        loss=AamSoftmax(6, 4),
        augment=Recipe(),
        optimizers={"optimizer": lambda groups: torch.optim.SGD(groups, lr=0.1)},
        schedule=Constant(),
        margin_schedule=MarginRamp(0.0, 0.0),
        speakers=list("abcd"),
        config={},
    )
    batch = {"waveform": torch.randn(4, 10), "speaker": torch.arange(4), "waveform_draws": {}, "spectrum_draws": {}}
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    trainer = pl.Trainer(max_epochs=epochs, callbacks=[callback], enable_model_summary=False, **quiet)
    trainer.fit(system, DataLoader([batch] * batches, batch_size=None))
    return system


def test_a_long_run_is_compiled_and_the_faster_is_kept(machine):
    callback = Compiling()
    system = fit(machine, callback, batches=1000)
    assert callback.state_dict() == {"choice": True, "eager": 2.0}
    assert system.network.compiled is not None and machine.calls == 1000 - BOTH


def test_the_slower_is_dropped(machine):
    machine.compiled = 1.96  # not worth it
    callback = Compiling()
    system = fit(machine, callback, batches=1000)
    assert callback.choice is False
    assert system.network.compiled is None and machine.calls == BOTH


@pytest.mark.parametrize("epochs, expected", [(1, None), (10, True)])
def test_a_run_is_as_long_as_all_its_epochs(machine, epochs, expected):
    """Of 100 steps of 2 s."""
    callback = Compiling()
    fit(machine, callback, batches=100, epochs=epochs)
    assert callback.choice is expected and (machine.calls > 0) is bool(expected)


def test_what_lies_between_epochs_is_no_step(machine):
    """Epochs shorter than what is measured, with an hour between them."""

    class Pause(Compiling):
        def on_train_epoch_end(self, trainer, pl_module):
            machine.now += 3600.0

    callback = Pause()
    fit(machine, callback, batches=10, epochs=200)
    assert callback.state_dict() == {"choice": True, "eager": 2.0}


@pytest.mark.parametrize(
    "state, calls",
    [
        ({"choice": True, "eager": 2.0}, 30),
        ({"choice": False, "eager": 2.0}, 0),
        ({"choice": False, "eager": None}, 0),
        ({"choice": None, "eager": 2.0}, 30),  # while it was being tried
        ({"choice": None, "eager": None}, 0),
    ],
)
def test_a_resumed_run_goes_on_with_what_was_chosen(machine, state, calls):
    callback = Compiling()
    callback.load_state_dict(state)
    fit(machine, callback, batches=30)
    assert machine.calls == calls


def test_saved_embeddings_have_no_encoder(machine):
    callback = Compiling()
    trainer, system = SimpleNamespace(world_size=1), SimpleNamespace(device=torch.device("cpu"))
    for number in range(2 * BOTH):
        callback.on_train_batch_end(trainer, system, {}, {"embeddings": []}, number)
    assert callback.state_dict() == {"choice": None, "eager": None} and not callback.seconds


@pytest.mark.slow
@pytest.mark.parametrize("model", ["ecapa", "resnet18"])
def test_a_compiled_run_leaves_a_plain_checkpoint_and_goes_on_bit_for_bit(tmp_path, folders, tiny, model):
    given = tiny
    if model == "resnet18":
        given = [word for word in tiny if not word.startswith(("model.", "pooling."))]
        given += ["model=resnet18", "model.encoder.width=8", "model.encoder.embed_dim=8"]
    # Small steps, from which roundings do not grow, and not Adam's, which are of full size where a gradient is zero but
    # for roundings, as that of an attention's last bias.
    given = [*folders.overrides(), *given, "optimizer=sgd", "optimizer.lr=0.001", "name=tiny", "trainer.max_epochs=2"]

    def train(name: str, *more: str) -> dict:
        done = run_new("train.py", *given, f"output_dir={tmp_path / name}", *more, cwd=tmp_path)
        assert done.rc == 0, done.stderr
        (path,) = (tmp_path / name).glob("tiny/*/checkpoints/last.ckpt")
        return torch.load(path, weights_only=True)

    plain, whole = train("plain", "compile=false"), train("whole", "compile=true")
    assert whole["state_dict"].keys() == plain["state_dict"].keys()
    for name, value in plain["state_dict"].items():
        torch.testing.assert_close(whole["state_dict"][name], value, rtol=1e-5, atol=1e-5, msg=name)
    train("parts", "compile=true", "+trainer.max_steps=6")
    (run,) = (tmp_path / "parts").glob("tiny/*")
    resumed = train("parts", "compile=true", f"ckpt={run}")
    assert resumed["global_step"] == whole["global_step"] == 12
    assert all(torch.equal(resumed["state_dict"][name], value) for name, value in whole["state_dict"].items())
    done = run_new("evaluate.py", f"ckpt={run}", cwd=tmp_path)  # without a compiler's help
    assert done.rc == 0, done.stderr
