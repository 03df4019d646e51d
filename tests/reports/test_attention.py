"""What the figure shows, read from its artists; the page with its files."""

import numpy as np
import pytest

from speakerlab.reports.attention import Heard, attention_figure, share_of_half, write_attention

BANDS, FRAMES = 12, 50


def heard(weightings: int, frames: int = FRAMES, seed: int = 0) -> Heard:
    generator = np.random.default_rng(seed)
    weights = generator.dirichlet(np.full(frames, 5.0), size=weightings)
    spectrogram = generator.normal(-30, 10, (FRAMES, BANDS))
    return Heard("a/b.wav", generator.uniform(-1, 1, 8000), spectrogram, frames * weights, 0.5)


def figure_of(one: Heard):
    return attention_figure(one.name, one.spectrogram, one.relative, one.seconds)


@pytest.mark.parametrize("frames", [FRAMES, 7])
def test_the_mean_lies_over_the_spectrogram(frames):
    one = heard(8, frames)
    sound, weights, over, bar = figure_of(one).axes
    (picture,) = sound.images
    np.testing.assert_array_equal(picture.get_array(), one.spectrogram.T)
    assert picture.get_extent() == [0, 0.5, 0, BANDS] and sound.get_xlim() == weights.get_xlim() == (0, 0.5)
    for line in over.lines[:2]:
        np.testing.assert_allclose(line.get_ydata(), one.relative.mean(axis=0))
        np.testing.assert_allclose(line.get_xdata(), (np.arange(frames) + 0.5) * 0.5 / frames)
    assert [text.get_text() for text in bar.get_yticklabels()][-1] in ("2", "4", "8", "16", "32")


def test_each_weighting_is_a_row_in_the_order_of_its_peak():
    relative = np.full((3, 10), 0.5)
    for row, peak in enumerate((8, 1, 4)):
        relative[row, peak - 1 : peak + 2] = (1, 4, 1)
    figure = attention_figure("", np.zeros((10, 4)), relative, 1.0)
    (image,) = figure.axes[1].images
    np.testing.assert_allclose(2.0 ** image.get_array(), relative[[1, 2, 0]])
    assert image.get_clim() == (-2, 2)
    labels = [text.get_text() for text in figure.axes[-1].get_yticklabels()]
    assert labels == ["1/4", "1/2", "1", "2", "4"]


def test_one_weighting_is_the_line_itself():
    assert len(figure_of(heard(1)).axes) == 2


def test_weights_of_zero_and_silence_can_be_drawn():
    one = heard(3)
    one.relative[:, :5] = 0.0
    figure = attention_figure("", np.full((FRAMES, BANDS), -100.0), one.relative, 0.5)
    figure.canvas.draw()
    assert np.isfinite(figure.axes[1].images[0].get_array()).all()


def test_share_of_half():
    assert share_of_half(np.ones(1000)) == pytest.approx(0.5)
    assert share_of_half(np.eye(1, 50)[0]) == pytest.approx(1 / 50)


def test_a_page_with_its_files_beside(tmp_path):
    page = write_attention(tmp_path / "deep" / "out", "Title", [heard(4), heard(1)], 16000, {"checkpoint": "c<1>"})
    names = {path.name for path in page.parent.iterdir()}
    assert names == {f"{stem}.{end}" for stem in ("01", "02") for end in ("png", "wav")} | {"report.html"}
    text = page.read_text()
    assert all(f'src="{stem}.{end}"' in text for stem in ("01", "02") for end in ("png", "wav"))
    assert "c&lt;1&gt;" in text and "% of the frames" in text
