"""What `verify` and `identify` share: a threshold, a prior, and a decision that is the exit status."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from speakerlab.inference.card import ModelCard
    from speakerlab.inference.decisions import Candidate, Verification

# Exit statuses besides 0 and 1; 2 is argparse's. No decision is no success: a script must not take it for a yes.
ANOTHER, UNDECIDED = 3, 4
NUMBERS = ("score", "llr", "probability")  # of a comparison


def add_decision_options(parser: argparse.ArgumentParser, threshold: str, same: str, another: str) -> None:
    """Add --threshold and --p-target, and the exit statuses to the help.

    Args:
        parser: whose epilog is there already.
        threshold: what it is, for the help.
        same, another: what the statuses 0 and 3 mean.
    """
    parser.add_argument("--threshold", type=float, metavar="COSINE", help=f"{threshold} (default: the model's own)")
    parser.add_argument(
        "--p-target",
        type=float,
        default=0.5,
        metavar="P",
        help="how probable it is before anybody listens, for the probability (default: 0.5)",
    )
    parser.epilog += f"""
exit status:
  0  {same}
  {ANOTHER}  {another}
  {UNDECIDED}  no decision: the model has no threshold, and none was given
  1  something given is wrong; one line says what
"""


def status_of(decision: bool | None) -> int:
    """The exit status of a yes, a no, and of no decision.

    >>> status_of(True), status_of(False), status_of(None)
    (0, 3, 4)
    """
    return {True: 0, False: ANOTHER, None: UNDECIDED}[decision]


def numbers_of(found: "Verification | Candidate") -> dict[str, float | None]:
    """The numbers of a comparison, for programs."""
    return {name: getattr(found, name) for name in NUMBERS}


def score_words(found: "Verification | Candidate") -> str:
    """The numbers of a comparison, for people.

    >>> from speakerlab.inference.decisions import Candidate
    >>> score_words(Candidate("anna", 0.71234, 3.2, 0.96))
    'score 0.7123, log-likelihood ratio +3.20, probability 96.0 %'
    """
    words = f"score {found.score:.4f}"
    if found.llr is not None:
        words += f", log-likelihood ratio {found.llr:+.2f}"
    if found.probability is not None:
        words += f", probability {100 * found.probability:.1f} %"
    return words


def threshold_words(threshold: float, given: float | None, card: "ModelCard") -> str:
    """The threshold that was applied, and where it comes from."""
    return f"{threshold:.4f} ({card.threshold_from if given is None else 'given'})"
