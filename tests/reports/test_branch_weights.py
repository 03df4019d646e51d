"""The page of a fusion's weights, read back."""

from dataclasses import dataclass

import numpy as np
import pytest
from numpy.typing import NDArray

from speakerlab.reports.branch_weights import weight_rows, weights_figure, write_weights


@dataclass(frozen=True, eq=False)
class Found:
    weights: NDArray
    by_dimension: NDArray | None
    cosines: NDArray


def found(by_dimension: bool = True) -> dict[str, Found]:
    first = np.linspace(0.2, 0.4, 101)
    made = {}
    for shift, name in enumerate(("clean", "noise, 0 dB", "telephone")):
        weights = np.stack([first + 0.1 * shift, 0.8 - first - 0.1 * shift, np.full(101, 0.2)], axis=1)
        dims = np.random.default_rng(shift).dirichlet(np.ones(3), 16).T if by_dimension else None
        made[name] = Found(weights, dims, np.tile([1.0 - 0.1 * shift, 0.5, 0.25, 0.75], (101, 1)))
    return made


def test_a_row_a_condition():
    rows = weight_rows(["a", "b", "c"], found())
    assert list(rows) == ["clean", "noise, 0 dB", "telephone"]
    assert rows["noise, 0 dB"] == {
        "a weight": "0.400 (0.310 – 0.490)",
        "b weight": "0.400 (0.310 – 0.490)",
        "c weight": "0.200 (0.200 – 0.200)",
        "a cosine": "0.900",
        "b cosine": "0.500",
        "c cosine": "0.250",
        "fused cosine": "0.750",
    }
    assert weight_rows(["a", "b", "c"], found(), with_range=False)["clean"]["a weight"] == "0.300"


@pytest.mark.parametrize("by_dimension", [True, False])
def test_the_figure_shows_each_branch_in_each_condition(by_dimension):
    figure = weights_figure(["a", "b", "c"], found(by_dimension))
    panels = figure.axes
    assert len(panels) == (3 if by_dimension else 2)
    assert [label.get_text() for label in panels[0].get_xticklabels()] == ["clean", "noise, 0 dB", "telephone"]
    boxes = panels[0].patches
    middles = [box.get_path().get_extents() for box in boxes]
    assert len(boxes) == 9
    # The first branch's boxes, condition by condition: quartiles of what was given.
    np.testing.assert_allclose([m.y0 for m in middles[:3]], [0.25, 0.35, 0.45], atol=1e-6)
    np.testing.assert_allclose([m.y1 for m in middles[:3]], [0.35, 0.45, 0.55], atol=1e-6)
    lines = {line.get_label(): line.get_ydata() for line in panels[1].lines}
    np.testing.assert_allclose(lines["a"], [1.0, 0.9, 0.8])
    np.testing.assert_allclose(lines["fused"], [0.75] * 3)
    if by_dimension:
        curve = next(line.get_ydata() for line in panels[2].lines if line.get_label() == "b, clean")
        np.testing.assert_allclose(curve, np.sort(found()["clean"].by_dimension[1])[::-1])


def test_weights_that_hardly_differ_look_so():
    weights = np.tile([0.503, 0.497], (20, 1)) + np.linspace(-1e-4, 1e-4, 20)[:, None] * [1, -1]
    alike = {"clean": Found(weights, None, np.ones((20, 3))), "telephone": Found(weights, None, np.ones((20, 3)))}
    low, high = weights_figure(["a", "b"], alike).axes[0].get_ylim()
    assert low == pytest.approx(0.45) and high == pytest.approx(0.55)
    low, high = weights_figure(["a", "b", "c"], found()).axes[0].get_ylim()
    assert low < 0.2 and high > 0.6  # what differs more is seen whole


def test_the_page(tmp_path):
    page = write_weights(tmp_path / "new", "A title", ["a", "b", "c"], found(), {"checkpoint": "best.ckpt"})
    text = page.read_text()
    assert page.parent == tmp_path / "new" and "A title" in text and "best.ckpt" in text
    assert "noise, 0 dB" in text and "0.310 – 0.490" in text
    assert {"weights.png", "weights.svg", "report.html"} == {path.name for path in page.parent.iterdir()}
