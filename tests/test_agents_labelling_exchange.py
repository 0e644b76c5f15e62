"""Labels as files: what goes out comes in again on either database, and nothing comes in by halves."""

from __future__ import annotations

import io
import json
import random
import runpy
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("sqlalchemy", reason="needs the extra 'label'")

import pyarrow.parquet as pq
from hypothesis import given, settings
from hypothesis import strategies as st

from agents.preferences.labelling.exchange import (
    ExchangeError,
    export_ndjson,
    import_ndjson,
    parquet_schema,
    write_parquet,
)
from agents.preferences.labelling.exchange_rows import (
    LINE_BYTES,
    LabelRow,
    read_header,
    read_row,
    row_json,
    to_line,
)
from agents.preferences.labelling.store import LabelStore, open_store
from agents.preferences.labelling.types import CHOICES, ForbiddenError, Label

HERE = Path(__file__)
STUDY = runpy.run_path(str(HERE.with_name("label_study.py")))
POSTGRES = runpy.run_path(str(HERE.with_name("postgres.py")))
make_study, person, say, undo = (STUDY[name] for name in ("make_study", "person", "say", "undo"))
row = runpy.run_path(str(HERE.with_name("label_rows.py")))["row"]
Open = Callable[[], LabelStore]


@pytest.fixture(scope="module")
def postgres() -> Iterator[Any]:
    if not POSTGRES["BINARIES"]:
        pytest.skip(POSTGRES["MISSING"])
    with POSTGRES["cluster"](fsync="off") as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Open]:
    """Makes stores over new databases."""
    stores: list[LabelStore] = []

    def make() -> LabelStore:
        if request.param == "sqlite":
            url = f"sqlite:///{tmp_path / f'{len(stores)}.db'}"
        else:
            url = request.getfixturevalue("postgres").new_database()
        stores.append(open_store(url, rng=random.Random(1)))
        return stores[-1]

    yield make
    for store in stores:
        store.close()


