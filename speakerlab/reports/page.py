"""The HTML report of a run: one file with its figures inside, no script, nothing loaded from elsewhere.

Each `*_section` turns data into a piece of HTML, `page` joins pieces into a document and `write_report` saves it:

    write_report(folder, "ecapa + aam on mini",
                 metrics_section("Best epoch", {"validation": metrics}),
                 figure_section("Training", training_curves(folder)),
                 folded_section("Configuration", yaml_text),
                 facts_section("Versions", {"torch": "2.11.0"}))
"""

import base64
import io
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path
from urllib.parse import quote

from matplotlib.figure import Figure

from speakerlab.data.manifest import replacing
from speakerlab.reports.figure import figure_svg
from speakerlab.reports.metric_names import metric_name, metric_value

# Metric -> (column header, factor, format). Others keep their own name.
COLUMNS = {
    "epoch": ("epoch", 1, "d"),
    "eer": ("EER (%)", 100, ".2f"),
    "eer_low": ("EER, low end (%)", 100, ".2f"),
    "eer_high": ("EER, high end (%)", 100, ".2f"),
    "min_dcf_0.01": ("minDCF, p = 0.01", 1, ".4f"),
    "min_dcf_0.05": ("minDCF, p = 0.05", 1, ".4f"),
    "min_dcf_voxsrc": ("minDCF, VoxSRC", 1, ".4f"),
    "act_dcf_0.01": ("actual DCF, p = 0.01", 1, ".4f"),
    "act_dcf_0.05": ("actual DCF, p = 0.05", 1, ".4f"),
    "act_dcf_voxsrc": ("actual DCF, VoxSRC", 1, ".4f"),
    "auc": ("AUC", 1, ".4f"),
    "frr_at_far_0.01": ("FRR at FAR 1 % (%)", 100, ".2f"),
    "frr_at_far_0.001": ("FRR at FAR 0.1 % (%)", 100, ".2f"),
    "min_cllr": ("min Cllr (bits)", 1, ".4f"),
    "cllr": ("Cllr (bits)", 1, ".4f"),
    "threshold": ("EER threshold (score)", 1, ".4f"),
    "accuracy": ("accuracy (%)", 100, ".2f"),
    "top5_accuracy": ("top-5 accuracy (%)", 100, ".2f"),
    "macro_f1": ("macro F1 (%)", 100, ".2f"),
    "micro_f1": ("micro F1 (%)", 100, ".2f"),
    "calibration_error": ("calibration error (%)", 100, ".2f"),
    "error_rate": ("error rate (%)", 100, ".2f"),
    "utterances": ("utterances", 1, ",d"),
    "targets": ("target trials", 1, ",d"),
    "nontargets": ("non-target trials", 1, ",d"),
}

STYLE = """
:root { color-scheme: light dark;
  --paper: #ffffff; --ink: #1c1f23; --soft: #5d6670; --line: #dfe3e8; --panel: #f6f7f9; }
@media (prefers-color-scheme: dark) {
  :root { --paper: #171717; --ink: #e6e8eb; --soft: #9aa4af; --line: #333a42; --panel: #1d2126; }
  /* Black ink turns white, and white the page's own colour; the rotation puts the hues back where they were. */
  figure img { filter: invert(0.91) hue-rotate(180deg); }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 60rem; padding: 2rem 1.25rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Liberation Sans", "DejaVu Sans", sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 0.25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 2.25rem 0 0.75rem; }
.subtitle { color: var(--soft); margin: 0; overflow-wrap: anywhere; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 0.45rem 0.9rem; border-bottom: 1px solid var(--line); text-align: left; vertical-align: top; }
thead th { color: var(--soft); font-size: 0.85rem; font-weight: 600; vertical-align: bottom; }
.metrics th:not(:first-child), .metrics td { text-align: right; }
.metrics tbody th { overflow-wrap: anywhere; min-width: 12rem; }
.metrics td { font-size: 1.05rem; white-space: nowrap; }
.metrics td small { color: var(--soft); }
.small td, .small th { font-size: 0.9rem; padding: 0.3rem 0.7rem; }
.note { color: var(--soft); font-size: 0.9rem; margin: 0.5rem 0 0; }
.trials { padding: 0; margin: 0; list-style: none; }
.trials li { display: flex; flex-wrap: wrap; gap: 0.5rem 1.5rem; padding: 0.7rem 0; border-top: 1px solid var(--line); }
.trials .score { flex: 0 0 5rem; display: flex; flex-direction: column; font-variant-numeric: tabular-nums; }
.trials .score span { color: var(--soft); font-size: 0.85rem; }
.trials .side { flex: 1 1 18rem; min-width: 0; display: flex; flex-direction: column; gap: 0.3rem; }
.trials .side span { overflow-wrap: anywhere; font-size: 0.9rem; }
audio { height: 2.2rem; max-width: 100%; }
.facts th { color: var(--soft); font-weight: 500; min-width: 9rem; overflow-wrap: anywhere; }
.facts td { overflow-wrap: anywhere; min-width: 8rem; }
figure { margin: 0; }
figure img { display: block; max-width: 100%; height: auto; margin: 0 auto; }
@media (max-width: 40rem) {
  .drawing img { max-width: none; width: 28rem; }  /* labels stay readable: it scrolls */
  h1 { font-size: 1.3rem; }
  th, td { padding: 0.4rem 0.5rem; }
  .metrics tbody th { min-width: 7rem; }
}
figcaption { color: var(--soft); font-size: 0.9rem; margin-top: 0.5rem; }
figure.picture img { filter: none; border-radius: 4px; }  /* its colours are values */
.players { display: flex; flex-wrap: wrap; gap: 0.5rem 2rem; margin: 0 0 0.75rem; }
.players div { display: flex; flex-direction: column; gap: 0.25rem; }
.players span { color: var(--soft); font-size: 0.85rem; }
details { margin: 1.25rem 0 0; border: 1px solid var(--line); border-radius: 8px; background: var(--panel); }
summary { cursor: pointer; padding: 0.7rem 1rem; font-weight: 600; }
pre { margin: 0; padding: 0.25rem 1rem 1rem; overflow-x: auto; font: 0.85rem/1.45 ui-monospace, Menlo, Consolas,
  "Liberation Mono", "DejaVu Sans Mono", monospace; }
"""


