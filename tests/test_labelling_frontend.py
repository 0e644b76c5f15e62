"""The labelling page's scripts: what is committed is what the sources give, and they hold by themselves."""

import hashlib
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

LABELLING = Path(__file__).parent.parent / "agents" / "preferences" / "labelling"
FRONTEND, STATIC, TEMPLATES = LABELLING / "frontend", LABELLING / "static", LABELLING / "templates"
BESIDE = ("build.mjs", "package.json", "package-lock.json")


def sources() -> dict[str, str]:
    """Digests of what the built files are made from."""
    paths = [path for path in (FRONTEND / "src").rglob("*") if path.is_file()]
    paths += [FRONTEND / name for name in BESIDE]
    return {
        path.relative_to(FRONTEND).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths
    }


def test_the_built_files_are_of_these_sources() -> None:
    """Needs no node; whoever changed a source and forgot `make frontend` sees it here."""
    lines = (STATIC / "sources.sha256").read_text().splitlines()
    built_from = {path: digest for digest, _, path in (line.partition("  ") for line in lines)}
    assert built_from == sources(), "run `make frontend` and commit what it writes"


def test_the_templates_use_what_is_shipped_and_nothing_inline() -> None:
    """The content policy forbids scripts and styles inside a page: they would be dead."""
    for template in TEMPLATES.glob("*.html"):
        text = template.read_text()
        for name in re.findall(r"/static/([\w.-]+)", text):
            assert (STATIC / name).is_file(), (template.name, name)
        assert not re.findall(r"<style|\sstyle=|\son\w+=|javascript:|=\"https?:", text), template.name
        assert all("src=" in tag for tag in re.findall(r"<script[^>]*>", text)), template.name


def test_the_scripts_reach_no_other_address() -> None:
    for path in STATIC.iterdir():
        addresses = set(re.findall(r"https?://[^\s\"'`)]+", path.read_text()))
        assert addresses <= {"http://www.w3.org/2000/svg"}, path.name


def test_the_lock_names_no_address() -> None:
    assert "://" not in (FRONTEND / "package-lock.json").read_text()


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sources with their tools, beside the repository."""
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        pytest.skip("no node and npm here; the digests of the sources were compared all the same")
    folder = tmp_path_factory.mktemp("frontend")
    shutil.copytree(FRONTEND, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("node_modules"))
    command = [npm, "ci", "--ignore-scripts", "--prefer-offline", "--no-progress"]
    fetched = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    if fetched.returncode != 0:
        # Off line, or an old node: no reason to fail what the digests have shown.
        pytest.skip(f"npm ci failed here: {fetched.stderr.strip()[-200:]}")
    return folder


def run(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["npm", "run", "--silent", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env={**os.environ, "NO_COLOR": "1"},
    )


def test_the_types_hold(workshop: Path) -> None:
    checked = run(workshop, "check")
    assert checked.returncode == 0, checked.stdout + checked.stderr


def test_the_units_hold(workshop: Path) -> None:
    tested = run(workshop, "test")
    assert tested.returncode == 0, tested.stdout[-4000:] + tested.stderr[-2000:]
    assert int(re.findall(r"pass (\d+)", tested.stdout)[-1]) > 30


def test_a_build_gives_the_committed_files(workshop: Path) -> None:
    built = workshop / "built"
    done = run(workshop, "build", "--", str(built))
    assert done.returncode == 0, done.stdout + done.stderr
    here = {path.name: path.read_bytes() for path in STATIC.iterdir()}
    assert {path.name: path.read_bytes() for path in built.iterdir()} == here
