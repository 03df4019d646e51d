"""The report of a trial list, from its input to its files."""

import re
from pathlib import Path

import numpy as np
import pytest

from speakerlab.data.trials import Trials
from speakerlab.reports.attention import Heard
from speakerlab.reports.evaluation import Verification, verification_report
from speakerlab.scoring.conditions import ConditionResult
from speakerlab.scoring.metrics import verification_metrics


@pytest.fixture(scope="module")
def found() -> Verification:
    generator = np.random.default_rng(0)
    speakers = np.repeat(np.arange(6), 4)
    enrol, test = np.triu_indices(24, k=1)
    labels = (speakers[enrol] == speakers[test]).astype(np.int8)
    names = [f"wav/id{speaker}/{i}.wav" for i, speaker in enumerate(speakers)]
    trials = Trials(labels, enrol, test, names, np.arange(1, len(labels) + 1), "list.txt")
    scores = generator.normal(size=len(labels)) + 1.5 * labels
    metrics = verification_metrics(scores, labels) | {"eer_low": 0.1234, "eer_high": 0.3456}
    part = ConditionResult(0.2, 0.1, 0.3, 0.2, 0.2, 10, 20)
    return Verification(
        name="list",
        trials=trials,
        scores={"model": scores, "other <one>": -scores},
        metrics={"model": metrics, "other <one>": verification_metrics(-scores, labels)},
        files=[Path("/nowhere", name) for name in names],
        embeddings=generator.normal(size=(24, 8)).astype(np.float32),
        conditions={"gender": {"female": part, "male": part}},
        heard=[Heard("a/b.wav", np.zeros(10), generator.normal(size=(20, 8)), np.ones((3, 20)), 0.2)],
        facts={"checkpoint": "best.ckpt"},
        texts={"Configuration": "seed: 1"},
        step=5,
    )


def test_everything_is_on_the_page(found, tmp_path):
    page = verification_report(tmp_path, "Evaluation", found)
    assert page == tmp_path / "evaluation_list" / "report.html"
    text = page.read_text()
    headings = re.findall(r"<h2>(.*?)</h2>", text)
    assert headings == [
        "Results",
        "Detection error trade-off",
        "ROC",
        "Scores",
        "EER by condition",
        "Conditions in numbers",
        "Worst false accepts",
        "Worst false rejects",
        "Map of embeddings",
        "Attention to mistakes",
        "Evaluation",
    ]
    assert "[12.34, 34.56]" in text and "other &lt;one&gt;" in text and "seed: 1" in text
    for kind in ("det", "roc", "scores", "conditions", "map"):
        assert (tmp_path / "plots" / f"{kind}_list.png").stat().st_size > 1000
        assert "<svg" in (tmp_path / "plots" / f"{kind}_list.svg").read_text()
    assert (tmp_path / "plots" / "attention_list_1.png").is_file()
    assert len(text) < 1_500_000
    events = tmp_path / "tensorboard" / "evaluation_list"
    assert len(list(events.glob("events.out.*"))) == 1 and (events / "projector_config.pbtxt").is_file()
    worst = int(np.argmax(np.where(found.trials.labels == 0, found.scores["model"], -np.inf)))
    first = text.index("line", text.index("Worst false accepts"))
    assert text[first:].startswith(f"line {worst + 1}<")


def test_scores_alone_make_a_page(found, tmp_path):
    bare = Verification(found.name, found.trials, found.scores, found.metrics)
    text = verification_report(tmp_path, "Evaluation", bare).read_text()
    assert "Map of embeddings" not in text and "Conditions" not in text and "<audio" not in text
    assert not list((tmp_path / "tensorboard").rglob("projector_config.pbtxt"))
