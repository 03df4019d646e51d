"""Where the time of a training step goes: read, crop, augment, copy, features, encoder, loss, optimizer, logging.

    python benchmarks/profile_step.py                                        # ECAPA C=512, C=1024 and ResNet34
    python benchmarks/profile_step.py --models campplus -- trainer.precision=32-true sampler.batch_size=16
    python benchmarks/profile_step.py --models ecapa --steps 4 --warm-up 1   # a try

The trainer, the system and the data module are those of train.py, with whatever arguments of it are given behind `--`;
reading and augmenting happen in the training process (`loader.num_workers=0`), where they can be seen. With workers
they are in other processes, and "crop, collate" is what the step waits for them. Every second step is not taken apart,
to show what taking apart costs: on a GPU each part ends with a wait for it. `compile=null` is taken for false.

Writes benchmarks/profile_step_<date>.md.
"""

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import date
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from resumable import alone
from training_input import arguments_of_input, machine_line, shown

from speakerlab.build import build_corpus
from speakerlab.cli.launch import compose
from speakerlab.training.assembly import build_datamodule, build_system, build_trainer
from speakerlab.training.hardware import hardware_of, prepare_cpu

MODELS = ("ecapa", "ecapa_c1024", "resnet34")
REST = "the rest: Lightning's loop"
LOADER = "crop, collate"
# In the order of a step; a part that never ran is left out.
PARTS = (
    "read",
    "augment, in the loader",
    LOADER,
    "copy to the device",
    "augment the waveform",
    "features",
    "augment the spectrum",
    "encoder, forward",
    "loss, forward",
    "loss, backward",
    "encoder, backward",
    "optimizer, clipping",
    "logging, callbacks",
    REST,
)


class Stopwatch:
    """Whose turn it is: at each moment the time is that of one part alone, so that the parts add up to the step."""

    def __init__(self, device: torch.device):
        self.device = device
        self.running = False
        self.part = REST
        self.seconds: dict[str, float] = {}
        self.since = 0.0

    def now(self) -> float:
        """The time at which the device has done what it was told to."""
        if self.device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def turn(self, part: str) -> str:
        """From now on the time is this part's; whose it was."""
        before, self.part = self.part, part
        if self.running:
            now = self.now()
            self.seconds[before] = self.seconds.get(before, 0.0) + now - self.since
            self.since = now
        return before

    def watch(self, owner: Any, name: str, part: str) -> None:
        """From now on the time within `owner.name(...)` is the part's, and afterwards that of the one before it."""
        function = getattr(owner, name)

        def watched(*arguments, **named):
            before = self.turn(part)
            try:
                return function(*arguments, **named)
            finally:
                self.turn(before)

        object.__setattr__(owner, name, watched)  # past modules and frozen dataclasses, which would have a say


class First(pl.Callback):
    """Before all other callbacks."""

    def __init__(self, watch: Stopwatch):
        self.watch = watch

    def on_train_batch_start(self, *_) -> None:
        self.watch.turn("logging, callbacks")

    def on_before_backward(self, *_) -> None:
        self.watch.turn("loss, backward")

    def on_after_backward(self, *_) -> None:
        self.watch.turn("optimizer, clipping")

    def on_train_batch_end(self, *_) -> None:
        self.watch.turn("logging, callbacks")


class Last(pl.Callback):
    """After all others: ends steps, which last from here to here, and takes every second one apart."""

    def __init__(self, watch: Stopwatch, warm_up: int):
        self.watch = watch
        self.warm_up = warm_up
        self.done = 0
        self.began: float | None = None
        self.plain: list[float] = []
        self.apart: list[dict[str, float]] = []

    def on_train_epoch_start(self, *_) -> None:
        self.began, self.watch.running = None, False  # a loader that starts anew is no part of a step

    def on_train_batch_start(self, *_) -> None:
        self.watch.turn(REST)

    def on_train_batch_end(self, *_) -> None:
        self.watch.turn(LOADER)  # whose time the next batch's is, but for reading and augmenting
        now = self.watch.now()
        if self.began is not None and self.done >= self.warm_up:
            if self.watch.running:
                self.apart.append(self.watch.seconds)
            else:
                self.plain.append(now - self.began)
        self.done += 1
        self.began = self.watch.since = now
        self.watch.running, self.watch.seconds = not self.watch.running, {}


def take_apart(watch: Stopwatch, trainer: pl.Trainer, system: pl.LightningModule, data: pl.LightningDataModule) -> None:
    """Put the stopwatch around the parts of the real objects."""
    augment = data.augment
    if data.recordings is not None:
        watch.watch(data.recordings, "read", "read")
    for owner, name in ((augment, "record"), (augment, "draw")):
        watch.watch(owner, name, "augment, in the loader")
    watch.watch(trainer.strategy, "batch_to_device", "copy to the device")
    watch.watch(augment.waveform, "apply", "augment the waveform")
    watch.watch(augment.spectrum, "apply", "augment the spectrum")
    for branch in system.network.branches.values():
        watch.watch(branch.features, "forward", "features")
        if branch.compiled is None:
            watch.watch(branch.encoder, "forward", "encoder, forward")
        else:
            watch.watch(branch, "compiled", "encoder, forward")
    if hasattr(system.network, "fusion"):
        watch.watch(system.network.fusion, "forward", "encoder, forward")
    watch.watch(system, "optimizer_zero_grad", "optimizer, clipping")
    split_backward(watch, system)


