"""WavLM or wav2vec 2.0, the weighted sum of its layers, and ECAPA-TDNN on it.

Chen et al.: "WavLM: Large-Scale Self-Supervised Pre-Training for Full Stack Speech Processing", JSTSP 2022, section V;
Baevski, Zhou, Mohamed, Auli: "wav2vec 2.0: A Framework for Self-Supervised Learning of Speech Representations", NeurIPS
2020; the weighted sum before ECAPA-TDNN: Chen et al.: "Large-Scale Self-Supervised Speech Representation Learning for
Automatic Speaker Verification", ICASSP 2022. Parameters of the front ends: 94,381,168 (WavLM base), 315,452,096 (WavLM
large), 94,370,944 (wav2vec 2.0 base), as torchaudio has them; what the papers count further are heads of the
pre-training. The back end is this project's ECAPA-TDNN, so with a norm in the pooling's attention and at the end, which
the official code lacks.

Group norm over time, attention and the norm before the back end see each item's own frames alone, so that a padded
batch gives each item's embedding as if it were alone.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torchaudio.models import Wav2Vec2Model, wav2vec2_model, wavlm_model

from speakerlab.encoders.ecapa import Ecapa
from speakerlab.encoders.layers.masking import apply_mask, frame_mask, masked_mean
from speakerlab.encoders.layers.ssl_weights import load_weights

SAMPLE_RATE = 16000  # that the front ends were trained at
CONVOLUTIONS = ((10, 5), *((3, 2),) * 4, *((2, 2),) * 2)  # kernel and stride: one frame every 20 ms, of 25 ms
SHORTEST = 400  # samples of one frame
POSITIONS_KERNEL, POSITIONS_GROUPS = 128, 16  # of the convolution that tells places apart
BUCKETS, FARTHEST = 320, 800  # WavLM's distances between frames: how many are told apart, and up to where
EPS = 1e-5


def make_front_end(
    kind: str, large: bool, width: int, layers: int, heads: int, hidden: int, conv_width: int, dropout: float
) -> Wav2Vec2Model:
    """torchaudio's model of these sizes; see `SslEcapa`."""
    shape = {
        "extractor_mode": "layer_norm" if large else "group_norm",
        "extractor_conv_layer_config": [(conv_width, *convolution) for convolution in CONVOLUTIONS],
        "extractor_conv_bias": large and kind == "wav2vec2",
        "encoder_embed_dim": width,
        "encoder_projection_dropout": dropout,
        "encoder_pos_conv_kernel": POSITIONS_KERNEL,
        "encoder_pos_conv_groups": POSITIONS_GROUPS,
        "encoder_num_layers": layers,
        "encoder_num_heads": heads,
        "encoder_attention_dropout": dropout,
        "encoder_ff_interm_features": hidden,
        "encoder_ff_interm_dropout": 0.0,
        "encoder_dropout": dropout,
        "encoder_layer_norm_first": large,
        "encoder_layer_drop": 0.0,  # the weighted sum wants every layer
        "aux_num_out": None,
    }
    if kind == "wavlm":
        return wavlm_model(**shape, encoder_num_buckets=BUCKETS, encoder_max_distance=FARTHEST)
    return wav2vec2_model(**shape)


def standardise(x: Tensor, mask: Tensor | None) -> Tensor:
    """Mean 0 and variance 1 over each item's own frames: `(batch, channels, frames)`, in float32; padding is zero."""
    with torch.autocast(x.device.type, enabled=False):
        x = x.float()
        if mask is None:
            return F.layer_norm(x, x.shape[-1:], eps=EPS)
        centred = apply_mask(x - masked_mean(apply_mask(x, mask), mask), mask)
        return centred * (masked_mean(centred.square(), mask) + EPS).rsqrt()


