"""A foreign system with lists, in a process of its own: ``python listing.py`` prints its port.

``POST /_set`` puts a list and how it behaves; ``GET /_heard`` gives what was asked. Lists are paged by cursor, page,
offset or link.
"""

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

STATE: dict[str, Any] = {}
HEARD: list[dict[str, Any]] = []


class System(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        if self.path == "/erp/token":
            said = self.rfile.read(int(self.headers["Content-Length"])).decode()
            HEARD.append({"path": self.path, "key": said})
            good = "client_secret=s3cret" in said
            STATE["key"] = f"token-{len(HEARD)}"
            self.answer(*((200, {"access_token": STATE["key"], "expires_in": 3600}) if good else (400, {"error": said})))
            return
        STATE.clear()
        HEARD.clear()
        STATE.update(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        self.answer(200, {})

    def do_GET(self) -> None:
        if self.path == "/_heard":
            self.answer(200, HEARD)
            return
        key = self.headers.get("X-Api-Key") or self.headers.get("Authorization", "").removeprefix("Bearer ")
        HEARD.append({"path": self.path, "key": key})
        if STATE.get("key", "") != key:
            self.answer(401, {"error": f"not with {key}"})
            return
        faults = STATE.get("faults", [])
        if faults and (fault := faults.pop(0)):
            if fault == "close":
                self.close_connection = True
                return
            self.answer(fault, STATE.get("body", {"error": "out of order"}), STATE.get("headers", {}))
            return
        asked = {name: values[0] for name, values in parse_qs(urlsplit(self.path).query).items()}
        rows = [r for r in STATE["rows"] if "since" not in asked or r["changed_at"] >= asked["since"]]
        size = STATE.get("size", 2)
        start = int(asked.get("cursor") or asked.get("offset") or (int(asked.get("page", "1")) - 1) * size)
        found: dict[str, Any] = {"data": {"rows": rows[start : start + size]}}
        if start + size < len(rows):
            link = STATE.get("link", f"/erp/list?cursor={start + size}")
            found["next"] = link if STATE.get("paging") == "link" else start + size
        self.answer(200, found)

    def answer(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        pass


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), System)
    print(server.server_port, flush=True)
    server.serve_forever()
