"""A hub on loopback: the few answers that its client asks for, and a record of what was asked."""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from urllib.parse import unquote, urlsplit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@dataclass
class Hub:
    """One repository.

    Attributes:
        files: What it holds, by path.
        token: Who may read it; None is everybody.
        gated: It requires a license.
        break_once: A file whose first answer stops halfway.
        asked: `METHOD path` of every request, with the range that was asked for.
    """

    id: str
    files: dict[str, bytes]
    token: str | None = None
    gated: bool = False
    break_once: str | None = None
    asked: list[str] = field(default_factory=list)

    def fetched(self) -> set[str]:
        """Files whose content was asked for."""
        contents = f"GET /{self.id}/resolve/{COMMIT}/"
        return {line.removeprefix(contents).split(" ")[0] for line in self.asked if line.startswith(contents)}


class _Server(ThreadingHTTPServer):
    """Serves one hub."""

    def __init__(self, hub: Hub) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.hub = hub


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def log_message(self, *_: object) -> None:
        """Says nothing."""

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        hub, path, span = self.server.hub, unquote(urlsplit(self.path).path), self.headers.get("Range", "")
        hub.asked.append(f"{self.command} {path} {span}".rstrip())
        if hub.token and self.headers.get("Authorization") != f"Bearer {hub.token}":
            return self._refuse(401, "RepoNotFound")
        if hub.gated:
            return self._refuse(403, "GatedRepo")
        if path in (f"/api/models/{hub.id}", f"/api/models/{hub.id}/revision/main"):
            siblings = [{"rfilename": name} for name in hub.files]
            reported = {"id": hub.id, "modelId": hub.id, "sha": COMMIT, "siblings": siblings, "tags": []}
            return self._send_json(reported, with_body)
        if path == f"/api/models/{hub.id}/tree/{COMMIT}":
            return self._send_json(_tree_of(hub), with_body)
        name = path.removeprefix(f"/{hub.id}/resolve/").partition("/")[2]
        if name not in hub.files:
            return self._refuse(404, "EntryNotFound" if path.startswith(f"/{hub.id}/") else "RepoNotFound")
        return self._send_file(name, span, with_body)

    def _send_file(self, name: str, span: str, with_body: bool) -> None:
        hub, content = self.server.hub, self.server.hub.files[name]
        marks = {"ETag": f'"{_digest(content)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        if with_body and span:
            first = int(span.removeprefix("bytes=").partition("-")[0])
            marks["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
            self._send(content[first:], marks, with_body, 206)
        elif with_body and hub.break_once == name:
            hub.break_once = None
            self._head(200, marks | {"Content-Length": str(len(content))})
            self.wfile.write(content[: len(content) // 2])
            self.close_connection = True
        else:
            self._send(content, marks, with_body)

    def _send_json(self, value: object, with_body: bool) -> None:
        self._send(json.dumps(value).encode(), {"Content-Type": "application/json"}, with_body)

    def _send(self, content: bytes, marks: dict[str, str], with_body: bool, status: int = 200) -> None:
        self._head(status, marks | {"Content-Length": str(len(content))})
        if with_body:
            self.wfile.write(content)

    def _refuse(self, status: int, code: str) -> None:
        self._head(status, {"X-Error-Code": code, "X-Error-Message": code, "Content-Length": "0"})

    def _head(self, status: int, marks: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in marks.items():
            self.send_header(name, value)
        self.end_headers()


def _tree_of(hub: Hub) -> list[dict[str, object]]:
    return [
        {"type": "file", "path": name, "size": len(content), "oid": _digest(content)}
        for name, content in hub.files.items()
    ]


def _digest(content: bytes) -> str:
    return hashlib.sha1(content).hexdigest()


@contextmanager
def serving(hub: Hub) -> Iterator[str]:
    """The address of the hub, while the block runs."""
    server = _Server(hub)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
