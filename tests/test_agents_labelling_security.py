"""What a labelling server refuses before any route sees it, and what its answers always carry."""

import asyncio
import json

import httpx
import pytest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Scope

pytest.importorskip("fastapi", reason="needs the extra 'label'")

from agents.preferences.labelling.limits import Buckets, Limits
from agents.preferences.labelling.security import Guard, normal_origin

LIMITS = Limits(body_bytes=1000, import_bytes=5000, body_seconds=0.3)


async def size(request: Request) -> Response:
    return JSONResponse({"size": len(await request.body())})


async def crash(request: Request) -> Response:
    raise RuntimeError("the secret of line 42")


async def half(request: Request) -> Response:
    async def parts():
        yield b"one"
        raise RuntimeError("the secret of line 43")

    return StreamingResponse(parts(), media_type="text/plain")


def explain(scope: Scope, status: int, text: str) -> Response:
    return JSONResponse({"detail": text}, status)


def guarded(origins=(), secure=False, limits=LIMITS) -> Starlette:
    methods = ["GET", "POST", "PUT", "PATCH", "DELETE"]
    routes = [
        Route("/size", size, methods=methods),
        Route("/api/owner/import", size, methods=methods),
        Route("/crash", crash),
        Route("/half", half),
    ]
    guard = Middleware(Guard, origins=origins, secure=secure, limits=limits, explain=explain)
    return Starlette(routes=routes, middleware=[guard])


def ask(app, method: str, path: str, host: str = "127.0.0.1:8737", **options) -> httpx.Response:
    async def send() -> httpx.Response:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url=f"http://{host}") as client:
            return await client.request(method, path, **options)

    return asyncio.run(send())


@pytest.mark.parametrize("host", ["127.0.0.1:8737", "localhost:8737", "192.168.7.9", "[::1]:8737"])
def test_answers_to_its_own_addresses(host):
    assert ask(guarded(), "GET", "/size", host).status_code == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8737", "127.0.0.1.evil.example", "localhost.evil.example", "a b"]
)
def test_refuses_a_name_that_its_owner_may_point_here(host):
    # DNS rebinding: the name belongs to an attacker, its address is ours.
    answer = ask(guarded(), "GET", "/size", headers={"Host": host})
    assert answer.status_code == 400
    assert "--origin" in answer.json()["detail"]


@pytest.mark.parametrize(
    "host", ["", "127.0.0.1:99999", "127.0.0.1:x", "[::1", "user@127.0.0.1", "127.0.0.1/x"]
)
def test_refuses_a_malformed_host(host):
    assert ask(guarded(), "GET", "/size", headers={"Host": host}).status_code == 400


def test_a_name_is_allowed_by_an_origin():
    app = guarded(origins=["https://label.example.org"])
    origin = {"Origin": "https://label.example.org"}
    assert ask(app, "POST", "/size", "label.example.org", headers=origin).status_code == 200
    assert ask(app, "GET", "/size", "other.example.org").status_code == 400


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": ""},
        {"Origin": "http://127.0.0.1:9999"},  # another port is another site's server
        {"Origin": "https://127.0.0.1:8737"},
        {"Origin": "http://127.0.0.1:8737.evil.example"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "http://127.0.0.1:8737"},
    ],
)
def test_refuses_what_a_foreign_page_sends(method, headers):
    answer = ask(guarded(), method, "/size", headers=headers)
    assert answer.status_code == 403
    assert "another site" in answer.json()["detail"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://127.0.0.1:8737"},
        {"Origin": "http://127.0.0.1:8737", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {},  # a program: it has no cookie but the one it was given
    ],
)
def test_takes_what_its_own_page_or_a_program_sends(headers):
    assert ask(guarded(), "POST", "/size", headers=headers, content=b"x").json() == {"size": 1}


def test_reading_needs_no_origin():
    # A foreign page cannot see the answer, and its requests carry no SameSite=Strict cookie.
    assert ask(guarded(), "GET", "/size", headers={"Origin": "https://evil.example"}).status_code == 200


def test_https_is_part_of_the_origin():
    app = guarded(secure=True)
    assert ask(app, "POST", "/size", headers={"Origin": "https://127.0.0.1:8737"}).status_code == 200
    assert ask(app, "POST", "/size", headers={"Origin": "http://127.0.0.1:8737"}).status_code == 403
    assert "max-age" in ask(app, "GET", "/size").headers["strict-transport-security"]


