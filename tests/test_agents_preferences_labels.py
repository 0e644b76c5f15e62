"""The label log: durable, readable after any end."""

import json
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agents.preferences.comparison import Comparison, Query, Retraction
from agents.preferences.labels import LabelLog, LabelLogError
from envs.episode import Clip

ROOT = Path(__file__).resolve().parents[1]

WRITER = """
import sys
from agents.preferences.comparison import Comparison, Query, Retraction
from agents.preferences.labels import LabelLog
from envs.episode import Clip
log = LabelLog(sys.argv[1])
for i in range(10**6):
    log.append(Comparison(Query(i, Clip("a" * 64, i, 60), Clip("b" * 64, i, 60)), "left"))
    print(i, flush=True)
"""

FULL_DISK = """
import resource, signal, sys
from agents.preferences.comparison import Comparison, Query, Retraction
from agents.preferences.labels import LabelLog
from envs.episode import Clip
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
log = LabelLog(sys.argv[1])
answer = lambda i: Comparison(Query(i, Clip("a", i, 60), Clip("b", i, 60)), "tie")
kept = 0
try:
    while True:
        log.append(answer(kept))
        kept += 1
except OSError:
    pass
assert len(log) == kept
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
log.append(answer(kept))
print(kept + 1)
"""


def answered(index: int, **changes: object) -> Comparison:
    query = Query(index, Clip("left", index, 60), Clip("right", 0, 60), "variance", 0.25, 3, 1000)
    return Comparison(query, **{"answer": "right", "labeller": "anna", "seconds": 1.5, **changes})


def run(script: str, path: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", script, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )


def test_what_was_appended_is_read_back(tmp_path: Path) -> None:
    log = LabelLog(tmp_path / "labels.jsonl")
    comparisons = [answered(0), answered(1, answer="tie"), answered(2, answer="skip")]
    for comparison in comparisons:
        log.append(comparison)
    log.close()
    again = LabelLog(tmp_path / "labels.jsonl")
    assert list(again) == comparisons
    assert again.get(answered(1).query.id) == comparisons[1]
    assert answered(2).query.id in again
    assert again.get("unknown") is None
    again.append(answered(3))
    assert len(LabelLog(tmp_path / "labels.jsonl")) == 4


def test_the_last_answer_to_a_query_counts(tmp_path: Path) -> None:
    log = LabelLog(tmp_path / "labels.jsonl")
    log.append(answered(0))
    log.append(answered(0, answer="left"))
    assert log.get(answered(0).query.id) == answered(0, answer="left")
    assert len(log) == 1


@pytest.mark.parametrize("torn", [b'{"query":"ab', b"\x00\x00\x00", b'{"query": 1}'])
def test_a_torn_tail_is_dropped_with_a_warning(
    tmp_path: Path, torn: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "labels.jsonl"
    log = LabelLog(path)
    log.append(answered(0))
    log.close()
    sound = path.read_bytes()
    path.write_bytes(sound + torn)
    with caplog.at_level(logging.WARNING):
        log = LabelLog(path)
    assert "unfinished last line" in caplog.text
    assert "1 answers are kept" in caplog.text
    log.append(answered(1))
    assert [comparison.query.index for comparison in LabelLog(path)] == [0, 1]
    assert path.read_bytes().startswith(sound)


def test_a_bad_line_in_the_middle_is_named(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    log = LabelLog(path)
    for i in range(3):
        log.append(answered(i))
    log.close()
    lines = path.read_bytes().splitlines(keepends=True)
    for bad in (b"not json\n", b'{"answer": "left"}\n', lines[1].replace(b'"right"', b'"both"', 1)):
        path.write_bytes(lines[0] + bad + lines[2])
        with pytest.raises(LabelLogError, match=r"labels\.jsonl, line 2: "):
            LabelLog(path)
    changed = json.loads(lines[1])
    changed["left"][1] += 1
    path.write_bytes(lines[0] + json.dumps(changed).encode() + b"\n" + lines[2])
    with pytest.raises(LabelLogError, match=r"line 2: .* belong to query"):
        LabelLog(path)


def test_every_answer_before_a_kill_is_there(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    writer = run(WRITER, path)
    assert writer.stdout is not None
    for _ in range(50):
        confirmed = int(writer.stdout.readline())
    time.sleep(0.01)
    os.kill(writer.pid, signal.SIGKILL)
    rest = writer.stdout.read().split()
    writer.wait()
    writer.stdout.close()
    confirmed = int(rest[-1]) if rest else confirmed
    log = LabelLog(path)
    assert len(log) >= confirmed + 1
    assert [comparison.query.index for comparison in log] == list(range(len(log)))


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    writer = run(FULL_DISK, path)
    output, _ = writer.communicate(timeout=60)
    assert writer.returncode == 0
    log = LabelLog(path)
    assert len(log) == int(output) > 3
    assert [comparison.query.index for comparison in log] == list(range(len(log)))


def test_an_answer_can_be_taken_back(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    log = LabelLog(path)
    anna, ben = answered(0, label="a"), answered(0, label="b", labeller="ben", answer="left")
    for comparison in (anna, ben, answered(1)):
        log.append(comparison)
    assert log.retract(Retraction("b")) == ben
    for standing in (log, LabelLog(path)):
        assert list(standing) == [anna, answered(1)]
        assert standing.get(anna.query.id) == anna
        assert standing.was_given("b")
        assert not standing.was_given("c")
    with pytest.raises(KeyError):
        log.retract(Retraction("b"))
    log.retract(Retraction("a"))
    assert anna.query.id not in LabelLog(path)


def test_a_retraction_of_nothing_is_a_bad_line(tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text('{"retracts":"nobody"}\n')
    with pytest.raises(LabelLogError, match=r"line 1: not an answer"):
        LabelLog(path)
