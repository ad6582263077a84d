"""A Hugging Face hub on loopback: the paths, headers and redirection that its client goes by. No public hub is asked.

/OWNER/REPO/resolve/REVISION/FILE        HEAD and GET; a large file, as of Git LFS, is a redirection to another host
/api/models/OWNER/REPO/tree/REVISION     the list of its files
"""

import hashlib
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

LARGE = 10_000  # bytes: from here on in LFS


@dataclass
class Hub:
    """repositories: OWNER/REPO -> the content of each file by name. faults: what goes wrong with a file, by its name:
    `cut` off in the middle, `short` by a byte though whole as it says, `stall` in the middle, `flipped` bits, `503`.

    asked: (method, path, token) of each request.
    """

    url: str = ""
    content_url: str = ""
    repositories: dict[str, dict[str, bytes]] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    gated: set[str] = field(default_factory=set)
    asked: list[tuple[str, str, str | None]] = field(default_factory=list)
    end: threading.Event = field(default_factory=threading.Event)

    def add(self, repository: str, folder: Path) -> None:
        """Hold the files of `folder`."""
        self.repositories[repository] = {path.name: path.read_bytes() for path in folder.iterdir()}

    def commit(self, repository: str) -> str:
        """A name for its state, as Git's."""
        digest = hashlib.sha1(usedforsecurity=False)
        for name, content in sorted(self.repositories[repository].items()):
            digest.update(name.encode() + content)
        return digest.hexdigest()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_HEAD(self) -> None:
        self._answer()

    def do_GET(self) -> None:
        self._answer()

    def log_message(self, *_: object) -> None:
        pass

    def _answer(self) -> None:
        hub = self.hub
        hub.asked.append((self.command, self.path, self.headers.get("Authorization")))
        words = self.path.strip("/").split("/")
        if words[0] == "content":
            self._content(*words[1:])
            return
        repository = "/".join(words[2:4] if words[:2] == ["api", "models"] else words[:2])
        if repository not in hub.repositories:
            self._refuse(401, "RepoNotFound")
        elif repository in hub.gated and not self.headers.get("Authorization"):
            self._refuse(401, "GatedRepo")
        elif words[0] == "api":
            files = hub.repositories[repository].items()
            listed = [{"type": "file", "path": name, "size": len(content), "oid": "0" * 40} for name, content in files]
            self._send(json.dumps(listed).encode(), {"Content-Type": "application/json"})
        else:
            self._resolve(repository, words[4])

    def _resolve(self, repository: str, name: str) -> None:
        hub = self.hub
        commit = {"X-Repo-Commit": hub.commit(repository)}
        if hub.faults.get(name) == "503":
            self._refuse(503, "Unavailable")
        elif name not in hub.repositories[repository]:
            self._refuse(404, "EntryNotFound", commit)
        elif len(content := hub.repositories[repository][name]) < LARGE:
            self._send(content, {"ETag": f'"{hashlib.sha1(content, usedforsecurity=False).hexdigest()}"'} | commit)
        else:
            digest = hashlib.sha256(content).hexdigest()
            linked = {"X-Linked-ETag": f'"{digest}"', "X-Linked-Size": str(len(content))}
            self._send(
                b"", {"Location": f"{hub.content_url}/content/{repository}/{name}"} | linked | commit, status=302
            )

    def _content(self, owner: str, repository: str, name: str) -> None:
        content = self.hub.repositories[f"{owner}/{repository}"][name]
        fault = self.hub.faults.get(name)
        if fault == "short":
            content = content[:-1]
        if fault == "flipped":
            content = content[:-1] + bytes([content[-1] ^ 1])
        if fault not in ("cut", "stall"):
            self._send(content)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content[: len(content) // 2])
        self.wfile.flush()
        if fault == "stall":
            self.hub.end.wait(30)
        self.close_connection = True
        self.connection.shutdown(socket.SHUT_RDWR)

    def _refuse(self, status: int, code: str, headers: dict[str, str] | None = None) -> None:
        self._send(b"", {"X-Error-Code": code, "X-Error-Message": code} | (headers or {}), status)

    def _send(self, content: bytes, headers: dict[str, str] | None = None, status: int = 200) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)


@contextmanager
def hub_stand_in() -> Iterator[Hub]:
    """A hub that answers until the end of the `with`."""
    hub = Hub()
    with _server("127.0.0.1", hub) as hub.url, _server("127.0.0.2", hub) as hub.content_url:
        yield hub
        hub.end.set()


@contextmanager
def _server(address: str, hub: Hub) -> Iterator[str]:
    server = ThreadingHTTPServer((address, 0), type("Handler", (_Handler,), {"hub": hub}))
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield f"http://{address}:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
