"""docs/notebook.ipynb, run as a user does."""

from pathlib import Path

import nbformat
import pytest
from conftest import ROOT
from nbclient import NotebookClient


@pytest.mark.slow
def test_the_notebook_trains_loads_and_shows_and_is_kept_without_outputs(tmp_path: Path) -> None:
    notebook = nbformat.read(ROOT / "docs" / "notebook.ipynb", as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not any(cell.outputs or cell.execution_count for cell in code)
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": tmp_path}}).execute()
    shown = [kind for cell in code for output in cell.outputs for kind in output.get("data", {})]
    assert (shown.count("text/html"), shown.count("image/png")) == (1, 2), "a table, and two figures"
    assert [path for path in tmp_path.rglob("metrics.json") if "lenet" in str(path)]
    told = "".join(output.text for cell in code for output in cell.outputs if output.output_type == "stream")
    assert "Warning" not in told
