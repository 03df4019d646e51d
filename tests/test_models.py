"""What every `conf/model/*.yaml` must do, found by globbing: a new encoder gets all of it with no edit here.

The smallest model of each encoder class runs in the quick suite, unless it is very large; the others in the slow one.
"""

from functools import cache
from pathlib import Path

import hydra
import numpy as np
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig
from torch._subclasses.fake_tensor import FakeTensorMode

from speakerlab import build
from speakerlab.build import build_network
from speakerlab.cli.branches import expand_branches
from speakerlab.inference.cost import macs
from speakerlab.network import FusionNetwork, SpeakerNetwork
from speakerlab.reports.models import agrees, parameters_in, published
from speakerlab.shipped import CONF

RATE = 16000
LARGEST_QUICK = 60_000_000  # parameters of a model that the quick suite runs
MODELS = sorted(path.stem for path in (CONF / "model").glob("*.yaml"))
POOLINGS = sorted({path.stem for path in (CONF / "pooling").glob("*.yaml")} - {"none"})


@cache
def config(*overrides: str) -> DictConfig:
    GlobalHydra.instance().clear()
    with hydra.initialize_config_dir(config_dir=str(CONF)):
        cfg = hydra.compose("train", list(overrides))
    GlobalHydra.instance().clear()
    return expand_branches(cfg)


def config_of(model: str) -> DictConfig:
    """What the network is built from."""
    return config(f"model={model}")


@cache
def parameters(model: str) -> int:
    with torch.device("meta"):
        encoders = build_network(config_of(model)).encoders
        return sum(parameter.numel() for encoder in encoders for parameter in encoder.parameters())


def smallest_of_each_class() -> set[str]:
    families: dict[str, list[str]] = {}
    for model in MODELS:
        node = config_of(model).model
        families.setdefault(node.get("encoder", node.get("fusion"))["_target_"], []).append(model)
    return {min(family, key=parameters) for family in families.values()}


SMALLEST = smallest_of_each_class()
QUICK = {model for model in SMALLEST if parameters(model) <= LARGEST_QUICK}
each_model = pytest.mark.parametrize(
    "model", [pytest.param(model, marks=[] if model in QUICK else pytest.mark.slow) for model in MODELS]
)
each_model_slowly = pytest.mark.parametrize("model", [pytest.param(model, marks=pytest.mark.slow) for model in MODELS])
each_smallest_slowly = pytest.mark.parametrize(
    "model", [pytest.param(model, marks=pytest.mark.slow) for model in MODELS if model in SMALLEST]
)


@cache
@torch.inference_mode(False)  # whoever asks first: tensors of inference mode could not be exported
def network(model: str) -> SpeakerNetwork | FusionNetwork:
    """In evaluation mode, its batch norms with statistics of data (fresh ones would be the identity)."""
    torch.manual_seed(0)
    made = build_network(config_of(model))
    norms = [module for module in made.modules() if isinstance(module, torch.nn.modules.batchnorm._BatchNorm)]
    for norm in norms:
        norm.momentum = None  # the statistics become those of the batches seen, in full
    with torch.no_grad():
        made.train()(voices(0.6, 0.6, 0.6, 0.6))
    for norm in norms:
        norm.momentum = 0.1
    return made.eval()


class Encoding(torch.nn.Module):
    """What is compiled and exported: the features of each branch -> embeddings."""

    def __init__(self, made: SpeakerNetwork | FusionNetwork):
        super().__init__()
        self.made = made

    def forward(self, *features: torch.Tensor) -> torch.Tensor:
        branches = self.made.branches.values()
        return self.made.fuse([branch.encoder(one) for branch, one in zip(branches, features, strict=True)])


def features_of(made: SpeakerNetwork | FusionNetwork, waveform: torch.Tensor) -> tuple[torch.Tensor, ...]:
    with torch.no_grad():
        return tuple(branch.features(waveform)[0] for branch in made.branches.values())


def test_the_page_of_models_is_of_this_code():
    """Every model is in the table of docs/models.md, with the parameters that it has now."""
    page = Path(__file__).resolve().parent.parent / "docs" / "models.md"
    written = "write it anew: speakerlab models --cost --markdown docs/models.md"
    assert parameters_in(page.read_text()) == {model: parameters(model) for model in MODELS}, written


