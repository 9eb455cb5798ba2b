"""What is shipped and what it is made from: lock files, sdist, wheel."""

from __future__ import annotations

import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

from tools import wheel_check

ROOT = Path(__file__).resolve().parents[2]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
LIBRARY: list[str] = PROJECT["project"]["dependencies"]
EXTRAS: dict[str, list[str]] = PROJECT["project"]["optional-dependencies"]
GROUPS: dict[str, list[Any]] = PROJECT["dependency-groups"]

PIN = re.compile(r"(?P<name>[a-z0-9.-]+)==(?P<version>[^ ]+)(?: ; [^\\]+)? \\")
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}(?: \\)?")
ADDRESS = re.compile(r"://|file:|(?<![\w.])/\w|--(?:index|extra-index|find-links)")


def lock(name: str) -> dict[str, Version]:
    """Return the version that a lock file gives each package."""
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    return {found["name"]: Version(found["version"]) for found in PIN.finditer(text)}


def group(name: str) -> Iterator[str]:
    """Return a dependency group's requirements, those of included groups too."""
    for entry in GROUPS[name]:
        if isinstance(entry, dict):
            yield from group(entry["include-group"])
        else:
            yield entry


def requirements(name: str) -> list[str]:
    """Return what a file of requirements asks for."""
    lines = (ROOT / "requirements" / name).read_text().splitlines()
    return [line.partition("#")[0].strip() for line in lines if not line.startswith("#")]


LOCKED = {
    "bootstrap": requirements("bootstrap.in"),
    "build": [*group("build")],
    "runtime": [*LIBRARY, *EXTRAS["service"]],
    "dev": [*LIBRARY, *EXTRAS["service"], *EXTRAS["embedded"], *group("dev")],
    "peers": [*LIBRARY, *requirements("peers.in")],
}


@pytest.mark.parametrize("name", LOCKED)
def test_lock_meets_every_requirement(name: str) -> None:
    versions = lock(name)
    for requirement in map(Requirement, LOCKED[name]):
        version = versions.get(canonicalize_name(requirement.name))
        assert version, f"run the session `lock`: {requirement} is missing"
        assert version in requirement.specifier, f"run the session `lock`: {requirement}"


@pytest.mark.parametrize("name", LOCKED)
def test_lock_pins_every_file_by_its_hash(name: str) -> None:
    text = (ROOT / "requirements" / f"{name}.txt").read_text()
    assert not ADDRESS.search(text)
    blocks = re.split(r"\n(?=[a-z])", text.rstrip("\n"))
    assert len(blocks) == len(lock(name))
    for block in blocks:
        assert HASH.search(block), block


@pytest.mark.parametrize("name", sorted(set(LOCKED) - {"dev", "peers"}))
def test_what_is_tested_is_what_runs(name: str) -> None:
    dev = lock("dev")
    assert {package: dev.get(package) for package in lock(name)} == lock(name)


def test_lock_files_are_those_that_the_session_writes() -> None:
    assert {file.stem for file in (ROOT / "requirements").glob("*.txt")} == set(LOCKED)


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the sdist and the wheel of this checkout."""
    folder = tmp_path_factory.mktemp("dist")
    build = [sys.executable, "-m", "hatchling", "build", "--directory", str(folder)]
    subprocess.run(build, cwd=ROOT, check=True)
    return folder


def test_wheel_holds_the_package_and_its_sql(dist: Path) -> None:
    [wheel] = dist.glob("*.whl")
    assert [*wheel_check.foreign_files(wheel, "jobengine")] == []
    on_disk = {
        str(file.relative_to(ROOT / "sql" / "engine")): wheel_check.sha256(file.read_bytes())
        for file in (ROOT / "sql" / "engine").rglob("*")
        if file.is_file()
    }
    assert wheel_check.packaged_files(wheel, wheel_check.PACKAGED_SQL) == on_disk


def test_sdist_holds_what_the_wheel_is_made_from(dist: Path) -> None:
    [sdist] = dist.glob("*.tar.gz")
    with tarfile.open(sdist) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}
    assert {"CHANGELOG.md", "LICENSE", "README.md", "pyproject.toml", "jobengine/py.typed"} <= names
    assert "sql/engine/bootstrap.sql" in names
    assert not {name for name in names if name.startswith(("api/", "tests/", "tools/"))}


def test_wheel_check_notices_every_difference(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    same = wheel_check.sha256(b"select 1")
    known = {"same.sql": same, "changed.sql": same, "forgotten.sql": same}
    monkeypatch.setattr(wheel_check, "known_files", {wheel_check.SQL: known}.get)
    wheel = tmp_path / "jobengine-1-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("jobengine/_sql/same.sql", "select 1")
        archive.writestr("jobengine/_sql/changed.sql", "select 2")
        archive.writestr("jobengine/_sql/left_over.sql", "select 1")
        archive.writestr("api/app.py", "")
    assert [*wheel_check.foreign_files(wheel, "jobengine")] == ["foreign: api/app.py"]
    assert [*wheel_check.differences(wheel, wheel_check.PACKAGED_SQL, wheel_check.SQL)] == [
        "different: sql/engine/changed.sql",
        "missing: sql/engine/forgotten.sql",
        "not known to git: sql/engine/left_over.sql",
    ]


def test_wheel_check_notices_another_licence_in_the_agents_wheel(tmp_path: Path) -> None:
    wheel = tmp_path / "forex_agent-1-py3-none-any.whl"
    licence = "forex_agent-1.dist-info/licenses/LICENSE"
    for text, faults in (((ROOT / "LICENSE").read_text(), 0), ("mine", 1)):
        with zipfile.ZipFile(wheel, "w") as archive:
            archive.writestr(licence, text)
        assert len([*wheel_check.other_license(wheel)]) == faults
