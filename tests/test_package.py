"""The package as a whole: the direction of imports, and a wheel that works."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import gcnet_tf

PACKAGE = Path(gcnet_tf.__file__).parent
REPOSITORY = PACKAGE.parent

# Imports point from later entries to earlier ones only (or stay inside one).
ORDER = [
    "errors",
    "processor",
    "launch",
    "manifest",
    "interpolation",
    "inference",
    "segmenter",
    "visualize",
    "runtime",
    "download",
    "atomic",
    "compat",
    "addons_layers",
    "weights",
    "config",
    "addons",
    "custom",
    "data",
    "exported",
    "layers",
    "models",
    "fuse",
    "metrics",
    "submission",
    "attention",
    "convert",
    "predictor",
    "evaluate",
    "training",
    "export",
    "cli",
    "benchmark",
    "__main__",
]


def imported_parts(path):
    """Yields the parts of the package that a file imports, such as "data"."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            modules = [node.module]
            if node.module == "gcnet_tf":
                modules = [f"gcnet_tf.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        else:
            continue
        for module in modules:
            if module.startswith("gcnet_tf."):
                yield module.split(".")[1]


def test_imports_point_one_way():
    parts = set()
    for path in PACKAGE.rglob("*.py"):
        part = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if part == "__init__":
            continue
        parts.add(part)
        for other in imported_parts(path):
            assert ORDER.index(other) <= ORDER.index(part), f"{path} imports {other}"
    assert parts == set(ORDER)


def test_importing_the_package_loads_no_tensorflow():
    code = (
        "import sys, gcnet_tf, gcnet_tf.config, gcnet_tf.data.prepare; "
        "print('tensorflow' in sys.modules)"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


@pytest.mark.slow
def test_a_wheel_installed_elsewhere_works(tmp_path):
    """Also tests that configurations and label lists are inside the wheel."""
    # The wheel is built from a copy, because building leaves files in its folder.
    source = tmp_path / "source"
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    if files.returncode:
        names = [
            str(path.relative_to(REPOSITORY))
            for folder in ("gcnet_tf", "configs", "scripts")
            for path in (REPOSITORY / folder).rglob("*")
            if path.suffix in (".py", ".json")
        ] + ["setup.cfg", "pyproject.toml", "README.md", "LICENSE"]
    else:
        names = files.stdout.splitlines()
    for name in names:
        if (REPOSITORY / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((REPOSITORY / name).read_bytes())

    def pip(*arguments):
        command = [sys.executable, "-m", "pip", "--quiet", *map(str, arguments)]
        subprocess.run(command, check=True)

    # Without isolation and dependencies nothing is downloaded.
    pip("wheel", "--no-build-isolation", "--no-deps", "-w", tmp_path, source)
    (wheel,) = tmp_path.glob("*.whl")
    pip("install", "--no-deps", "--target", tmp_path / "elsewhere", wheel)
    code = (
        "import gcnet_tf; print(gcnet_tf.__file__); "
        "from gcnet_tf.data.catalog import dataset_facts; "
        "print(len(dataset_facts('ade20k').classes)); "
        "print(gcnet_tf.load_config('voc_r50_20k').published.miou); "
        "from gcnet_tf import build_model, load_config; "
        "print(build_model(load_config('shapes_r18')).num_classes)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "elsewhere"), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    file, num_classes, miou, num_shapes = result.stdout.split()
    assert file.startswith(str(tmp_path / "elsewhere"))
    assert (num_classes, miou, num_shapes) == ("150", "76.42", "6")

    # The command works without a checkout.
    command = subprocess.run(
        [sys.executable, tmp_path / "elsewhere" / "bin" / "gcnet_tf"]
        + ["show_config", "--cfg", "voc_r50_20k"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "elsewhere"), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    assert '"iterations": 20000' in command.stdout
