"""Where the shipped `conf/` lies; apart, so that whoever wants only to list its members waits for no library."""

from pathlib import Path

import speakerlab

# Beside the package in a checkout, inside it in a wheel.
CONF = next(
    folder
    for folder in (Path(speakerlab.__file__).parent / "conf", Path(speakerlab.__file__).parent.parent / "conf")
    if folder.is_dir()
)
