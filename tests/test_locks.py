"""The lock files, and the question for known vulnerabilities of what they list."""

import json
import re
import subprocess
import sys

import pytest
from script_server import REPOSITORY

STACKS = {
    "default": "constraints.txt",
    "addons": "constraints-addons.txt",
    "cloud": "constraints-cloud.txt",
    "beam": "constraints-beam.txt",
}


@pytest.mark.parametrize("stack", STACKS)
def test_a_lock_has_hashes_of_the_tested_versions(stack):
    lines = (REPOSITORY / STACKS[stack]).read_text().splitlines()
    pins = [line for line in lines if not line.startswith("#")]
    text = (REPOSITORY / "locks" / f"{stack}.txt").read_text().replace("\\\n", "")
    packages = dict(line.split(maxsplit=1) for line in text.splitlines())
    normal = {re.sub(r"[-_.]+", "-", pin.lower().split("==")[0]): pin for pin in pins}
    assert packages.keys() == {
        f"{name}=={pin.split('==')[1]}" for name, pin in normal.items()
    }
    for name, hashes in packages.items():
        assert all(
            re.fullmatch("--hash=sha256:[0-9a-f]{64}", part) for part in hashes.split()
        ), name


PIP_AUDIT = """
import sys, pathlib
lock = pathlib.Path(sys.argv[sys.argv.index("--requirement") + 1])
print(lock.read_text())
"""
CLEAN = {"name": "a", "version": "1", "vulns": []}
VULNERABLE = {
    "name": "b",
    "version": "2",
    "vulns": [{"id": "PYSEC-1", "fix_versions": ["3"]}],
}
UNKNOWN = {"name": "c", "skip_reason": "Dependency not found on PyPI"}


@pytest.mark.parametrize(
    "packages, code, text",
    [
        ([CLEAN, UNKNOWN], 0, "1 audited, 1 unknown"),
        ([CLEAN, VULNERABLE], 1, "b 2: PYSEC-1, mended in 3"),
        ([UNKNOWN], 0, "NOT AUDITED"),
        (None, 0, "NOT AUDITED"),
    ],
)
def test_the_audit_says_what_it_found_and_whether_it_could(
    packages, code, text, tmp_path
):
    (tmp_path / "pip_audit.py").write_text(PIP_AUDIT)
    answer = "" if packages is None else json.dumps({"dependencies": packages})
    (tmp_path / "lock.txt").write_text(answer)
    result = subprocess.run(
        [sys.executable, REPOSITORY / ".ci" / "audit.py", tmp_path / "lock.txt"],
        env={"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert result.returncode == code and text in result.stdout
