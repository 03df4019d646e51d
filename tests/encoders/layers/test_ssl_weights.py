"""Foreign names are spelled out here from front ends of kilobytes; torchaudio's own importers check the spelling."""

import pytest
import torch
from torch.nn import functional as F
from torchaudio.models.wav2vec2.utils.import_fairseq import _map_key
from torchaudio.models.wav2vec2.utils.import_huggingface import transform_wavlm_encoder_state

from speakerlab.encoders.layers.ssl_weights import load_weights
from speakerlab.encoders.ssl_ecapa import SslFrontEnd, make_front_end

LAYERS, WIDTH, HEADS, HIDDEN, CONV_WIDTH = 2, 32, 4, 48, 16
TRANSFORMER = "encoder.transformer."
each_shape = pytest.mark.parametrize(
    "kind, large", [("wavlm", False), ("wavlm", True), ("wav2vec2", False), ("wav2vec2", True)]
)


def front_end(kind: str = "wavlm", large: bool = False, seed: int = 0, layers: int = LAYERS, width: int = WIDTH):
    torch.manual_seed(seed)
    model = make_front_end(kind, large, width, layers, HEADS, HIDDEN, CONV_WIDTH, 0.1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_()
    return model.eval()


def plain(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """torchaudio's names, queries, keys and values apart, and the weight norm as it was before parametrizations."""
    state = {}
    for name, tensor in model.state_dict().items():
        name = name.replace("parametrizations.weight.original0", "weight_g")
        name = name.replace("parametrizations.weight.original1", "weight_v")
        if ".attention.attention.in_proj_" in name:
            for part, rows in zip("qkv", tensor.chunk(3), strict=True):
                state[name.replace("attention.attention.in_proj_", f"attention.{part}_proj.")] = rows
        else:
            state[name.replace("attention.attention.", "attention.")] = tensor
    return state


def huggingface(model: torch.nn.Module, prefix: str = "") -> dict[str, torch.Tensor]:
    state = {}
    for name, tensor in plain(model).items():
        state[prefix + name.removeprefix("encoder.").replace("transformer.", "encoder.")] = tensor
    heads = {"quantizer.codevectors": 3, "project_q.weight": 2, f"{prefix}masked_spec_embed": 5}
    if prefix:  # a speaker-verification head has a part of that name
        heads["feature_extractor.weight"] = 4
    return state | {name: torch.ones(size) for name, size in heads.items()}


def fairseq(model: torch.nn.Module, prefix: str = "") -> dict[str, torch.Tensor]:
    inside = {  # a layer
        "attention.gru_rel_pos_const": "self_attn.grep_a",
        "attention.gru_rel_pos_linear": "self_attn.grep_linear",
        "attention.rel_attn_embed": "self_attn.relative_attention_bias",
        "feed_forward.intermediate_dense": "fc1",
        "feed_forward.output_dense": "fc2",
    }
    large = sum("conv_layers" in name and "layer_norm.weight" in name for name in plain(model)) > 1
    state = {}
    for name, tensor in plain(model).items():
        name = name.replace("encoder.feature_projection.projection", "post_extract_proj")
        name = name.replace("encoder.feature_projection.layer_norm", "layer_norm")
        name = name.replace(f"{TRANSFORMER}pos_conv_embed.conv", "encoder.pos_conv.0").replace("transformer.", "")
        if name.startswith("feature_extractor."):
            name = name.replace(".conv.", ".0.").replace(".layer_norm.", ".2.1." if large else ".2.")
        elif ".layers." in name:
            for ours, theirs in inside.items():
                name = name.replace(ours, theirs)
            name = name.replace(".layer_norm.", ".self_attn_layer_norm.").replace(".attention.", ".self_attn.")
        state[prefix + name] = tensor
    heads = {"mask_emb": 5, "quantizer.vars": 3, "final_proj.weight": 2, "label_embs_concat": 4}
    return state | {prefix + name: torch.ones(size) for name, size in heads.items()}


def assert_loads(state: object, model: torch.nn.Module, path, source: str, like: torch.nn.Module) -> None:
    """`state` saved to `path` gives `model` the weights of `like`."""
    torch.save(state, path)
    assert load_weights(model, str(path)) == source
    for name, tensor in like.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name


@each_shape
def test_each_familys_names(kind, large, tmp_path):
    like = front_end(kind, large)
    for state, source in (
        (like.state_dict(), "torchaudio"),
        (huggingface(like), "HuggingFace"),
        (huggingface(like, "wavlm."), "HuggingFace"),
        (fairseq(like), "fairseq"),
        ({"cfg": {"normalize": large}, "model": fairseq(like)}, "fairseq"),  # Microsoft's files
        ({"model": fairseq(like, "w2v_encoder.w2v_model.")}, "fairseq"),
        ({"state_dict": {f"network.encoder.{k}": v for k, v in like.state_dict(prefix="a.").items()}}, "torchaudio"),
    ):
        assert_loads(state, front_end(kind, large, seed=1), tmp_path / "weights.pt", source, like)


def test_torchaudios_older_names_and_heads(tmp_path):
    like = front_end("wav2vec2")
    state = plain(like) | {"aux.weight": torch.ones(3), "mask_generator.mask_embedding": torch.ones(3)}
    assert "encoder.transformer.pos_conv_embed.conv.weight_g" in state
    assert_loads(state, front_end("wav2vec2", seed=1), tmp_path / "weights.pt", "torchaudio", like)


@pytest.mark.parametrize("large", [False, True])
def test_fairseqs_names_are_those_that_torchaudio_imports(large):
    like = front_end("wav2vec2", large)
    names = {_map_key(name) for name in fairseq(like) if name != "label_embs_concat"} - {None}
    assert names == set(plain(like))


def test_huggingfaces_names_are_those_that_torchaudio_imports():
    like = front_end("wavlm")
    state = {name.removeprefix("encoder."): tensor for name, tensor in huggingface(like).items() if "encoder." in name}
    transform_wavlm_encoder_state(state, LAYERS)
    like.encoder.transformer.load_state_dict(state)


@pytest.mark.parametrize("how", ["safetensors", "legacy", "half"])
def test_ways_to_save(how, tmp_path):
    like, model = front_end(), front_end(seed=1)
    path = tmp_path / ("model.safetensors" if how == "safetensors" else "pytorch_model.bin")
    if how == "safetensors":
        save_file = pytest.importorskip("safetensors.torch").save_file
        save_file({name: tensor.clone() for name, tensor in huggingface(like).items()}, path)
    elif how == "legacy":
        torch.save(huggingface(like), path, _use_new_zipfile_serialization=False)
    else:
        torch.save({name: tensor.half() for name, tensor in huggingface(like).items()}, path)
    load_weights(model, str(path))
    for name, tensor in like.state_dict().items():
        found = model.state_dict()[name]
        assert found.dtype == torch.float32
        torch.testing.assert_close(found, tensor, atol=0 if how != "half" else 1e-2, rtol=0)


class Surprise:
    def __reduce__(self):
        return print, ("foreign code runs",)


@pytest.mark.parametrize("suffix", ["pt", "safetensors"])
def test_files_that_are_no_weights(suffix, tmp_path, capsys):
    path = tmp_path / f"weights.{suffix}"
    with pytest.raises(ValueError, match=f"weights={path}: there is no such file"):
        load_weights(front_end(), str(path))
    path.write_bytes(b"<html>not found</html>")
    with pytest.raises(ValueError, match=f"weights={path} can't be read") as error:
        load_weights(front_end(), str(path))
    assert "\n" not in str(error.value)
    torch.save({"model": Surprise()}, path)
    with pytest.raises(ValueError, match=f"weights={path} can't be read"):
        load_weights(front_end(), str(path))
    assert "foreign" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "made, message",
    [
        (lambda: front_end("wav2vec2").state_dict(), "they lack .*gru_rel_pos_const and 1"),
        (
            lambda: front_end(layers=1).state_dict(),
            r"they lack encoder\.transformer\.layers\.1\..* more; choose the model",
        ),
        (lambda: front_end(layers=3).state_dict(), r"they have, besides what fits, encoder\.transformer\.layers\.2\."),
        (lambda: front_end(width=64).state_dict(), r"is \[.*64.*\] and not \[.*32.*\]; choose the model"),
        (lambda: front_end(large=True).state_dict(), "they have, besides what fits, feature_extractor.conv_layers.1"),
        (lambda: {"stem.weight": torch.ones(3)}, "are of neither wav2vec 2.0 nor WavLM"),
        (lambda: torch.ones(3), "are of neither wav2vec 2.0 nor WavLM"),
    ],
)
def test_weights_that_do_not_fit_are_refused_whole(made, message, tmp_path):
    model, path = front_end(seed=1), tmp_path / "weights.pt"
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    torch.save(made(), path)
    with pytest.raises(ValueError, match=message) as error:
        load_weights(model, str(path))
    assert "\n" not in str(error.value) and str(path) in str(error.value)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    with torch.device("meta"), pytest.raises(ValueError, match=message):  # before there is memory for any
        load_weights(front_end(), str(path))


def test_on_the_meta_device_weights_are_only_checked(tmp_path):
    torch.save(huggingface(front_end()), tmp_path / "weights.pt")
    with torch.device("meta"):
        model = front_end()
    assert load_weights(model, str(tmp_path / "weights.pt")) == "HuggingFace"
    assert all(parameter.is_meta for parameter in model.parameters())


@each_shape
@torch.no_grad()
def test_states_are_those_of_huggingfaces_model(kind, large, tmp_path):
    """Needs the extra `references`."""
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    config, theirs = {
        "wavlm": (transformers.WavLMConfig, transformers.WavLMModel),
        "wav2vec2": (transformers.Wav2Vec2Config, transformers.Wav2Vec2Model),
    }[kind]
    torch.manual_seed(0)
    reference = theirs(
        config(
            hidden_size=WIDTH,
            num_hidden_layers=LAYERS,
            num_attention_heads=HEADS,
            intermediate_size=HIDDEN,
            conv_dim=(CONV_WIDTH,) * 7,
            feat_extract_norm="layer" if large else "group",
            do_stable_layer_norm=large,
            conv_bias=large and kind == "wav2vec2",
        )
    ).eval()
    for parameter in reference.parameters():
        parameter.add_(0.2 * torch.randn_like(parameter))
    reference.save_pretrained(tmp_path)
    ours = SslFrontEnd(front_end(kind, large), large).eval()
    assert load_weights(ours.model, str(tmp_path / "model.safetensors")) == "HuggingFace"
    waveform = torch.randn(2, 7000)
    expected = reference(F.layer_norm(waveform, waveform.shape[1:]) if large else waveform, output_hidden_states=True)
    states, _ = ours(waveform, None)
    for state, other in zip(states, (*expected.hidden_states[:-1], expected.last_hidden_state), strict=True):
        torch.testing.assert_close(state, other, atol=1e-4, rtol=1e-4)
