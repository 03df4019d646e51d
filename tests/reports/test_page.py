"""The report page: its numbers, its escaping, and that it needs nothing from outside."""

import base64
import re
from html.parser import HTMLParser

import pytest

from speakerlab.reports.histogram import histogram_figure
from speakerlab.reports.page import (
    facts_section,
    figure_section,
    folded_section,
    media_section,
    metrics_section,
    page,
    pictures_section,
    results_section,
    table_section,
    write_report,
)
from speakerlab.scoring.metrics import verification_metrics

EVIL = '<script>alert("x")</script> & more'
VOID = {"meta", "img", "link", "br", "hr"}


class Reader(HTMLParser):
    """Collects tags and the text of the cells, and sees that tags are closed in order."""

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.cells = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("th", "td"):
            self.cells.append(data)


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "new"
    scores, labels = [0.9, 0.7, 0.4, 0.2, 0.1], [1, 1, 0, 1, 0]
    metrics = verification_metrics(scores, labels)
    path = write_report(
        folder,
        EVIL,
        metrics_section("Verification " + EVIL, {"mini " + EVIL: metrics, "other": {"eer": 0.5, "rate" + EVIL: 7.0}}),
        figure_section("Scores", histogram_figure(scores, labels), caption=EVIL),
        folded_section("Configuration", "name: " + EVIL),
        facts_section("Versions", {"torch": "2.11.0", "command": EVIL}),
        subtitle=EVIL,
    )
    assert [file.name for file in folder.iterdir()] == ["report.html"]
    return path.read_text(encoding="utf-8")


def test_shows_the_numbers_with_their_units(report):
    cells = Reader(report).cells
    assert "EER (%)" in cells and "33.33" in cells and "50.00" in cells
    assert "0.6667" in cells or "0.3333" in cells  # minDCF
    assert "–" in cells  # what a row lacks
    assert "2.11.0" in cells


def test_metrics_by_hand():
    row = {"epoch": 3.0, "eer": 0.01234, "min_dcf_0.01": 0.2, "targets": 18802.0, "rate": 1234.5, "device": "cpu"}
    cells = Reader(metrics_section("Best", {"validation": row})).cells
    header = ["epoch", "EER (%)", "minDCF, p = 0.01", "target trials", "rate", "device"]
    assert cells == [*header, "validation", "3", "1.23", "0.2000", "18,802", "1234", "cpu"]


def test_results_by_hand():
    model = {"eer": 0.0123, "eer_low": 0.01, "eer_high": 0.02, "targets": 18802, "min_dcf_sre08": 0.5}
    html = results_section("Results", {"model": model, "<b>": {"eer": 0.5}})
    assert Reader(html).cells[:3] == ["model", "<b>", "EER (%)"]
    assert "<td>1.23 <small>[1.00, 2.00]</small></td><td>50.00</td>" in html
    assert "minDCF(sre08)</th><td>0.5000</td><td>–</td>" in html and "18,802" in html
    assert "bootstrap" in html and "eer_low" not in html
    assert "bootstrap" not in results_section("Results", {"model": {"eer": 0.5}})


def test_table_by_hand():
    cells = Reader(table_section("Parts", {"short": {"EER": "1.2", "trials": "<3>"}}, "a note")).cells
    assert cells == ["EER", "trials", "short", "1.2", "<3>"]


def test_pictures_are_inside():
    html = pictures_section("Attention", [histogram_figure([0.0, 1.0], [0, 1])] * 2, "what it <is>")
    images = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', html)
    assert len(images) == 2 and base64.b64decode(images[0]).startswith(b"\xff\xd8")
    assert html.count('class="picture"') == 2 and "what it &lt;is&gt;" in html


def test_escapes_what_it_is_given(report):
    tags = [tag for tag, _ in Reader(report).tags]
    assert "script" not in tags
    assert report.count("&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; &amp; more") >= 8


def test_needs_nothing_from_outside(report):
    assert not re.search(r"https?:|@import|url\(|//[a-z]", re.sub(r"base64,[^\"]*", "", report))
    tags = Reader(report).tags
    assert not {"script", "link", "iframe"} & {tag for tag, _ in tags}
    sources = [attributes["src"] for _, attributes in tags if "src" in attributes]
    assert len(sources) == 1
    image = base64.b64decode(sources[0].removeprefix("data:image/svg+xml;base64,")).decode()
    assert "<svg" in image
    assert not re.findall(r'(?:href|src)="(?!#)', image)


def test_sections_come_in_order_and_the_configuration_is_folded(report):
    order = [report.index(part) for part in ("<table", "<figure", "<details>", "Versions")]
    assert order == sorted(order)
    assert "prefers-color-scheme: dark" in report


def test_is_a_pure_function():
    assert page("title", folded_section("a", "b")) == page("title", folded_section("a", "b"))
    figures = [figure_section("f", histogram_figure([0.0, 1.0], [0, 1])) for _ in range(2)]
    assert figures[0] == figures[1]


def test_players_and_pictures_are_files_beside_the_page():
    html = media_section(EVIL, {"a": EVIL}, {"before": "a b.wav", EVIL: "c.wav"}, "d.png")
    reader = Reader(page("t", html))
    sources = [attrs["src"] for tag, attrs in reader.tags if tag in ("audio", "img")]
    assert sources == ["a%20b.wav", "c.wav", "d.png"]
    assert "<script" not in html