def filled(store: LabelStore) -> LabelStore:
    """A study in which everything happened: all choices, undos, a flag, shared pairs, repeats, golds."""
    make_study(store, 30, overlap_share=0.3, repeat_share=0.2, gold_share=0.3)
    probe = person(store, "probe")
    for number, offer in enumerate(store.offer(probe, 30)):
        store.release(probe, offer.query)
        if number > 20:
            store.make_gold("study", offer.query, "right")
    chance = random.Random(5)
    for name in ("ann", "Bob Ödegård \N{SNOWMAN}\n2"):
        who = person(store, name)
        for number in range(30):
            for offer in store.offer(who, 1):
                choice = chance.choice(CHOICES[:4]) if number % 5 else CHOICES[number // 5]
                given = say(store, who, offer.query, choice)
                if number % 7 == 3:
                    undo(store, who, given)
    return store


def exported(store: LabelStore, *, retracted: bool = True) -> bytes:
    return b"".join(export_ndjson(store, "study", retracted=retracted))


def standing(store: LabelStore) -> list[Label]:
    """All rows, without the ids that a database gives its queries."""
    rows = store.labels("study", kinds=("train", "repeat", "gold"), include_retracted=True)
    return [replace(label, query="") for label in rows]


def lines(content: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in content.splitlines()]


def file_of(*objects: dict[str, Any]) -> io.BytesIO:
    return io.BytesIO(b"".join(json.dumps(each).encode() + b"\n" for each in objects))


def test_an_export_describes_itself_and_each_label(fresh: Open) -> None:
    store = fresh()
    make_study(store, 3)
    who = person(store, "Ann")
    offer = store.offer(who, 1)[0]
    given = say(store, who, offer.query, "left")
    header, label = lines(exported(store))
    assert (header["format"], header["version"], header["retracted"]) == ("surefoot-labels", 1, True)
    assert header["study"]["id"] == "study"
    assert header["study"]["env"] == "pixel:MovingDot"
    assert label == {
        "uuid": given.uuid,
        "key": "key0",
        "kind": "train",
        "index": 0,
        "clips": {"left": ["episode0", 0, 25], "right": ["episode0", 25, 25]},
        "chosen_by": "variance",
        "score": 0.25,
        "reward_version": 1,
        "step": 1000,
        "annotator": who,
        "annotator_name": "Ann",
        "choice": "right" if offer.swapped else "left",
        "swapped": offer.swapped,
        "shown_ms": 900,
        "loops": 1.25,
        "speed": 1.0,
        "server_time": given.server_time.isoformat(),
        "client_time": None,
        "retracts": None,
        "retracted": False,
    }


def test_what_was_taken_back_is_exported_only_on_demand(fresh: Open) -> None:
    store = fresh()
    make_study(store, 3)
    who = person(store)
    given = say(store, who, store.offer(who, 1)[0].query)
    undo(store, who, given)
    assert len(lines(exported(store, retracted=False))) == 1
    _, first, second = lines(exported(store))
    assert (first["uuid"], first["retracted"], first["retracts"]) == (given.uuid, True, None)
    assert (second["retracts"], second["retracted"]) == (given.uuid, False)


def test_a_study_survives_the_way_through_a_file(fresh: Open) -> None:
    """Into a database that knows the pairs alone: the same labels, queries open and golds."""
    source, target = filled(fresh()), fresh()
    make_study(target, 30, overlap_share=0.3, repeat_share=0.2, gold_share=0.3)
    content = exported(source)
    report = import_ndjson(target, "study", io.BytesIO(content))
    assert (report.imported, report.known, report.skipped) == (len(standing(source)), 0, 0)
    assert {"left", "right", "tie", "cannot_tell", "skip", "broken"} == {r.choice for r in standing(source)}
    assert {"train", "repeat", "gold"} == {label.kind for label in standing(source)}
    assert standing(target) == standing(source)
    assert target.query_keys("study", open_only=True) == source.query_keys("study", open_only=True)
    asked = {label.key for label in standing(source) if label.kind == "gold"}
    assert target.golds("study") == dict.fromkeys(asked, "right")
    counts = source.counts("study"), target.counts("study")
    assert counts[0].labels == counts[1].labels
    assert counts[0].flagged == counts[1].flagged
    assert lines(exported(target))[1:] == lines(content)[1:]


def test_importing_twice_changes_nothing(fresh: Open) -> None:
    store = filled(fresh())
    content, before = exported(store), standing(store)
    report = import_ndjson(store, "study", io.BytesIO(content))
    assert (report.imported, report.known, report.people) == (0, len(before), [])
    assert standing(store) == before


def test_the_rest_of_a_file_comes_in_where_a_part_is_there(fresh: Open) -> None:
    source, target = filled(fresh()), fresh()
    make_study(target, 30, overlap_share=0.3, repeat_share=0.2, gold_share=0.3)
    header, *labels = lines(exported(source))
    half = [each for each in labels[: len(labels) // 2] if not each["retracted"] and not each["retracts"]]
    import_ndjson(target, "study", file_of(header, *half))
    report = import_ndjson(target, "study", file_of(header, *labels))
    assert (report.known, report.imported) == (len(half), len(labels) - len(half))
    by_uuid = {label.uuid: label for label in standing(source)}
    assert {label.uuid: label for label in standing(target)} == by_uuid


def test_imported_people_cannot_log_in_and_are_not_asked_again(fresh: Open) -> None:
    source, target = fresh(), fresh()
    make_study(source, 1)
    make_study(target, 1)
    who = person(source, "Ann")
    say(source, who, source.offer(who, 1)[0].query)
    report = import_ndjson(target, "study", io.BytesIO(exported(source)))
    assert report.people == [who]
    (imported,) = target.annotators("study")
    assert (imported.id, imported.name, imported.role) == (who, "Ann", "annotator")
    assert imported.revoked is not None
    with pytest.raises(ForbiddenError):
        target.offer(who, 1)
    assert target.counts("study").open == 0
    assert target.offer(person(target, "bob"), 1) == []


def test_an_answer_that_came_by_a_file_can_be_taken_back_by_a_later_one(fresh: Open) -> None:
    source, target = fresh(), fresh()
    make_study(source, 1)
    make_study(target, 1)
    who = person(source)
    given = say(source, who, source.offer(who, 1)[0].query)
    import_ndjson(target, "study", io.BytesIO(exported(source)))
    assert target.counts("study").labels == 1
    undo(source, who, given)
    report = import_ndjson(target, "study", io.BytesIO(exported(source)))
    assert (report.known, report.imported) == (1, 1)
    assert target.labels("study") == []
    assert (target.counts("study").labels, target.counts("study").open) == (0, 1)


def test_labels_of_pairs_never_asked_are_refused_or_left_out(fresh: Open) -> None:
    source, target = filled(fresh()), fresh()
    make_study(target, 5, overlap_share=0.3)
    content = exported(source)
    number = next(n for n, each in enumerate(lines(content), 1) if n > 1 and int(each["key"][3:]) >= 5)
    with pytest.raises(ExchangeError, match=rf"^Line {number}: the study never asked the (pair|gold) key"):
        import_ndjson(target, "study", io.BytesIO(content))
    assert standing(target) == []
    assert target.annotators("study") == []
    report = import_ndjson(target, "study", io.BytesIO(content), unknown="skip")
    wanted = [label for label in standing(source) if int(label.key[3:]) < 5]
    assert standing(target) == wanted
    assert report.skipped == len(standing(source)) - len(wanted)
    assert 0 < len(report.unknown) <= 5


@pytest.fixture
def two(fresh: Open) -> tuple[LabelStore, list[dict[str, Any]]]:
    """A store with two open pairs, and a file of two labels for them."""
    source = fresh()
    make_study(source, 2)
    who = person(source)
    for offer in source.offer(who, 2):
        say(source, who, offer.query)
    target = fresh()
    make_study(target, 2)
    return target, lines(exported(source))


HOSTILE: dict[str, tuple[dict[str, Any], str]] = {
    "a choice of another kind": ({"choice": "both"}, "choice must be one of left"),
    "a list as choice": ({"choice": ["left"]}, "choice must be one of left"),
    "text as truth": ({"swapped": "no"}, "swapped must be true or false"),
    "a number as truth": ({"retracted": 0}, "retracted must be true or false"),
    "a fraction of a millisecond": ({"shown_ms": 1.5}, "shown_ms must be a whole number"),
    "truth as number": ({"shown_ms": True}, "shown_ms must be a whole number"),
    "a negative time": ({"shown_ms": -1}, "shown_ms must be a whole number"),
    "a number that no column holds": ({"step": 10**30}, "step must be a whole number"),
    "text as number": ({"loops": "1"}, "loops must be a number"),
    "nothing as number": ({"speed": None}, "speed must be a number"),
    "a time without zone": (
        {"server_time": "2026-11-21T12:00:00"},
        "server_time must be a time with its zone",
    ),
    "no time": ({"server_time": 1763726400}, "server_time must be a time"),
    "a time out of range": ({"client_time": "9999-12-31T23:59:59-12:00"}, "client_time must be a time"),
    "a time to come": ({"server_time": "2999-01-01T00:00:00+00:00"}, "lies in the future"),
    "a path as key": ({"key": "../../etc"}, "key must be 1 to 64 letters"),
    "an empty uuid": ({"uuid": ""}, "uuid must be 1 to 64 letters"),
    "SQL as annotator": ({"annotator": "x'; DROP TABLE label; --"}, "annotator must be 1 to 64 letters"),
    "a name with a zero byte": ({"annotator_name": "a\0b"}, "annotator_name must be text"),
    "half a character": ({"annotator_name": "\ud800"}, "annotator_name must be text"),
    "a page of name": ({"annotator_name": "x" * 300}, "annotator_name must be text of up to 200"),
    "clips by name": ({"clips": "both"}, "clips must be an object of left and right"),
    "a clip too short": ({"clips": {"left": ["e", 0], "right": ["e", 0, 1]}}, "clips.left must be"),
    "a clip from before": ({"clips": {"left": ["e", -1, 5], "right": ["e", 0, 1]}}, "clips.left start must"),
    "an unknown field": ({"chioce": "left"}, "'chioce' is no field of version 1"),
    "a pair never asked": ({"key": "key77"}, "the study never asked the pair key77"),
    "a gold unknown here": ({"kind": "gold"}, "the study never asked the gold key"),
    "an undo of nothing": ({"retracts": "0000", "retracted": False}, "takes 0000 back, which neither"),
    "an undone undo": ({"retracts": "0000", "retracted": True}, "cannot be taken back itself"),
    "an undo that never comes": ({"retracted": True}, "is said to be taken back, but no line does it"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_bad_line_is_named_and_nothing_is_imported(
    two: tuple[LabelStore, list[dict[str, Any]]], case: str
) -> None:
    store, (header, first, second) = two
    changes, message = HOSTILE[case]
    with pytest.raises(ExchangeError) as error:
        import_ndjson(store, "study", file_of(header, first, {**second, **changes}))
    assert str(error.value).startswith("Line 3: ")
    assert message in str(error.value)
    assert str(error.value).endswith("Nothing was imported.")
    assert len(str(error.value)) < 300
    assert standing(store) == []
    assert store.annotators("study") == []
    assert import_ndjson(store, "study", file_of(header, first, second)).imported == 2


RAW: dict[str, tuple[bytes, str]] = {
    "no JSON": (b"left", "not JSON"),
    "half a line": (b'{"uuid":"', "not JSON"),
    "no object": (b"[1]", "must be a JSON object"),
    "no UTF-8": (b'{"uuid":"\xff"}', "not UTF-8"),
    "NaN": (b'{"loops":NaN}', "NaN is no number"),
    "infinity": (b'{"loops":-Infinity}', "-Infinity is no number"),
    "the same name twice": (b'{"uuid":"a","uuid":"b"}', "'uuid' is there twice"),
    "a huge line": (b'{"uuid":"' + b"x" * LINE_BYTES + b'"}', "longer than"),
    "a deep line": (b"[" * 60_000 + b"]" * 4000, "nested too deeply"),
    "a number of many digits": (b'{"step":' + b"9" * 10_000 + b"}", "Line 3"),
    "nothing in it": (b"{}", "missing"),
}


@pytest.mark.parametrize("case", RAW)
def test_a_malformed_line_is_named(two: tuple[LabelStore, list[dict[str, Any]]], case: str) -> None:
    store, (header, first, _) = two
    line, message = RAW[case]
    content = file_of(header, first).getvalue() + line + b"\n"
    with pytest.raises(ExchangeError, match=r"^Line 3: ") as error:
        import_ndjson(store, "study", io.BytesIO(content))
    assert message in str(error.value)
    assert standing(store) == []


def test_infinity_in_disguise_is_refused(two: tuple[LabelStore, list[dict[str, Any]]]) -> None:
    store, (header, first, second) = two
    content = file_of(header, first).getvalue() + json.dumps(second).replace("1.25", "1e999").encode()
    with pytest.raises(ExchangeError, match="Line 3: loops must be a finite number"):
        import_ndjson(store, "study", io.BytesIO(content))


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (b"", "Line 1: the file is empty"),
        (b'{"uuid":"a"}\n', "not a file of labels"),
        (b'{"format":"surefoot-labels","version":2}\n', "version 2 of the format is unknown"),
        (b'{"format":"surefoot-labels","version":true}\n', "version True"),
        (b'{"format":"surefoot-labels","version":1}\n', "missing"),
        (b"\x1f\x8b\x08\n", "Line 1: the line is not UTF-8"),
    ],
)
def test_a_file_of_something_else_is_refused(fresh: Open, header: bytes, message: str) -> None:
    store = fresh()
    make_study(store, 1)
    with pytest.raises(ExchangeError, match=message):
        import_ndjson(store, "study", io.BytesIO(header))


def test_a_uuid_with_other_content_is_refused(two: tuple[LabelStore, list[dict[str, Any]]]) -> None:
    """Within a file and against what is stored; said again it is fine."""
    store, (header, first, second) = two
    other = {**first, "choice": "tie"}
    with pytest.raises(ExchangeError, match=r"Line 3: label .* is there already, with other content"):
        import_ndjson(store, "study", file_of(header, first, other, second))
    assert standing(store) == []
    report = import_ndjson(store, "study", file_of(header, first, first))
    assert (report.imported, report.known) == (1, 1)
    with pytest.raises(ExchangeError, match=r"Line 2: label .* is there already"):
        import_ndjson(store, "study", file_of(header, other))


def test_two_standing_answers_of_one_person_to_a_pair_are_refused(
    two: tuple[LabelStore, list[dict[str, Any]]],
) -> None:
    store, (header, first, second) = two
    again = {**second, "key": first["key"]}
    with pytest.raises(ExchangeError, match=r"Line 3: .* has answered key0 already"):
        import_ndjson(store, "study", file_of(header, first, again))
    assert standing(store) == []


def test_nobody_takes_back_what_another_said(two: tuple[LabelStore, list[dict[str, Any]]]) -> None:
    store, (header, first, second) = two
    stolen = {**second, "retracts": first["uuid"], "annotator": "somebody-else", "key": first["key"]}
    with pytest.raises(ExchangeError, match=r"Line 3: .* another person's or pair's"):
        import_ndjson(store, "study", file_of(header, {**first, "retracted": True}, stolen))
    once = {**second, "retracts": first["uuid"], "key": first["key"]}
    with pytest.raises(ExchangeError, match=r"Line 4: .* was taken back already"):
        import_ndjson(store, "study", file_of(header, first, once, {**once, "uuid": "another"}))
    with pytest.raises(ExchangeError, match=r"Line 2: .* which neither the file nor the study has before"):
        import_ndjson(store, "study", file_of(header, once, first))
    assert standing(store) == []


def test_a_file_cannot_reach_into_another_study_of_the_database(
    two: tuple[LabelStore, list[dict[str, Any]]],
) -> None:
    store, (header, first, second) = two
    make_study(store, 2, "other")
    stranger = person(store, "eve", "other")
    with pytest.raises(ExchangeError, match=r"Line 3: annotator .* belongs to another study"):
        import_ndjson(store, "study", file_of(header, first, {**second, "annotator": stranger}))
    theirs = say(store, stranger, store.offer(stranger, 1)[0].query)
    with pytest.raises(ExchangeError, match=r"Line 2: label .* is one of another study"):
        import_ndjson(store, "study", file_of(header, {**first, "uuid": theirs.uuid}))
    steal = {**first, "retracts": theirs.uuid}
    with pytest.raises(ExchangeError, match=r"Line 2: it takes .* back, which is another person's"):
        import_ndjson(store, "study", file_of(header, steal))
    assert standing(store) == []
    assert [label.uuid for label in store.labels("other")] == [theirs.uuid]


def test_an_import_meets_an_answer_that_somebody_is_giving(
    two: tuple[LabelStore, list[dict[str, Any]]],
) -> None:
    """What is on a screen may still be answered, though a file closed the pair meanwhile."""
    store, (header, first, second) = two
    bob = person(store, "bob")
    held = store.offer(bob, 2)
    import_ndjson(store, "study", file_of(header, first, second))
    say(store, bob, held[0].query, "tie")
    assert store.counts("study").labels == 3
    assert store.counts("study").open == 0


def test_a_parquet_file_has_types_and_the_header(fresh: Open, tmp_path: Path) -> None:
    store = filled(fresh())
    path = tmp_path / "labels.parquet"
    assert write_parquet(store, "study", path, retracted=True) == len(standing(store))
    table = pq.read_table(path)
    assert table.schema.equals(parquet_schema())
    header = json.loads(table.schema.metadata[b"surefoot"])
    assert header["study"]["id"] == "study"
    for found, wanted in zip(table.to_pylist(), lines(exported(store))[1:], strict=True):
        clips = {side: list(found.pop(side).values()) for side in ("left", "right")}
        times = {
            name: found[name] and found[name].isoformat().replace("Z", "+00:00")
            for name in ("server_time", "client_time")
        }
        assert {**found, "clips": clips, **times} == wanted


def test_a_parquet_file_of_no_labels_still_has_its_columns(fresh: Open) -> None:
    store = fresh()
    make_study(store, 1)
    file = io.BytesIO()
    assert write_parquet(store, "study", file) == 0
    assert pq.read_table(io.BytesIO(file.getvalue())).schema.equals(parquet_schema())


def test_a_score_that_is_no_number_does_not_break_an_export() -> None:
    """JSON has no NaN."""
    unknown = LabelRow(row(1, "ann", "k", "left"), "Ann", 0, CLIPS, "random", float("nan"), 0, 0)
    assert read_row(to_line(row_json(unknown)), "study").score == 0.0


CLIPS = {"left": ["e", 0, 25], "right": ["f", 3, 25]}
identifiers = st.from_regex(r"[A-Za-z0-9_.:-]{1,64}", fullmatch=True)
naturals = st.integers(0, 2**53)
finite = st.floats(allow_nan=False, allow_infinity=False)
texts = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=200)
times = st.datetimes(datetime(1970, 1, 1), datetime(2200, 1, 1)).map(
    lambda moment: moment.replace(tzinfo=timezone.utc)
)
labels = st.builds(
    Label,
    uuid=identifiers,
    study=st.just("study"),
    query=st.just(""),
    key=identifiers,
    kind=st.sampled_from(["train", "repeat", "gold"]),
    annotator=identifiers,
    choice=st.sampled_from(CHOICES),
    swapped=st.booleans(),
    shown_ms=naturals,
    loops=finite,
    speed=finite,
    server_time=times,
    client_time=st.none() | times,
    retracts=st.none(),
    retracted=st.booleans(),
) | st.builds(
    lambda label, retracts: replace(label, retracts=retracts),
    st.just(replace(row(1, "ann", "k", "left"), query="")),
    identifiers,
)
clips = st.tuples(texts, naturals, naturals).map(list)
rows = st.builds(
    LabelRow,
    label=labels,
    name=texts,
    index=naturals,
    clips=st.fixed_dictionaries({"left": clips, "right": clips}),
    chosen_by=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=64),
    score=finite,
    reward_version=naturals,
    step=naturals,
)


@given(rows)
def test_every_label_reads_back_as_it_was_written(written: LabelRow) -> None:
    line = to_line(row_json(written))
    assert b"\n" not in line[:-1]
    assert read_row(line, "study") == written


@given(st.binary(max_size=300))
def test_no_bytes_bring_the_reader_down(line: bytes) -> None:
    for read in (read_header, lambda content: read_row(content, "study")):
        with pytest.raises(ValueError, match=r"."):
            read(line)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)


