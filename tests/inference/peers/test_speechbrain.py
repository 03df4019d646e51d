"""SpeechBrain's own networks and front end against ours, from waveforms on; needs the extra `references`."""

import sys
from pathlib import Path

import pytest
import torch
from peers import check_close, check_embeddings, imported, speech

from speakerlab import InputError
from speakerlab.build import build_network, load_checkpoint, loss_from_checkpoint
from speakerlab.cli.launch import compose
from speakerlab.inference.peers.conversion import check_fit
from speakerlab.inference.peers.speechbrain import read, read_labels

SPEAKERS = 7
ECAPA = """ECAPA_TDNN.ECAPA_TDNN
    input_size: !ref <n_mels>
    channels: [16, 16, 16, 16, 24]
    kernel_sizes: [5, 3, 3, 3, 1]
    dilations: [1, 2, 3, 5, 1]
    attention_channels: 8
    se_channels: 12
    lin_neurons: 20"""
RESNET = """ResNet.ResNet
    input_size: !ref <n_mels>
    channels: [8, 8, 16, 16]
    block_sizes: [2, 1, 1, 2]
    strides: [1, 2, 2, 2]
    lin_neurons: 20"""
# As in the folders of pretrained models.
HYPERPARAMS = """
n_mels: 24
pretrained_path: {folder}
out_n_neurons: 7
compute_features: !new:speechbrain.lobes.features.Fbank
    n_mels: !ref <n_mels>
mean_var_norm: !new:speechbrain.processing.features.InputNormalization
    norm_type: sentence
    std_norm: False
embedding_model: !new:speechbrain.lobes.models.{network}
classifier: !new:speechbrain.lobes.models.ECAPA_TDNN.Classifier
    input_size: 20
    out_neurons: !ref <out_n_neurons>
mean_var_norm_emb: !new:speechbrain.processing.features.InputNormalization
    norm_type: global
    std_norm: False
modules:
    compute_features: !ref <compute_features>
    mean_var_norm: !ref <mean_var_norm>
    embedding_model: !ref <embedding_model>
    mean_var_norm_emb: !ref <mean_var_norm_emb>
    classifier: !ref <classifier>
label_encoder: !new:speechbrain.dataio.encoder.CategoricalEncoder
pretrainer: !new:speechbrain.utils.parameter_transfer.Pretrainer
    loadables:
        embedding_model: !ref <embedding_model>
        classifier: !ref <classifier>
        label_encoder: !ref <label_encoder>
    paths:
        embedding_model: !ref <pretrained_path>/embedding_model.ckpt
        classifier: !ref <pretrained_path>/classifier.ckpt
        label_encoder: !ref <pretrained_path>/label_encoder.txt
"""


@pytest.fixture
def speechbrain():
    """The library; what it imported is taken away again: Hypothesis, in a later test, looks at all modules, and it has
    some that can't be imported when they are first used."""
    yield pytest.importorskip("speechbrain", reason="SpeechBrain is not installed")
    for name in [name for name in sys.modules if name.partition(".")[0] == "speechbrain"]:
        del sys.modules[name]


def settle(network: torch.nn.Module, mels: int) -> None:
    """Random batch norms, with statistics of what they see; fresh ones would be the identity."""
    torch.manual_seed(0)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm1d | torch.nn.BatchNorm2d):
                module.weight.uniform_(0.5, 1.5)
                module.bias.normal_(std=0.2)
        network.train()(10 * torch.randn(8, 60, mels))
    network.eval()


def pretrained(folder: Path, network: str):
    """A pretrained model's folder with random weights, and the classifier that SpeechBrain makes of it."""
    from hyperpyyaml import load_hyperpyyaml
    from speechbrain.inference.classifiers import EncoderClassifier

    folder.mkdir()
    hyperparams = HYPERPARAMS.format(folder=folder, network=network)
    (folder / "hyperparams.yaml").write_text(hyperparams)
    (folder / "label_encoder.txt").write_text(
        "".join(f"'id1000{index}' => {index}\n" for index in reversed(range(SPEAKERS)))
        + "================\n'starting_index' => 0\n"
    )
    modules = load_hyperpyyaml(hyperparams)["modules"]
    settle(modules["embedding_model"], 24)
    for name in ("embedding_model", "classifier"):
        torch.save(modules[name].state_dict(), folder / f"{name}.ckpt")
    return EncoderClassifier.from_hparams(source=str(folder), savedir=str(folder / "used"))


