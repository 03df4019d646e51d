import pytest
import torch

from speakerlab.encoders.layers.recurrence import LstmStack, onnx_order, reverse


def stack(bidirectional: bool, layers: int = 2, dropout: float = 0.0) -> LstmStack:
    torch.manual_seed(0)
    return LstmStack(5, 4, layers, bidirectional, dropout).eval()


def packed(made: LstmStack, x: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """The same weights in one torch LSTM over packed sequences, which knows lengths by another way."""
    directions = 2 if made.back else 1
    reference = torch.nn.LSTM(5, 4, len(made.ahead), batch_first=True, bidirectional=directions == 2)
    weights = {}
    for suffix, layers in (("", made.ahead), ("_reverse", made.back)):
        for i, layer in enumerate(layers):
            weights |= {name.replace("_l0", f"_l{i}{suffix}"): value for name, value in layer.state_dict().items()}
    reference.load_state_dict(weights)
    rows = torch.nn.utils.rnn.pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    return torch.nn.utils.rnn.pad_packed_sequence(reference(rows)[0], batch_first=True)[0]


@pytest.mark.parametrize("bidirectional", [False, True])
@torch.inference_mode()
def test_padding_changes_nothing(bidirectional):
    made, lengths = stack(bidirectional), torch.tensor([9, 3, 7, 1])
    x = torch.randn(4, 9, 5, generator=torch.Generator().manual_seed(1))
    expected = packed(made, x, lengths)
    for row, length in zip(x, lengths, strict=True):
        row[length:] = 1e4
    found = made(x, lengths)
    assert found.shape == (4, 9, made.out_dim)
    for i, length in enumerate(lengths):
        torch.testing.assert_close(found[i, :length], expected[i, :length], atol=1e-6, rtol=1e-5)
        alone = made(x[i : i + 1, :length])
        torch.testing.assert_close(found[i, :length], alone[0], atol=1e-6, rtol=1e-5)


def test_every_frame_sees_what_it_should():
    for bidirectional in (False, True):
        x = torch.randn(1, 6, 5, requires_grad=True)
        stack(bidirectional)(x)[0, 3].sum().backward()
        seen = (x.grad[0].abs().sum(dim=-1) > 0).tolist()
        assert seen == [True] * 4 + [bidirectional] * 2


def test_reverse_keeps_padding_in_place():
    x = torch.arange(8).view(2, 4, 1)
    assert reverse(x, torch.tensor([4, 2]))[..., 0].tolist() == [[3, 2, 1, 0], [5, 4, 6, 7]]
    assert torch.equal(reverse(x, None), x.flip(1))


def test_dropout_is_between_layers_in_training():
    x = torch.randn(2, 6, 5)
    for layers, differs in ((1, False), (2, True)):
        made = stack(False, layers, dropout=0.5).train()
        assert torch.equal(made(x), made(x)) != differs
        assert torch.equal(made.eval()(x), made(x))


def test_onnx_has_another_order_of_gates():
    assert onnx_order(torch.tensor([1.0, 2.0, 3.0, 4.0])).tolist() == [1.0, 4.0, 2.0, 3.0]


@pytest.mark.parametrize(
    "options, message", [((0, 1), "hidden=0"), ((4, 0), "layers=0"), ((4, 2, False, 1.0), "dropout=1.0")]
)
def test_values_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        LstmStack(5, *options)
