"""Files as safetensors itself writes them, also from torch."""

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file
from safetensors.torch import save_file as save_tensors

from speakerlab import InputError
from speakerlab.data.embedding_files.safetensors import read

ROWS = np.arange(6.0, dtype=np.float32).reshape(3, 2)


def test_a_tensor_an_utterance(tmp_path):
    save_tensors({name: torch.from_numpy(row) for name, row in zip("abc", ROWS.copy())}, tmp_path / "x.safetensors")
    found = read(tmp_path / "x.safetensors")
    assert sorted(found.names) == ["a", "b", "c"] and found.speakers is None
    np.testing.assert_array_equal(found.rows[np.argsort(found.names)], ROWS)


@pytest.mark.parametrize(
    "header, message",
    [
        ({"utterances": "a,b,c"}, "the names in its header are no JSON"),
        ({"utterances": json.dumps({"a": 0})}, "must be JSON lists"),
        ({"utterances": json.dumps(["a", "b", "c"]), "speakers": '"s"'}, "must be JSON lists"),
        ({"utterances": json.dumps(["a", "b"])}, "2 names need embeddings"),
        (None, r"embeddings has an array of the shape \(3, 2\), not one embedding"),
    ],
)
def test_bad_headers_are_refused(tmp_path, header, message):
    save_file({"embeddings": ROWS}, tmp_path / "x.safetensors", header)
    with pytest.raises(InputError, match=message):
        read(tmp_path / "x.safetensors")


def test_half_precision(tmp_path):
    save_tensors({"a": torch.tensor([1.0, 2.0], dtype=torch.float16)}, tmp_path / "x.safetensors")
    np.testing.assert_array_equal(read(tmp_path / "x.safetensors").rows, [[1.0, 2.0]])
    save_tensors({"a": torch.tensor([1.0, 2.0], dtype=torch.bfloat16)}, tmp_path / "x.safetensors")
    with pytest.raises(InputError, match="x.safetensors"):
        read(tmp_path / "x.safetensors")
