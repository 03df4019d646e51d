"""HTML of the page's answers. Whatever a user or a file says is escaped here."""

from html import escape

from speakerlab.inference.decisions import Candidate, Identification
from speakerlab.inference.gallery import EnrolledSpeaker

# Of colours the page's theme has two sets; these few are read on both.
CSS = """
.gradio-container {max-width: 1100px !important; margin: 0 auto !important}
.answer {border: 1px solid var(--border-color-primary); border-radius: 10px; padding: 14px 18px;
  background: var(--block-background-fill); color: var(--body-text-color)}
.answer .said {font-size: 1.5em; font-weight: 650; margin: 0 0 4px}
.answer.yes {border-left: 6px solid #1a9e6c} .answer.no {border-left: 6px solid #d55e00}
.answer.open {border-left: 6px solid #7f8896} .answer.fault {border-left: 6px solid #cf3030}
.answer dl {display: grid; grid-template-columns: max-content 1fr; gap: 2px 16px; margin: 8px 0 0}
.answer dt {color: var(--body-text-color-subdued)} .answer dd {margin: 0; font-variant-numeric: tabular-nums}
.answer ul {margin: 8px 0 0; padding-left: 1.2em; list-style: disc; color: var(--body-text-color-subdued)}
.answer table {width: 100%; border-collapse: collapse; margin-top: 8px}
.answer th, .answer td {text-align: left; padding: 4px 10px 4px 0 !important; border: 0 !important;
  border-bottom: 1px solid var(--border-color-primary) !important; font-variant-numeric: tabular-nums}
.answer td:first-child {overflow-wrap: anywhere} .answer th {color: var(--body-text-color-subdued); font-weight: 500}
.scale {position: relative; height: 12px; border-radius: 6px; margin: 12px 0 4px;
  background: var(--border-color-primary)}
.scale .score {position: absolute; inset: 0 auto 0 0; border-radius: 6px; background: #3b82c4}
.scale .mark {position: absolute; top: -4px; bottom: -4px; width: 3px; border-radius: 2px;
  background: var(--body-text-color)}
.recording {color: var(--body-text-color); margin: 0} .recording svg {width: 100%; height: auto; display: block}
.recording figcaption {overflow-wrap: anywhere; margin-bottom: 4px; color: var(--body-text-color-subdued)}
.card table {display: table; width: 100%} .card thead {display: none}
.card :is(table, tbody, tr) {border: 0 !important}
.card td {overflow-wrap: anywhere; border: 0 !important; padding: 6px 12px 6px 0 !important;
  border-bottom: 1px solid var(--border-color-primary) !important}
"""


def answer(kind: str, said: str, facts: dict[str, str], notes: tuple[str, ...] = (), inside: str = "") -> str:
    """A box.

    Args:
        kind: `yes`, `no`, `open` or `fault`.
        said: its one sentence.
        facts: name -> value.
        notes: a line each.
        inside: HTML, between the sentence and the facts.
    """
    rows = "".join(
        f'<dt>{escape(name)}</dt><dd data-fact="{escape(name)}">{escape(value)}</dd>' for name, value in facts.items()
    )
    lines = "".join(f"<li>{escape(note)}</li>" for note in notes)
    return (
        f'<div class="answer {kind}" role="status"><p class="said">{escape(said)}</p>{inside}'
        f"{f'<dl>{rows}</dl>' if rows else ''}{f'<ul>{lines}</ul>' if lines else ''}</div>"
    )


def fault(line: str) -> str:
    return answer("fault", "That did not work", {}, (line,))


def verdict(
    score: float, probability: float | None, llr: float | None, threshold: float, notes: tuple[str, ...]
) -> str:
    """Whether two recordings are of one speaker."""
    same = score >= threshold
    facts = {"score": f"{score:.4f}"}
    if probability is not None and llr is not None:
        facts["probability"] = f"{100 * probability:.1f} %, if it was one half before"
        facts["log-likelihood ratio"] = f"{llr:+.2f}"
    else:
        facts["probability"] = "unknown: the model keeps no calibration of cosines"
    facts["threshold"] = f"{threshold:.4f}"
    kind, said = ("yes", "The same speaker") if same else ("no", "Different speakers")
    return answer(kind, said, facts, notes, _scale(score, threshold))


def recording(name: str, seconds: float, svg: str, notes: tuple[str, ...]) -> str:
    """A recording's picture with its caption; `svg` is of this program."""
    lines = "".join(f"<br>{escape(note)}" for note in notes)
    shown = escape(name)
    return (
        f'<figure class="recording" role="img" aria-label="waveform and mel spectrogram of {shown}">'
        f"<figcaption><b>{shown}</b>, {seconds:.2f} s{lines}</figcaption>{svg}</figure>"
    )


def identified(found: Identification) -> str:
    """Who it is."""
    if found.accepted is not None:
        kind, said = "yes", f"It is {found.accepted}"
    else:
        kind, said = "no", "A stranger: nobody who is enrolled is near enough"
    calibrated = found.candidates[0].probability is not None
    head = "<tr><th>speaker</th><th>score</th>" + ("<th>probability</th>" if calibrated else "") + "</tr>"
    rows = "".join(_candidate_row(one, calibrated) for one in found.candidates)
    return answer(kind, said, {"threshold": f"{found.threshold:.4f}"}, found.notes, f"<table>{head}{rows}</table>")


def enrolled(speakers: list[EnrolledSpeaker]) -> str:
    """Everybody who is enrolled."""
    if not speakers:
        return answer("open", "Nobody is enrolled yet", {})
    head = "<tr><th>speaker</th><th>recordings</th><th>seconds</th><th>since</th></tr>"
    rows = "".join(
        f"<tr><td>{escape(one.name)}</td><td>{one.recordings:,}</td><td>{one.seconds:,.1f}</td>"
        f"<td>{escape(one.since[:10])}</td></tr>"
        for one in speakers
    )
    count = "One speaker is" if len(speakers) == 1 else f"{len(speakers):,} speakers are"
    return answer("open", f"{count} enrolled", {}, inside=f"<table>{head}{rows}</table>")


def _candidate_row(one: Candidate, calibrated: bool) -> str:
    probability = f"<td>{100 * one.probability:.1f} %</td>" if calibrated and one.probability is not None else ""
    return f"<tr><td>{escape(one.name)}</td><td>{one.score:.4f}</td>{probability}</tr>"


def _scale(score: float, threshold: float) -> str:
    """A bar from -1 to 1, with a mark at the threshold."""
    full, mark = 50 * (score + 1), 50 * (threshold + 1)
    return (
        '<div class="scale" aria-hidden="true">'
        f'<div class="score" style="width:{min(100.0, max(0.0, full)):.1f}%"></div>'
        f'<div class="mark" style="left:calc({mark:.1f}% - 1px)"></div></div>'
    )
