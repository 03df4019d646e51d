import torch

from speakerlab.features.raw import Raw


def test_the_waveform_as_it_is():
    waveform, lengths = torch.randn(2, 50), torch.tensor([50, 20])
    features, counts = Raw()(waveform, lengths)
    assert torch.equal(features, waveform[..., None]) and counts is lengths and Raw()(waveform)[1] is None
    assert (Raw().dim, Raw().channels) == (1, 1)