@pytest.mark.parametrize("network", [ECAPA, RESNET], ids=["ecapa", "resnet"])
def test_embeddings_are_speechbrains(speechbrain, tmp_path, network):
    theirs = pretrained(tmp_path / "model", network)
    ours = imported("speechbrain", tmp_path / "model", tmp_path / "out.ckpt")
    check_embeddings(ours, lambda waveform: theirs.encode_batch(waveform[None])[..., :].reshape(1, -1))

    # Lengths relative to the longest: the front end agrees on every frame that both take for an item's own.
    utterances = [speech(samples, seed) for seed, samples in enumerate((16000, 8000, 11200))]
    batch = torch.nn.utils.rnn.pad_sequence(utterances, batch_first=True)
    lengths = torch.tensor([len(utterance) for utterance in utterances])
    with torch.inference_mode():
        expected = theirs.mods.mean_var_norm(theirs.mods.compute_features(batch), lengths / 16000)
        found, counts = ours.features(batch, lengths)
        assert counts.tolist() == [101, 51, 71]
        for row, wanted, count in zip(found, expected, counts.tolist(), strict=True):
            torch.testing.assert_close(row[:count], wanted[:count], atol=1e-3, rtol=0)
        together = theirs.encode_batch(batch, lengths / 16000).reshape(3, -1)
        check_close(ours(batch, lengths)[:1], together[:1])
        # Theirs convolves the padding of the shorter ones; ours gives each what it has alone.
        alone = torch.cat([theirs.encode_batch(utterance[None]).reshape(1, -1) for utterance in utterances])
        check_close(ours(batch, lengths), alone)
        assert (together - alone).norm(dim=1)[1:].min() > 1e-3 * alone.norm(dim=1).max()


def test_the_classifier_names_the_training_speakers(speechbrain, tmp_path):
    theirs = pretrained(tmp_path / "model", ECAPA)
    ours = imported("speechbrain", tmp_path / "model", tmp_path / "out.ckpt")
    checkpoint = load_checkpoint(tmp_path / "out.ckpt")
    assert checkpoint["speakers"] == [f"id1000{index}" for index in range(SPEAKERS)]
    loss = loss_from_checkpoint(checkpoint, ours.embed_dim)
    waveform = speech(9000, 3)[None]
    with torch.inference_mode():
        logits = loss(ours(waveform), torch.zeros(1, dtype=torch.int64))[1]
        expected = theirs.classify_batch(waveform)[0]
    torch.testing.assert_close(logits / 30.0, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    "sizes, count",
    [
        ({"channels": [1024] * 4 + [3072], "kernel_sizes": [5, 3, 3, 3, 1], "dilations": [1, 2, 3, 4, 1]}, 20_767_552),
        ({"channels": [128, 128, 256, 256]}, 15_438_336),
    ],
    ids=["ecapa", "resnet"],
)
def test_the_published_sizes_fit(speechbrain, tmp_path, sizes, count):
    """Each tensor of spkrec-ecapa-voxceleb and spkrec-resnet-voxceleb finds its place."""
    from speechbrain.lobes.models import ECAPA_TDNN, ResNet

    network = (ECAPA_TDNN.ECAPA_TDNN if "dilations" in sizes else ResNet.ResNet)(80, **sizes)
    torch.save(network.state_dict(), tmp_path / "embedding_model.ckpt")
    found = read(tmp_path / "embedding_model.ckpt")
    with torch.device("meta"):
        ours = build_network(compose("train", found.overrides)[0])
    check_fit(found, ours.state_dict())
    for one in (network, ours):
        assert sum(parameter.numel() for parameter in one.parameters()) == count
    assert "no hyperparams.yaml was read" in found.notes[0]


@pytest.mark.parametrize(
    "setting, changed, named",
    [
        ("n_mels: !ref <n_mels>", "n_mels: !ref <n_mels>\n    n_fft: 512", "compute_features.n_fft is 512"),
        ("std_norm: False", "std_norm: True", "mean_var_norm.std_norm is True"),
        ("norm_type: sentence", "norm_type: global", "mean_var_norm.norm_type is global"),
    ],
)
def test_another_front_end_is_refused(tmp_path, setting, changed, named):
    torch.save({"blocks.0.conv.conv.weight": torch.zeros(16, 24, 5)}, tmp_path / "embedding_model.ckpt")
    hyperparams = HYPERPARAMS.format(folder=tmp_path, network=ECAPA).replace(setting, changed, 1)
    (tmp_path / "hyperparams.yaml").write_text(hyperparams)
    with pytest.raises(InputError, match=named):
        read(tmp_path)


def test_hyperparams_are_never_run(tmp_path):
    """What SpeechBrain would call, and code for Python's own YAML tags."""
    torch.save({"blocks.0.conv.conv.weight": torch.zeros(16, 24, 5)}, tmp_path / "embedding_model.ckpt")
    target = tmp_path / "made"
    for line in (
        f"a: !apply:os.mkdir [{target}]",
        f"b: !!python/object/apply:os.mkdir [{target}]",
        f"c: !new:pathlib.Path.mkdir\n    self: {target}",
    ):
        (tmp_path / "hyperparams.yaml").write_text(line)
        with pytest.raises(InputError):
            read(tmp_path)
        assert not target.exists()


def test_labels(tmp_path):
    path = tmp_path / "label_encoder.txt"
    path.write_text("'b => c' => 1\n'a' => 0\n================\n'starting_index' => 0\n")
    assert read_labels(path) == ["a", "b => c"]
    for contents in ("'a' => 1\n", "'a' => 0\n'a' => 1\n", "", "a\n", "__import__('os') => 0\n"):
        path.write_text(contents)
        with pytest.raises(InputError):
            read_labels(path)
