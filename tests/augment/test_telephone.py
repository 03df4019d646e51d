import io

import numpy as np
import pytest
import scipy.signal
import soundfile
import torch

from speakerlab.augment.telephone import A_LAW, MU_LAW, Telephone, a_law, mu_law


def table(first_width, offset, segments):
    """Decision values and quantised values of the positive half, written out as in tables 1a and 2a of G.711."""
    decisions, values, edge = [0], [], 0
    for segment in range(segments):
        width = first_width * 2 ** (max(segment - 1, 0) if offset == 0 else segment)
        for interval in range(16):
            step = width - offset if segment == interval == 0 else width
            values.append(edge if segment == interval == 0 and offset else edge + width / 2)
            edge += step
            decisions.append(edge)
    return np.array(decisions), np.array(values)


MU_TABLE, A_TABLE = table(2, 1, 8), table(2, 0, 8)


def test_the_tables_are_those_of_the_recommendation():
    decisions, values = MU_TABLE
    assert decisions[[1, 2, 15, 16, 17, 31, 127, 128]].tolist() == [1, 3, 29, 31, 35, 91, 7903, 8159]
    assert values[[0, 1, 15, 16, 127]].tolist() == [0, 2, 30, 33, 8031]
    decisions, values = A_TABLE
    assert decisions[[1, 32, 33, 127, 128]].tolist() == [2, 64, 68, 3968, 4096]
    assert values[[0, 31, 32, 127]].tolist() == [1, 63, 66, 4032]


def naive(samples, decisions, values):
    which = np.clip(np.searchsorted(decisions, np.abs(samples), side="right") - 1, 0, len(values) - 1)
    return np.where(samples < 0, -values[which], values[which])


@pytest.mark.parametrize("law, scale, rows", [(mu_law, 8192, MU_TABLE), (a_law, 4096, A_TABLE)])
def test_every_16_bit_sample_is_quantised_as_the_table_says(law, scale, rows):
    samples = np.arange(-32768, 32768) / 32768
    np.testing.assert_array_equal(law(torch.from_numpy(samples).float()) * scale, naive(samples * scale, *rows))
    assert law(torch.tensor([5.0, -5.0])).tolist() == [rows[1][-1] / scale, -rows[1][-1] / scale]


@pytest.mark.parametrize("law, subtype, step", [(mu_law, "ULAW", 4), (a_law, "ALAW", 8)])
def test_it_is_libsndfiles_codec(law, subtype, step):
    """At every level of the standard's 14 and 13 bits, between decision values, where no rounding is left open."""
    samples = (np.arange(0, 32768, step) + step // 2).astype(np.int16)
    samples = np.concatenate([samples, -samples])
    file = io.BytesIO()
    soundfile.write(file, samples, 8000, format="WAV", subtype=subtype)
    file.seek(0)
    decoded, _ = soundfile.read(file, dtype="float32")
    ours = law(torch.from_numpy(samples / np.float32(32768))).numpy()
    np.testing.assert_array_equal(ours, decoded)


def test_a_line_of_speech_band_noise_is_what_scipy_and_the_table_give():
    generator = np.random.default_rng(0)
    x = generator.uniform(-0.5, 0.5, (2, 8001)).astype(np.float32)
    line = Telephone()
    band = scipy.signal.firwin(line.taps, [300, 3400], pass_zero=False, scale=False, fs=16000)
    smooth = scipy.signal.firwin(line.taps, 4000, scale=False, fs=16000)
    delay = line.taps // 2
    expected = []
    for item, (scale, rows) in zip(x, ((8192, MU_TABLE), (4096, A_TABLE)), strict=True):
        sent = np.convolve(item, band)[delay:][: len(item)][::2]
        spread = np.zeros(len(item))
        spread[::2] = 2 * naive(sent * scale, *rows) / scale
        expected.append(np.convolve(spread, smooth)[delay:][: len(item)])
    received = line.apply(torch.from_numpy(x), {"law": torch.tensor([MU_LAW, A_LAW])}).numpy()
    # A sample beside a decision value may fall to its other side in float32.
    assert np.mean(np.abs(received - expected) > 1e-4) < 0.02 and np.abs(received - expected).max() < 0.02


@pytest.mark.parametrize("hz, low, high", [(1000, -0.5, 0.5), (3000, -0.5, 0.5), (100, -99, -35), (5000, -99, -35)])
def test_only_the_telephone_band_passes_and_it_is_not_delayed(hz, low, high):
    tone = 0.5 * torch.sin(2 * torch.pi * hz * torch.arange(16000) / 16000)[None]
    received = Telephone().apply(tone, {"law": torch.tensor([A_LAW])})
    inside = slice(4000, -4000)
    level = 20 * torch.log10(received[:, inside].square().mean().sqrt() / tone[:, inside].square().mean().sqrt())
    assert low < level < high
    if low > -1:
        torch.testing.assert_close(received[:, inside], tone[:, inside], atol=0.05, rtol=0)


def test_it_adds_the_quantisation_noise_of_8_bits_at_every_usual_level():
    speech = torch.sin(2 * torch.pi * 1000 / 16000 * torch.arange(16000) * torch.linspace(0.5, 1.5, 16000))[None]
    clean = BandOnly().apply(speech)
    for dbfs in (-30, -10, 0, 12):  # an item beyond full scale is not overloaded
        scale = 10 ** (dbfs / 20)
        noise = Telephone().apply(speech * scale, {"law": torch.tensor([MU_LAW])}) / scale - clean
        snr_db = 10 * torch.log10(clean.square().mean() / noise.square().mean())
        assert 32 < snr_db < 42


class BandOnly(Telephone):
    """The line without its codec."""

    def apply(self, x):
        import speakerlab.augment.telephone as module

        codec, module.mu_law = module.mu_law, lambda sent: sent
        try:
            return super().apply(x, {"law": torch.tensor([MU_LAW])})
        finally:
            module.mu_law = codec


def test_spared_items_are_bit_identical_and_both_laws_are_drawn():
    line = Telephone(probability=0.5)
    law = np.array([line.draw(np.random.default_rng(seed), 10)["law"] for seed in range(2000)])
    assert [900 < (law == 0).sum() < 1100, *(430 < (law == one).sum() < 570 for one in (1, 2))] == [True] * 3
    x = torch.randn(1, 1001, generator=torch.Generator().manual_seed(0))
    assert torch.equal(line.apply(x, {"law": torch.zeros(1)}), x)


def test_at_8_khz_nothing_is_resampled_and_other_rates_are_refused():
    tone = 0.5 * torch.sin(2 * torch.pi * torch.arange(8000) / 8)[None]
    received = Telephone(sample_rate=8000).apply(tone, {"law": torch.tensor([A_LAW])})
    torch.testing.assert_close(received[:, 500:-500], tone[:, 500:-500], atol=0.03, rtol=0)
    with pytest.raises(ValueError, match="sample_rate=22050"):
        Telephone(sample_rate=22050)