def metrics_section(title: str, rows: Mapping[str, Mapping[str, float]]) -> str:
    """A table of metrics: a row a trial list or epoch, a column a metric, with units (rates in %).

    Args:
        title: heading.
        rows: name of the row -> metrics as `speakerlab.scoring.metrics.verification_metrics` gives them; others are
            shown under their own names, and a row may lack some.
    """
    present = dict.fromkeys(metric for metrics in rows.values() for metric in metrics)
    known = [metric for metric in COLUMNS if metric in present]
    columns = known + [metric for metric in present if metric not in COLUMNS]
    head = "".join(f'<th scope="col">{escape(_header(metric))}</th>' for metric in columns)
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(f"<td>{escape(_value(metric, metrics.get(metric)))}</td>" for metric in columns)
        + "</tr>\n"
        for name, metrics in rows.items()
    )
    table = f'<table class="metrics"><thead><tr><th></th>{head}</tr></thead>\n<tbody>{body}</tbody></table>'
    return section(title, f'<div class="wide">{table}</div>')


def results_section(title: str, systems: Mapping[str, Mapping[str, float]]) -> str:
    """A table of results: a row a metric, a column a system, a metric's 95 % interval under its value.

    Args:
        title: heading.
        systems: name -> metrics; `x_low` and `x_high` are the ends of the interval of `x`.
    """
    present = dict.fromkeys(metric for metrics in systems.values() for metric in metrics)
    ends = {f"{metric}_{end}" for metric in present for end in ("low", "high")}
    known = [metric for metric in COLUMNS if metric in present]
    rows = ""
    for metric in [*known, *(metric for metric in present if metric not in COLUMNS)]:
        if metric in ends:
            continue
        cells = "".join(f"<td>{_with_interval(metric, metrics)}</td>" for metrics in systems.values())
        rows += f'<tr><th scope="row">{escape(_header(metric))}</th>{cells}</tr>\n'
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in systems)
    table = f'<table class="metrics"><thead><tr><th></th>{head}</tr></thead>\n<tbody>{rows}</tbody></table>'
    note = '<p class="note">In brackets: 95 % interval, by bootstrap over speakers.</p>' if ends & set(present) else ""
    return section(title, f'<div class="wide">{table}</div>{note}')


def table_section(title: str, rows: Mapping[str, Mapping[str, str]], note: str = "") -> str:
    """A table of texts, numbers mostly: a row a name, a column a key of the first row."""
    headers = list(next(iter(rows.values()), ()))
    head = "".join(f'<th scope="col">{escape(header)}</th>' for header in headers)
    body = "".join(
        f'<tr><th scope="row">{escape(name)}</th>'
        + "".join(f"<td>{escape(cells[header])}</td>" for header in headers)
        + "</tr>\n"
        for name, cells in rows.items()
    )
    table = f'<table class="metrics small"><thead><tr><th></th>{head}</tr></thead>\n<tbody>{body}</tbody></table>'
    below = f'<p class="note">{escape(note)}</p>' if note else ""
    return section(title, f'<div class="wide">{table}</div>{below}')


