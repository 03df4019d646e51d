import time

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx_files import CARD, make_model, mean_and_square, write_model

from speakerlab import InputError
from speakerlab.inference.card import METADATA_KEY
from speakerlab.inference.engines import onnx_file
from speakerlab.inference.engines.onnx_file import read_metadata


def refusal(path) -> str:
    with pytest.raises(InputError) as refused:
        read_metadata(path)
    message = str(refused.value)
    assert "\n" not in message and message.startswith(str(path)) and len(message) < 400
    return message


def saved(path, model):
    path.write_bytes(model.SerializeToString())
    return path


def with_attribute(attribute):
    """A model one node of which has this attribute."""
    nodes = mean_and_square()
    nodes[0].attribute.append(attribute)
    return make_model(nodes)


def test_the_metadata_of_a_whole_file(tmp_path):
    model = make_model()
    model.metadata_props.add(key="größe", value="1")
    assert read_metadata(saved(tmp_path / "a.onnx", model)) == {METADATA_KEY: CARD.to_json(), "größe": "1"}


def test_what_is_no_file(tmp_path):
    assert "no such file" in refusal(tmp_path)
    assert "can't be opened" in refusal(tmp_path / "missing.onnx")
    (tmp_path / "empty.onnx").touch()
    assert "empty" in refusal(tmp_path / "empty.onnx")


def test_cut_off_anywhere(tmp_path):
    whole = make_model(constants={"weights": np.zeros(20, np.float32)}).SerializeToString()
    path = tmp_path / "cut.onnx"
    for length in range(1, len(whole), 7):
        path.write_bytes(whole[:length])
        try:  # a cut between two fields of the model leaves a file without its metadata
            assert METADATA_KEY not in read_metadata(path)
        except InputError as error:
            assert "\n" not in str(error)


def test_damaged_anywhere(tmp_path):
    """Whatever the bytes are, they are read or refused."""
    whole = np.frombuffer(make_model().SerializeToString(), np.uint8)
    generator, path = np.random.default_rng(0), tmp_path / "damaged.onnx"
    for _ in range(300):
        damaged = whole.copy()
        damaged[generator.integers(len(whole), size=3)] = generator.integers(256, size=3)
        path.write_bytes(damaged.tobytes())
        try:
            read_metadata(path)
        except InputError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize("text", [b"RIFF....WAVEfmt ", b"PK\x03\x04 a zip", b"<html>", bytes(1000), b"\xff" * 1000])
def test_other_files(text, tmp_path):
    (tmp_path / "other.onnx").write_bytes(text)
    assert "no ONNX model" in refusal(tmp_path / "other.onnx")


@pytest.mark.parametrize("place", ["../../../etc/passwd", "weights.bin"])
def test_weights_in_other_files_are_not_opened(place, tmp_path):
    outside = TensorProto(name="outside", data_type=TensorProto.FLOAT, dims=[4])
    outside.data_location = TensorProto.EXTERNAL
    outside.external_data.add(key="location", value=place)
    model = make_model()
    model.graph.initializer.append(outside)
    assert "other files" in refusal(saved(tmp_path / "a.onnx", model))
    # In a node, too, and where only one of the two signs is there.
    outside.data_location = TensorProto.DEFAULT
    assert "other files" in refusal(saved(tmp_path / "b.onnx", with_attribute(helper.make_attribute("value", outside))))


@pytest.mark.parametrize(
    "domain, operator", [("evil", "Run"), ("com.microsoft", "EPContext"), ("ai.onnx.ml", "LinearRegressor")]
)
def test_foreign_operators(domain, operator, tmp_path):
    nodes = [*mean_and_square(), helper.make_node(operator, ["waveform"], ["other"], domain=domain)]
    assert f"{domain}.{operator}" in refusal(saved(tmp_path / "a.onnx", make_model(nodes, domains=("", domain))))


def test_operators_of_quantisation(tmp_path):
    nodes = [
        *mean_and_square(),
        helper.make_node("DynamicQuantizeMatMul", ["a", "b", "c"], ["d"], domain="com.microsoft"),
    ]
    assert read_metadata(saved(tmp_path / "a.onnx", make_model(nodes, domains=("", "com.microsoft"))))


def test_graphs_within_graphs(tmp_path):
    inner = helper.make_graph([helper.make_node("Run", [], ["x"], domain="evil")], "inner", [], [])
    for number, attribute in enumerate([helper.make_attribute("body", inner), helper.make_attribute("all", [inner])]):
        assert "graphs within" in refusal(saved(tmp_path / f"{number}.onnx", with_attribute(attribute)))
    model = make_model()
    model.functions.add(name="f", domain="evil")
    assert "functions" in refusal(saved(tmp_path / "functions.onnx", model))


@pytest.mark.parametrize("stated, refused", [(1, True), (3, True), (-1, True), (2, False)])
def test_a_split_of_another_number_of_parts(stated, refused, tmp_path):
    """With fewer, ONNX Runtime aborts the process."""
    nodes = [*mean_and_square(), helper.make_node("Split", ["waveform"], ["a", "b"], axis=1, num_outputs=stated)]
    path = saved(tmp_path / "a.onnx", make_model(nodes))
    if refused:
        assert "Split into another number" in refusal(path)
    else:
        assert read_metadata(path)


def test_sparse_tensors(tmp_path):
    model = make_model()
    model.graph.sparse_initializer.add(dims=[2**60])
    assert "sparse" in refusal(saved(tmp_path / "a.onnx", model))


@pytest.mark.parametrize("shape", [[2**40], [2**20, 2**20, 2**20], [-1]])
def test_tensors_larger_than_their_values(shape, tmp_path):
    huge = TensorProto(name="huge", data_type=TensorProto.FLOAT, dims=shape, raw_data=bytes(16))
    model = make_model()
    model.graph.initializer.append(huge)
    assert "holds 16 bytes" in refusal(saved(tmp_path / "a.onnx", model))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int8, np.uint8, np.bool_, np.int64])
def test_tensors_of_every_width(dtype, tmp_path):
    assert read_metadata(write_model(tmp_path / "a.onnx", constants={"w": np.ones((3, 5), dtype)}))
    for value in (np.array(1, dtype), np.zeros((0, 4), dtype)):
        model = make_model()
        model.graph.initializer.append(numpy_helper.from_array(value, "w"))
        assert read_metadata(saved(tmp_path / "a.onnx", model))


def test_values_that_are_no_bytes(tmp_path):
    """Tensors may hold their values as numbers, one of which takes a byte or more."""
    model = make_model()
    model.graph.initializer.append(helper.make_tensor("f", TensorProto.FLOAT, [3], [1.0, 2.0, 3.0]))
    model.graph.initializer.append(helper.make_tensor("i", TensorProto.INT64, [3], [1, 2, 3]))
    model.graph.initializer.append(helper.make_tensor("b", TensorProto.BOOL, [3], [True, False, True]))
    assert read_metadata(saved(tmp_path / "a.onnx", model))


def test_very_many_parts_take_bounded_time(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_file, "MOST_PARTS", 50_000)
    (tmp_path / "a.onnx").write_bytes(b"\x08\x01" * 20_000_000)  # 40 MB of "the version is 1"
    began = time.monotonic()
    assert "more parts" in refusal(tmp_path / "a.onnx")
    assert time.monotonic() - began < 5.0
