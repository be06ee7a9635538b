"""The folder of a page, written without the network; a local server stands for npm."""

import base64
import hashlib
import io
import json
import tarfile
from contextlib import chdir
from pathlib import Path

import pytest
from file_server import FileServer
from script_server import REPOSITORY

from gcnet_tf.errors import UserError
from gcnet_tf.export.plan import Checks, plan
from gcnet_tf.export.web import packages, site

NAMES = ("npm_config_registry", "NPM_CONFIG_REGISTRY", "NPM_CONFIG_USERCONFIG")


@pytest.fixture(autouse=True)
def nobodys_settings(tmp_path, monkeypatch):
    """Leaves out the settings of npm, and the downloads, of whoever runs the tests."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("GCNET_TF_CACHE", str(tmp_path / "cache"))
    with chdir(tmp_path):
        yield


def archive(files):
    """Packs files as npm does."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(f"package/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def package(name, content, files):
    digest = base64.b64encode(hashlib.sha512(content).digest()).decode()
    return packages.Package(name, "1.2.3", f"sha512-{digest}", files)


@pytest.fixture
def npm(monkeypatch):
    """Server of two made-up packages, which take the places of the interpreter's."""
    core = archive(
        {"dist/index.js": b'import {x} from "@litertjs/wasm-utils";', "no.js": b"no"}
    )
    utils = archive({"dist/index.js": b"export {};"})
    litert = (
        package("@litertjs/core", core, {"dist/index.js": "index.js"}),
        package("@litertjs/wasm-utils", utils, {"dist/index.js": "wasm-utils.js"}),
    )
    monkeypatch.setattr(site, "LITERT", litert)
    monkeypatch.setattr(site, "fetch_packages", lambda: packages.fetch_packages(litert))
    files = {
        "/npm/@litertjs/core/-/core-1.2.3.tgz": core,
        "/npm/@litertjs/wasm-utils/-/wasm-utils-1.2.3.tgz": utils,
    }
    with FileServer(files) as server:
        monkeypatch.setenv("NPM_CONFIG_REGISTRY", server.url("/npm/"))
        yield server


def test_the_site_holds_all_that_the_page_asks_for(npm, tmp_path):
    out = tmp_path / "site"
    out.mkdir()
    site.require_site(out)
    assert site.write_site(out, [out / "model_int8.tflite"]) == out / "index.html"
    assert json.loads((out / "models.json").read_text()) == ["model_int8.tflite"]
    names = {
        path.relative_to(out / "litert").as_posix() for path in tree(out / "litert")
    }
    assert names == {"index.js", "wasm-utils.js"}
    changed = (out / "litert" / "index.js").read_text()
    assert changed.startswith("// Changed by gcnet_tf")
    assert changed.endswith('import {x} from "./wasm-utils.js";')
    licences = (out / "licences.txt").read_text()
    assert "@litertjs/core 1.2.3" in licences and "Apache License" in licences
    # A second export replaces the page, and downloads nothing again.
    num_requests = len(npm.requests)
    site.require_site(out)
    site.write_site(out, [out / "model_fp32.tflite"])
    assert json.loads((out / "models.json").read_text()) == ["model_fp32.tflite"]
    assert len(npm.requests) == num_requests


def test_an_export_writes_the_page_and_its_model(npm, tiny_config, tmp_path, capsys):
    from gcnet_tf.export.run import export
    from gcnet_tf.models import build_model

    config = tiny_config()
    jobs = plan("web", "fp32", None, config)
    model, unchecked = build_model(config), Checks(samples=0)
    npm.status = 404
    with pytest.raises(UserError, match="npm pack @litertjs/core@1.2.3"):
        export(model, config, jobs, tmp_path / "site", checks=unchecked)
    assert not (tmp_path / "site").exists()  # found out before the work
    npm.status = None
    out = tmp_path / "a site"
    (path,) = export(model, config, jobs, out, checks=unchecked)
    assert json.loads((out / "models.json").read_text()) == [path.name]
    assert [item.name for item in out.glob("*.tflite")] == ["model_fp32.tflite"]
    lines = capsys.readouterr().out.splitlines()
    assert f"For browsers: {out / 'index.html'}" in lines
    assert lines[-1] == f"Next: python -m http.server --directory '{out}'"


def test_the_page_names_no_address_and_no_missing_file():
    page = Path(site.__file__).parent / "page"
    for path in page.iterdir():
        text = path.read_text(encoding="utf-8")
        assert "http:" not in text and "https:" not in text, path
    index = (page / "index.html").read_text()
    for name in ("style.css", "app.js"):
        assert f'"page/{name}"' in index and (page / name).is_file()


def test_the_licence_is_the_whole_text():
    copy = Path(site.__file__).parent / "apache-2.0.txt"
    assert copy.read_bytes() == (REPOSITORY / "LICENSE").read_bytes()


def test_a_page_of_somebody_else_stays(tmp_path):
    (tmp_path / "index.html").write_text("mine")
    with pytest.raises(UserError, match="not of an earlier export"):
        site.require_site(tmp_path)
    assert (tmp_path / "index.html").read_text() == "mine"


def test_without_the_network_a_sentence_says_how_to_bring_the_archive(monkeypatch):
    with FileServer({}) as server:
        address = server.url("/")
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", address)
    with pytest.raises(UserError) as caught:
        packages.fetch_packages()
    message = str(caught.value)
    assert "npm pack @litertjs/core@" in message
    assert f"put the file at {packages.cache_folder() / 'npm'}" in message


def test_an_archive_with_another_hash_is_refused(npm, monkeypatch):
    npm.files["/npm/@litertjs/core/-/core-1.2.3.tgz"] = b"something else"
    with pytest.raises(UserError, match="the SHA-512 .* was expected"):
        site.fetch_packages()


def test_an_archive_without_a_file_is_refused(tmp_path):
    content = archive({"other.js": b""})
    path = tmp_path / "some.tgz"
    path.write_bytes(content)
    wanted = package("@a/b", content, {"dist/index.js": "index.js"})
    with pytest.raises(UserError, match="is not the archive of @a/b 1.2.3"):
        list(packages.read_files(wanted, path))


def test_the_registry_is_that_of_npm(tmp_path, monkeypatch):
    assert packages.registry_of("@litertjs") == "https://registry.npmjs.org"
    user = tmp_path / "home" / ".npmrc"
    user.write_text("; mine\nregistry=https://user.example/\nother = 1\n")
    assert packages.registry_of("@litertjs") == "https://user.example"
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", "https://variable.example/npm/")
    assert packages.registry_of("@litertjs") == "https://variable.example/npm"
    monkeypatch.setenv("MIRROR", "https://scope.example")
    (tmp_path / ".npmrc").write_text('@litertjs:registry = "${MIRROR}/npm"\n')
    assert packages.registry_of("@litertjs") == "https://scope.example/npm"
    assert packages.registry_of("@other") == "https://variable.example/npm"


def tree(folder):
    return [path for path in folder.rglob("*") if path.is_file()]
