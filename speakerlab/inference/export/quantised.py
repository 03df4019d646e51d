"""Smaller ONNX models: weights and arithmetic in 16-bit floats, or in 8-bit integers.

Features and the statistics over time stay in float32, as in mixed-precision training: there a rounding becomes a
decibel. What the smaller numbers do to the scores is measured; see `drift`.
"""

import logging
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from speakerlab import InputError

if TYPE_CHECKING:
    from onnx import ModelProto

KEPT_PARTS = ("features", "pooling")  # parts of a network that stay in float32
INTEGER_OPERATORS = ("Conv", "MatMul", "Gemm", "LSTM")  # the weights of which become 8-bit
HALF_OPERATORS = ("Conv", "MatMul", "Gemm")
LARGEST_FP16 = 65504.0
QUANTISED = ("ConvInteger", "MatMulInteger", "DynamicQuantizeLSTM")  # what they become


def to_fp16(model: "ModelProto") -> "ModelProto":
    """Convolutions and matrix products of the encoders in 16-bit floats, all else in 32, as training by autocast.

    Args:
        model: as `speakerlab.inference.export.onnx.to_onnx` gives it; left as it is.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    half = onnx.shape_inference.infer_shapes(model)
    weights = {tensor.name: tensor for tensor in half.graph.initializer}
    types = {value.name: value.type.tensor_type.elem_type for value in (*half.graph.value_info, *half.graph.input)}
    types |= {name: tensor.data_type for name, tensor in weights.items()}
    kept, nodes, tensors = set(kept_nodes(model)), [], {}
    for node in half.graph.node:
        floats = all(types.get(name) == TensorProto.FLOAT for name in node.input if name)  # some are of 64 bits
        if node.op_type not in HALF_OPERATORS or node.name in kept or not floats:
            nodes.append(node)
            continue
        for place, name in enumerate(node.input):
            rounded = f"{name}_fp16" if name else ""
            if name in weights:
                values = numpy_helper.to_array(weights[name]).clip(-LARGEST_FP16, LARGEST_FP16).astype(np.float16)
                tensors[rounded] = numpy_helper.from_array(values, rounded)
            elif name and rounded not in tensors:
                tensors[rounded] = None  # made once
                nodes.append(helper.make_node("Cast", [name], [rounded], f"{rounded}/Cast", to=TensorProto.FLOAT16))
            node.input[place] = rounded
        (output,) = node.output
        node.output[0] = f"{output}_product"
        back = helper.make_node("Cast", [node.output[0]], [output], f"{output}/Cast", to=TensorProto.FLOAT)
        nodes += [node, back]
    used = {name for node in nodes for name in node.input}
    left = [tensor for name, tensor in weights.items() if name in used] + [new for new in tensors.values() if new]
    graph = helper.make_graph(nodes, model.graph.name, half.graph.input, half.graph.output, left)
    return helper.make_model(graph, opset_imports=model.opset_import, ir_version=model.ir_version)


def to_int8(model: "ModelProto") -> "ModelProto":
    """Weights of the encoders in 8-bit integers; what they are multiplied by is quantised as it comes.

    Args:
        model: as `speakerlab.inference.export.onnx.to_onnx` gives it; left as it is.

    Raises:
        InputError: if nothing in it can be quantised.
    """
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    logger = logging.getLogger()
    level = logger.level
    logger.setLevel(logging.ERROR)  # it advises each time to prepare the model, which is done
    try:
        with tempfile.TemporaryDirectory() as folder:
            target = Path(folder) / "int8.onnx"
            copy = type(model)()
            copy.CopyFrom(model)
            del copy.graph.value_info[:]  # shapes, which transposing a weight makes wrong; they are inferred anew
            quantize_dynamic(
                copy,
                target,
                op_types_to_quantize=list(INTEGER_OPERATORS),
                nodes_to_exclude=kept_nodes(model),
                weight_type=QuantType.QUInt8,  # ONNX Runtime has no convolution of signed weights
                use_external_data_format=False,
            )
            quantised = onnx.load(target)
    finally:
        logger.setLevel(level)
    if not any(node.op_type in QUANTISED for node in quantised.graph.node):
        raise InputError("nothing in this network can be quantised to 8 bits; use --to fp16")
    return quantised


def kept_nodes(model: "ModelProto") -> list[str]:
    """The names of the nodes that stay in float32."""
    return [
        node.name for node in model.graph.node if not set(KEPT_PARTS).isdisjoint(node.name.partition("/")[0].split("."))
    ]
