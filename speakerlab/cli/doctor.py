"""`speakerlab doctor`: does this machine have what speakerlab needs, and what is to be mended?

speakerlab doctor
speakerlab doctor --json > report.json
"""

import argparse
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from speakerlab.cli.health.finding import Finding

EPILOG = """
exit status:
  0  nothing is broken; what is doubtful hinders only some work
  1  something that everybody needs is broken
"""
MARKS = {"good": "  ", "doubtful": "? ", "broken": "! "}


def add_commands(commands) -> None:
    """Add `doctor`."""
    parser = commands.add_parser(
        "doctor",
        help="versions, devices, audio formats, disks: what is broken, and how to mend it",
        description="Look at Python and the libraries, compute on each device in float32 and bf16, decode a file\n"
        "of each audio format that is made for it, and look at disks, cache, model and gallery.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> None:
    """Print all findings, those to mend again at the end; exit with whether something is broken."""
    from speakerlab.cli.chosen_model import print_json

    found = look()
    broken = [one for one in found if one.state == "broken"]
    if chosen.json:
        print_json({"healthy": not broken, "findings": [one._asdict() for one in found]})
    else:
        print("\n".join(lines(found)))
    sys.exit(1 if broken else 0)


def look() -> list["Finding"]:
    """Everything; a part that can't even be looked at is a finding itself."""
    from speakerlab.cli.health import codecs, devices, libraries, storage

    return [
        *_of("libraries", libraries.look),
        *_of("devices", devices.look),
        *_of("audio", codecs.look),
        *_of("storage", storage.look),
    ]


def _of(group: str, part: Callable[[], list["Finding"]]) -> list["Finding"]:
    from speakerlab.cli.health.finding import BROKEN, Finding, reason

    try:
        return part()
    except Exception as error:  # whatever a broken library raises
        return [Finding(group, group, BROKEN, f"can't be looked at: {reason(error)}", "mend the libraries first")]


def lines(found: list["Finding"]) -> list[str]:
    """The report: a group a paragraph, then what is to be done."""
    shown, group = [], ""
    width = max(len(one.name) for one in found)
    for one in found:
        if one.group != group:
            group = one.group
            shown += ["", group] if shown else [group]
        shown.append(f"{MARKS[one.state]}{one.name:{width}}  {one.text}".rstrip())
        if one.mend:
            shown.append(f"  {'':{width}}  -> {one.mend}")
    counts = {state: sum(one.state == state for one in found) for state in MARKS}
    if not counts["broken"] + counts["doubtful"]:
        return [*shown, "", "all is well"]
    return [*shown, "", f"{counts['broken']} broken (!), {counts['doubtful']} doubtful (?)"]
