"""Short trials before a long run: which learning rate, and how large a batch."""

import math
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytorch_lightning as pl
import torch
from omegaconf import DictConfig, OmegaConf

from speakerlab import InputError
from speakerlab.data.corpus import Corpus
from speakerlab.training.assembly import build_datamodule, build_system, build_trainer
from speakerlab.training.fine_tuning import read_start

SMOOTHING = 0.9  # of the loss, before its slope is looked at
DIVERGED = 4.0  # times the lowest smoothed loss: the end of a range test
SIZES = ("batch_size", "speakers_per_batch", "max_seconds")  # what a sampler's batches grow by


@dataclass(frozen=True)
class RangeTest:
    """Losses of a training whose rate rose from step to step.

    Attributes:
        rates: of the steps.
        losses: smoothed, without the bias of the start.
        suggested: the rate where the loss fell most steeply over the logarithm of the rate.
    """

    rates: list[float]
    losses: list[float]
    suggested: float


@dataclass(frozen=True)
class Fit:
    """A batch size that was tried.

    Attributes:
        size: of the sampler's key.
        items_per_second: of a step after the first.
        memory: peak in bytes: of the GPU's allocations, or of the process where there is none.
    """

    size: int
    items_per_second: float
    memory: int


def range_test(
    cfg: DictConfig, corpus: Corpus, lowest: float, highest: float, steps: int, trust: tuple[str, ...] = ()
) -> RangeTest:
    """Train while the learning rate rises exponentially, until the loss has left its lowest value far below.

    Smith: "Cyclical Learning Rates for Training Neural Networks", WACV 2017, section 3.3.

    Raises:
        InputError: if there were too few steps to see a slope.
    """
    watch = _Watch()
    cfg = _alone(cfg)
    data = build_datamodule(cfg, corpus, trust)
    cfg.trainer.max_epochs = -(-steps // len(data.batches()))
    base = cfg.optimizer.lr

    def schedule(epoch: float, total: float) -> float:
        return lowest * (highest / lowest) ** min(1.0, epoch * len(data.batches()) / steps) / base

    _train(cfg, data, trust, watch, steps, schedule)
    if len(watch.losses) < 10:
        raise InputError(f"the loss grew within {len(watch.losses)} steps; begin at a lower rate than {lowest:g}")
    losses = smoothed(watch.losses)
    return RangeTest(watch.rates, losses, steepest(watch.rates, losses))


def smoothed(losses: list[float]) -> list[float]:
    """Exponential moving average, divided by the weight that it has of losses at all."""
    mean, found = 0.0, []
    for step, loss in enumerate(losses, 1):
        mean = SMOOTHING * mean + (1 - SMOOTHING) * loss
        found.append(mean / (1 - SMOOTHING**step))
    return found


def steepest(rates: list[float], losses: list[float]) -> float:
    """The rate where the loss falls most over the logarithm of the rate, before its lowest value; the first tenth of
    the steps, in which the average is young, does not count."""
    lowest = max(range(len(losses)), key=lambda step: -losses[step])
    first = len(losses) // 10
    slopes = {
        step: (losses[step + 1] - losses[step - 1]) / math.log(rates[step + 1] / rates[step - 1])
        for step in range(max(1, first), min(lowest, len(losses) - 1))
    }
    return rates[min(slopes, key=slopes.get)] if slopes else rates[lowest]


def batch_sizes(
    cfg: DictConfig, corpus: Corpus, most: int, trust: tuple[str, ...] = (), steps: int = 3
) -> Iterator[Fit]:
    """Train some steps with batches twice as large each time, up to `most` or as long as they fit.

    Raises:
        InputError: for what stops the smallest batches, too.
    """
    key = size_key(cfg)
    size = smallest = 2 * math.ceil(cfg.sampler[key] / 16)
    while size <= most:
        trial = _alone(cfg)
        trial.sampler[key] = size
        trial.trainer.max_epochs = 1
        watch = _Watch()
        try:
            data = build_datamodule(trial, corpus, trust)
            _reset_peak()
            _train(trial, data, trust, watch, steps, lambda epoch, total: 1.0)
        except torch.OutOfMemoryError:
            return
        except InputError:
            if size == smallest:
                raise
            return  # more than the corpus has
        seconds, items = watch.seconds[1:] or watch.seconds, watch.items[1:] or watch.items
        fit = Fit(size, sum(items) / sum(seconds), _peak())
        yield fit
        if not torch.cuda.is_available() and 2 * fit.memory > _physical():
            return  # a CPU would swap, not stop
        size *= 2


def size_key(cfg: DictConfig) -> str:
    """What the sampler's batches grow by.

    Raises:
        InputError: if it has nothing of the kind.
    """
    for key in SIZES:
        if key in cfg.sampler:
            return key
    raise InputError(f"sampler: has none of {', '.join(SIZES)}; choose another sampler to look for a batch size")


class _Watch(pl.Callback):
    """Notes rate, loss, items and seconds of each step."""

    def __init__(self):
        self.rates, self.losses, self.items, self.seconds = [], [], [], []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx) -> None:
        self.started = time.perf_counter()

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        loss = float(outputs["batch_loss"])  # waits for a GPU
        self.seconds.append(time.perf_counter() - self.started)
        self.items.append(outputs["items"])
        self.rates.append(trainer.optimizers[0].param_groups[0]["lr"])
        self.losses.append(loss)
        found = smoothed(self.losses)
        if not math.isfinite(loss) or found[-1] > DIVERGED * min(found):
            self.losses.pop(), self.rates.pop()
            trainer.should_stop = True


def _alone(cfg: DictConfig) -> DictConfig:
    """The config without what keeps a run: callbacks and folders."""
    plain = OmegaConf.create(OmegaConf.to_container(cfg, resolve=True))
    plain.callbacks = {}
    plain.compile = bool(cfg.compile)  # a trial is too short to find out whether it repays
    plain.trainer.enable_progress_bar = False
    plain.trainer.accumulate_grad_batches = 1
    return plain


def _train(
    cfg: DictConfig,
    data: pl.LightningDataModule,
    trust: tuple[str, ...],
    watch: _Watch,
    steps: int,
    schedule: Callable[[float, float], float],
) -> None:
    torch.manual_seed(cfg.seed)
    system = build_system(cfg, data, trust, start=read_start(cfg))
    system.schedule = schedule
    system.margin_schedule = lambda epoch, total: 0.0  # as in the first steps of a run, whose loss it moves
    with tempfile.TemporaryDirectory() as folder:
        trainer = build_trainer(cfg, Path(folder), 0, trust)
        trainer.fit_loop.epoch_loop.max_steps = steps
        trainer.callbacks.append(watch)
        trainer.fit(system, datamodule=data)


def _reset_peak() -> None:
    if torch.cuda.is_available():
        torch.cuda.reset_peak_memory_stats()
    else:
        Path("/proc/self/clear_refs").write_text("5")


def _peak() -> int:
    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated()
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return 1024 * int(status["VmHWM"].split()[0])


def _physical() -> int:
    memory = dict(line.split(":", 1) for line in Path("/proc/meminfo").read_text().splitlines())
    return 1024 * int(memory["MemTotal"].split()[0])
