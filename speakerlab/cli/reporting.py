"""What a report needs besides results: where a model fails, what it listens to, how the evaluation was done."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from omegaconf import DictConfig, OmegaConf
from torch import nn

from speakerlab import InputError
from speakerlab.build import last_epoch, load_checkpoint
from speakerlab.data.audio import read_audio
from speakerlab.data.tree import paths_of
from speakerlab.data.utterances import Utterances
from speakerlab.inference.attention import attend, attentive_branch
from speakerlab.inference.conditions import results_by_condition
from speakerlab.inference.embedding import NetworkEmbedder
from speakerlab.inference.source import Source
from speakerlab.network import FusionNetwork, SpeakerNetwork
from speakerlab.record import environment
from speakerlab.reports.attention import Heard
from speakerlab.reports.environment import in_words, versions
from speakerlab.reports.evaluation import Verification, verification_report
from speakerlab.reports.identification import Identification, identification_report
from speakerlab.reports.worst_trials import worst_trials

SECONDS = 20.0  # of an utterance whose attention is drawn; more can't be seen
HEARD = 1  # trials of each kind of mistake whose utterances are listened to with the model


def report_on_trials(
    cfg: DictConfig,
    folder: Path,
    title: str,
    found: Verification,
    source: Source | None = None,
    utterances: Utterances | None = None,
) -> Path:
    """Complete what was found on trials, and write the report; returns the page.

    Args:
        cfg: of the evaluation.
        folder: of the run.
        title: of the page.
        found: trials, scores, metrics and embeddings.
        source: what was evaluated; None for scores from files.
        utterances: of the trials, with their files; None where there are none.
    """
    if utterances is not None and utterances.files is not None:
        found = replace(found, files=[Path(file) for file in utterances.files])
        seconds = utterances.measured(np.arange(len(utterances)))
        found = replace(found, conditions=_conditions(cfg, found, seconds))
        embedder = source.systems["model"]
        if isinstance(embedder, NetworkEmbedder):
            found = replace(found, heard=hear_mistakes(embedder.network, embedder.sample_rate, found))
    return verification_report(folder, title, replace(found, **about(cfg, source)))


def report_on_speakers(cfg: DictConfig, folder: Path, title: str, found: Identification, source: Source) -> Path:
    """Complete what an identification has found, and write the report; returns the page. Arguments as above."""
    return identification_report(folder, title, replace(found, **about(cfg, source)))


def about(cfg: DictConfig, source: Source | None) -> dict[str, object]:
    """`facts`, `texts` and `step` of a report: how the evaluation was done, by which versions of what, and the
    configurations."""
    here = environment()
    contents = {} if source is None or source.checkpoint is None else load_checkpoint(source.checkpoint)
    facts = {} if source is None else {"evaluated": source.path, "computed on": ", ".join(map(str, source.devices))}
    epochs = last_epoch(contents)
    if epochs is not None:
        facts["trained"] = f"{epochs} epochs, {contents.get('global_step', 0):,} steps"
    texts = {"Configuration of the evaluation": OmegaConf.to_yaml(cfg)}
    if contents:
        texts["Configuration of the model"] = OmegaConf.to_yaml(OmegaConf.create(contents["config"]))
    texts["Versions"] = versions(here)
    return {"facts": facts | in_words(here), "texts": texts, "step": contents.get("global_step", 0)}


def hear_mistakes(network: nn.Module, sample_rate: int, found: Verification) -> list[Heard]:
    """The utterances of the worst mistakes with the model's attention; none of a model that weighs no frames."""
    network = getattr(network, "network", network)  # of one that is scored by crops
    if not isinstance(network, SpeakerNetwork | FusionNetwork):
        return []
    try:
        network = attentive_branch(network)
    except InputError:
        return []
    kinds = worst_trials(found.scores[found.model], found.trials.labels, found.threshold, HEARD)
    trials = [row for rows in kinds for row in rows]
    sides = dict.fromkeys(side for row in trials for side in (found.trials.enrol[row], found.trials.test[row]))
    return hear(network, [found.files[side] for side in sides], sample_rate, SECONDS)


def hear(
    network: SpeakerNetwork, files: Sequence[Path], sample_rate: int, most_seconds: float | None = None
) -> list[Heard]:
    """Utterances with the attention of a network in evaluation mode, which is moved to the CPU.

    Args:
        network: with a pooling that weighs frames.
        files: audio.
        sample_rate: of the network, in hertz.
        most_seconds: how much of each, from its start; None is all of it.

    Raises:
        InputError: if the network weighs no frames.
    """
    network.cpu()
    heard = []
    for file in files:
        waveform = read_audio(file, sample_rate=sample_rate)
        if most_seconds is not None:
            waveform = waveform[: round(most_seconds * sample_rate)]
        seen = attend(network, waveform, sample_rate)
        heard.append(Heard("/".join(file.parts[-3:]), waveform, seen.spectrogram, seen.relative, seen.seconds))
    return heard


def _conditions(cfg: DictConfig, found: Verification, seconds: np.ndarray) -> dict:
    return results_by_condition(
        found.trials,
        found.scores[found.model],
        found.speakers,
        seconds,
        found.files,
        paths_of(cfg.trials_root),
        found.threshold,
        cfg.bootstrap_draws,
    )
