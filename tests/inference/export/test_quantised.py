import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx_files import make_model

from speakerlab import InputError
from speakerlab.inference.engines.onnx_file import read_metadata
from speakerlab.inference.export.quantised import kept_nodes, to_fp16, to_int8

WEIGHTS = ("features.weight", "conv.weight", "linear.weight", "pooling.weight")


def network() -> ModelProto:
    """Features, a convolution, a matrix and a pooling, whose nodes are named as exports name them."""
    generator = np.random.default_rng(0)
    shapes = ((1, 1), (32, 1, 5), (32, 32), (32, 2))
    constants = {name: generator.standard_normal(shape).astype(np.float32) for name, shape in zip(WEIGHTS, shapes)}
    constants |= {"one": np.array([1]), "middle": np.array([2])}

    def node(operator: str, inputs: str, output: str, part: str, **attributes):
        return helper.make_node(operator, inputs.split(), [output], name=f"{part}/{operator}_0", **attributes)

    nodes = [
        node("Unsqueeze", "waveform middle", "column", "features"),  # (batch, samples, 1)
        node("MatMul", "column features.weight", "scaled", "features.extract"),
        node("Transpose", "scaled", "row", "features.extract", perm=[0, 2, 1]),
        node("Conv", "row conv.weight", "maps", "encoder.layers.0"),
        node("Transpose", "maps", "frames", "encoder", perm=[0, 2, 1]),
        node("MatMul", "frames linear.weight", "hidden", "encoder.project"),
        node("ReduceMean", "hidden one", "mean", "branches.mel.encoder.pooling", keepdims=0),
        node("MatMul", "mean pooling.weight", "embedding", "branches.mel.encoder.pooling"),
    ]
    return make_model(nodes, constants)


def run(model: ModelProto, waveform: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"waveform": waveform})[0]


def types(model: ModelProto) -> dict[str, int]:
    """Type of each weight, by the name that it had."""
    return {
        name: tensor.data_type
        for tensor in model.graph.initializer
        for name in WEIGHTS
        if tensor.name.startswith(name) and tensor.name.endswith((name, "quantized"))
    }


@pytest.mark.parametrize(
    "convert, kind, most", [(to_fp16, TensorProto.FLOAT16, 2e-3), (to_int8, TensorProto.UINT8, 5e-2)]
)
def test_the_encoder_is_rounded_and_the_rest_is_not(convert, kind, most, tmp_path):
    model, waveform = network(), np.random.default_rng(1).standard_normal((2, 500)).astype(np.float32)
    before = model.SerializeToString()
    small = convert(model)
    assert model.SerializeToString() == before
    assert types(small) == dict.fromkeys(WEIGHTS, TensorProto.FLOAT) | {"conv.weight": kind, "linear.weight": kind}
    exact, found = run(model, waveform), run(small, waveform)
    assert found.dtype == np.float32
    assert 0 < np.abs(found - exact).max() < most * np.abs(exact).max()
    (tmp_path / "small.onnx").write_bytes(small.SerializeToString())
    read_metadata(tmp_path / "small.onnx")  # has nothing that the engine refuses


def test_weights_are_those_that_were_rounded():
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in network().graph.initializer}
    half = {tensor.name: tensor for tensor in to_fp16(network()).graph.initializer}
    rounded = numpy_helper.to_array(half["linear.weight"])
    np.testing.assert_array_equal(rounded, weights["linear.weight"].astype(np.float16))


def test_parts_are_known_by_whole_words():
    model = network()
    model.graph.node[5].name = "encoder.pooling_norm/MatMul_0"
    assert [name.partition("/")[0] for name in kept_nodes(model)] == [
        *("features", "features.extract", "features.extract"),
        *("branches.mel.encoder.pooling", "branches.mel.encoder.pooling"),
    ]


def test_nothing_to_quantise():
    with pytest.raises(InputError, match="fp16"):
        to_int8(make_model())
