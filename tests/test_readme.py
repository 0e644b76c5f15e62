"""What the READMEs promise exists: files, make targets, commands and their options."""

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "CHANGELOG.md",
    *(
        path
        for layer in ("envs", "agents", "robot")
        for path in sorted((ROOT / layer).rglob("README.md"))
        if "node_modules" not in path.parts
    ),
]
NAMES = [page.relative_to(ROOT).as_posix() for page in PAGES]


def commands(page: Path) -> Iterator[str]:
    """Every line of a shell block, joined where it goes on, and every `inline` code."""
    text = page.read_text(encoding="utf-8").replace("\\\n", " ")
    for block in re.findall(r"```(?:sh|bash|console)\n(.*?)```", text, re.DOTALL):
        for line in block.splitlines():
            for part in re.split(r"&&|;|\|", line.partition(" #")[0].removeprefix("$ ")):
                yield part.strip()
    yield from re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))


def surefoot_calls() -> list[tuple[str, str]]:
    """(page, words after `surefoot`) of all calls."""
    calls = []
    for page, name in zip(PAGES, NAMES, strict=True):
        for command in commands(page):
            found = re.match(r"(?:\S*bin/)?surefoot (.+)", command)
            if found:
                calls.append((name, found.group(1)))
    return calls


def test_commands_are_found_in_blocks_and_in_the_text(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("Run `make demo`:\n```sh\ncd x && surefoot train rl \\\n  --env a  # why\n```\n`b`\n")
    assert [command.split() for command in commands(page)] == [
        ["cd", "x"],
        ["surefoot", "train", "rl", "--env", "a"],
        ["make", "demo"],
        ["b"],
    ]


@pytest.mark.parametrize("name", NAMES)
def test_linked_files_exist(name: str) -> None:
    page = ROOT / name
    links = re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8"))
    targets = [link.partition("#")[0] for link in links if "://" not in link and not link.startswith("#")]
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("name", NAMES)
def test_links_inside_a_page_lead_to_a_heading(name: str) -> None:
    text = (ROOT / name).read_text(encoding="utf-8")
    headings = {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in re.findall(r"^#+ (.+?)\s*$", text, re.MULTILINE)
    }
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= headings


def test_make_targets_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page, name in zip(PAGES, NAMES, strict=True):
        for command in commands(page):
            found = re.match(r"(?:[A-Z_]+=\S+ )*make ((?:[a-z]+ ?)+)$", command)
            if found:
                assert set(found.group(1).split()) <= targets, f"{name}: {command}"


def test_commands_and_their_options_exist() -> None:
    help_of: dict[tuple[str, ...], str] = {}
    for name, call in surefoot_calls():
        words = shlex.split(call)
        subcommand = tuple(words[: 2 if words[0] in ("train", "robot", "export") else 1])
        if subcommand[0].startswith("-"):
            continue
        if subcommand not in help_of:
            ran = subprocess.run(
                [sys.executable, str(ROOT / "surefoot.py"), *subcommand, "--help"],
                capture_output=True,
                text=True,
                check=False,
                timeout=60,
            )
            assert ran.returncode == 0, f"{name}: surefoot {call}\n{ran.stderr}"
            help_of[subcommand] = ran.stdout
        known = set(re.findall(r"--[a-z][a-z-]*", help_of[subcommand]))
        options = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert options <= known, f"{name}: surefoot {call}"


def test_nothing_committed_names_a_place_of_one_machine() -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split("\0")
    place = re.compile(rb"(?<![\w.~}])/(?:root|home|Users)/\w")
    wrong = [
        name
        for name in tracked
        if name and (ROOT / name).is_file() and place.search((ROOT / name).read_bytes())
    ]
    assert wrong == []
