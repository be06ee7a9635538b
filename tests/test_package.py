"""The package as a whole: its size and prose, and wheels of it in empty folders."""

import ast
import configparser
import subprocess
import sys
from pathlib import Path

import pytest

import gcnet_tf
from gcnet_tf.commands import CHECKOUT_COMMANDS, COMMANDS

PACKAGE = Path(gcnet_tf.__file__).parent
REPOSITORY = PACKAGE.parent


def test_importing_the_package_loads_no_tensorflow():
    code = (
        "import sys, gcnet_tf, gcnet_tf.config, gcnet_tf.data.prepare; "
        "print('tensorflow' in sys.modules)"
    )
    command = [sys.executable, "-c", code]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def python_files(*folders):
    for folder in folders:
        for path in sorted((REPOSITORY / folder).rglob("*.py")):
            if "build" not in path.parts:  # what pip leaves beside a distribution
                yield path


def test_no_file_is_long_and_no_folder_full():
    for path in python_files("gcnet_tf", "scripts"):
        assert len(path.read_text().splitlines()) <= 350, path
    for folder in {path.parent for path in python_files("gcnet_tf")}:
        most = 6 if folder == PACKAGE else 12
        assert len(list(folder.glob("*.py"))) <= most, folder


def test_no_two_files_of_tests_share_a_name():
    """Pytest imports them by their names alone, and refuses the second one."""
    names = [p.name for p in python_files("tests") if p.name.startswith("test_")]
    assert len(names) == len(set(names))


def is_text_without_encoding(call):
    """Tells whether a call reads or writes text in the encoding of the locale."""
    arguments = {keyword.arg: keyword.value for keyword in call.keywords}
    if "encoding" in arguments:
        return False
    match call.func:
        case ast.Attribute(attr="read_text" | "write_text" | "FileHandler"):
            return True
        case ast.Attribute(attr="run" | "Popen" | "check_output"):
            return "text" in arguments
        case ast.Name("open") | ast.Attribute(attr="fdopen"):
            modes = call.args[1:2] or [ast.Constant("r")]
        case ast.Attribute(attr="open"):
            # Those of Path. Pillow, archives and `os` have an `open` of their own.
            texts = [argument.value for argument in call.args if is_mode(argument)]
            return any("b" not in text for text in texts)
        case ast.Attribute(attr="TemporaryFile" | "NamedTemporaryFile"):
            modes = call.args[:1] or [ast.Constant("w+b")]
        case _:
            return False
    return "b" not in getattr(modes[0], "value", "b")


def is_mode(argument):
    is_text = isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    return is_text and set(argument.value) <= set("rwaxbt+")


def test_text_files_are_utf8_whatever_the_locale():
    wrong = [
        f"{path.relative_to(REPOSITORY)}:{node.lineno}"
        for path in python_files("gcnet_tf", "scripts")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and is_text_without_encoding(node)
    ]
    assert not wrong


