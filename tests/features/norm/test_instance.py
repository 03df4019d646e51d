import torch

from speakerlab.features.norm.instance import InstanceNorm


def test_it_is_torchs_layer():
    features = torch.randn(2, 3, 9, 4) * 5 + 1
    norm, layer = InstanceNorm(4), torch.nn.InstanceNorm1d(4, affine=True, eps=0.0)
    with torch.no_grad():
        for parameter, theirs in ((norm.gain, layer.weight), (norm.offset, layer.bias)):
            parameter.normal_()
            theirs.copy_(parameter)
    expected = layer(features.flatten(0, 1).transpose(1, 2)).transpose(1, 2).view_as(features)
    torch.testing.assert_close(norm(features), expected, atol=1e-4, rtol=1e-4)
