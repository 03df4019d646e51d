"""Python in processes of their own, such as one that holds a lock until it is killed."""

import os
import subprocess
import sys

from processes import ROOT

HOLDER = """
import sys, time
from pathlib import Path
from speakerlab.sweeping.processes import hold
file = hold(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(60)
"""


def python(source: str, *arguments: str) -> subprocess.Popen:
    """A process that runs this source, with this copy of the package; its input and output are pipes of text."""
    return subprocess.Popen(
        [sys.executable, "-c", source, *arguments],
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