def facts_section(title: str, facts: Mapping[str, object]) -> str:
    """A table of names and values, such as versions, the command or the device."""
    return section(title, _facts_table(facts))


def figure_section(title: str, figure: Figure, caption: str = "") -> str:
    """A figure, as an SVG image within the page."""
    return drawing_section(title, figure_svg(figure), caption)


def drawing_section(title: str, svg: str, caption: str = "") -> str:
    """A figure that is drawn already, the text of an SVG file, as an image within the page."""
    # An image and not inline SVG: the figures' ids (clip paths, glyphs) would clash within one document.
    data = base64.b64encode(svg.encode()).decode()
    below = f"<figcaption>{escape(caption)}</figcaption>" if caption else ""
    alt = escape(caption or title)
    return section(title, _figure(f'<img alt="{alt}" src="data:image/svg+xml;base64,{data}">', below))


def pictures_section(title: str, figures: Iterable[Figure], caption: str = "") -> str:
    """Figures whose colours are values, such as spectrograms, as JPEG images within the page: SVG and PNG would make
    each ten times as large."""
    images = []
    for figure in figures:
        buffer = io.BytesIO()
        figure.savefig(buffer, format="jpeg", dpi=110, pil_kwargs={"quality": 80})
        data = base64.b64encode(buffer.getvalue()).decode()
        images.append(_figure(f'<img alt="{escape(title)}" src="data:image/jpeg;base64,{data}">', "", "picture"))
    note = f'<p class="note">{escape(caption)}</p>' if caption else ""
    return section(title, "".join(images) + note)


def media_section(title: str, facts: Mapping[str, object], sounds: Mapping[str, str], picture: str) -> str:
    """Players of sounds, a picture and facts.

    Args:
        title: heading.
        facts: name -> value.
        sounds: label -> file, relative to the page.
        picture: file, relative to the page.
    """
    players = "".join(
        f'<div><span>{escape(label)}</span><audio controls preload="metadata" src="{quote(file)}"></audio></div>'
        for label, file in sounds.items()
    )
    image = f'<figure class="picture"><img loading="lazy" alt="{escape(title)}" src="{quote(picture)}"></figure>'
    return section(title, f'<div class="players">{players}</div>\n{image}\n{_facts_table(facts)}')


def folded_section(title: str, text: str) -> str:
    """Long text, such as the resolved configuration, that opens on a click."""
    return f"<details><summary>{escape(title)}</summary><pre>{escape(text)}</pre></details>\n"


def page(title: str, *sections: str, subtitle: str = "") -> str:
    """The whole document; `title` and `subtitle` are plain text, `sections` are HTML from the functions above."""
    under = f'<p class="subtitle">{escape(subtitle)}</p>\n' if subtitle else ""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n{under}{''.join(sections)}</body>\n</html>\n"
    )


def write_report(folder: Path, title: str, *sections: str, subtitle: str = "") -> Path:
    """Write `report.html` into a folder, which is made if need be, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "report.html"
    with replacing(path) as draft:  # a browser that reloads never sees half a page
        draft.write_text(page(title, *sections, subtitle=subtitle), encoding="utf-8")
    return path


def _figure(image: str, below: str, kind: str = "drawing") -> str:
    return f'<figure class="{kind}"><div class="wide">{image}</div>{below}</figure>'


def _facts_table(facts: Mapping[str, object]) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(str(name))}</th><td>{escape(str(value))}</td></tr>\n'
        for name, value in facts.items()
    )
    return f'<div class="wide"><table class="facts"><tbody>{rows}</tbody></table></div>'


def section(title: str, content: str) -> str:
    """A heading and HTML under it."""
    return f"<section>\n<h2>{escape(title)}</h2>\n{content}\n</section>\n"


def _header(metric: str) -> str:
    return COLUMNS[metric][0] if metric in COLUMNS else metric_name(metric)


def _with_interval(metric: str, metrics: Mapping[str, float]) -> str:
    value = escape(_value(metric, metrics.get(metric)))
    if f"{metric}_low" not in metrics or f"{metric}_high" not in metrics:
        return value
    low, high = (_number(metric, metrics[f"{metric}_{end}"]) for end in ("low", "high"))
    return f"{value} <small>[{escape(low)}, {escape(high)}]</small>"


def _value(metric: str, value: float | None) -> str:
    if value is None:
        return "–"
    return value if isinstance(value, str) else _number(metric, value)


def _number(metric: str, value: float) -> str:
    if metric not in COLUMNS:
        return metric_value(metric, value)
    _, factor, form = COLUMNS[metric]
    # CSV files give whole numbers as floats, which "d" refuses.
    return format(round(value), form) if form.endswith("d") else format(factor * value, form)
