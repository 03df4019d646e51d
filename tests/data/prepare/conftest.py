"""Trees of seconds; made once."""

from pathlib import Path

import pytest
from trees import voxceleb


@pytest.fixture(scope="session")
def vox1(tmp_path_factory) -> Path:
    """VoxCeleb1 in small; only to read."""
    root = tmp_path_factory.mktemp("vox") / "voxceleb1"
    voxceleb(root, tmp_path_factory.mktemp("cache"), 1)
    return root


@pytest.fixture(scope="session")
def vox2(tmp_path_factory) -> Path:
    """VoxCeleb2 in small, in m4a; only to read."""
    root = tmp_path_factory.mktemp("vox") / "voxceleb2"
    voxceleb(root, tmp_path_factory.mktemp("cache"), 2)
    return root
