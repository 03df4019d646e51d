"""What a report needs besides results: where a model fails, what it listens to, how the evaluation was done."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from omegaconf import DictConfig, OmegaConf
from torch import nn

from speakerlab import InputError
from speakerlab.data.audio import read_audio
from speakerlab.data.tree import paths_of
from speakerlab.inference.attention import attend, attentive_pooling
from speakerlab.inference.conditions import results_by_condition
from speakerlab.network import SpeakerNetwork
from speakerlab.reports.attention import Heard
from speakerlab.reports.environment import in_words, versions
from speakerlab.reports.evaluation import Verification, verification_report
from speakerlab.reports.identification import Identification, identification_report
from speakerlab.reports.worst_trials import worst_trials

SECONDS = 20.0  # of an utterance whose attention is drawn; more can't be seen
HEARD = 1  # trials of each kind of mistake whose utterances are listened to with the model


def report_on_trials(
    folder: Path, cfg: DictConfig, contents: dict, network: nn.Module | None, seconds: np.ndarray, found: Verification
) -> Path:
    """Complete what was found on trials, and write the report; returns the page.

    Args:
        folder: of the run.
        cfg: of the evaluation.
        contents: of the checkpoint; empty where only its embeddings were at hand.
        network: the model; None where only its embeddings were at hand.
        seconds: `(utterances,)`.
        found: with its trials, speakers, scores, metrics, files and embeddings.
    """
    conditions = results_by_condition(
        found.trials,
        found.scores[found.model],
        found.speakers,
        seconds,
        found.files,
        paths_of(cfg.trials_root),
        found.threshold,
        cfg.bootstrap_draws,
    )
    heard = hear_mistakes(network, contents["config"]["loader"]["sample_rate"], found) if contents else []
    found = replace(found, conditions=conditions, heard=heard, **about(cfg, contents))
    return verification_report(folder, f"Evaluation of {cfg.ckpt}", found)


def report_on_speakers(folder: Path, cfg: DictConfig, contents: dict, found: Identification) -> Path:
    """Complete what an identification has found, and write the report; returns the page. Arguments as above."""
    return identification_report(folder, f"Evaluation of {cfg.ckpt}", replace(found, **about(cfg, contents)))


def about(cfg: DictConfig, contents: dict) -> dict[str, object]:
    """`facts`, `texts` and `step` of a report: how the evaluation was done, by which versions of what, and both
    configurations."""
    from speakerlab.training.run import environment

    here = environment()
    facts = {"checkpoint": Path(cfg.ckpt).expanduser().absolute()} if contents else {}
    if "epoch" in contents:
        facts["trained"] = f"{contents['epoch']} epochs, {contents.get('global_step', 0):,} steps"
    texts = {"Configuration of the evaluation": OmegaConf.to_yaml(cfg)}
    if contents:
        texts["Configuration of the model"] = OmegaConf.to_yaml(OmegaConf.create(contents["config"]))
    texts["Versions"] = versions(here)
    return {"facts": facts | in_words(here), "texts": texts, "step": contents.get("global_step", 0)}


def hear_mistakes(network: nn.Module | None, sample_rate: int, found: Verification) -> list[Heard]:
    """The utterances of the worst mistakes with the model's attention; none of a model that weighs no frames."""
    if not isinstance(network, SpeakerNetwork):
        return []
    try:
        attentive_pooling(network)
    except InputError:
        return []
    kinds = worst_trials(found.scores[found.model], found.trials.labels, found.threshold, HEARD)
    sides = dict.fromkeys(
        side for rows in kinds for row in rows for side in (found.trials.enrol[row], found.trials.test[row])
    )
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
