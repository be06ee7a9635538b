"""Asks for known vulnerabilities of the locked packages: `make audit`.

Exits with 1 when there are some. The database is on the Internet, which not every
machine reaches: then a line says that nothing was audited, and the exit code is 0.
"""

import json
import subprocess
import sys
from pathlib import Path


def audit(lock: Path) -> tuple[list[str], int, int]:
    """Returns findings, and the numbers of audited and of other packages."""
    command = [sys.executable, "-m", "pip_audit", "--format", "json", "--no-deps"]
    command += ["--disable-pip", "--require-hashes", "--requirement", str(lock)]
    result = subprocess.run(command, capture_output=True, text=True)
    try:
        packages = json.loads(result.stdout)["dependencies"]
    except ValueError:
        lines = result.stderr.strip().splitlines()
        print(f"{lock}: {lines[-1] if lines else result.returncode}", file=sys.stderr)
        packages = []
    audited = [package for package in packages if "vulns" in package]
    findings = [
        f"{package['name']} {package['version']}: {found['id']}, mended in "
        f"{', '.join(found['fix_versions']) or 'no version'}"
        for package in audited
        for found in package["vulns"]
    ]
    return findings, len(audited), len(packages) - len(audited)


def main() -> int:
    code = 0
    for lock in map(Path, sys.argv[1:]):
        findings, num_audited, num_others = audit(lock)
        if not num_audited:
            print(
                f"{lock}: NOT AUDITED, the database of vulnerabilities is not reached"
            )
        else:
            print(
                f"{lock}: {num_audited} audited, {num_others} unknown to the database"
            )
        for finding in findings:
            print(f"  {finding}")
            code = 1
    return code


if __name__ == "__main__":
    sys.exit(main())
