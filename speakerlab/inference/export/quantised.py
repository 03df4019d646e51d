"""Smaller ONNX models: weights and arithmetic in 16-bit floats, or in 8-bit integers.

Features and the statistics over time stay in float32, as in mixed-precision training: there a rounding becomes a
decibel. What the smaller numbers do to the scores is measured; see `drift`.
"""

import logging
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

from speakerlab import InputError

if TYPE_CHECKING:
    from onnx import ModelProto

KEPT_PARTS = ("features", "pooling")  # parts of a network that stay in float32
INTEGER_OPERATORS = ("Conv", "MatMul", "Gemm", "LSTM")  # the weights of which become 8-bit
QUANTISED = ("ConvInteger", "MatMulInteger", "DynamicQuantizeLSTM")  # what they become


def to_fp16(model: "ModelProto") -> "ModelProto":
    """Weights and arithmetic of the encoders in 16-bit floats; input and output stay float32.

    Args:
        model: as `speakerlab.inference.export.onnx.to_onnx` gives it; left as it is.
    """
    from onnxruntime.transformers.float16 import DEFAULT_OP_BLOCK_LIST, convert_float_to_float16

    copy = type(model)()
    copy.CopyFrom(model)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # values too small for 16 bits become the smallest that is not
        return convert_float_to_float16(
            copy,
            keep_io_types=True,
            op_block_list=[*DEFAULT_OP_BLOCK_LIST, "LSTM", "BatchNormalization"],
            node_block_list=kept_nodes(model),
        )


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
    if not any(
        node.op_type in ("ConvInteger", "MatMulInteger", "DynamicQuantizeLSTM") for node in quantised.graph.node
    ):
        raise InputError("nothing in this network can be quantised to 8 bits; use --to fp16")
    return quantised


def kept_nodes(model: "ModelProto") -> list[str]:
    """The names of the nodes that stay in float32."""
    return [
        node.name for node in model.graph.node if not set(KEPT_PARTS).isdisjoint(node.name.partition("/")[0].split("."))
    ]
