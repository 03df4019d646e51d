"""Published figures beside ours, and the page of both."""

import pytest

from speakerlab.reports.models import Row, agrees, cells, models_page, parameters_in, published
from speakerlab.shipped import CONF

ROWS = {
    "ecapa": Row(6_194_432, 192, "fbank", 949_444_608, 61.4),
    "lstm": Row(5_616_641, 256, "fbank", 1_083_663_104, 8.75),
    "eres2net": Row(9_887_808, 512, "fbank"),
}


def page(rows: dict[str, Row]) -> str:
    return models_page(rows, "speakerlab models", ["2026-01-31, torch 2.11.0."])


def test_every_figure_is_of_a_model_and_has_a_source():
    figures = published()
    assert set(figures) <= {path.stem for path in (CONF / "model").glob("*.yaml")}
    for model, found in figures.items():
        assert set(found) <= {"parameters", "macs", "eer"}, model
        assert all(figure.value and figure.source for figure in found.values()), model
        if "eer" in found:
            assert 0.1 < float(found["eer"].value) < 10  # percent


@pytest.mark.parametrize(
    "count, value, expected",
    [
        (17_859_632, "17.8 M", False),
        (17_859_632, "17.9 M", True),
        (6_649_999, "6.6 M", True),
        (6_650_001, "6.6 M", False),
        (949_444_608, "0.95 G", True),
        (999, "1 k", True),
        (400, "1 k", False),
    ],
)
def test_rounding(count, value, expected):
    assert agrees(count, value) is expected


def test_the_table_shows_cost_where_it_is_known():
    table = cells(ROWS)
    assert table["ecapa"] == {
        "parameters": "6,194,432",
        "published": "6.2 M",
        "embedding": "192",
        "MACs, 2 s": "0.949 G",
        "published MACs": "1.04 G",
        "ms, 2 s": "61",
        "features": "fbank",
        "EER": "1.01",
    }
    assert table["lstm"]["published"] == table["lstm"]["EER"] == "" and table["lstm"]["ms, 2 s"] == "8.8"
    assert table["eres2net"]["MACs, 2 s"] == ""
    assert not {"MACs, 2 s", "published MACs"} & set(cells({"eres2net": ROWS["eres2net"]})["eres2net"])


def test_a_page_cites_and_explains():
    text = page(ROWS)
    table = [line for line in text.splitlines() if line.startswith("|")]
    assert len(table) == 2 + len(ROWS) and len({line.count("|") for line in table}) == 1
    assert "| `ecapa` | 6,194,432 | 6.2 M [1] | 0.949 G | 1.04 G [2] | 192 | 61 | fbank | 1.01 [1] | AS-norm |" in table
    assert "\n1. Desplanques" in text and "\n2. WeSpeaker" in text and "\n3. " not in text
    assert "- `eres2net`, parameters: published 7.88 M; " in text
    assert "differ from the published" not in page({"ecapa": ROWS["ecapa"]})
    assert all(len(line) <= 120 for line in text.splitlines() if not line.startswith(("|", "-", "1", "2")))


def test_a_page_is_read_back():
    assert parameters_in(page(ROWS)) == {model: row.parameters for model, row in ROWS.items()}
