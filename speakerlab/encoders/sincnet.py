"""SincNet.

Ravanelli, Bengio: "Speaker Recognition from Raw Waveform with SincNet", SLT 2018. The paper gives no total of
parameters; without the output layer these are 21,819,816, two a filter in the first layer. After its official code, a
layer norm works over time within each filter, with a gain and an offset for each filter and time.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from speakerlab.encoders.layers.sinc import SincBands

SLOPE = 0.2  # of the leaky ReLUs
POOL = 3
CHUNKS_AT_ONCE = 256  # in evaluation: a quarter of a gigabyte, whatever the utterance's length


class TimeNorm(nn.Module):
    """Layer norm over time, with a gain and an offset for each channel and time: `(batch, channels, width)` kept."""

    def __init__(self, channels: int, width: int, eps: float = 1e-5):
        super().__init__()
        self.gain = nn.Parameter(torch.ones(channels, width))
        self.offset = nn.Parameter(torch.zeros(channels, width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], eps=self.eps) * self.gain + self.offset


class SincNet(nn.Module):
    """`(batch, samples, 1)`, sample counts `(batch,)` or None `-> (batch, embed_dim)`.

    The network sees chunks of a fixed length. In training, each crop gives some chunks from random places; an embedding
    pools chunks at every hop that lie within the utterance (one, repeating what there is, where the utterance is
    shorter than a chunk).

    Args:
        feature_dim: 1, the waveform's (features=raw).
        pooling: makes the pooling over chunks for a number of channels (the paper: the mean).
        sample_rate: in hertz.
        filters: of the first layer (the paper: 80).
        taps: of each of them (the paper: 251).
        channels: of the two convolutions of 5 taps (the paper: 60).
        hidden: width of the three dense layers (the paper: 2048).
        embed_dim: size of the embedding, projected from what is pooled of the last hidden layer, with a batch norm,
            without which what all utterances have in common would leave cosines near 1; None is what is pooled itself.
        chunk_ms: length of a chunk (the paper: 200).
        hop_ms: from one chunk's start to the next in evaluation (the paper: 10, at ten times the default's cost).
        train_chunks: drawn from each crop.

    Raises:
        ValueError: for features other than the waveform, or a value out of range.
    """

    takes_samples = True  # as frames

    def __init__(
        self,
        feature_dim: int,
        pooling: Callable[[int], nn.Module],
        sample_rate: int = 16000,
        filters: int = 80,
        taps: int = 251,
        channels: int = 60,
        hidden: int = 2048,
        embed_dim: int | None = None,
        chunk_ms: float = 200.0,
        hop_ms: float = 100.0,
        train_chunks: int = 4,
    ):
        super().__init__()
        if feature_dim != 1:
            raise ValueError(f"feature_dim={feature_dim} must be 1: SincNet takes the waveform (features=raw)")
        sizes = {"channels": channels, "hidden": hidden, "train_chunks": train_chunks}
        for name, size in {**sizes, "embed_dim": 1 if embed_dim is None else embed_dim}.items():
            if size < 1:
                raise ValueError(f"{name}={size} must be at least 1")
        self.chunk = round(chunk_ms * sample_rate / 1000)
        self.hop = round(hop_ms * sample_rate / 1000)
        self.train_chunks = train_chunks
        if self.hop < 1:
            raise ValueError(f"hop_ms={hop_ms} must be at least one sample")
        self.bands = SincBands(filters, taps, sample_rate)
        widths = [(self.chunk - taps + 1) // POOL]
        widths += [(widths[0] - 4) // POOL]
        widths += [(widths[1] - 4) // POOL]
        if widths[-1] < 1:
            raise ValueError(f"chunk_ms={chunk_ms} must be longer: nothing is left after {taps} taps and the pooling")
        # Speech at a thousandth of full scale has a variance of 1e-6, which the usual eps would drown.
        self.input_norm = TimeNorm(1, self.chunk, eps=1e-12)
        self.convs = nn.ModuleList([nn.Conv1d(filters, channels, 5), nn.Conv1d(channels, channels, 5)])
        self.norms = nn.ModuleList(map(TimeNorm, (filters, channels, channels), widths))
        wide = channels * widths[-1]
        self.dense_norm = nn.LayerNorm(wide)
        self.dense = nn.ModuleList(nn.Linear(size, hidden, bias=False) for size in (wide, hidden, hidden))
        self.dense_norms = nn.ModuleList(nn.BatchNorm1d(hidden) for _ in self.dense)
        self.pooling = pooling(hidden)
        self.embed_dim, self.project = self.pooling.out_dim, None
        if embed_dim is not None:
            self.embed_dim = embed_dim
            self.project = nn.Sequential(nn.Linear(self.pooling.out_dim, embed_dim), nn.BatchNorm1d(embed_dim))

    def filters(self) -> tuple[Tensor, Tensor]:
        """The learned band edges in hertz, lower and upper, `(filters,)` each."""
        with torch.no_grad():
            return self.bands.edges()

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        waveform = features.squeeze(-1)  # (batch, samples)
        if lengths is None:
            lengths = torch.full(waveform.shape[:1], waveform.shape[1], device=waveform.device)
        if self.training:
            starts, valid = random_starts(lengths, self.chunk, self.train_chunks), None
        else:
            starts, valid = every_start(lengths, waveform.shape[1], self.chunk, self.hop)
        chunks = cut(waveform, lengths, starts, self.chunk)  # (batch, chunks, chunk)
        vectors = self._in_blocks(chunks.flatten(0, 1)).unflatten(0, starts.shape)  # (batch, chunks, hidden)
        pooled = self.pooling(vectors.transpose(1, 2), valid)
        return pooled if self.project is None else self.project(pooled)

    def _in_blocks(self, chunks: Tensor) -> Tensor:
        """`(chunks, chunk) -> (chunks, hidden)`, in parts where memory is at stake."""
        # In training the batch norms must see all; a graph of any length can't be cut into parts of one length.
        if self.training or torch.compiler.is_compiling():
            return self.embed_chunks(chunks)
        return torch.cat([self.embed_chunks(block) for block in chunks.split(CHUNKS_AT_ONCE)])

    def embed_chunks(self, chunks: Tensor) -> Tensor:
        """The last hidden layer: `(chunks, chunk) -> (chunks, hidden)`."""
        # The norm makes all bands equally loud; of the weak ones, products in 16 bits leave little but rounding errors.
        with torch.autocast(chunks.device.type, enabled=False):
            x = self.input_norm(chunks.float().unsqueeze(1))  # (chunks, 1, chunk)
            x = F.conv1d(x, self.bands.even().unsqueeze(1)).abs()  # (chunks, filters, time)
            x = F.leaky_relu(self.norms[0](F.max_pool1d(x, POOL)), SLOPE)
        for conv, norm in zip(self.convs, list(self.norms)[1:], strict=True):
            x = F.leaky_relu(norm(F.max_pool1d(conv(x), POOL)), SLOPE)
        x = self.dense_norm(x.flatten(1))  # (chunks, channels * time)
        for layer, norm in zip(self.dense, self.dense_norms, strict=True):
            x = F.leaky_relu(norm(layer(x)), SLOPE)
        return x


def random_starts(lengths: Tensor, chunk: int, count: int) -> Tensor:
    """First samples of chunks anywhere within each item: `(batch,) -> (batch, count)`."""
    places = (lengths - chunk + 1).clamp(min=1)[:, None]
    return (torch.rand(len(lengths), count, device=lengths.device) * places).long().minimum(places - 1)


def every_start(lengths: Tensor, samples: int, chunk: int, hop: int) -> tuple[Tensor, Tensor]:
    """First samples of chunks at every hop `(batch, chunks)`, and which lie within their item: `(batch, 1, chunks)`."""
    starts = torch.arange(0, samples, hop, device=lengths.device)
    valid = (starts + chunk <= lengths[:, None]) | (starts == 0)
    return starts.expand(len(lengths), -1), valid.unsqueeze(1)


def cut(waveform: Tensor, lengths: Tensor, starts: Tensor, chunk: int) -> Tensor:
    """`(batch, samples)` and `(batch, chunks)` `-> (batch, chunks, chunk)`; a short item is repeated."""
    places = (starts[:, :, None] + torch.arange(chunk, device=starts.device)) % lengths[:, None, None]
    return waveform.gather(1, places.flatten(1)).unflatten(1, (-1, chunk))
