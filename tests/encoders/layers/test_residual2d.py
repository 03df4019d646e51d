import pytest
import torch

from speakerlab.encoders.layers.residual2d import BasicBlock, Bottleneck, ResidualStages


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_projects_only_where_the_shape_changes(block):
    width, wide = 4, 4 * block.expansion
    assert isinstance(block(wide, width, 1, None).shortcut, torch.nn.Identity)
    for in_channels, stride in ((wide, 2), (wide + 1, 1)):
        assert block(in_channels, width, stride, None).shortcut.conv.kernel_size == (1, 1)


@pytest.mark.parametrize("block", [BasicBlock, Bottleneck])
def test_a_fresh_block_is_near_the_identity(block):
    torch.manual_seed(0)
    x = torch.randn(8, 4 * block.expansion, 6, 7).relu()
    changed, mask = block(4 * block.expansion, 4, 1, None)(x, None)
    assert mask is None
    # Batch norm makes the residual 1, its scale 0.2; the ReLU after the sum takes some of it back.
    assert 0.1 < (changed - x).std() < 0.2


@pytest.mark.parametrize("dim, frames", [(80, 200), (13, 29), (1, 1), (8, 9)])
@pytest.mark.parametrize("block, expansion", [("basic", 1), ("bottleneck", 4)])
def test_what_is_promised_comes_out(block, expansion, dim, frames):
    stages = ResidualStages(2, block, (1, 1, 1, 1), width=4)
    found, _ = stages.eval()(torch.randn(1, 2, dim, frames), None)
    assert stages.out_channels == 8 * 4 * expansion
    assert found.shape == (1, stages.out_channels, stages.out_dim(dim), -(-frames // 8))


def test_a_gate_for_each_block_and_its_channels():
    asked = []

    def gate(channels):
        asked.append(channels)
        return torch.nn.Module()

    ResidualStages(4, "bottleneck", (2, 1, 1, 1), width=4, gate=gate)
    assert asked == [16, 16, 32, 64, 128]
