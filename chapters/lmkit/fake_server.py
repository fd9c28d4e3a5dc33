"""A server on this machine that plays a model behind an API, faults included, for chapter 12: nothing leaves the computer."""

from __future__ import annotations

import json
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["Answer", "FakeServer", "Reply", "Request", "send"]

Reply = tuple[int, dict[str, str], str]  # status, headers, text


@dataclass(frozen=True)
class Answer:
    """What the server says to one request."""

    status: int = 200
    body: object = ""  # text or bytes are sent as they are, anything else as JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0  # seconds before it says anything


@dataclass(frozen=True)
class Request:
    """What a client asked."""

    body: object  # the JSON that was sent; text where it was none
    key: str = field(repr=False)  # what stood behind "Bearer" in the header Authorization; empty where nothing did


class FakeServer:
    """A server on 127.0.0.1 that gives these answers, one to a request, in their order. Use it in `with`: it starts, and stops at the end.

    Behind the last answer every request gets 404, which no client should repeat. `requests` holds what was asked so far.
    """

    def __init__(self, answers: Iterable[Answer]):
        self.answers, self.requests = list(answers), []
        self._lock, self._over = threading.Lock(), threading.Event()

    def __enter__(self) -> FakeServer:
        self._over.clear()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        """Where the server listens, once it runs."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/"

    def _next(self, request: Request) -> Answer:
        with self._lock:
            self.requests.append(request)
            i = len(self.requests) - 1
            return self.answers[i] if i < len(self.answers) else Answer(404, "the script has no further answer")

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        fake = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                sent = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode("utf-8", "replace")
                scheme, _, key = self.headers.get("Authorization", "").partition(" ")
                try:
                    body = json.loads(sent)
                except ValueError:
                    body = sent
                answer = fake._next(Request(body, key if scheme == "Bearer" else ""))
                if fake._over.wait(answer.delay):
                    return  # the server stops: nobody waits for this answer
                data = answer.body if isinstance(answer.body, str | bytes) else json.dumps(answer.body)
                data = data.encode() if isinstance(data, str) else data
                try:
                    self.send_response(answer.status)
                    for name, value in {**answer.headers, "Content-Length": str(len(data))}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(data)
                except OSError:
                    pass  # the client has hung up, as it should after its time limit

            def log_message(self, *what: object) -> None:
                """Nothing is written anywhere."""

        return Handler


class _StayHere(urllib.request.HTTPRedirectHandler):
    """Follows no redirect: the key would go along to another address."""

    def redirect_request(self, *what: object) -> None:
        """None: the reply stays as it is."""


def send(url: str, timeout: float = 10.0) -> Callable[[dict, str], Reply]:
    """A function that sends a request to this address, `post(request, key)`, and returns the reply: status, headers, text.

    The request goes as JSON, the key in the header Authorization. Statuses of 300 and more are replies like others.
    Errors of `post`: TimeoutError after so many seconds without a word, ConnectionError where there is no connection,
    ValueError for a key with a sign that no header may carry. None of them shows the key.
    """
    no_proxy = urllib.request.ProxyHandler({})  # a proxy does not know this machine's own addresses
    opener = urllib.request.build_opener(no_proxy, _StayHere)

    def post(request: dict, key: str) -> Reply:
        if not (key.isascii() and key.isprintable()):
            raise ValueError("the key holds a sign that no header may carry")  # http.client would say which key
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer {key}"}
        asked = urllib.request.Request(url, json.dumps(request).encode(), headers)
        try:
            try:
                answer = opener.open(asked, timeout=timeout)
            except urllib.error.HTTPError as error:
                answer = error
            with answer:
                return answer.status, dict(answer.headers), answer.read().decode("utf-8", "replace")
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            if isinstance(reason, TimeoutError):
                raise TimeoutError(f"no answer within {timeout:g} s") from None
            raise ConnectionError(f"no connection to the server ({type(reason).__name__})") from None

    return post
