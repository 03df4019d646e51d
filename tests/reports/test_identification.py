import re
from collections import Counter

import numpy as np
import pytest

from speakerlab.reports.identification import Identification, identification_report, match_figure
from speakerlab.scoring.identification import Guesses, guesses_of, identification_metrics


def test_the_curve_is_the_share_within_each_rank():
    rank = np.array([1, 1, 2, 5, 30, 3, 1, 1])
    (axes,) = match_figure(rank, speakers=40).axes
    curve, chance = axes.lines
    assert curve.get_xdata().tolist() == list(range(1, 21))
    assert curve.get_ydata().tolist() == [100 * float(np.mean(rank <= k)) for k in range(1, 21)]
    assert chance.get_ydata()[3] == 10.0
    assert len(match_figure(rank, speakers=4).axes[0].lines[0].get_xdata()) == 4


@pytest.fixture(scope="module")
def found() -> Identification:
    generator = np.random.default_rng(0)
    classes = np.repeat(np.arange(8), np.arange(3, 11))
    logits = generator.normal(size=(len(classes), 10)) + 1.5 * np.eye(10)[classes]
    guesses = guesses_of(logits, classes)
    names = [f"<{i}> speaker" for i in range(10)]
    return Identification(
        name="identification_test",
        metrics={
            "model": identification_metrics(guesses, classes) | {"accuracy_low": 0.1234, "accuracy_high": 0.9876},
            "another": identification_metrics(guesses, classes),
        },
        classes=classes,
        guesses=guesses,
        speakers=names,
        embeddings=logits.astype(np.float32),
        facts={"checkpoint": "best.ckpt"},
        texts={"Configuration": "seed: 1"},
    )


def test_the_report(found, tmp_path):
    page = identification_report(tmp_path, "Evaluation", found)
    assert page == tmp_path / "evaluation_identification_test" / "report.html"
    text = page.read_text()
    assert re.findall(r"<h2>(.*?)</h2>", text) == [
        "Identification among 10 speakers",
        "Cumulative match",
        "Most confused speakers",
        "Most frequent mistakes",
        "Accuracy by speaker",
        "Speakers with the lowest accuracy",
        "How sure, and how rightly",
        "Map of embeddings",
        "Evaluation",
    ]
    assert f"{100 * found.metrics['model']['accuracy']:.2f} <small>[12.34, 98.76]</small>" in text
    wrong = Counter((a, b) for a, b in zip(found.classes.tolist(), found.guesses.predicted.tolist()) if a != b)
    ((speaker, other), times) = wrong.most_common(1)[0]
    assert f"&lt;{speaker}&gt; speaker taken for &lt;{other}&gt; speaker</th><td>{times}</td>" in text
    assert "seed: 1" in text and "another" in text
    table = text[text.index("Speakers with the lowest accuracy") :].split("</table>")[0]
    shown = [float(cell) for cell in re.findall(r"<td>([0-9.]+)</td><td>[0-9]+</td>", table)]
    share = [100 * np.mean(found.right[found.classes == speaker]) for speaker in range(8)]
    assert shown == [pytest.approx(one, abs=0.01) for one in sorted(share) if one < 100]
    for kind in ("match", "confusion", "speakers", "certainty", "map"):
        assert (tmp_path / "plots" / f"{kind}_identification_test.png").stat().st_size > 1000
    assert (tmp_path / "tensorboard" / "evaluation_identification_test" / "projector_config.pbtxt").is_file()


def test_no_mistakes_are_said_to_be_none(found, tmp_path):
    ones = np.ones(len(found.classes), np.int64)
    perfect = Guesses(found.classes, ones, np.ones(len(ones)), found.classes[:, None], np.ones((len(ones), 1)))
    metrics = identification_metrics(perfect, found.classes)
    given = Identification("all", {"model": metrics}, found.classes, perfect, found.speakers)
    text = identification_report(tmp_path, "Evaluation", given).read_text()
    assert "Every utterance was identified" in text and "lowest accuracy" not in text and "confused" not in text
