import pickle

import numpy as np
import pytest
import scipy.signal
import torch

from speakerlab.augment.reverb import Reverb, align_response, reverberate

SAMPLES = 8000
LEAD = 16  # 1 ms at 16 kHz


def read_room(path, first, count):
    """A decaying response that begins after 100 samples of near silence; another one for each length of name."""
    generator = np.random.default_rng(len(path))
    room = generator.standard_normal(6000) * np.exp(-np.arange(6000) / 800) * 0.2
    room[0] = -1.0
    return np.concatenate([1e-3 * generator.standard_normal(100), room]).astype(np.float32)[first : first + count]


def make(probability=1.0, seconds=0.25):
    return Reverb("rooms", [("a", 6100, 16000), ("bb", 6100, 16000)], read_room, probability, seconds)


def draw_batch(augmentation, seeds):
    drawn = [augmentation.draw(np.random.default_rng(seed), SAMPLES)["response"] for seed in seeds]
    return {"response": torch.from_numpy(np.stack(drawn))}


def waveform(batch, samples=SAMPLES):
    return torch.rand(batch, samples, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.mark.parametrize("samples, taps", [(8000, 4000), (500, 4000), (8000, 17), (4001, 3000)])
def test_it_is_scipys_linear_convolution_without_the_lead(samples, taps):
    x = waveform(3, samples)
    rooms = np.stack([align_response(read_room("r" * i, 0, 6100), taps, LEAD) for i in range(3)])
    wet = reverberate(x, torch.from_numpy(rooms), LEAD).double().numpy()
    for speech, room, output in zip(x.double().numpy(), rooms.astype(np.float64), wet, strict=True):
        expected = scipy.signal.fftconvolve(speech, room)[LEAD : LEAD + samples]
        expected *= np.sqrt(np.mean(speech**2) / np.mean(expected**2))
        np.testing.assert_allclose(output, expected, atol=2e-6)


def test_the_unit_impulse_is_identity():
    x = waveform(2)
    torch.testing.assert_close(make().apply(x, draw_batch(make(0.0), range(2))), x, atol=1e-6, rtol=0)


def test_the_direct_path_keeps_its_time():
    x = torch.zeros(1, SAMPLES)
    x[0, 3000] = 0.5
    wet = make().apply(x, draw_batch(make(), [0]))
    assert wet.abs().argmax() == 3000


@pytest.mark.parametrize("dbfs", [-90, -40, 0])
def test_the_level_is_kept(dbfs):
    x = waveform(4) * 10 ** (dbfs / 20)
    wet = make().apply(x, draw_batch(make(), range(4)))
    ratio_db = 10 * torch.log10(wet.double().square().mean(1) / x.double().square().mean(1))
    torch.testing.assert_close(ratio_db, torch.zeros(4, dtype=torch.float64), atol=1e-4, rtol=0)


def test_silence_stays_silent():
    x = waveform(3)
    x[1] = 0
    wet = make().apply(x, draw_batch(make(), range(3)))
    assert wet.isfinite().all() and torch.equal(wet[1], x[1])


@pytest.mark.parametrize("peak, length", [(0, 1), (3, 10), (40, 45), (40, 2000)])
def test_alignment_pads_and_cuts_either_end(peak, length):
    response = np.linspace(0.1, 0.2, length)
    response[peak] = -0.5
    aligned = align_response(response, 100, LEAD)
    padded = np.pad(response / 0.5, 200)  # the naive way: pad widely, then cut
    np.testing.assert_allclose(aligned, padded[200 + peak - LEAD :][:100], rtol=1e-6)
    assert aligned.shape == (100,) and aligned.dtype == np.float32 and aligned[LEAD] == -1.0


def test_a_reflection_louder_than_the_direct_path_is_not_taken_for_it():
    response = np.zeros(600)
    response[[100, 500]] = 0.3, -0.4
    np.testing.assert_allclose(align_response(response, 500, LEAD)[[LEAD, LEAD + 400]], [0.75, -1.0])


def test_a_silent_response_is_no_room():
    np.testing.assert_array_equal(align_response(np.zeros(50), 40, LEAD), np.eye(40)[LEAD])


def test_draws_repeat_for_a_seed_and_half_are_spared():
    response = draw_batch(make(0.5), range(200))["response"]
    assert torch.equal(response, draw_batch(make(0.5), range(200))["response"])
    spared = (response != 0).sum(dim=1) == 1
    assert 70 < spared.sum() < 130
    assert len(response.unique(dim=0)) == 3  # two rooms and the impulse


def test_items_do_not_depend_on_batch_mates():
    x, drawn = waveform(4), draw_batch(make(0.7), range(4))
    together = make().apply(x, drawn)
    for i in range(4):
        alone = make().apply(x[i : i + 1], {"response": drawn["response"][i : i + 1]})
        torch.testing.assert_close(together[i : i + 1], alone, atol=1e-6, rtol=0)


def test_autocast_changes_nothing():
    x, drawn = waveform(2), draw_batch(make(), range(2))
    plain = make().apply(x, drawn)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(make().apply(x, drawn), plain)


def test_a_pickled_copy_draws_the_same():
    copy = pickle.loads(pickle.dumps(make()))
    assert torch.equal(draw_batch(copy, [3])["response"], draw_batch(make(), [3])["response"])


def test_without_a_folder_rooms_are_simulated():
    simulated = Reverb(probability=1.0, rooms=3, rt60_seconds=(0.2, 0.4), seconds=0.25)
    response = draw_batch(simulated, range(30))["response"]
    assert response.shape == (30, 4000) and len(response.unique(dim=0)) == 3
    assert ((response != 0).sum(dim=1) > 3000).all()
    expected = align_response(simulated.rooms.response(0), 4000, LEAD)
    assert any(np.array_equal(row, expected) for row in response.numpy())
    x = waveform(30)
    wet = simulated.apply(x, {"response": response})
    ratio_db = 10 * torch.log10(wet.double().square().mean(1) / x.double().square().mean(1))
    torch.testing.assert_close(ratio_db, torch.zeros(30, dtype=torch.float64), atol=1e-4, rtol=0)


def test_bad_arguments_are_named():
    with pytest.raises(ValueError, match="seconds=0.001"):
        make(seconds=0.001)
    with pytest.raises(ValueError, match="probability=-1"):
        make(probability=-1)
    with pytest.raises(ValueError, match="folder nowhere holds no audio"):
        Reverb("nowhere", [], read_room, 0.5)
