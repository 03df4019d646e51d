"""`speakerlab demo`: a web page to try a model with.

speakerlab demo outputs/ecapa_aam/2026-01-31_12-00-00
speakerlab demo ckpt=best.ckpt --port 8000
speakerlab demo --model model.onnx --gallery voices.sqlite
"""

import argparse
import sys

from speakerlab import InputError
from speakerlab.cli.chosen_model import (
    add_model_options,
    chosen_gallery,
    load_chosen,
    model_facts,
    print_json,
    say,
    tell,
)

WORD = "ckpt="  # as train.py and evaluate.py have it


def add_commands(commands) -> None:
    """Add `demo`."""
    parser = commands.add_parser(
        "demo",
        help="a web page to try a model with",
        description="Serve a page to compare, enrol and identify recordings with, on this machine alone.",
    )
    parser.add_argument("word", nargs="?", metavar="MODEL", help="as --model; ckpt=MODEL is understood too")
    parser.add_argument("--port", type=int, metavar="N", help="(default: the first free one from 7860 on)")
    parser.add_argument(
        "--host", default="127.0.0.1", metavar="ADDRESS", help="to bind to (default: 127.0.0.1, this machine alone)"
    )
    parser.add_argument("--megabytes", type=float, default=25.0, metavar="N", help="of a file at most (default: 25)")
    parser.add_argument("--seconds", type=float, default=120.0, metavar="N", help="of a recording (default: 120)")
    parser.add_argument(
        "--per-minute", type=int, default=60, metavar="N", help="requests of one address at most (default: 60)"
    )
    add_model_options(parser, with_gallery=True)
    parser.add_argument("--json", action="store_true", help="print the address as a JSON object once it is served")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> None:
    """Serve until Ctrl-C."""
    import signal
    import threading

    from speakerlab.inference.page.limits import Limits
    from speakerlab.inference.page.server import is_loopback, serving
    from speakerlab.reports.recording import recording_svg

    chosen.model = model_word(chosen.word, chosen.model)
    if chosen.port is not None and not 1 <= chosen.port <= 65535:
        raise InputError(f"--port {chosen.port} must lie in 1 to 65535")
    limits = Limits(megabytes=chosen.megabytes, seconds=chosen.seconds, per_minute=chosen.per_minute)
    recognizer = load_chosen(chosen, chosen_gallery(chosen))
    say([f"the gallery is {recognizer.gallery.path}"])
    # `kill` and a closed terminal end it as Ctrl-C does, so that uploads are deleted.
    ends = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]
    for one in ends:
        signal.signal(one, signal.default_int_handler)
    with serving(recognizer, recording_svg, chosen.host, chosen.port, limits) as address:
        if not is_loopback(chosen.host):
            tell(f"warning: whoever reaches {chosen.host} may use this page and enrol voices; there is no password")
        if chosen.json:
            print_json({"address": address, "gallery": str(recognizer.gallery.path), "model": model_facts(recognizer)})
        else:
            print(f"{recognizer.card.name} at {address} (Ctrl-C ends it)", flush=True)
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            for one in ends:  # a second one would leave files behind
                signal.signal(one, signal.SIG_IGN)
            sys.stderr.write("\nended; what was uploaded is deleted\n")


def model_word(word: str | None, option: str | None) -> str | None:
    """The model that the command line names, if it does.

    Raises:
        InputError: if it names two.

    >>> model_word("ckpt=best.ckpt", None), model_word("best.ckpt", None), model_word(None, "best.ckpt")
    ('best.ckpt', 'best.ckpt', 'best.ckpt')
    """
    if word is None:
        return option
    if option is not None:
        raise InputError(f"{word} and --model {option}: name one model")
    return word.removeprefix(WORD)
