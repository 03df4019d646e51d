"""Sounds as they were, said where they are not; pictures that show the values."""

import numpy as np
import pytest
import soundfile

from speakerlab.augment.trace import Step, Trace
from speakerlab.reports.listen import Sample, in_words, trace_figure, write_listening, write_sound


def test_sounds_are_exact_to_half_a_step(tmp_path):
    waveform = np.random.default_rng(0).uniform(-0.9, 0.9, 4000).astype(np.float32)
    assert write_sound(tmp_path / "a.wav", waveform, 8000) == 0.0
    info = soundfile.info(tmp_path / "a.wav")
    assert (info.samplerate, info.channels, info.subtype) == (8000, 1, "PCM_16")
    stored, _ = soundfile.read(tmp_path / "a.wav")
    assert np.abs(stored - waveform).max() <= 0.5 / 32768 + 1e-9


@pytest.mark.parametrize("peak", [1.0, 2.5, -4.0])
def test_what_would_clip_is_scaled_and_said(tmp_path, peak):
    waveform = np.random.default_rng(0).uniform(-0.5, 0.5, 4000).astype(np.float32)
    waveform[100] = peak
    lowered = write_sound(tmp_path / "a.wav", waveform, 16000)
    stored, _ = soundfile.read(tmp_path / "a.wav")
    assert np.abs(stored).max() <= 32767 / 32768
    np.testing.assert_allclose(stored * 10 ** (lowered / 20), waveform, atol=0.51 * abs(peak) / 32767)


def test_silence(tmp_path):
    assert write_sound(tmp_path / "a.wav", np.zeros(100, np.float32), 16000) == 0.0
    assert not soundfile.read(tmp_path / "a.wav")[0].any()


def a_trace(dim: int = 12, steps: tuple[Step, ...] = ()) -> Trace:
    generator = np.random.default_rng(1)
    planes = {name: generator.standard_normal((98, dim)).astype(np.float32) for name in ("one", "two", "three")}
    return Trace(generator.uniform(-1, 1, 16000), 3 * generator.uniform(-1, 1, 16000), planes, list(steps))


def test_the_figure_shows_each_plane_over_the_seconds():
    trace = a_trace()
    figure = trace_figure(trace, 16000)
    panels = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title(loc="left") for axes in panels] == ["one", "two", "three"]
    for axes, plane in zip(panels, trace.pictures.values()):
        np.testing.assert_array_equal(axes.images[0].get_array(), plane.T)
        assert axes.images[0].get_extent() == [0, 1.0, 0, 12]
        assert axes.get_xlim() == (0, 1.0)
    assert len({axes.images[0].get_clim() for axes in panels}) == 1


def test_a_single_dimension_is_a_line():
    figure = trace_figure(a_trace(dim=1), 16000)
    assert len(figure.axes) == 3 and all(axes.lines and not axes.images for axes in figure.axes)


def test_a_page_with_its_files_beside(tmp_path):
    steps = (Step("noise", "waveform", True, "", {"snr_db": 7.25}, {"level_db": 0.0, "difference_db": -7.25}),)
    samples = [Sample(f"speaker <{i}>", {"utterance": f"u{i}"}, a_trace(steps=steps)) for i in range(2)]
    page = write_listening(tmp_path / "deep" / "out", "Title", samples, 16000, {"corpus": "c"}, "noise: {}\n")
    text = page.read_text()
    names = {f"{number}{end}" for number in ("01", "02") for end in ("_before.wav", "_after.wav", ".png")}
    assert {path.name for path in page.parent.iterdir()} == names | {"report.html"}
    assert all(f'src="{name}"' in text for name in names)
    assert "speaker &lt;1&gt;" in text and "SNR 7.25 dB" in text
    assert text.count("9.5 dB quieter here") == 2  # 20 log10 3, the loud ones alone


@pytest.mark.parametrize(
    "step, expected",
    [
        (Step("a", "waveform", False, "", {"snr_db": 1.0}), "spares this item"),
        (Step("a", "speed", True, "", {"factor": 0.9, "voice": 1}), "factor 0.9, voice 1"),
        (
            Step("a", "waveform", True, "babble", {"snr_db": 13.0}, {"level_db": -0.01, "difference_db": -13.0}),
            "babble; SNR 13 dB; level +0.0 dB, difference -13.0 dB",
        ),
        (Step("a", "recording", True, "", {"low_hz": 300.0, "rate_kbps": 8}), "low 300 Hz, rate 8 kbit/s"),
    ],
)
def test_words(step, expected):
    assert in_words(step) == expected
