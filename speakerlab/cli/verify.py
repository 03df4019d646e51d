"""`speakerlab verify`: are two recordings of one speaker?

speakerlab verify a.wav b.wav --model best.ckpt
SPEAKERLAB_MODEL=model.onnx speakerlab verify a.wav b.wav --threshold 0.4 --json
"""

import argparse
import sys

from speakerlab.cli.chosen_model import ANOTHER, UNDECIDED, add_model_options, load_chosen, model_facts, print_json, say

STATUSES = """
exit status:
  0  the same speaker
  3  another speaker
  4  no decision: the model has no threshold, and none was given
  1  something given is wrong; one line says what
"""


def add_commands(commands) -> None:
    """Add `verify`."""
    parser = commands.add_parser(
        "verify",
        help="are two recordings of one speaker?",
        description="Compare two recordings of any format, rate and number of channels.",
    )
    parser.add_argument("first", metavar="A", help="a recording")
    parser.add_argument("second", metavar="B", help="another")
    parser.add_argument(
        "--threshold", type=float, metavar="COSINE", help="from which on they are the same (default: the model's own)"
    )
    add_prior_option(parser)
    add_model_options(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.epilog += STATUSES
    parser.set_defaults(run=run)


def add_prior_option(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--p-target",
        type=float,
        default=0.5,
        metavar="P",
        help="how probable it is before anybody listens, for the probability (default: 0.5)",
    )


def run(chosen: argparse.Namespace) -> None:
    """Print the score and the decision; exit with it."""
    recognizer = load_chosen(chosen)
    found = recognizer.verify(chosen.first, chosen.second, chosen.threshold, chosen.p_target)
    say(found.notes)
    if chosen.json:
        numbers = {name: getattr(found, name) for name in ("score", "same", "threshold", "llr", "probability")}
        facts = {"first": chosen.first, "second": chosen.second, **numbers, "notes": found.notes}
        print_json({**facts, "model": model_facts(recognizer)})
    else:
        said = {True: "the same speaker", False: "another speaker", None: "no decision"}[found.same]
        print(f"{said:18}{score_words(found.score, found.llr, found.probability)}")
        if found.threshold is not None:
            source = "given" if chosen.threshold is not None else recognizer.card.threshold_from
            print(f"{'threshold':18}{found.threshold:.4f} ({source})")
    sys.exit({True: 0, False: ANOTHER, None: UNDECIDED}[found.same])


def score_words(score: float, llr: float | None, probability: float | None) -> str:
    """
    >>> score_words(0.71234, 3.2, 0.96)
    'score 0.7123, log-likelihood ratio +3.20, probability 96.0 %'
    """
    words = f"score {score:.4f}"
    if llr is not None:
        words += f", log-likelihood ratio {llr:+.2f}"
    if probability is not None:
        words += f", probability {100 * probability:.1f} %"
    return words
