"""The table of all models: what is counted and measured here beside what papers and official code publish."""

import re
import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import yaml

FIGURES = Path(__file__).with_name("published.yaml")
UNITS = {"k": 1e3, "M": 1e6, "G": 1e9}

COUNTED = (
    "Parameters and multiply-accumulates are the encoder's with its pooling, not the loss's. Multiply-accumulates are "
    "those of convolutions, matrix products, attention and recurrent layers, in evaluation, on the features of 2 s: "
    "198 frames of `fbank`, samples for `raw`, 300 frames and pictures of them for `fixed` and `image`. Norms, "
    "activations, gates, statistics and the features themselves are not counted; published numbers, of 200 frames, "
    "mostly have them. Contexts and gates that are alike for many frames are computed once here, which saves "
    "ECAPA-TDNN and CAM++ a twelfth."
)
EER_NOTE = (
    "Published EER are on VoxCeleb1-O after training on VoxCeleb2, by cosine, unless said otherwise; papers differ in "
    "augmentation, lists (original or cleaned) and length of training. None of them is a result of this program."
)


@dataclass(frozen=True)
class Figure:
    """A published number, as it is written there.

    Attributes:
        value: such as `6.2 M`.
        source: where it stands.
        note: how it was reached.
        difference: why it is not what is counted here.
    """

    value: str
    source: str
    note: str = ""
    difference: str = ""


@dataclass(frozen=True)
class Row:
    """One model; what costs more to find out may be None."""

    parameters: int
    embed_dim: int
    features: str
    macs: int | None = None
    milliseconds: float | None = None


def published() -> dict[str, dict[str, Figure]]:
    """Model -> `parameters`, `macs` and `eer`, as far as they are published."""
    contents = yaml.safe_load(FIGURES.read_text(encoding="utf-8"))
    sources = contents["sources"]
    return {
        model: {
            name: Figure(**figure | {"value": str(figure["value"]), "source": sources[figure["source"]]})
            for name, figure in figures.items()
        }
        for model, figures in contents["models"].items()
    }


def agrees(count: int, value: str) -> bool:
    """Whether a count is a published one to its digits.

    >>> agrees(6_194_432, "6.2 M"), agrees(6_194_432, "6.19 M"), agrees(6_194_432, "6.20 M")
    (True, True, False)
    """
    number, unit = value.split()
    step = 10 ** -len(number.partition(".")[2])
    return abs(count / UNITS[unit] - float(number)) <= 0.5 * step


def cells(models: Mapping[str, Row]) -> dict[str, dict[str, str]]:
    """The table for the terminal: model -> header -> text."""
    figures, with_cost = published(), any(row.macs is not None for row in models.values())
    table = {}
    for model, row in models.items():
        found = figures.get(model, {})
        cost = {
            "MACs, 2 s": giga(row.macs),
            "published MACs": _value(found, "macs"),
            "ms, 2 s": milliseconds(row.milliseconds),
        }
        table[model] = {
            "parameters": f"{row.parameters:,}",
            "published": _value(found, "parameters"),
            "embedding": str(row.embed_dim),
            **(cost if with_cost else {}),
            "features": row.features,
            "EER": _value(found, "eer"),
        }
    return table


def giga(macs: int | None) -> str:
    """Three digits of a number of multiply-accumulates.

    >>> giga(949_444_608), giga(27_546_229_760), giga(104_028_384), giga(None)
    ('0.949 G', '27.5 G', '0.104 G', '')
    """
    return "" if macs is None else f"{macs / 1e9:#.3g} G"


def milliseconds(value: float | None) -> str:
    """Two digits, or all before the point.

    >>> milliseconds(7.34), milliseconds(83.4), milliseconds(1234.5), milliseconds(None)
    ('7.3', '83', '1,234', '')
    """
    return "" if value is None else f"{value:,.0f}" if value >= 10 else f"{value:.1f}"


def models_page(models: Mapping[str, Row], command: str, machine: list[str]) -> str:
    """The table as Markdown, with sources and differences below.

    Args:
        models: in order.
        command: that makes it.
        machine: lines on when, on what and with which versions it was made.
    """
    figures = {model: found for model, found in published().items() if model in models}
    sources = list(dict.fromkeys(figure.source for found in figures.values() for figure in found.values()))
    lines = ["# Models", "", _wrapped(f"Made by `{command}`. Numbers in brackets are sources, listed at the end."), ""]
    lines += [_wrapped(" ".join(machine)), "", *_table(models, figures, sources), ""]
    lines += [_wrapped(COUNTED), "", _wrapped(EER_NOTE), ""]
    differences = [
        f"- `{model}`, {name}: published {figure.value}; {figure.difference}"
        for model, found in figures.items()
        for name, figure in found.items()
        if figure.difference
    ]
    if differences:
        lines += ["Counts that differ from the published ones beyond their digits:", "", *differences, ""]
    lines += ["Sources:", "", *(f"{number}. {source}" for number, source in enumerate(sources, start=1)), ""]
    return "\n".join(lines)


def parameters_in(page: str) -> dict[str, int]:
    """What a page of `models_page` says of each model's parameters."""
    found = re.findall(r"^\| `(\w+)` \| ([\d,]+) \|", page, re.MULTILINE)
    return {model: int(number.replace(",", "")) for model, number in found}


def _table(models: Mapping[str, Row], figures: Mapping[str, Mapping[str, Figure]], sources: list[str]) -> list[str]:
    headers = (
        "`model=`",
        "parameters",
        "published",
        "multiply-accumulates, 2 s",
        "published",
        "embedding",
        "CPU ms, 2 s",
        "features",
        "published EER %",
        "reached by",
    )

    def cited(found: Mapping[str, Figure], name: str) -> str:
        return f"{found[name].value} [{sources.index(found[name].source) + 1}]" if name in found else ""

    rows = [headers, tuple("---" if "features" in h or "model" in h or "by" in h else "---:" for h in headers)]
    for model, row in models.items():
        found = figures.get(model, {})
        rows.append(
            (
                f"`{model}`",
                f"{row.parameters:,}",
                cited(found, "parameters"),
                giga(row.macs),
                cited(found, "macs"),
                str(row.embed_dim),
                milliseconds(row.milliseconds),
                row.features,
                cited(found, "eer"),
                found["eer"].note if "eer" in found else "",
            )
        )
    return [f"| {' | '.join(row)} |" for row in rows]


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 118, break_long_words=False, break_on_hyphens=False)


def _value(found: Mapping[str, Figure], name: str) -> str:
    return found[name].value if name in found else ""