def test_refuses_a_body_by_its_declared_length():
    assert ask(guarded(), "POST", "/size", content=b"x" * 1000).json() == {"size": 1000}
    answer = ask(guarded(), "POST", "/size", content=b"x" * 1001)
    assert answer.status_code == 413
    assert "KiB" in answer.json()["detail"]


def test_counts_a_body_that_declares_no_length():
    sent = []

    async def chunks():
        for number in range(1000):
            sent.append(number)
            yield b"x" * 100

    assert ask(guarded(), "POST", "/size", content=chunks()).status_code == 413


def test_counts_a_body_that_lies_about_its_length():
    async def chunks():
        for _ in range(1000):
            yield b"x" * 100

    answer = ask(guarded(), "POST", "/size", content=chunks(), headers={"Content-Length": "5"})
    assert answer.status_code == 413


def test_an_upload_may_be_larger_but_not_endless():
    assert ask(guarded(), "POST", "/api/owner/import", content=b"x" * 5000).json() == {"size": 5000}
    assert ask(guarded(), "POST", "/api/owner/import", content=b"x" * 5001).status_code == 413


def test_a_body_that_never_ends_is_given_up():
    async def chunks():
        yield b"x"
        await asyncio.sleep(5)
        yield b"y"

    assert ask(guarded(), "POST", "/size", content=chunks()).status_code == 408


def test_every_answer_carries_the_headers():
    for path, status in (("/size", 200), ("/nowhere", 404), ("/crash", 500)):
        answer = ask(guarded(), "GET", path)
        assert answer.status_code == status
        policy = answer.headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy
        assert "http" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-resource-policy"] == "same-origin"
        assert answer.headers["cache-control"] == "no-store"


def test_a_crash_shows_no_trace_and_leaves_one_in_the_log(caplog):
    answer = ask(guarded(), "GET", "/crash")
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert "try again" in json.loads(answer.text)["detail"].lower()
    assert "secret of line 42" in caplog.text


def test_half_an_answer_never_looks_whole(caplog):
    async def send():
        messages = []
        incoming = [{"type": "http.request", "body": b"", "more_body": False}]

        async def receive():
            if not incoming:
                await asyncio.sleep(60)  # a client that listens on
            return incoming.pop()

        async def collect(message):
            messages.append(message)

        scope = {
            "type": "http", "method": "GET", "path": "/half", "raw_path": b"/half", "query_string": b"",
            "headers": [(b"host", b"127.0.0.1")], "scheme": "http", "asgi": {"version": "3.0"},
        }  # fmt: skip
        with pytest.raises(RuntimeError):
            await guarded()(scope, receive, collect)
        return messages

    messages = asyncio.run(send())
    assert messages[-1].get("more_body") is True
    assert not any(b"secret" in message.get("body", b"") for message in messages)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("https://Label.example.org/", "https://label.example.org"),
        ("https://label.example.org:443", "https://label.example.org"),
        ("http://10.0.0.1:8737", "http://10.0.0.1:8737"),
    ],
)
def test_origins_are_kept_as_browsers_write_them(given, kept):
    assert normal_origin(given) == kept


@pytest.mark.parametrize("given", ["label.example.org", "*", "https://", "ftp://a.b", "https://a.b/path"])
def test_what_is_no_origin_is_refused(given):
    with pytest.raises(ValueError, match="written as https://"):
        normal_origin(given)


def test_a_bucket_gives_a_burst_and_then_its_rate():
    now = [0.0]
    buckets = Buckets(rate=2.0, burst=3, clock=lambda: now[0])
    assert [buckets.take("a") for _ in range(3)] == [0.0, 0.0, 0.0]
    assert buckets.take("a") == pytest.approx(0.5)
    assert buckets.take("b") == 0.0  # others are not held up
    now[0] = 0.5
    assert buckets.wait("a") == 0.0
    assert buckets.take("a") == 0.0
    assert buckets.take("a") > 0
    now[0] = 100.0
    assert [buckets.take("a") for _ in range(4)] == [
        0.0,
        0.0,
        0.0,
        pytest.approx(0.5),
    ]  # never more than the burst


def test_buckets_forget_what_they_need_not_know():
    now = [0.0]
    buckets = Buckets(rate=1.0, burst=1, clock=lambda: now[0], capacity=100)
    for number in range(1000):
        now[0] += 0.01
        buckets.take(str(number))
    assert len(buckets._levels) <= 100
    assert buckets.take("999") > 0  # the newest are those that are kept