@pytest.mark.parametrize("model", published())
def test_a_count_beyond_the_published_digits_is_explained(model):
    figure = published()[model].get("parameters")
    assert figure is None or agrees(parameters(model), figure.value) is not bool(figure.difference)


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(model, marks=[] if model == "ecapa" else pytest.mark.slow)
        for model, figures in published().items()
        if "macs" in figures
    ],
)
def test_multiply_accumulates_are_about_the_published(model):
    """Other programs count norms and activations too, and a twelfth that is computed once here; see docs/models.md."""
    value, unit = published()[model]["macs"].value.split()
    assert unit == "G" and 0.85 < macs(config_of(model)) / (1e9 * float(value)) < 1.06


@each_model
def test_every_pooling_fits(model, monkeypatch):
    """Any encoder takes any: in the sizes that conf/pooling gives."""
    if "branches" in config_of(model).model:
        return  # each has its own
    channels = []
    monkeypatch.setattr(build, "build", spy(build.build, channels))
    with torch.device("meta"):
        build_network(config_of(model))
        for pooling in POOLINGS:
            assert build.build(config(f"pooling={pooling}").pooling, "", *channels[:1]).out_dim >= channels[0]


def spy(built, channels: list[int]):
    """`build`, which notes the channels that a pooling is made for."""

    def build_and_note(node, key, *args, **wired):
        if key == "pooling":
            channels.extend(args)
        return built(node, key, *args, **wired)

    return build_and_note


