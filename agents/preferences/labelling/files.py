"""Labels out of a session and into one, as files; for its owner."""

from __future__ import annotations

import io
import tempfile
from dataclasses import asdict
from itertools import chain
from typing import Any, BinaryIO, Literal, cast

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from agents.preferences.labelling.api import PROBLEMS
from agents.preferences.labelling.desk import Visiting
from agents.preferences.labelling.exchange import export_ndjson, import_ndjson, write_parquet
from agents.preferences.labelling.owner import note

NDJSON = "application/x-ndjson"
PARQUET = "application/vnd.apache.parquet"
IN_MEMORY = 1024 * 1024
"""bytes of an upload, before it goes to the disk"""

router = APIRouter(prefix="/api/owner", responses=PROBLEMS)


@router.get("/export.ndjson", response_class=StreamingResponse, responses={200: {"content": {NDJSON: {}}}})
def export_lines(visitor: Visiting, include: Literal["standing", "retracted"] = "standing") -> Response:
    """All labels, a line each after a first line that describes the study."""
    me, store = visitor.owner(), visitor.desk.store
    lines = export_ndjson(store, me.study, retracted=include == "retracted")
    first = next(lines)  # trouble with the database is an answer, not half a file
    return StreamingResponse(chain([first], lines), media_type=NDJSON, headers=_as_file(me.study, "ndjson"))


@router.get("/export.parquet", response_class=Response, responses={200: {"content": {PARQUET: {}}}})
def export_table(visitor: Visiting, include: Literal["standing", "retracted"] = "standing") -> Response:
    """The same as a table."""
    me = visitor.owner()
    content = io.BytesIO()
    write_parquet(visitor.desk.store, me.study, content, retracted=include == "retracted")
    return Response(content.getvalue(), media_type=PARQUET, headers=_as_file(me.study, "parquet"))


@router.post(
    "/import",
    openapi_extra={"requestBody": {"content": {NDJSON: {"schema": {"type": "string"}}}, "required": True}},
)
async def take_in(
    request: Request, visitor: Visiting, unknown: Literal["refuse", "skip"] = "refuse"
) -> dict[str, Any]:
    """Takes an exported file in, all of it or nothing; what is there already stays as it is."""
    me = await run_in_threadpool(visitor.owner)
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as file:
        async for chunk in request.stream():
            await run_in_threadpool(file.write, chunk)
        file.seek(0)
        report = await run_in_threadpool(
            import_ndjson, visitor.desk.store, me.study, cast(BinaryIO, file), unknown=unknown
        )
    text = f"{report.imported} labels were taken in, {report.known} were there already"
    text += f", {report.skipped} are about pairs that this study never asked." if report.skipped else "."
    await run_in_threadpool(note, visitor, me.study, text)
    return {"detail": text, **asdict(report)}


def _as_file(study: str, ending: str) -> dict[str, str]:
    """Headers that make a browser save the answer."""
    name = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in study)[:64]
    return {"Content-Disposition": f'attachment; filename="labels-{name}.{ending}"'}
