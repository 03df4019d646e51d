"""What is drawn and tabled is what was counted."""

import numpy as np
import pytest

from speakerlab.data.summary import Development, Group, LeftOut, Look, Summary
from speakerlab.reports.summary import group_rows, left_out_rows, overview, spreads, summary_figure, write_summary

GENERATOR = np.random.default_rng(4)


def look(**changes) -> Look:
    summary = {
        "seconds": GENERATOR.uniform(2, 9, 3000),
        "utterances_of": np.array([5] * 40 + [70] * 40),
        "seconds_of": GENERATOR.uniform(100, 2000, 80),
        "sessions": 200,
        "files": 3000,
        "repeated": 0,
        "groups": {
            "sample rate": {"16000": Group(80, 2900, 4.9), "44100": Group(3, 100, 0.1)},
            "gender": {"f": Group(40, 2000, 3.0), "unknown": Group(40, 1000, 2.0)},
        },
    }
    others = {name: changes.pop(name) for name in ("development", "left_out", "notes") if name in changes}
    return Look("voices", "/data/voices", Summary(**{**summary, **changes}), **others)


DEVELOPMENT = Development(np.linspace(3, 4, 50), targets=1000, nontargets=9000)


def heights(axes) -> list[np.ndarray]:
    """Of the filled histograms."""
    return [patch.get_data().values for patch in axes.patches if hasattr(patch, "get_data") and patch.get_fill()]


def test_every_utterance_and_speaker_is_in_a_bin():
    lengths, counts, minutes, _ = summary_figure(look()).axes
    assert heights(lengths)[0].sum() == 3000
    assert heights(counts)[0].sum() == heights(minutes)[0].sum() == 80


def test_two_sides_are_shares():
    lengths = summary_figure(look(development=DEVELOPMENT)).axes[0]
    assert [values.sum() for values in heights(lengths)] == pytest.approx([100, 100])
    assert [text.get_text() for text in lengths.get_legend().get_texts()] == ["training", "development"]


def test_bins_of_whole_numbers_hold_equally_many():
    """Otherwise evenly spread counts would look like a comb."""
    counts = summary_figure(look(utterances_of=np.repeat(np.arange(101, 241), 7))).axes[1]
    (values,) = heights(counts)
    assert len(set(values[:-1].tolist())) == 1


def test_a_long_tail_is_logarithmic():
    seconds = np.concatenate([GENERATOR.uniform(2, 9, 3000), [4000.0]])
    assert summary_figure(look(seconds=seconds)).axes[0].get_xscale() == "log"
    assert summary_figure(look()).axes[0].get_xscale() == "linear"


@pytest.mark.parametrize(
    "changes",
    [
        {"seconds": np.array([3.0]), "utterances_of": np.array([1]), "seconds_of": np.array([3.0])},
        {"seconds": np.full(100, 3.0), "utterances_of": np.full(20, 5), "seconds_of": np.full(20, 15.0)},
    ],
)
def test_one_value_is_drawn(changes):
    for axes in summary_figure(look(**changes)).axes[:3]:
        assert heights(axes)[0].sum() in (1, 20, 100)
        assert np.ptp(axes.get_xlim()) > 0


def test_bars_are_shares_of_the_utterances():
    bars = summary_figure(look()).axes[3]
    assert [patch.get_width() for patch in bars.patches] == pytest.approx([2900 / 30, 100 / 30, 2000 / 30, 1000 / 30])
    labels = [label.get_text() for label in bars.get_yticklabels()]
    assert labels == ["sample rate: 16 kHz", "sample rate: 44.1 kHz", "gender: f", "gender: unknown"]


def test_counts_in_words():
    words = overview(look(development=DEVELOPMENT, files=2000, repeated=3))
    assert words["speakers"] == "80" and words["utterances"] == "3,000"
    assert words["audio files"].startswith("2,000")
    assert words["repeated"].startswith("3 utterances")
    assert words["development trials"] == "1,000 targets, 9,000 non-targets"
    assert not {"audio files", "repeated", "development trials"} & set(overview(look()))


def test_spreads_have_their_units():
    rows = spreads(look(seconds_of=np.array([60.0, 120.0, 180.0]), development=DEVELOPMENT))
    assert rows["minutes a speaker"] == {"min": "1.00", "5 %": "1.10", "median": "2.00", "95 %": "2.90", "max": "3.00"}
    assert rows["development length (s)"]["max"] == "4.00"


def test_many_values_end_in_a_sum():
    groups = {f"n{i}": Group(1, 100 - i, 1.0) for i in range(20)}
    rows = group_rows("nation", groups)
    assert len(rows) == 16
    assert rows["5 others"] == {"speakers": "", "utterances": str(sum(range(81, 86))), "hours": "5.00"}


def test_the_page_holds_all_of_it(tmp_path):
    page = write_summary(tmp_path, look(left_out={"broken": LeftOut(3, "a<b.wav: cut off")}, notes=("a & b",)))
    text = page.read_text()
    assert page == tmp_path / "report.html"
    assert (tmp_path / "plots" / "summary.png").is_file() and (tmp_path / "plots" / "summary.svg").is_file()
    expected = ("Corpus voices", "/data/voices", "44.1 kHz", "unknown", "a&lt;b.wav: cut off", "a &amp; b", "Spread")
    assert all(part in text for part in expected)
    assert left_out_rows(look()) == {}
