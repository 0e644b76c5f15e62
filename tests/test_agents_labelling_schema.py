"""Requests made up from the API's own description: none of them brings the server down."""

import json
import runpy
from pathlib import Path

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode

from agents.preferences.labelling.app import create_app
from agents.preferences.labelling.limits import Limits
from agents.preferences.labelling.storage import open_storage
from agents.preferences.labelling.store import open_store
from agents.preferences.labelling.types import Study

HERE = Path(__file__).parent
postgres = runpy.run_path(str(HERE / "postgres.py"))
clips = runpy.run_path(str(HERE / "label_server.py"))
OPEN = ("/api/health", "/api/session")
EXAMPLES = 12
"""of each route; all of them together take some seconds"""
GENEROUS = Limits(requests_per_second=1e6, request_burst=10**6, failures_per_second=1e6, failure_burst=10**6)


@schemathesis.serializer("application/x-ndjson")
def lines(_, value) -> bytes:
    """Text as it is; anything else as a line of JSON."""
    return value.encode("utf-8", "replace") if isinstance(value, str) else json.dumps(value).encode()


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def described(request, tmp_path_factory):
    """The API's description, and the token of its owner."""
    folder = tmp_path_factory.mktemp("schema")
    if request.param == "sqlite":
        yield from _described(f"sqlite:///{folder / 'labels.db'}", folder)
        return
    if not postgres["BINARIES"]:
        pytest.skip(postgres["MISSING"])
    with postgres["cluster"](fsync="off") as cluster:
        yield from _described(cluster.new_database(), folder)


def _described(database: str, folder: Path):
    store, storage = open_store(database), open_storage(str(folder / "media"))
    store.create_study(Study("study", "Study", clips["ENV"], "Judge.", 10, 20))
    store.add_queries("study", [clips["new_query"](storage, index) for index in range(3)])
    clips["draw_all"](store, storage, 32)
    _, token = store.add_annotator("study", "owner", "owner")
    app = create_app(store, storage, origins=["http://testserver"], limits=GENEROUS)
    yield schemathesis.openapi.from_asgi("/api/openapi.json", app), token
    store.close()


def operations(schema) -> list:
    return [found.ok() for found in schema.get_all_operations()]


def test_the_description_names_every_route(described):
    schema, _ = described
    named = {(route.method.upper(), route.path) for route in operations(schema)}
    assert ("POST", "/api/labels") in named
    assert ("POST", "/api/owner/import") in named
    assert ("GET", "/media/{sha}") in named
    assert len(named) >= 18


@pytest.mark.slow
@pytest.mark.parametrize("signed_in", [True, False])
def test_no_request_brings_the_server_down(described, signed_in):
    schema, token = described
    asked = 0
    for operation in operations(schema):
        if not (signed_in and (operation.method, operation.path) == ("delete", "/api/session")):
            asked += ask_much(operation, token if signed_in else "")
    assert asked > 100


def ask_much(operation, token: str) -> int:
    """Sends requests that fit the description of a route, and some that do not; returns how many."""
    asked = 0

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy() | operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))
    def send(case):
        nonlocal asked
        asked += 1
        response = case.call(cookies={"surefoot": token} if token else {})
        assert response.status_code < 500, f"{operation.label}: {response.status_code} {response.text}"
        if response.status_code >= 400:
            assert "Traceback" not in response.text
            assert isinstance(response.json()["detail"], str), f"{operation.label}: {response.text}"
        if not token and operation.path not in OPEN:
            assert response.status_code in (400, 401, 405, 422), f"{operation.label}: {response.status_code}"

    send()
    return asked
