"""Whether compiling the encoder repays: tried within a run that is long enough, and kept where steps become faster."""

import logging
import statistics
import time

import pytorch_lightning as pl
import torch

SETTLING = 5  # steps before eager ones are measured, and before compiled ones, of which the first compile
MEASURED = 20  # steps of either kind, whose median counts
LONG = 1800.0  # seconds of training to come; compiling takes minutes, and saves a quarter or less of each step
FASTER = 0.97  # of the eager step: what a compiled one may take to be kept
log = logging.getLogger("speakerlab")


class Compiling(pl.Callback):
    """`compile=null`: measures steps, then compiles if the run has half an hour to go, and goes back if that is slower.

    What was chosen is in the checkpoint and holds for the rest of the run, so that from there on a resumed run computes
    what the other would have. Whatever can't be compiled runs eagerly, and so is no faster and is dropped.

    Attributes:
        choice: True or False once it is made; a run that is too short for it makes none.
        eager: median seconds of an eager step, while a compiled one is being tried.
    """

    def __init__(self):
        self.choice: bool | None = None
        self.eager: float | None = None
        self.watching = True  # whether something may have to be chosen
        self.ended: float | None = None
        self.seconds: list[float] = []

    def state_dict(self) -> dict:
        return {"choice": self.choice, "eager": self.eager}

    def load_state_dict(self, state_dict: dict) -> None:
        self.choice, self.eager = state_dict["choice"], state_dict["eager"]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Another device, or processes that must take the same steps at the same time, are not tried.
        self.watching = trainer.world_size == 1 and pl_module.device.type in ("cpu", "cuda") and self.choice is None
        if self.eager is not None and self.choice is not False:
            _compile(pl_module)

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.ended = None  # between epochs there are measurements

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: dict, batch: dict, batch_idx: int
    ) -> None:
        if not self.watching or "embeddings" in batch:  # saved ones, which no encoder makes
            return
        if pl_module.device.type == "cuda":
            torch.cuda.synchronize()  # for these few steps; otherwise the time is that of giving orders
        now = time.perf_counter()
        if self.ended is not None:
            self.seconds.append(now - self.ended)
        self.ended = now
        if len(self.seconds) < SETTLING + MEASURED:
            return
        step = statistics.median(self.seconds[SETTLING:])
        self.seconds, self.ended = [], None
        if self.eager is None:
            self._try_it(step, step * _steps_to_come(trainer, batch_idx), pl_module)
        else:
            self._decide(step, pl_module)

    def _try_it(self, step: float, to_come: float, system: pl.LightningModule) -> None:
        if not to_come >= LONG:
            self.watching = False
            return
        self.eager = step
        log.info(
            f"compiles the encoder, which takes minutes: {to_come / 3600:.1f} hours of training are to come "
            "(compile=false never does)"
        )
        _compile(system)

    def _decide(self, step: float, system: pl.LightningModule) -> None:
        self.choice, self.watching = step <= FASTER * self.eager, False
        kept = "it is kept" if self.choice else "it is dropped"
        log.info(f"a compiled step takes {step:.3f} s, another {self.eager:.3f} s: {kept}")
        if not self.choice:
            system.network.run_eagerly()


def _steps_to_come(trainer: pl.Trainer, batch_idx: int) -> float:
    """Batches, after this one."""
    return trainer.num_training_batches * (trainer.max_epochs - trainer.current_epoch) - batch_idx - 1


def _compile(system: pl.LightningModule) -> None:
    import torch._dynamo  # takes seconds

    torch._dynamo.config.suppress_errors = True  # what can't be compiled runs eagerly, since nobody asked for it
    logging.getLogger("torch._dynamo").setLevel(logging.ERROR)  # which it would say at length
    system.network.compile_encoders()