def split_backward(watch: Stopwatch, system: pl.LightningModule) -> None:
    """The backward pass of the encoder begins when the gradient of its embeddings is there."""
    watch.watch(system, "_loss", "loss, forward")
    loss: Callable = system._loss

    def noted(embeddings, batch):
        if embeddings.requires_grad:
            embeddings.register_hook(lambda _: watch.turn("encoder, backward") and None)
        return loss(embeddings, batch)

    object.__setattr__(system, "_loss", noted)


def profile(arguments: list[str], steps: int, warm_up: int) -> dict[str, Any]:
    """Seconds of each part of each step that was taken apart, and of the steps that were not.

    Args:
        arguments: of train.py.
        steps: of either kind.
        warm_up: steps before.
    """
    cfg, _ = compose("train", arguments)
    prepare_cpu(cfg.threads, cfg.keep_memory)
    cfg.compile = bool(cfg.compile)
    cfg.callbacks[cfg.task.name].every_n_epochs = 10**6  # measuring is no part of a step
    cfg.trainer.enable_progress_bar = False
    data = build_datamodule(cfg, build_corpus(cfg))
    cfg.trainer.max_epochs = 2 + (warm_up + 2 * steps) // max(1, len(data.batches()) - 1)
    with tempfile.TemporaryDirectory() as folder:
        trainer = build_trainer(cfg, Path(folder), 0)
        torch.manual_seed(cfg.seed)
        system = build_system(cfg, data)
        watch = Stopwatch(trainer.strategy.root_device)
        take_apart(watch, trainer, system, data)
        last = Last(watch, warm_up)
        enough = Enough(last, steps)
        trainer.callbacks = [First(watch), *trainer.callbacks, last, enough]
        with suppress(EnoughSteps):
            trainer.fit(system, datamodule=data)
    return {"plain": last.plain, "apart": last.apart, "batch": enough.items, "hardware": hardware_of(trainer)}


class EnoughSteps(Exception):
    """Ends a training, with no measuring after it."""


class Enough(pl.Callback):
    """Raises it."""

    def __init__(self, last: Last, steps: int):
        self.last = last
        self.steps = steps
        self.items = 0

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        self.items = outputs["items"]
        if min(len(self.last.plain), len(self.last.apart)) >= self.steps:
            raise EnoughSteps


def quartiles(values: list[float]) -> str:
    """Median in milliseconds, with the first and the third quartile."""
    low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else 3 * values
    return f"{1000 * middle:,.1f} ({1000 * low:,.1f} to {1000 * high:,.1f})"


def table(found: dict[str, dict]) -> list[str]:
    """A row a part, two columns a model."""
    lines = [
        f"| part | {' | '.join(f'{model}, ms | share' for model in found)} |",
        f"|---|{'---:|---:|' * len(found)}",
    ]
    steps = {model: [sum(step.values()) for step in one["apart"]] for model, one in found.items()}
    for part in PARTS:
        if not any(part in step for one in found.values() for step in one["apart"]):
            continue
        cells = []
        for model, one in found.items():
            seconds = [step.get(part, 0.0) for step in one["apart"]]
            cells += [quartiles(seconds), f"{100 * sum(seconds) / sum(steps[model]):.1f} %"]
        lines.append(f"| {part} | {' | '.join(cells)} |")
    lines.append(f"| a step, taken apart | {' | '.join(f'{quartiles(steps[model])} | ' for model in found)} |")
    lines.append(f"| a step as it is | {' | '.join(quartiles(one['plain']) + ' | ' for one in found.values())} |")
    rates = [f"{one['batch'] / statistics.median(one['plain']):,.1f} | " for one in found.values()]
    return [*lines, f"| utterances/s | {' | '.join(rates)} |"]


def report(found: dict[str, dict], given: list[str]) -> str:
    """The Markdown file."""
    hardware = next(iter(found.values()))["hardware"]
    steps = len(next(iter(found.values()))["plain"])
    lines = [
        f"# Where a training step's time goes, {date.today()}",
        "",
        f"`{shown(['python', *sys.argv])}`",
        "",
        f"Arguments of train.py besides the model: `{shown(given)}`.",
        f"Batches of {', '.join(dict.fromkeys(str(one['batch']) for one in found.values()))}; "
        + ", ".join(f"{name} {value}" for name, value in hardware.items())
        + f". Median of {steps} steps or more and their quartiles; the shares are of the sums.",
        "",
        *table(found),
        "",
        machine_line(str(hardware["device"])),
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--steps", type=int, default=20, help="steps of either kind")
    parser.add_argument("--warm-up", type=int, default=4, help="steps before")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / f"profile_step_{date.today()}.md")
    parser.add_argument("overrides", nargs="*", help="further key=value arguments of train.py, behind --")
    arguments = parser.parse_args()
    given = [*arguments_of_input(), "loader.num_workers=0", *arguments.overrides]
    if any(word.startswith(("data=", "augment=")) for word in arguments.overrides):
        given = ["loader.num_workers=0", *arguments.overrides]
    found = {}
    for model in arguments.models:
        found[model] = alone(profile, [f"model={model}", *given, "name=benchmark"], arguments.steps, arguments.warm_up)
        print(*table({model: found[model]}), "", sep="\n", flush=True)
    arguments.output.write_text(report(found, given))
    print(arguments.output)


if __name__ == "__main__":
    main()
