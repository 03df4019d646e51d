"""Recurrent layers over padded batches."""

import torch
from torch import Tensor, nn


class LstmStack(nn.Module):
    """`(batch, frames, dim)`, frame counts `(batch,)` or None `-> (batch, frames, out_dim)`, in float32.

    The backward layers start at each item's own last frame: they are forward layers over reversed items. What stands in
    the padding of the output is of no meaning.

    Args:
        dim: values a frame.
        hidden: cells of each layer and direction.
        layers: above each other.
        bidirectional: also from the end to the beginning.
        dropout: between the layers, 0 to below 1.

    Raises:
        ValueError: for a value out of range.
    """

    def __init__(self, dim: int, hidden: int, layers: int, bidirectional: bool = False, dropout: float = 0.0):
        super().__init__()
        for name, size in {"hidden": hidden, "layers": layers}.items():
            if size < 1:
                raise ValueError(f"{name}={size} must be at least 1")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout={dropout} must lie in 0 to below 1")
        self.out_dim = hidden * (2 if bidirectional else 1)
        dims = [dim] + [self.out_dim] * (layers - 1)
        self.ahead = nn.ModuleList(nn.LSTM(size, hidden, batch_first=True) for size in dims)
        self.back = nn.ModuleList(nn.LSTM(size, hidden, batch_first=True) for size in dims if bidirectional)
        self.dropout = nn.Dropout(dropout)

    @torch.compiler.disable  # Dynamo can't trace recurrent layers, and cuDNN has nothing to gain from it
    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):  # 16-bit states lose more with every frame
            x = x.float()
            for i, ahead in enumerate(self.ahead):
                x = self.dropout(x) if i else x
                outputs = [run(ahead, x)]
                if self.back:
                    outputs.append(reverse(run(self.back[i], reverse(x, lengths)), lengths))
                x = torch.cat(outputs, dim=-1)
        return x


def reverse(x: Tensor, lengths: Tensor | None) -> Tensor:
    """Each item's own frames from the last to the first, the padding where it is: `(batch, frames, dim)`.

    >>> reverse(torch.tensor([[[1], [2], [3]]]), torch.tensor([2])).flatten().tolist()
    [2, 1, 3]
    """
    if lengths is None:
        return x.flip(1)
    frames = torch.arange(x.shape[1], device=x.device)
    places = torch.where(frames < lengths[:, None], lengths[:, None] - 1 - frames, frames)  # (batch, frames)
    return x.take_along_dim(places.unsqueeze(-1), dim=1)


def run(layer: nn.LSTM, x: Tensor) -> Tensor:
    """A layer's outputs; in an exported ONNX graph its LSTM operator, for torch would unroll the loop over frames."""
    if not torch.onnx.is_in_onnx_export():
        return layer(x)[0]
    weights = [onnx_order(weight).unsqueeze(0) for weight in (layer.weight_ih_l0, layer.weight_hh_l0)]
    bias = torch.cat([onnx_order(layer.bias_ih_l0), onnx_order(layer.bias_hh_l0)]).unsqueeze(0)
    steps = torch.onnx.ops.symbolic(
        "LSTM",
        (x.transpose(0, 1), *weights, bias),
        {"hidden_size": layer.hidden_size},
        dtype=x.dtype,
        shape=(x.shape[1], 1, x.shape[0], layer.hidden_size),  # (frames, directions, batch, hidden)
        version=14,
    )
    return steps.squeeze(1).transpose(0, 1)


def onnx_order(weight: Tensor) -> Tensor:
    """Torch's gates (input, forget, cell, output) in the order of ONNX: input, output, forget, cell."""
    size = len(weight) // 4
    return torch.cat([weight[:size], weight[3 * size :], weight[size : 3 * size]])
