"""A card comes back as it was written; anything else is refused in a line, and shown as text."""

import hashlib
import json
from itertools import count

import numpy as np
import pytest
from recognizers import card

from speakerlab import InputError
from speakerlab.inference.card import ModelCard, fingerprint
from speakerlab.inference.kept_calibration import KeptCalibration
from speakerlab.scoring.calibration import Calibration

KEPT = KeptCalibration(
    {"backend": "cosine", "measures": ["duration"]},
    Calibration(("score", "duration_low"), (3.5, -1.0), 0.25),
    {"eer": 0.3, "min_dcf_0.01": 0.5},
    {"eer": 0.0},
    "dev.txt",
)


@pytest.mark.parametrize("changes", [{}, {"calibration": KEPT}, {"threshold": None}, {"name": "Ülo 李", "metrics": {}}])
def test_a_card_comes_back(changes):
    written = card(**changes)
    text = written.to_json()
    assert ModelCard.from_json(text) == ModelCard.from_json(text.encode()) == written
    assert text == text.encode("utf-8").decode()


def plain(**changes) -> str:
    return json.dumps(json.loads(card(calibration=KEPT).to_json()) | changes)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "3",
        "{}",
        "[" * 100_000,
        '{"a": ' * 50_000,
        plain(extra=1),
        plain(sample_rate=0),
        plain(sample_rate=10**9),
        plain(sample_rate=16000.0),
        plain(sample_rate=True),
        plain(embed_dim=-1),
        plain(embed_dim="8"),
        plain(name=3),
        plain(name="a\nb"),
        plain(name="\x1b[31m"),
        plain(name="x" * 3000),
        plain(metrics=[]),
        plain(metrics={"eer": "low"}),
        plain(metrics={"eer": float("nan")}),
        plain(metrics={"eer": 10**400}),
        plain(metrics={str(n): 0.0 for n in range(2000)}),
        plain(threshold=2.0),
        plain(threshold=float("nan")),
        plain(threshold=[0.5]),
        plain(threshold=-(10**400)),
        plain(fingerprint="0" * 63),
        plain(fingerprint="G" * 64),
        plain(calibration=[]),
        plain(calibration={}),
        plain(calibration=KEPT.plain() | {"thresholds": {}}),
        plain(calibration=KEPT.plain() | {"thresholds": {"eer": float("inf")}}),
        plain(calibration=KEPT.plain() | {"calibration": {"names": ["score"], "weights": [1, 2], "offset": 0}}),
        plain(calibration=KEPT.plain() | {"calibration": {"names": [], "weights": [], "offset": 0}}),
        plain(calibration=KEPT.plain() | {"recipe": 3}),
        plain(trained_on="x") + " " * (1 << 20),
    ],
    ids=count(),
)
def test_anything_else_is_refused_in_a_line(text):
    with pytest.raises(InputError) as caught:
        ModelCard.from_json(text)
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 200


def test_what_is_missing_is_refused():
    whole = json.loads(card().to_json())
    for name in whole:
        with pytest.raises(InputError, match=name):
            ModelCard.from_json(json.dumps({key: value for key, value in whole.items() if key != name}))


def test_markdown_shows_text_as_text():
    text = card(
        name="<script>x</script> [a](http://b) | c",
        metrics={"development eer": 0.0812, "vox1_o min_dcf_0.01": 0.25},
        calibration=KEPT,
    ).markdown()
    assert text.startswith(r"# &lt;script&gt;x&lt;/script&gt; \[a\](http://b) \| c")
    assert "| Encoder | Known, 0 parameters |" in text and "| Calibration | learned on dev.txt |" in text
    assert "| development eer | 8.12 % |" in text and r"| vox1\_o min\_dcf\_0.01 | 0.25 |" in text
    assert "0.5000 (the test)" in text and "**Limits.**" in text
    assert "none (nobody)" in card(threshold=None, threshold_from="nobody").markdown()


def test_a_fingerprint_is_of_config_names_kinds_and_values():
    rows = {"a": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array(3, np.int64)}
    found = fingerprint({"x": 1, "y": 2}, rows.items())
    digest = hashlib.sha256(b'{"x": 1, "y": 2}')
    digest.update(b"\na float32 (2, 3)\n" + rows["a"].tobytes() + b"\nb int64 ()\n" + rows["b"].tobytes())
    assert found == digest.hexdigest()
    assert fingerprint({"y": 2, "x": 1}, reversed(rows.items())) == found
    others = [
        ({"x": 1, "y": 3}, rows),
        ({"x": 1, "y": 2}, rows | {"a": rows["a"] + 1}),
        ({"x": 1, "y": 2}, rows | {"a": rows["a"].reshape(3, 2)}),
        ({"x": 1, "y": 2}, rows | {"a": rows["a"].astype(np.float64)}),
        ({"x": 1, "y": 2}, {"c": rows["a"], "b": rows["b"]}),
    ]
    assert found not in {fingerprint(config, weights.items()) for config, weights in others}
