"""Python, and the libraries that speakerlab is declared to need, with its extras."""

import signal
import subprocess
import sys
from importlib import metadata

from speakerlab import __version__
from speakerlab.cli.health.finding import BROKEN, DOUBTFUL, GOOD, Finding

TESTED_PYTHON = ((3, 11), (3, 13))
# Those with compiled parts, which may be there and yet not run on this machine.
COMPILED = (
    "numpy",
    "scipy",
    "sklearn",
    "pyarrow",
    "soundfile",
    "av",
    "soxr",
    "torch",
    "torchaudio",
)
IMPORT_SECONDS = 300
# In a process of its own: a library for another processor ends it.
IMPORTS = """
import importlib, sys
for name in sys.argv[1:]:
    print("?", name, flush=True)
    try:
        importlib.import_module(name)
    except BaseException as error:
        line = (str(error).strip().splitlines() or [""])[0]
        print("-", name, type(error).__name__ + ": " + line[:200], flush=True)
    else:
        print("+", name, flush=True)
"""


def look() -> list[Finding]:
    """Python, each required library, what can't be imported, and each extra."""
    group = "libraries"
    version = ".".join(map(str, sys.version_info[:3]))
    low, high = (".".join(map(str, one)) for one in TESTED_PYTHON)
    tested = TESTED_PYTHON[0] <= sys.version_info[:2] <= TESTED_PYTHON[1]
    mend = "" if tested else f"speakerlab is tested on {low} to {high}: make an environment with one of these"
    found = [
        Finding(group, "speakerlab", GOOD, __version__),
        Finding(group, "Python", GOOD if tested else DOUBTFUL, f"{version} ({sys.executable})", mend),
    ]
    try:
        needed = metadata.requires("speakerlab") or []
    except metadata.PackageNotFoundError:
        mend = "pip install -e . in its folder"
        found.append(
            Finding(group, "speakerlab's package", DOUBTFUL, "is not installed, so what it needs is unknown", mend)
        )
        needed = []
    found += judged(group, needed)
    missing = {one.name for one in found if one.state == BROKEN}
    found += imported([name for name in COMPILED if name not in missing])
    return found + (extras(needed) if needed else [])


def judged(group: str, needed: list[str]) -> list[Finding]:
    """A finding for each requirement that holds on this machine without any extra.

    Args:
        group: of the findings.
        needed: as packages declare them, such as "torch==2.11.*" or "onnx>=1.18; extra == 'onnx'".
    """
    from packaging.requirements import Requirement

    requirements = map(Requirement, needed)
    there = [one for one in requirements if one.marker is None or one.marker.evaluate({"extra": ""})]
    return [_judged(group, one.name, one.specifier) for one in there]


def _judged(group: str, name: str, specifier) -> Finding:
    wanted = f"pip install '{name}{specifier}'"
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return Finding(group, name, BROKEN, "is not installed", wanted)
    if specifier.contains(version, prereleases=True):
        return Finding(group, name, GOOD, version)
    return Finding(group, name, DOUBTFUL, f"{version}, but {specifier} is needed", wanted)


def imported(names: list[str]) -> list[Finding]:
    """What of these libraries can't be imported; nothing if all can."""
    try:
        words = [sys.executable, "-c", IMPORTS, *names]
        done = subprocess.run(words, capture_output=True, text=True, timeout=IMPORT_SECONDS)
    except subprocess.TimeoutExpired:
        text = f"importing {', '.join(names)} took over {IMPORT_SECONDS} s"
        return [Finding("libraries", "imports", DOUBTFUL, text, "see whether the disk is slow, or the machine busy")]
    lines = [line.split(" ", 2) for line in done.stdout.splitlines() if line[:2] in ("? ", "- ", "+ ")]
    found = [
        Finding(
            "libraries", words[1], BROKEN, f"can't be imported: {words[2]}", f"pip install --force-reinstall {words[1]}"
        )
        for words in lines
        if words[0] == "-"
    ]
    if done.returncode != 0 and lines:
        name = lines[-1][1]
        how = signal.Signals(-done.returncode).name if done.returncode < 0 else f"exit status {done.returncode}"
        mend = f"install a build of {name} for this processor"
        found.append(Finding("libraries", name, BROKEN, f"importing it ends the program ({how})", mend))
    return found


def extras(needed: list[str]) -> list[Finding]:
    """A finding for each optional extra: whether all of it is there. None is needed by everybody."""
    from packaging.requirements import Requirement

    found = []
    for extra in metadata.metadata("speakerlab").get_all("Provides-Extra") or []:
        parts = [one for one in map(Requirement, needed) if _is_of(one, extra)]
        states = [_judged("extras", one.name, one.specifier) for one in parts]
        absent = [one.name for one in states if one.state != GOOD]
        if absent:
            text, mend = f"not installed: {', '.join(absent)}", f"if you want it: pip install 'speakerlab[{extra}]'"
        else:
            text, mend = ", ".join(f"{one.name} {one.text}" for one in states), ""
        found.append(Finding("extras", extra, GOOD, text, mend))
    return found


def _is_of(requirement, extra: str) -> bool:
    """Whether a requirement comes with an extra alone; extras that name others do not count."""
    marker = requirement.marker
    alone = marker is not None and marker.evaluate({"extra": extra}) and not marker.evaluate({"extra": ""})
    return alone and requirement.name != "speakerlab"
