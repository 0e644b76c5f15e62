"""A study's labels as files: NDJSON out and in, Parquet out. Little memory, whatever the study's size."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from datetime import datetime, timezone
from itertools import count
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, BinaryIO, Literal

from agents.preferences.labelling.exchange_rows import (
    HEADER_BYTES,
    LINE_BYTES,
    ExchangeError,
    LabelRow,
    header_json,
    of_line,
    read_header,
    read_row,
    row_json,
    to_line,
)
from agents.preferences.labelling.imports import ImportReport
from agents.preferences.labelling.store import LabelStore
from agents.preferences.labelling.types import Choice

if TYPE_CHECKING:
    import pyarrow

__all__ = [
    "ExchangeError",
    "ImportReport",
    "export_ndjson",
    "import_ndjson",
    "parquet_schema",
    "write_parquet",
]

IN_MEMORY = 1024 * 1024
"""bytes of a file that cannot be read twice, before it goes to the disk"""
METADATA = b"surefoot"
"""name of the header in a Parquet file's metadata"""


def export_ndjson(store: LabelStore, study_id: str, *, retracted: bool = False) -> Iterator[bytes]:
    """Lines: a header that describes the study, then a label each, in order of arrival.

    retracted: also what was taken back, and the rows that did it. Labels that come meanwhile are
    left out.
    """
    yield to_line(_header(store, study_id, retracted))
    for page in store.label_pages(study_id, include_retracted=retracted):
        yield b"".join(to_line(row_json(row)) for row in page)


def write_parquet(
    store: LabelStore, study_id: str, file: str | Path | BinaryIO, *, retracted: bool = False
) -> int:
    """Writes the same as a typed table, the header in its metadata; returns how many rows."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    header = json.dumps(_header(store, study_id, retracted)).encode()
    schema = parquet_schema().with_metadata({METADATA: header})
    target = str(file) if isinstance(file, Path) else file
    rows = 0
    with pq.ParquetWriter(target, schema, compression="zstd") as writer:
        for page in store.label_pages(study_id, include_retracted=retracted):
            writer.write_table(pa.Table.from_pylist([_parquet_row(row) for row in page], schema))
            rows += len(page)
    return rows


def parquet_schema() -> pyarrow.Schema:
    """Columns of an exported table."""
    import pyarrow as pa

    clip = pa.struct([("episode", pa.string()), ("start", pa.int64()), ("length", pa.int64())])
    time = pa.timestamp("us", tz="UTC")
    types = {
        **{"uuid": pa.string(), "key": pa.string(), "kind": pa.string(), "index": pa.int64()},
        **{"left": clip, "right": clip, "chosen_by": pa.string(), "score": pa.float64()},
        **{"reward_version": pa.int64(), "step": pa.int64()},
        **{"annotator": pa.string(), "annotator_name": pa.string(), "choice": pa.string()},
        **{"swapped": pa.bool_(), "shown_ms": pa.int64(), "loops": pa.float64(), "speed": pa.float64()},
        **{"server_time": time, "client_time": time, "retracts": pa.string(), "retracted": pa.bool_()},
    }
    optional = ("score", "client_time", "retracts")
    return pa.schema([pa.field(name, type, nullable=name in optional) for name, type in types.items()])


def import_ndjson(
    store: LabelStore,
    study_id: str,
    file: BinaryIO,
    *,
    unknown: Literal["refuse", "skip"] = "refuse",
) -> ImportReport:
    """Takes an exported file into a study that asked the same pairs; what is there already stays as it is.

    unknown: what to do with labels of pairs that the study never asked. Raises ExchangeError with the
    number of the line that cannot be taken; then nothing of the file was.
    """
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as copy:
        shutil.copyfileobj(file, copy)
        golds = _read_golds(copy)
        for _ in _rows(copy, study_id):
            pass  # a bad line is found before anybody has to wait for this import
        return store.import_labels(
            study_id, lambda: _rows(copy, study_id), golds, skip_unknown=unknown == "skip"
        )


def _header(store: LabelStore, study_id: str, retracted: bool) -> dict[str, Any]:
    now = datetime.now(timezone.utc)
    return header_json(store.study(study_id), store.golds(study_id), now, retracted=retracted)


def _parquet_row(row: LabelRow) -> dict[str, Any]:
    flat = row_json(row)
    clips = flat.pop("clips")
    sides = {side: dict(zip(("episode", "start", "length"), clips[side], strict=True)) for side in clips}
    return {**flat, **sides, "server_time": row.label.server_time, "client_time": row.label.client_time}


def _read_golds(file: IO[bytes]) -> Mapping[str, Choice]:
    for number, line in _lines(file):
        with of_line(number):
            return read_header(line).golds
    raise ExchangeError("Line 1: the file is empty. Nothing was imported.")


def _rows(file: IO[bytes], study_id: str) -> Iterator[tuple[int, LabelRow]]:
    """Line numbers and labels, from the file's beginning."""
    lines = _lines(file)
    next(lines, None)  # the header
    for number, line in lines:
        with of_line(number):
            row = read_row(line, study_id)
        yield number, row


def _lines(file: IO[bytes]) -> Iterator[tuple[int, bytes]]:
    """Lines that are not empty. One that is too long is cut, for the reader to refuse, and ends the file."""
    file.seek(0)
    for number in count(1):
        longest = HEADER_BYTES if number == 1 else LINE_BYTES
        line = file.readline(longest + 2)
        if not line:
            return
        if line.strip():
            yield number, line.rstrip(b"\r\n")
