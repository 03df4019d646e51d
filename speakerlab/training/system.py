"""Any network with any loss, as a Lightning module."""

import logging
from collections.abc import Callable
from functools import partial

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from speakerlab import InputError
from speakerlab.augment.mixup import mix, partners
from speakerlab.augment.recipe import Recipe
from speakerlab.network import FusionNetwork, SpeakerNetwork, left_out
from speakerlab.scoring.metrics import monitored
from speakerlab.training.composite_optimizer import CompositeOptimizer
from speakerlab.training.fine_tuning import Frozen, parameter_groups

log = logging.getLogger("speakerlab")
Schedule = Callable[[float, float], float]
OptimizerFactory = Callable[[list[dict]], torch.optim.Optimizer]


class SpeakerSystem(pl.LightningModule):
    """`waveform -> waveform augmentation -> features -> spectrum augmentation -> encoder -> loss`.

    Args:
        network: features and encoder, or several of both and their fusion.
        loss: `(embeddings, speakers) -> loss, margin-free logits or None`.
        augment: what is done to a batch, drawn by the workers.
        optimizers: each makes one from parameter groups: `optimizer`, and `regulariser.optimizer` for the parameters of
            the loss's regulariser, whose rate no schedule changes.
        schedule: factor of the learning rate at (epoch, total epochs); fractions of an epoch count.
        margin_schedule: share of the loss's margin, likewise; unused by losses without a margin.
        speakers: names in class order; a voice that speed perturbation makes has one of its own.
        config: the plain, resolved config; kept in the checkpoint, where it rebuilds the network.
        rates: factors of the learning rate by name of a module; see `fine_tuning.parameter_groups`.
        whole_utterances: batches are padded, so that the network must know the lengths.
        compile_encoder: run the encoders of a training step through `torch.compile`.
        notes: lines for the run's log.
    """

    def __init__(
        self,
        network: SpeakerNetwork | FusionNetwork,
        loss: nn.Module,
        augment: Recipe,
        optimizers: dict[str, OptimizerFactory],
        schedule: Schedule,
        margin_schedule: Schedule,
        speakers: list[str],
        config: dict,
        rates: dict[str, float] | None = None,
        whole_utterances: bool = False,
        compile_encoder: bool = False,
        notes: tuple[str, ...] = (),
    ):
        super().__init__()
        self.network = network
        if compile_encoder:
            network.compile_encoders()
        self.loss = loss
        self.augment = augment
        self.whole_utterances = whole_utterances
        self.factories = optimizers
        self.schedule = schedule
        self.margin_schedule = margin_schedule
        self.margin_losses = [module for module in loss.modules() if hasattr(module, "margin_share")]
        self.speakers = speakers
        self.config = config
        self.rates = rates or {}
        self.notes = notes
        # What the task's callback measured at the end of this epoch; empty where it did not.
        self.development_metrics: dict[str, float] = {}
        self.restored_random_state: dict[str, Tensor] | None = None
        self.frozen: Frozen | None = None

    def training_step(self, batch: dict, batch_idx: int) -> dict[str, Tensor | int]:
        if "embeddings" in batch:  # of branches, computed before
            embeddings = self.network.fuse(batch["embeddings"])
        else:
            waveform = self.augment.waveform.apply(batch["waveform"], batch["waveform_draws"])
            lengths = batch["length"] if self.whole_utterances else None
            embeddings = self.network(waveform, lengths, partial(self._change, batch=batch))  # (batch, embed_dim)
        loss, logits, speakers = self._loss(embeddings, batch)
        # Without the margin: with it, a well-trained model looks as if it classified badly.
        correct = None if logits is None else (logits.argmax(dim=1) == speakers).float().mean()
        # Lightning divides what it finds under "loss" by the batches accumulated; people want the loss itself.
        return {"loss": loss, "batch_loss": loss.detach(), "accuracy": correct, "items": len(embeddings)}

    def _change(self, features: Tensor, batch: dict) -> Tensor:
        """What is done to features `([batch, channels,] frames, dim)` before they are encoded."""
        if features.shape[-1] > 1:  # a waveform has no spectrum, and its only bin masked would be silence
            features = self.augment.spectrum.apply(features, batch["spectrum_draws"])
        return features if self.augment.mixup is None else mix(features, batch["mixup_weight"][0])

    def _loss(self, embeddings: Tensor, batch: dict) -> tuple[Tensor, Tensor | None, Tensor]:
        """The loss, margin-free logits and the speakers `(batch,)` that these should show.

        Under mixup the losses of the two speakers of each item are weighted as their features were, and the heavier
        one should show.
        """
        speakers = batch["speaker"]
        loss, logits = self.loss(embeddings, speakers)
        if self.augment.mixup is None:
            return loss, logits, speakers
        if logits is None:
            raise InputError(
                f"augment.mixup needs a loss that classifies; {type(self.loss).__name__} compares embeddings: choose "
                "another loss, or augment.mixup=null"
            )
        weight, others = batch["mixup_weight"][0], partners(speakers)
        other_loss, _ = self.loss(embeddings, others)
        return torch.lerp(other_loss, loss, weight), logits, torch.where(weight >= 0.5, speakers, others)

    @property
    def margin(self) -> float | None:
        """That of the loss at present; None where it has none."""
        for loss in self.margin_losses:
            return loss.margin_share * loss.margin
        return None

    def forward(self, waveform: Tensor, lengths: Tensor | None = None) -> Tensor:
        return self.network(waveform, lengths)

    def on_train_batch_start(self, batch: dict, batch_idx: int) -> None:
        epoch = self.current_epoch + batch_idx / self.trainer.num_training_batches
        total = self.trainer.max_epochs
        # Here and not when an epoch starts, which a run that goes on within one does not see.
        if self.frozen is not None and self.frozen.until is not None and epoch >= self.frozen.until:
            log.info(f"epoch {self.current_epoch + 1}: what was frozen trains from here on")
            self.frozen.thaw()
            self.frozen = None
        for group in self.trainer.optimizers[0].param_groups:
            if "base_lr" in group:
                group["lr"] = group["base_lr"] * self.schedule(epoch, total)
        for loss in self.margin_losses:
            loss.margin_share = self.margin_schedule(epoch, total)

    def size(self) -> int:
        """Number of the network's parameters; those of the loss are not used after training."""
        return sum(parameter.numel() for parameter in self.network.parameters())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """One optimizer, or where a regulariser has its own, both as one."""
        apart = list(self.loss.losses["regulariser"].parameters()) if "regulariser.optimizer" in self.factories else []
        groups = parameter_groups(self, set(apart), self.rates, self.frozen.later if self.frozen else ())
        optimizer = self.factories["optimizer"]([group for _, group in groups])
        for (rate, _), group in zip(groups, optimizer.param_groups, strict=True):
            group["base_lr"] = rate * group["lr"]
        if apart:
            own = self.factories["regulariser.optimizer"]([{"params": apart}])
            optimizer = CompositeOptimizer([optimizer, own])
        # Fused optimizers offer to undo the loss scaling within their step, which is after gradients are clipped, so
        # that Lightning refuses to clip. Told that they can't, it undoes the scaling before it clips.
        optimizer._step_supports_amp_scaling = False
        return optimizer

    def on_train_epoch_end(self) -> None:
        # After the callbacks that measure, before the one that keeps checkpoints.
        if self.development_metrics and hasattr(self.schedule, "observe"):
            self.schedule.observe(self.development_metrics[monitored(self.development_metrics)])

    def on_save_checkpoint(self, checkpoint: dict) -> None:
        checkpoint["config"] = self.config
        checkpoint["speakers"] = self.speakers
        checkpoint["left_out"] = left_out(self.network)
        checkpoint["voices"] = len(self.augment.class_names(["one"]))
        checkpoint["utterances"] = len(self.trainer.datamodule.dataset)
        checkpoint["random_state"] = random_state()
        if hasattr(self.schedule, "observe"):
            checkpoint["schedule"] = self.schedule.state_dict()

    def on_load_checkpoint(self, checkpoint: dict) -> None:
        self.restored_random_state = checkpoint["random_state"]
        if hasattr(self.schedule, "observe") and "schedule" in checkpoint:
            self.schedule.load_state_dict(checkpoint["schedule"])

    def on_fit_start(self) -> None:
        if self.frozen is not None and self.frozen.until is not None and self.trainer.world_size > 1:
            raise InputError(
                "fine_tuning.unfreeze_epoch is for one process: what is frozen when several start is never shared; "
                "train a second run with fine_tuning.ckpt=RUN instead"
            )

    def on_train_start(self) -> None:
        # Only now: building the model and starting the workers have drawn random numbers since the restore.
        if self.restored_random_state is not None:
            restore_random_state(self.restored_random_state)
            self.restored_random_state = None


def random_state() -> dict[str, Tensor]:
    """The states of torch's generators, which dropout draws from. Data has none: it is counter-based."""
    states = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        states["cuda"] = torch.cuda.get_rng_state()
    return states


def restore_random_state(states: dict[str, Tensor]) -> None:
    """Undo what has been drawn since `random_state()`."""
    torch.set_rng_state(states["cpu"])
    if "cuda" in states and torch.cuda.is_available():
        torch.cuda.set_rng_state(states["cuda"])
