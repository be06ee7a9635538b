"""Packages of npm that the page needs, downloaded once and checked by their hashes."""

import base64
import os
import re
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from gcnet_tf.errors import UserError, first_line
from gcnet_tf.files.download import cache_folder, download

# Where npm looks when nothing else is configured.
_REGISTRY = "https://registry.npmjs.org"
_VARIABLES = ("npm_config_registry", "NPM_CONFIG_REGISTRY")


class Package(NamedTuple):
    """A package of npm, and what the page takes from it.

    Attributes:
        name: with its scope, such as "@litertjs/core".
        version: the only version that the page was tried with.
        integrity: SHA-512 of its archive, as npm writes it.
        files: paths in the archive, and in the page's folder of packages.
    """

    name: str
    version: str
    integrity: str
    files: Mapping[str, str]

    @property
    def archive(self) -> str:
        """Returns the name that `npm pack` gives the archive."""
        return f"{self.name.removeprefix('@').replace('/', '-')}-{self.version}.tgz"


# Three builds of the interpreter, of which a browser takes one: for most, for those
# without relaxed SIMD, and for servers that allow threads.
_BUILDS = ("", "_compat", "_threaded")
LITERT = (
    Package(
        "@litertjs/core",
        "2.5.3",
        "sha512-PlGmbMOq9WitX7FO0jhbdJw9GthatsyuCQXjTt/wJZo0FLaw48q4tz8IwqgqCIkviYGr9O"
        "FDL1kCnN4nzWoyJQ==",
        {
            "dist/index.js": "index.js",
            **{
                f"wasm/litert_wasm{build}_internal.{kind}": (
                    f"wasm/litert_wasm{build}_internal.{kind}"
                )
                for build in _BUILDS
                for kind in ("js", "wasm")
            },
        },
    ),
    Package(
        "@litertjs/wasm-utils",
        "2.5.3",
        "sha512-4fJiw6tBQnIs+0jH/OQ16nYOiSl8/+zZnn5h2ul8aTKHi05sVqZW580Tmk78pC2kT39A9O"
        "YBVdFawteZ/sI1kQ==",
        {"dist/index.js": "wasm-utils.js"},
    ),
)


def fetch_packages(packages: tuple[Package, ...] = LITERT) -> list[Path]:
    """Downloads the archives that are not there yet, and returns their paths.

    Raises:
        UserError: when one cannot be downloaded, or has another hash.
    """
    return [_fetch(package) for package in packages]


def read_files(package: Package, archive: Path) -> Iterator[tuple[str, bytes]]:
    """Yields the path in the page's folder and the content of each file of a package.

    Raises:
        UserError: when the archive lacks one.
    """
    try:
        with tarfile.open(archive) as tar:
            for source, target in package.files.items():
                member = tar.extractfile(f"package/{source}")
                assert member is not None  # a folder or link: the hash allows neither
                yield target, member.read()
    except (KeyError, tarfile.TarError, EOFError) as error:
        raise UserError(
            f"{archive} is not the archive of {package.name} {package.version}: "
            f"{first_line(error)}. Remove it, so that it is downloaded again."
        ) from error


def registry_of(scope: str) -> str:
    """Returns the registry that npm is configured to take a scope's packages from.

    As npm does, it asks the scope's own line in `.npmrc` of this folder and of the
    user, the variable NPM_CONFIG_REGISTRY, and the line "registry" of these files.
    """
    settings: dict[str, str] = {}
    user = os.environ.get("NPM_CONFIG_USERCONFIG") or Path.home() / ".npmrc"
    for path in (Path(user), Path(".npmrc")):
        if path.is_file():
            settings |= _settings(path)
    variables = map(os.environ.get, _VARIABLES)
    found = settings.get(f"{scope}:registry") or next(filter(None, variables), None)
    return (found or settings.get("registry") or _REGISTRY).rstrip("/")


def _settings(path: Path) -> dict[str, str]:
    lines = re.findall(
        r"(?m)^\s*([^\s;#=]+)\s*=\s*\"?([^\s\"]+)",
        path.read_text(encoding="utf-8", errors="replace"),
    )
    return {key: os.path.expandvars(value) for key, value in lines}


def _fetch(package: Package) -> Path:
    scope, _, name = package.name.partition("/")
    url = f"{registry_of(scope)}/{package.name}/-/{name}-{package.version}.tgz"
    digest = base64.b64decode(package.integrity.removeprefix("sha512-")).hex()
    path = cache_folder() / "npm" / package.archive
    try:
        return download(url, path, f"sha512:{digest}")
    except UserError as error:
        raise UserError(
            f"The page needs {package.name} {package.version} of npm. {error} Where "
            f"there is npm: npm pack {package.name}@{package.version}"
        ) from error
