"""The notebook: its stored pictures, and every cell once more, without Jupyter."""

import ast
import base64
import io
import json

import matplotlib
import pytest
from PIL import Image
from script_server import REPOSITORY

NOTEBOOK = REPOSITORY / "examples" / "quickstart.ipynb"


@pytest.fixture(scope="module")
def cells():
    notebook = json.loads(NOTEBOOK.read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


def source(cell):
    return "".join(cell["source"])


def test_the_first_cell_installs_what_is_missing(cells):
    assert "find_spec" in source(cells[0]) and '"install"' in source(cells[0])


def test_it_is_stored_with_its_pictures_and_without_errors(cells):
    assert [cell["execution_count"] for cell in cells] == [*range(1, len(cells) + 1)]
    outputs = [output for cell in cells for output in cell["outputs"]]
    assert not [output for output in outputs if output["output_type"] == "error"]
    pictures = [o["data"]["image/png"] for o in outputs if "image/png" in _data(o)]
    sizes = [Image.open(io.BytesIO(base64.b64decode(p))).size for p in pictures]
    # The curves, the result of the run, and that of the exported file.
    assert len(sizes) == 3 and all(min(size) > 100 for size in sizes)
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert len(text) < 10**6
    for folder in ("/tmp", "/home", "/root", "/work"):
        assert folder not in text


def _data(output):
    return output.get("data", {})


def run(cell, names):
    """Runs a cell as Jupyter does, and returns the value of a last expression."""
    *statements, last = ast.parse(source(cell)).body
    if not isinstance(last, ast.Expr):
        statements, last = [*statements, last], None
    exec(compile(ast.Module(statements, []), "cell", "exec"), names)
    if last is not None:
        return eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    return None


@pytest.mark.slow
def test_every_cell_runs(cells, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(REPOSITORY))
    matplotlib.use("Agg")
    names = {}
    values = [run(cell, names) for cell in cells]
    pictures = [v._repr_png_() for v in values if hasattr(v, "_repr_png_")]
    assert len(pictures) == 2
    # Of the cells that print or show something, each stored output has its kind.
    printed = capsys.readouterr().out
    assert "Exported: exports/quickstart/model_fp32.onnx" in printed
    assert "equal pixels: " in printed
    assert float(printed.partition("equal pixels: ")[2].partition("%")[0]) > 99.9
    assert values[-1] == len(list((tmp_path / "data/shapes/val/images").iterdir()))