def docstrings(path):
    """Yields the docstrings of a file, those of attributes included."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            continue
        for child in node.body:
            match child:
                case ast.Expr(ast.Constant(str() as text)):
                    yield text


@pytest.mark.parametrize("folder", ["gcnet_tf", "scripts", "tests"])
def test_docstrings_begin_with_a_verb_or_their_subject(folder):
    words = {"What", "Whether", "Of", "How", "Where", "Who", "Which"}
    wrong = [
        f"{path.relative_to(REPOSITORY)}: {text.splitlines()[0]}"
        for path in python_files(folder)
        for text in docstrings(path)
        if text.split()[0] in words
    ]
    assert not wrong


def test_what_people_copy_is_annotated():
    lacking = []
    for folder in ("config", "layers", "models", "runtime"):
        for path in python_files(f"gcnet_tf/{folder}"):
            for node in ast.walk(ast.parse(path.read_text())):
                if not isinstance(node, ast.FunctionDef):
                    continue
                arguments = [*node.args.posonlyargs, *node.args.args]
                arguments += [*node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
                named = [a for a in arguments if a and a.arg not in ("self", "cls")]
                returns = node.returns is not None or node.name == "__init__"
                if not returns or any(a.annotation is None for a in named):
                    lacking.append(f"{path.name}: {node.name}")
    assert not lacking


def test_the_wheel_has_every_package():
    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / "setup.cfg")
    listed = set(setup["options"]["packages"].split()) - {"gcnet_tf.configs"}
    folders = {path.parent for path in python_files("gcnet_tf")}
    there = {".".join(folder.relative_to(REPOSITORY).parts) for folder in folders}
    assert listed == there


def source_copy(folder):
    """Copies what a checkout holds, because building leaves files in its folder."""
    files = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
    )
    names = files.stdout.splitlines()
    if files.returncode:  # no checkout
        names = [
            str(path.relative_to(REPOSITORY))
            for part in ("gcnet_tf", "configs")
            for path in (REPOSITORY / part).rglob("*")
            if path.suffix in (".py", ".json", ".toml", ".typed", ".html", ".css")
        ] + ["setup.cfg", "pyproject.toml", "README.md", "LICENSE"]
    for name in names:
        if (REPOSITORY / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes((REPOSITORY / name).read_bytes())
    return folder


def install(source, folder):
    """Installs a wheel of `source`, without dependencies: nothing is downloaded."""

    def pip(*arguments):
        command = [sys.executable, "-m", "pip", "--quiet", *map(str, arguments)]
        subprocess.run(command, check=True)

    pip("wheel", "--no-build-isolation", "--no-deps", "-w", folder / "wheels", source)
    (wheel,) = (folder / "wheels").glob("*.whl")
    pip("install", "--no-deps", "--target", folder / "elsewhere", wheel)
    return folder / "elsewhere"


def run_elsewhere(installed, *command, code=0):
    """Runs Python in an empty folder, with the installed package before all others."""
    (installed.parent / "empty").mkdir(exist_ok=True)
    outcome = subprocess.run(
        [sys.executable, *map(str, command)],
        cwd=installed.parent / "empty",
        env={"PYTHONPATH": str(installed), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert outcome.returncode == code, outcome.stderr
    return outcome


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    return install(source_copy(folder / "source"), folder)


@pytest.mark.slow
def test_a_wheel_installed_elsewhere_works(installed):
    """Configurations and label lists are inside it, and nothing of the checkout is."""
    code = (
        "import gcnet_tf; print(gcnet_tf.__file__); "
        "from gcnet_tf.data.catalog import dataset_facts; "
        "print(len(dataset_facts('ade20k').classes)); "
        "print(gcnet_tf.load_config('voc_r50_20k').published.miou); "
        "from gcnet_tf import build_model, load_config; "
        "print(build_model(load_config('shapes_r18')).num_classes)"
    )
    out = run_elsewhere(installed, "-c", code).stdout
    where, num_classes, miou, num_shapes = out.split()
    assert where.startswith(str(installed))
    assert (num_classes, miou, num_shapes) == ("150", "76.42", "6")
    assert (installed / "gcnet_tf" / "py.typed").is_file()
    assert not list(installed.glob("gcnet_tf/**/benchmark*"))


@pytest.mark.slow
def test_every_command_of_a_wheel_works_or_says_what_it_needs(installed):
    program = installed / "bin" / "gcnet_tf"
    for name in COMMANDS:
        text = run_elsewhere(installed, program, name, "--help").stdout
        assert f"usage: gcnet_tf {name}" in text
        # Nobody has scripts/ here.
        assert "scripts/" not in text
    for name in CHECKOUT_COMMANDS:
        for words in ([], ["--help"]):
            outcome = run_elsewhere(installed, program, name, *words, code=2)
            assert outcome.stderr.startswith(f"Error: {name} needs a checkout")
            assert outcome.stderr.count("\n") == 1
    shown = run_elsewhere(
        installed, program, "show_config", "--cfg", "voc_r50_20k"
    ).stdout
    assert '"iterations": 20000' in shown
    missing = run_elsewhere(
        installed, program, "check_data", "--cfg", "voc_r50_20k", code=2
    ).stderr
    assert "gcnet_tf make_tfrecords --cfg" in missing and "scripts/" not in missing


@pytest.mark.slow
def test_a_board_needs_numpy_pillow_and_one_interpreter(tmp_path, tmp_path_factory):
    """The other distribution, beside nothing but what it declares."""
    from exported_files import write_tflite  # which imports TensorFlow

    source = source_copy(tmp_path / "source")
    runtime = source / "gcnet_tf" / "runtime"
    installed = install(runtime, tmp_path)
    modules = {
        ".".join(path.relative_to(installed).with_suffix("").parts)
        for path in installed.rglob("*.py")
    }
    assert {"gcnet_tf.errors", "gcnet_tf.runtime.predictor"} <= modules
    assert not {name for name in modules if "training" in name or "config" in name}
    model = write_tflite(tmp_path_factory.mktemp("model"))
    declared = ("numpy", "PIL", "ai_edge_litert")
    brought = ("flatbuffers", "google", "ml_dtypes", "tqdm", "typing_extensions")
    code = f"""
import sys

class OnlyDeclared:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        allowed = {{*sys.stdlib_module_names, "gcnet_tf", *{declared!r}, *{brought!r}}}
        if top not in allowed and not top.startswith("_"):
            raise ImportError(f"{{name}} is not there on a board")

sys.meta_path.insert(0, OnlyDeclared())
import numpy as np
from gcnet_tf.runtime import Predictor

predictor = Predictor({str(model)!r})
print(predictor(np.zeros((48, 64, 3), np.uint8)).shape)
print(*predictor.classes)

from PIL import Image
from gcnet_tf.runtime.__main__ import main

Image.new("RGB", (64, 48)).save("photo.png")
print(main([{str(model)!r}, "photo.png", "labels.png"]))
"""
    shape, classes, wrote, code = run_elsewhere(installed, "-c", code).stdout.split(
        "\n"
    )[:4]
    assert shape == "(48, 64)" and classes.startswith("background") and code == "0"
    assert wrote.startswith("Wrote labels.png: ")
