"""`speakerlab verify`: are two recordings of one speaker?

speakerlab verify a.wav b.wav --model best.ckpt
SPEAKERLAB_MODEL=model.onnx speakerlab verify a.wav b.wav --threshold 0.4 --json
"""

import argparse
import sys

from speakerlab.cli.chosen_model import add_model_options, load_chosen, model_facts, print_json, say
from speakerlab.cli.decision import add_decision_options, numbers_of, score_words, status_of, threshold_words


def add_commands(commands) -> None:
    """Add `verify`."""
    parser = commands.add_parser(
        "verify",
        help="are two recordings of one speaker?",
        description="Compare two recordings of any format, rate and number of channels.",
    )
    parser.add_argument("first", metavar="A", help="a recording")
    parser.add_argument("second", metavar="B", help="another")
    add_model_options(parser)
    add_decision_options(parser, "from which on they are the same", "the same speaker", "another speaker")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(run=run)


def run(chosen: argparse.Namespace) -> None:
    """Print the score and the decision; exit with it."""
    recognizer = load_chosen(chosen)
    found = recognizer.verify(chosen.first, chosen.second, chosen.threshold, chosen.p_target)
    say(found.notes)
    if chosen.json:
        facts = {"first": chosen.first, "second": chosen.second, "same": found.same, "threshold": found.threshold}
        print_json({**facts, **numbers_of(found), "notes": found.notes, "model": model_facts(recognizer)})
    else:
        said = {True: "the same speaker", False: "another speaker", None: "no decision"}[found.same]
        print(f"{said:18}{score_words(found)}")
        if found.threshold is not None:
            print(f"{'threshold':18}{threshold_words(found.threshold, chosen.threshold, recognizer.card)}")
    sys.exit(status_of(found.same))