@each_smallest_slowly
@pytest.mark.parametrize("pooling", POOLINGS)
def test_every_pooling_works(model, pooling):
    """The shapes alone, with and without padding, without memory or arithmetic."""
    if "branches" in config_of(model).model:
        return
    with FakeTensorMode():
        made = build_network(config(f"model={model}", f"pooling={pooling}"))
        waveform = torch.zeros(2, RATE)
        for lengths in (None, torch.tensor([RATE, RATE // 2])):
            assert made(waveform, lengths).shape == (2, made.embed_dim)


def voices(*seconds: float, seed: int = 0) -> torch.Tensor:
    """Harmonic tones that glide, in noise: `(batch, samples)`, zero-padded."""
    generator = np.random.default_rng(seed)
    batch = torch.zeros(len(seconds), round(max(seconds) * RATE))
    for row, length in zip(batch, seconds, strict=True):
        time = np.arange(round(length * RATE)) / RATE
        pitch = generator.uniform(90, 250) * (1 + 0.2 * np.sin(2 * np.pi * generator.uniform(1, 3) * time))
        phase = 2 * np.pi * np.cumsum(pitch) / RATE
        tone = sum(np.sin(k * phase) / k for k in range(1, 20))
        row[: len(time)] = torch.from_numpy(0.05 * tone + 0.01 * generator.standard_normal(len(time))).float()
    return batch


def samples(*seconds: float) -> torch.Tensor:
    return torch.tensor([round(length * RATE) for length in seconds])


def angle(x: torch.Tensor, y: torch.Tensor) -> float:
    """Of one embedding and another, in radians."""
    return float(torch.cosine_similarity(x.double(), y.double()).clamp(max=1.0).acos())


@each_model
@torch.inference_mode()
def test_batch_mates_and_padding_change_nothing(model):
    seconds = (1.1, 0.5, 0.83)
    alone = torch.cat([network(model)(row[None, :length]) for row, length in zip(voices(*seconds), samples(*seconds))])
    padded = torch.nn.functional.pad(voices(*seconds), (0, 3000), value=0.3)
    together = network(model)(padded, samples(*seconds))
    assert alone.shape == together.shape == (3, network(model).embed_dim)
    scale = alone.norm(dim=1).mean()
    assert (alone - together).norm(dim=1).max() < 1e-4 * max(scale, 1.0)
    directions = torch.nn.functional.normalize(alone)
    assert (directions @ directions.T).fill_diagonal_(-1).max() < 0.99999  # or else everything is the same anyway


@each_model
@torch.inference_mode()
def test_evaluation_repeats_and_weights_survive(model, tmp_path):
    first, batch = network(model), voices(0.7)
    assert torch.equal(first(batch), first(batch))
    torch.save(first.state_dict(), tmp_path / "weights.pt")
    torch.manual_seed(1)
    second = build_network(config_of(model)).eval()
    assert not torch.allclose(first(batch), second(batch))
    second.load_state_dict(torch.load(tmp_path / "weights.pt", weights_only=True))
    assert torch.equal(first(batch), second(batch))


@each_model
def test_every_parameter_gets_a_finite_gradient(model):
    torch.manual_seed(0)
    made = build_network(config_of(model)).train()
    embeddings = made(voices(0.6, 0.6, 0.6, 0.6))
    (embeddings * torch.randn(embeddings.shape, generator=torch.Generator().manual_seed(2))).sum().backward()
    for name, parameter in made.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, f"{name} takes no part"
            assert parameter.grad.isfinite().all(), name


@each_model
@pytest.mark.parametrize(
    "dtype",
    [torch.bfloat16, pytest.param(torch.float16, marks=pytest.mark.slow)],  # CPUs have no fp16 convolutions
)
def test_sixteen_bits(model, dtype):
    """Training and evaluation stay finite, and what comes out is about the same.

    A deep network with random weights multiplies any rounding, so what is the same is measured by what the rounding of
    its weights alone does to it.
    """
    torch.manual_seed(0)
    made = build_network(config_of(model)).train()
    with torch.autocast("cpu", dtype):
        embeddings = made(voices(0.6, 0.6, 0.6, 0.6))
    assert embeddings.isfinite().all()
    embeddings.float().square().mean().backward()
    assert all(parameter.grad.isfinite().all() for parameter in made.parameters() if parameter.grad is not None)
    with torch.inference_mode():
        exact = network(model)(voices(0.7))
        with torch.autocast("cpu", dtype):
            rounded = network(model)(voices(0.7))
        coarse = {name: weight.to(dtype).float() for name, weight in network(model).named_parameters()}
        alike = torch.func.functional_call(network(model), coarse, voices(0.7))
    assert angle(rounded, exact) < max(0.2, 3 * angle(alike, exact))


@each_model
@pytest.mark.parametrize("seconds", [0.5, 2.0, 3.37])
@torch.inference_mode()
def test_any_length(model, seconds):
    assert network(model)(voices(seconds)).isfinite().all()


@each_model_slowly
@torch.inference_mode()
def test_half_a_minute(model):
    seconds = (30.0, 0.5)
    together = network(model)(voices(*seconds), samples(*seconds))
    alone = network(model)(voices(*seconds)[1:, : round(0.5 * RATE)])
    assert together.isfinite().all()
    assert (together[1:] - alone).norm() < 1e-4 * max(alone.norm(), 1.0)


@each_smallest_slowly
def test_it_compiles_in_one_piece(model):
    encoder = Encoding(network(model))
    with torch.no_grad():
        explained = torch._dynamo.explain(encoder)(*features_of(network(model), voices(1.0, 1.0)))
    torch._dynamo.reset()
    # Dynamo takes no recurrent layers: the graph breaks once, around the stack of them.
    recurrent = any(isinstance(module, torch.nn.RNNBase) for module in encoder.modules())
    assert explained.graph_count >= 1
    assert explained.graph_break_count <= recurrent, explained.break_reasons


@each_smallest_slowly
def test_it_exports_to_onnx(model, tmp_path: Path):
    """One file for every length; ONNX Runtime gives the same embeddings."""
    onnxruntime = pytest.importorskip("onnxruntime")
    made, path = network(model), tmp_path / "encoder.onnx"
    encoder = Encoding(made)
    features, longer, shortest = (
        features_of(made, voices(seconds))
        for seconds in (1.0, 2.3, 0.175)  # 16 frames of 25 ms every 10 ms
    )
    frames = []
    for number, (one, long, short) in enumerate(zip(features, longer, shortest, strict=True)):
        axis = one.ndim - 2
        dynamic = {axis: torch.export.Dim(f"frames{number}", min=short.shape[axis], max=1_000_000)}
        frames.append({} if one.shape == long.shape else dynamic)  # as many frames whatever the length
    torch.onnx.export(encoder, features, path, dynamo=True, dynamic_shapes=(tuple(frames),), verbose=False)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    for seconds in (1.0, 2.3):
        features = features_of(made, voices(seconds))
        with torch.no_grad():
            expected = encoder(*features)
        given = {one.name: feature.numpy() for one, feature in zip(session.get_inputs(), features, strict=True)}
        (found,) = session.run(None, given)
        np.testing.assert_allclose(found, expected.numpy(), atol=1e-3 * max(float(expected.abs().max()), 1.0))
