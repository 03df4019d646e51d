"""What benchmarks of training are fed with, and what their reports say of the machine."""

import os
import shlex
from pathlib import Path

from input_path import make_files
from resumable import ROOT

from speakerlab.record import environment

FOLDER = Path(os.environ.get("SPEAKERLAB_CACHE", Path.home() / ".cache" / "speakerlab")) / "benchmark_files"


def arguments_of_input() -> list[str]:
    """Arguments of train.py: 360 FLAC files of 8 s, cut from the embedded corpus, with rooms, noise and speed
    perturbation; the files are made where they are not."""
    made = FOLDER / "made"
    if not made.is_file():  # a kill may have left half of them
        make_files(FOLDER, FOLDER.parent, {"flac": {}})
        made.touch()
    return [
        "data=folder",
        f"data.root={FOLDER / 'flac'}",
        "data.heldout_speakers=2",
        "augment=noise",
        f"augment.noise_dir={FOLDER / 'noise'}",
        f"augment.rir_dir={FOLDER / 'rir'}",
        "+augment/speed=perturbation",
    ]


def shown(words: list[str]) -> str:
    """A command for a report, without the folders of this machine."""
    return shlex.join(words).replace(str(FOLDER), "FILES").replace(f"{ROOT}/", "")


def machine_line(device: str = "cpu") -> str:
    """Machine, versions, commit."""
    facts = environment()
    git = facts["git"] or {"commit": "unknown", "changed": False}
    names = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    cpu = names[0].split(":")[1].strip() if names else "an unknown make"
    libraries = ", ".join(f"{name} {version}" for name, version in facts["libraries"].items() if version)
    return (
        f"Machine: {facts['cpus']} cores of {cpu}, {facts['platform']}; computed on {device}. "
        f"Commit {git['commit']}{', changed' if git['changed'] else ''}. Python {facts['python']}, {libraries}."
    )