class SslFrontEnd(nn.Module):
    """`(batch, samples)`, sample counts or None `->` the states `(batch, frames, width)` of all layers, and the frames'
    mask `(batch, 1, frames)` or None.

    The first state is what enters the lowest layer, the last is what the whole network gives.

    Args:
        model: torchaudio's.
        large: its waveforms have mean 0 and variance 1, and a norm stands at its end.
    """

    def __init__(self, model: Wav2Vec2Model, large: bool):
        super().__init__()
        self.model = model
        self.large = large

    def forward(self, waveform: Tensor, lengths: Tensor | None) -> tuple[list[Tensor], Tensor | None]:
        x, mask = self.convolve(waveform, lengths)  # (batch, channels, frames)
        encoder = self.model.encoder
        x = encoder.feature_projection(x.transpose(1, 2))  # (batch, frames, width)
        x = apply_mask(x.transpose(1, 2), mask).transpose(1, 2)  # as the positional convolution pads
        return self.attend(encoder.transformer._preprocess(x), mask), mask

    def convolve(self, waveform: Tensor, lengths: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """A frame each 20 ms, and which of them see an item's own samples alone."""
        mask = None if lengths is None else frame_mask(lengths, waveform.shape[1])
        x = waveform.unsqueeze(1)  # (batch, 1, samples)
        x = standardise(x, mask) if self.large else apply_mask(x, mask)
        for layer in self.model.feature_extractor.conv_layers:
            x = layer.conv(x)
            if lengths is not None:
                lengths = (lengths - layer.kernel_size) // layer.stride + 1
                mask = frame_mask(lengths, x.shape[-1])
            if isinstance(layer.layer_norm, nn.GroupNorm):  # one group a channel
                x = standardise(x, mask) * layer.layer_norm.weight[:, None] + layer.layer_norm.bias[:, None]
            elif layer.layer_norm is not None:
                x = layer.layer_norm(x)
            x = F.gelu(x)
        return x, mask

    def attend(self, x: Tensor, mask: Tensor | None) -> list[Tensor]:
        """Each layer in turn; nobody attends to padding."""
        transformer = self.model.encoder.transformer
        states, bias = [x], None
        # wav2vec's attention takes what each frame attends to, WavLM's what is added to every frame's logits.
        square = None if mask is None else mask.unsqueeze(1).expand(-1, -1, mask.shape[-1], -1)
        added = None if mask is None else torch.zeros(mask.shape, device=x.device).masked_fill(~mask, float("-inf"))
        relative = hasattr(transformer.layers[0].attention, "rel_attn_embed")
        for layer in transformer.layers:
            if relative:
                x, bias = layer(x, position_bias=bias, key_padding_mask=added)
            else:
                x, _ = layer(x, attention_mask=square)
            states.append(x)
        if self.large:
            states[-1] = transformer.layer_norm(x)
        return states


class SslEcapa(nn.Module):
    """`(batch, samples, 1)`, sample counts `(batch,)` or None `-> (batch, embed_dim)`.

    Args:
        feature_dim: 1, the waveform's (features=raw).
        pooling: makes the back end's pooling for a number of channels.
        kind: "wavlm" or "wav2vec2".
        weights: file of the front end's weights, which `initialise` reads; None leaves them random.
        freeze: the front end stays as it is, without dropout and without memory for its gradients.
        large: layer norms in the convolutions and before the parts of each layer, waveforms of mean 0 and variance 1
            (the papers' large models); otherwise one group norm, and layer norms after the parts.
        width, layers, heads, hidden: of the transformer (the papers: 768, 12, 12, 3072; large: 1024, 24, 16, 4096).
        conv_width: channels of the convolutions (the papers: 512).
        dropout: in the front end when it is trained.
        channels, pooled_channels, embed_dim: of ECAPA-TDNN (the paper: 512, 1536, 256).
        sample_rate: in hertz, 16000.

    Raises:
        ValueError: for features other than the waveform at 16 kHz, or a value out of range.
    """

    takes_samples = True  # as frames

    def __init__(
        self,
        feature_dim: int,
        pooling: Callable[[int], nn.Module],
        kind: str = "wavlm",
        weights: str | None = None,
        freeze: bool = True,
        large: bool = False,
        width: int = 768,
        layers: int = 12,
        heads: int = 12,
        hidden: int = 3072,
        conv_width: int = 512,
        dropout: float = 0.1,
        channels: int = 512,
        pooled_channels: int = 1536,
        embed_dim: int = 256,
        sample_rate: int = SAMPLE_RATE,
    ):
        super().__init__()
        if feature_dim != 1:
            raise ValueError(f"feature_dim={feature_dim} must be 1: the front end takes the waveform (features=raw)")
        if sample_rate != SAMPLE_RATE:
            raise ValueError(f"sample_rate={sample_rate} must be {SAMPLE_RATE}, which {kind} was trained at")
        if kind not in ("wavlm", "wav2vec2"):
            raise ValueError(f"kind={kind} must be wavlm or wav2vec2")
        for name, size in {"layers": layers, "heads": heads, "hidden": hidden, "conv_width": conv_width}.items():
            if size < 1:
                raise ValueError(f"{name}={size} must be at least 1")
        if width < 1 or width % heads or width % POSITIONS_GROUPS:
            raise ValueError(f"width={width} must be a multiple of heads={heads} and of {POSITIONS_GROUPS}")
        if not 0.0 <= dropout < 1.0:
            raise ValueError(f"dropout={dropout} must lie in [0, 1)")
        self.embed_dim = embed_dim
        self.weights = weights
        self.freeze = freeze
        model = make_front_end(kind, large, width, layers, heads, hidden, conv_width, dropout)
        self.front_end = SslFrontEnd(model, large)
        self.front_end.requires_grad_(not freeze)
        self.layer_weights = nn.Parameter(torch.zeros(layers + 1))  # before a softmax: equal at first
        self.back_end = Ecapa(width, pooling, channels, embed_dim, pooled_channels)
        self.train()

    def initialise(self) -> str:
        """Read the weights, if there is a file of them; once, before the training, and never for a checkpoint, which
        holds them.

        Returns:
            a line about them for the log.

        Raises:
            ValueError: if there is no such file, or it can't be read, or its weights do not fit.
        """
        if self.weights is None:
            fate = "stay so, being frozen" if self.freeze else "are trained from nothing"
            return (
                f"weights=null: warning: the front end's weights are random and {fate}, which is good for trying the "
                "program alone; give weights=FILE"
            )
        source = load_weights(self.front_end.model, self.weights)
        return f"weights={self.weights}: the front end's, in {source}'s names"

    def train(self, mode: bool = True) -> "SslEcapa":
        super().train(mode)
        if self.freeze:
            self.front_end.eval()
        return self

    def layer_mean(self, states: list[Tensor]) -> Tensor:
        """The states' learned weighted mean `(batch, frames, width)`, in float32."""
        with torch.autocast(states[0].device.type, enabled=False):
            shares = self.layer_weights.float().softmax(dim=0)
            return sum(share * state.float() for share, state in zip(shares, states, strict=True))

    def forward(self, features: Tensor, lengths: Tensor | None = None) -> Tensor:
        if features.shape[1] < SHORTEST:
            raise ValueError(f"{features.shape[1]} samples are fewer than the {SHORTEST} of the front end's one frame")
        states, mask = self.front_end(features.squeeze(-1), lengths)
        x = standardise(self.layer_mean(states).transpose(1, 2), mask).transpose(1, 2)  # (batch, frames, width)
        return self.back_end(x, None if mask is None else mask.sum(dim=(1, 2)))
