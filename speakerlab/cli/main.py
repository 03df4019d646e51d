"""The `speakerlab` command: one file of this folder for each family of commands.

A family's module has `add_commands(commands)`, which adds its parsers and sets each one's `run`, a function of the
parsed arguments, and `goes_on` where the same command, interrupted, does only what is left. Families import what they
need within `run`, so that `--help` answers at once.
"""

import argparse
import errno
import importlib
import os
import signal
import sys

from speakerlab import InputError, __version__

FAMILIES: tuple[str, ...] = (
    "prepare",
    "data",
    "resplit",
    "trials",
    "shard",
    "find",
    "average",
    "models",
    "importing",
    "inspect",
    "compare",
    "sweep",
    "verify",
    "embed",
    "gallery",
    "doctor",
    "export",
    "demo",
)


def main(arguments: list[str] | None = None) -> None:
    """Run one command; the user's mistakes end as `error: ...` on standard error with exit status 1."""
    parser = argparse.ArgumentParser(
        prog="speakerlab",
        description="Data and models of speaker recognition; train.py trains, evaluate.py evaluates.",
    )
    parser.add_argument("--version", action="version", version=f"speakerlab {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for family in FAMILIES:
        importlib.import_module(f"speakerlab.cli.{family}").add_commands(commands)
    chosen = parser.parse_args(arguments)
    try:
        chosen.run(chosen)
    except InputError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        again = "goes on where this one stopped" if getattr(chosen, "goes_on", False) else "begins anew"
        sys.stderr.write(f"\ninterrupted; the same command {again}\n")
        sys.exit(128 + signal.SIGINT)
    except BrokenPipeError:  # `speakerlab ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:  # a folder that can't be written, a full disk
        if error.filename is None and error.errno != errno.ENOSPC:
            raise
        sys.exit(f"error: {error.filename or 'no space'}: {error.strerror}")


if __name__ == "__main__":
    main()
