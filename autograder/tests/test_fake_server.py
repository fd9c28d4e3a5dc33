"""The server that plays an API: it answers as scripted, and chapter 12's client gets along with every fault over a real connection."""

import json
import random
import threading
import time
import traceback

import pytest

from lmkit.fake_server import Answer, FakeServer, send
from solutions.scaling import RateLimitedClient

KEY = "sk-test-4711"


def test_answers_come_in_their_order_and_requests_are_kept():
    with FakeServer([Answer(200, {"text": "one"}, {"X-Left": "1"}), Answer(429, "slow down"), Answer(200, b"\xff")]) as server:
        post = send(server.url)
        status, headers, text = post({"prompt": "ä"}, KEY)
        assert (status, headers["X-Left"], json.loads(text)) == (200, "1", {"text": "one"})
        assert post({}, KEY)[::2] == (429, "slow down")
        assert post({}, KEY)[2] == "\ufffd"
        assert post({}, KEY)[0] == 404
    assert [request.body for request in server.requests] == [{"prompt": "ä"}, {}, {}, {}]
    assert server.requests[0].key == KEY
    assert KEY not in repr(server.requests)


def test_a_late_answer_is_a_timeout_and_does_not_hold_up_the_end():
    start = time.perf_counter()
    with FakeServer([Answer(delay=30), Answer(200, "{}")]) as server:
        post = send(server.url, timeout=1.0)
        with pytest.raises(TimeoutError, match="1 s"):
            post({}, KEY)
        assert post({}, KEY)[0] == 200
    assert time.perf_counter() - start < 29  # less than the answer is late, also on a busy machine


def test_no_server_is_a_connection_error_without_the_key():
    with FakeServer([]) as server:
        url = server.url
    with pytest.raises(ConnectionError) as caught:
        send(url)({}, KEY)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("key", [KEY + "\n", KEY + "\r\nX-Other: 1", KEY + "ä"])
def test_a_key_that_no_header_may_carry_is_refused_and_not_shown(key):
    with FakeServer([Answer()]) as server, pytest.raises(ValueError, match="the key holds a sign") as caught:
        send(server.url)({}, key)
    assert KEY not in "".join(traceback.format_exception(caught.value))
    assert not server.requests


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_a_reply_and_the_key_goes_nowhere_else(status):
    with FakeServer([Answer()]) as other, FakeServer([Answer(status, "over there", {"Location": other.url})]) as server:
        got, headers, text = send(server.url)({}, KEY)
    assert (got, headers["Location"], text) == (status, other.url, "over there")
    assert (len(server.requests), other.requests) == (1, [])


def test_a_proxy_of_the_surroundings_is_not_asked(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    with FakeServer([Answer()]) as server:
        assert send(server.url)({}, KEY)[0] == 200


def test_requests_at_once_each_get_one_answer():
    with FakeServer([Answer(200, str(i)) for i in range(8)]) as server:
        post, got = send(server.url), []
        threads = [threading.Thread(target=lambda: got.append(post({}, KEY)[2])) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(got) == [str(i) for i in range(8)]


def test_a_server_can_be_started_again_and_goes_on_in_its_script():
    server = FakeServer([Answer(200, "1"), Answer(200, "2")])
    for expected in ("1", "2"):
        with server:
            assert send(server.url)({}, KEY)[2] == expected


# Chapter 12's client over a real connection

GOOD = Answer(200, {"text": "Paris"})


def ask(answers, timeout=5.0, **more):
    """What a client gets from a server with these answers: the answer or the error; and the sleeps, the log and the server."""
    slept, logged = [], []
    with FakeServer(answers) as server:
        post = send(server.url, timeout)
        client = RateLimitedClient(post, KEY, random.Random(1), sleep=slept.append, log=logged.append, **more)
        try:
            got = client.ask({"prompt": "?"})
        except RuntimeError as error:
            got = error
    assert KEY not in "".join([repr(client), str(client), str(got), repr(got), *logged, *map(repr, server.requests)])
    assert all(request.key == KEY for request in server.requests)
    return got, slept, logged, server


@pytest.mark.parametrize(
    ("fault", "told", "low", "high"),
    [
        (Answer(429, "too fast", {"Retry-After": "7"}), "429", 7, 8),
        (Answer(429, f"too fast for {KEY}"), "429", 0.5, 1),
        (Answer(500, "out of order"), "500", 0.5, 1),
        (Answer(503, "", {"retry-after": "2"}), "503", 2, 3),
        (Answer(200, '{"text": "Par'), "malformed", 0.5, 1),
        (Answer(200, f"<html>{KEY}</html>"), "malformed", 0.5, 1),
    ],
)
def test_the_client_outlives_a_fault(fault, told, low, high):
    got, slept, logged, server = ask([fault, GOOD])
    assert got == {"text": "Paris"}
    assert low <= slept[0] <= high
    assert len(slept) == len(logged) == 1
    assert told in logged[0]
    assert len(server.requests) == 2


def test_the_client_outlives_a_timeout():
    got, slept, logged, server = ask([Answer(delay=60), GOOD], timeout=1.0)
    assert got == {"text": "Paris"}
    assert len(slept) == 1
    assert "timeout" in logged[0]
    assert len(server.requests) == 2


def test_the_client_gives_up():
    got, slept, _, server = ask([Answer(500)] * 9, tries=3)
    assert isinstance(got, RuntimeError)
    assert "500" in str(got)
    assert (len(slept), len(server.requests)) == (2, 3)


def test_a_refused_key_is_not_sent_again():
    got, slept, _, server = ask([Answer(401, {"error": f"incorrect key {KEY}"}), GOOD])
    assert isinstance(got, RuntimeError)
    assert "401" in str(got)
    assert (slept, len(server.requests)) == ([], 1)


def test_the_client_without_a_server_says_so():
    with FakeServer([]) as server:
        url = server.url
    slept, logged = [], []
    with pytest.raises(RuntimeError, match="connection"):
        RateLimitedClient(send(url), KEY, random.Random(1), sleep=slept.append, log=logged.append, tries=2).ask({})
    assert len(slept) == 1
    assert len(logged) == 2
