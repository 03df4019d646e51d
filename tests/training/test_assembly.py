"""What a value out of range says, before any data is read."""

import pytest
import torch

from speakerlab import InputError
from speakerlab.config import check
from speakerlab.training.assembly import build_trainer, try_components


@pytest.mark.parametrize(
    "override, message",
    [
        ("model.encoder.channels=12", r"model\.encoder: channels=12"),
        ("features.low_hz=9000", r"features: low_hz=9000"),
        ("loss.margin=4", r"loss: margin=4"),
        ("sampler.batch_size=1", r"sampler: batch_size=1"),
        ("scheduler.warmup_epochs=-1", r"scheduler: warmup_epochs=-1"),
        ("margin.end=2", r"margin: start=0.0 and end=2"),
        ("optimizer.lr=-1", r"optimizer: .*-1"),
        ("trainer.max_epochs=0", r"trainer\.max_epochs=0"),
        ("trainer.max_epochs=null", r"trainer\.max_epochs=None"),
        ("loader.crop_seconds=0", r"loader\.crop_seconds=0"),
        ("loader.num_workers=-1", r"loader\.num_workers=-1"),
    ],
)
def test_out_of_range_values_stop_before_any_data(compose, override, message):
    cfg, choices = compose(override)
    with pytest.raises(InputError, match=message):
        try_components(check(cfg, "train", choices))


class Metric(torch.nn.Module):
    """A loss that compares embeddings and names nobody."""

    def __init__(self, embed_dim: int, num_speakers: int, margin: float = 0.2):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))

    def forward(self, embeddings, speakers):
        return (embeddings * self.weight).sum(), None


def test_identification_needs_a_loss_that_names_speakers(compose):
    cfg, choices = compose("task=identification")
    try_components(check(cfg, "train", choices))
    mine = f"{Metric.__module__}.Metric"
    metric = [f"loss._target_={mine}", "~loss.scale", "~loss.easy_margin"]
    cfg, choices = compose("task=identification", *metric)
    with pytest.raises(
        InputError, match="task=identification needs a loss with logits, such as loss=aam; Metric gives"
    ):
        try_components(check(cfg, "train", choices, (mine,)), (mine,))
    cfg, choices = compose(*metric)
    try_components(check(cfg, "train", choices, (mine,)), (mine,))


@pytest.mark.parametrize("task", ["verification", "identification"])
def test_the_tasks_own_measurement_runs(compose, tmp_path, task):
    cfg, choices = compose(f"task={task}", "trainer=cpu")
    trainer = build_trainer(check(cfg, "train", choices), tmp_path, 0)
    names = [type(callback).__name__ for callback in trainer.callbacks]
    assert [name for name in names if name in ("Verification", "Identification")] == [task.capitalize()]
    assert names.index(task.capitalize()) < names.index("Progress") < names.index("Checkpoints")
    cfg, choices = compose(f"task={task}", f"callbacks.{task}=null")
    with pytest.raises(InputError, match=f"callbacks.{task} can't be null"):
        try_components(check(cfg, "train", choices))