@given(st.data())
@settings(max_examples=300)
def test_any_value_in_any_place_is_read_or_refused_in_words(data: st.DataObject) -> None:
    content = row_json(LabelRow(row(1, "ann", "k", "left"), "Ann", 0, CLIPS, "random", 0.5, 0, 0))
    content[data.draw(st.sampled_from(sorted(content)))] = data.draw(json_values)
    line = json.dumps(content).encode()
    try:
        found = read_row(line, "study")
    except ValueError as error:
        message = str(error)
    else:
        message = "read"
        assert read_row(to_line(row_json(found)), "study") == found
    assert 0 < len(message) < 250


@pytest.mark.slow
def test_a_large_study_needs_little_memory(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'large.db'}")
    make_study(store, 0)
    new_query = STUDY["new_query"]
    count = 20_000  # 9 MB of file
    for start in range(0, count, 5000):
        store.add_queries("study", [new_query(index) for index in range(start, start + 5000)])
    header = next(iter(export_ndjson(store, "study")))
    path = tmp_path / "labels.ndjson"
    with path.open("wb") as file:
        file.write(header)
        for index in range(count):
            label = row(index, f"person{index % 10}", f"key{index}", "left")
            label = replace(label, server_time=label.server_time - timedelta(days=30))
            file.write(to_line(row_json(LabelRow(label, "Ann", index, CLIPS, "random", 0.5, 0, 0))))
    tracemalloc.start()
    with path.open("rb") as file:
        assert import_ndjson(store, "study", file).imported == count
    assert sum(1 for part in export_ndjson(store, "study") for _ in part.splitlines()) == count + 1
    assert write_parquet(store, "study", tmp_path / "labels.parquet") == count
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    store.close()
    assert peak < 15e6
