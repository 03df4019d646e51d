"""The notebooks of `notebooks/`: as they lie in git, and run from start to end."""

import ast
import re
from pathlib import Path

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
FIGURES = {"fusion": 5}  # that a reader sees


def code_of(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_kept_without_outputs_and_every_cell_parses(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert code_of(notebook)
    for cell in code_of(notebook):
        assert cell.outputs == [] and cell.execution_count is None, "clear the outputs before you commit"
        ast.parse(TransformerManager().transform_cell(cell.source))


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs_from_start_to_end(path, tmp_path, monkeypatch):
    """In some three minutes on two cores. A command that fails stops no cell: what it prints tells."""
    for name in ("IPYTHONDIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(tmp_path / name))
    notebook = nbformat.read(path, as_version=4)
    for cell in code_of(notebook):
        cell.source = cell.source.replace("outputs/notebook", str(tmp_path / "study"))
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(path.parent)}}).execute()
    outputs = [output for cell in code_of(notebook) for output in cell.outputs]
    printed = "".join(output.text for output in outputs if output.output_type == "stream")
    assert not re.search(r"^(error: |Traceback)", printed, re.MULTILINE), printed
    assert sum("image/png" in output.get("data", {}) for output in outputs) == FIGURES[path.stem]
    assert f"{tmp_path}/study/compare/report.html" in printed
