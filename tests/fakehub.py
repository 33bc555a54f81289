"""A hub on 127.0.0.1: the few endpoints that `huggingface_hub` asks for models, and their log."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urlsplit

COMMIT = "5f" * 20


class Hub:
    """Serves {"owner/name": folder} until it is left; `asked` lists (method, path) so far.

    `status` is a (status, error code) that it answers everything with; with `cut` it sends half of
    what is large and hangs up.
    """

    def __init__(self, models):
        self.models, self.status, self.asked = models, None, []
        self.cut = False
        hub = self

        class Handler(BaseHTTPRequestHandler):
            """One request."""

            def do_GET(self):
                hub.answer(self, body=True)

            def do_HEAD(self):
                hub.answer(self, body=False)

            def log_message(self, *_):
                """Nothing on standard error."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.02,))
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def answer(self, request, *, body):
        """Status, headers and content of one path."""
        path = unquote(urlsplit(request.path).path)
        self.asked.append((request.command, path))
        status, headers, content = self.found(path)
        request.send_response(status)
        for key, value in {"Content-Length": str(len(content)), **headers}.items():
            request.send_header(key, value)
        request.end_headers()
        if body:
            cut = self.cut and len(content) > 1000
            request.wfile.write(content[: len(content) // 2 if cut else None])

    def found(self, path):
        """What lies under a path."""
        parts = path.strip("/").split("/")
        api = parts[:2] == ["api", "models"]
        name = "/".join(parts[2:4] if api else parts[:2])
        if self.status:
            status, code = self.status
            return status, {"X-Error-Code": code} if code else {}, b""
        if name not in self.models:
            return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"
        folder = self.models[name]
        files = sorted(file for file in folder.iterdir() if file.is_file())
        if api:
            kind = {"Content-Type": "application/json"}
            return 200, kind, json.dumps(self.listed(name, files, parts[4:])).encode()
        file = folder / "/".join(parts[4:])
        if not file.is_file():
            return 404, {"X-Error-Code": "EntryNotFound"}, b""
        content = file.read_bytes()
        etag = hashlib.sha256(content).hexdigest()
        return 200, {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}, content

    def listed(self, name, files, asked):
        """A repository as the hub describes it, or its files alone."""
        if asked[:1] == ["tree"]:
            return [
                {
                    "type": "file",
                    "path": file.name,
                    "size": file.stat().st_size,
                    "oid": hashlib.sha1(file.read_bytes()).hexdigest(),
                }
                for file in files
            ]
        return {
            "id": name,
            "modelId": name,
            "sha": COMMIT,
            "private": False,
            "tags": [],
            "downloads": 0,
            "siblings": [{"rfilename": file.name} for file in files],
        }

    def fetched(self):
        """The names of the files whose content was sent."""
        return {path.split("/")[-1] for method, path in self.asked
                if method == "GET" and "/resolve/" in path}  # fmt: skip
