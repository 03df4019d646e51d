"""Training items to listen to: sounds, pictures of their features, and a page with both."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from matplotlib.figure import Figure

from speakerlab.augment.trace import Step, Trace
from speakerlab.reports.figure import new_figure
from speakerlab.reports.page import facts_section, folded_section, media_section, write_report

UNITS = {"_db": "dB", "_hz": "Hz", "_seconds": "s", "_kbps": "kbit/s"}  # ending of a name -> unit
LARGEST = 32767 / 32768  # of a 16-bit sample


@dataclass(frozen=True, eq=False)
class Sample:
    """One item on the page: heading, what to say of it, and its way through the augmentations."""

    title: str
    facts: Mapping[str, str]
    trace: Trace


def write_listening(
    folder: Path, title: str, samples: list[Sample], sample_rate: int, facts: Mapping[str, str], config: str
) -> Path:
    """Write `report.html`, and `01_before.wav`, `01_after.wav` and `01.png` for each sample; returns the page.

    Args:
        folder: is made; files of the same names are replaced.
        title: of the page.
        samples: in order.
        sample_rate: in hertz.
        facts: about all of them.
        config: YAML of what augmented them.
    """
    folder.mkdir(parents=True, exist_ok=True)
    sections = [facts_section("What this is", facts)]
    for number, sample in enumerate(samples, start=1):
        stem = f"{number:02d}"
        sounds, notes = {}, {}
        for label, waveform in (("before", sample.trace.before), ("after", sample.trace.after)):
            file = f"{stem}_{label}.wav"
            lowered = write_sound(folder / file, waveform, sample_rate)
            sounds[label] = file
            if lowered:
                notes[label] = f"{lowered:.1f} dB quieter here than the network gets it, to fit into 16 bit"
        trace_figure(sample.trace, sample_rate).savefig(folder / f"{stem}.png", dpi=120)
        steps = {step.name: in_words(step) for step in sample.trace.steps}
        words = {**sample.facts, **steps, **notes}
        sections.append(media_section(f"{number}. {sample.title}", words, sounds, f"{stem}.png"))
    sections.append(folded_section("Configuration", config))
    return write_report(folder, title, *sections)


def write_sound(path: Path, waveform: np.ndarray, sample_rate: int) -> float:
    """Write `(samples,)` as 16-bit WAV, scaled down only if it would clip; returns by how many dB."""
    peak = float(np.abs(waveform).max(initial=0.0))
    scale = LARGEST / peak if peak > LARGEST else 1.0
    # Rounded here: libsndfile cuts off, which distorts quiet sounds.
    soundfile.write(path, np.rint(waveform * (scale * 32768)).astype(np.int16), sample_rate, subtype="PCM_16")
    return -20 * float(np.log10(scale)) if scale < 1.0 else 0.0


def trace_figure(trace: Trace, sample_rate: int) -> Figure:
    """The features on their way, one above the other on common colours; time from left to right."""
    planes = trace.pictures
    figure, panels = new_figure(8.0, 0.6 + 1.5 * len(planes), rows=len(planes))
    # Single extremes, such as digital silence, would leave no contrast for the rest.
    low, high = np.percentile(np.concatenate([plane.ravel() for plane in planes.values()]), (1, 99))
    lengths = [len(trace.before)] + [len(trace.after)] * (len(planes) - 1)
    images = []
    for axes, (name, plane), samples in zip(panels, planes.items(), lengths, strict=True):
        seconds = samples / sample_rate
        axes.set_title(name, fontsize=9, loc="left")
        axes.tick_params(labelsize=8, labelbottom=axes is panels[-1])
        axes.set_xlim(0, max(lengths) / sample_rate)
        if plane.shape[1] == 1:  # such as raw samples: a line
            axes.plot(np.linspace(0, seconds, len(plane)), plane[:, 0], linewidth=0.4)
            continue
        axes.grid(False)
        axes.set_ylabel("feature", fontsize=8)
        images.append(
            axes.imshow(
                plane.T,
                cmap="magma",
                aspect="auto",
                interpolation="nearest",
                vmin=low,
                vmax=high,
                origin="lower",
                extent=(0, seconds, 0, plane.shape[1]),
            )
        )
    if images:
        figure.colorbar(images[0], ax=panels, pad=0.01, aspect=15 * len(panels)).ax.tick_params(labelsize=7)
    panels[-1].set_xlabel("seconds", fontsize=8)
    return figure


def in_words(step: Step) -> str:
    """What was drawn and what it did: `rain; SNR 7.3 dB; level +0.8 dB, difference -7.3 dB`.

    >>> in_words(Step("noise", "waveform", False))
    'spares this item'
    >>> in_words(Step("noise", "waveform", True, "rain", {"snr_db": 7.0}, {"level_db": 0.79, "difference_db": -7.0}))
    'rain; SNR 7 dB; level +0.8 dB, difference -7.0 dB'
    >>> in_words(Step("masks", "spectrum", True, measured={"changed": 0.125}))
    '12.5 % of the values changed'
    """
    if not step.applied:
        return "spares this item"
    parts = [step.chosen] if step.chosen else []
    if step.drawn:
        parts.append(", ".join(_number(name, value) for name, value in step.drawn.items()))
    if "changed" in step.measured:
        parts.append(f"{100 * step.measured['changed']:.3g} % of the values changed")
    elif step.measured:
        level, difference = (round(step.measured[name], 1) + 0.0 for name in ("level_db", "difference_db"))  # no -0.0
        parts.append(f"level {level:+.1f} dB, difference {difference:+.1f} dB")
    return "; ".join(parts) or "applied"


def _number(name: str, value: float) -> str:
    unit = next((unit for ending, unit in UNITS.items() if name.endswith(ending)), "")
    for ending in UNITS:
        name = name.removesuffix(ending)
    name = name.replace("snr", "SNR").replace("_", " ")
    return f"{name} {value:.3g} {unit}".strip()
