"""A model server in a process of its own whose answers depend on the question alone."""

import hashlib
import json
import re
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from faults.processes import Child

ANSWERS = ("A", "B", "Neutral")  # labels of a judge's verdict; to other questions they are answers as well
NONCE = re.compile(r"[0-9a-f]{16}")  # in a judge's question; of each cache its own
LONG = 1000  # labels in an answer of the model of that name
SECONDS = 0.03  # to answer


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Answer a chat completion after a pause."""
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        asked = request["messages"][-1]["content"]
        time.sleep(SECONDS)
        digest = hashlib.sha256(NONCE.sub("", asked).encode()).digest()
        answer = ANSWERS[digest[0] % len(ANSWERS)] * (LONG if request["model"] == "long" else 1)
        message = {"role": "assistant", "content": answer}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        body = {"id": "1", "object": "chat.completion", "created": 0, "model": "m", "choices": [choice], "usage": usage}
        content = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)


def start_server(folder: Path) -> tuple[Child, str]:
    """The process, which the caller kills, and the address of the server."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    child = Child([], folder / "server.log", main=server.serve_forever)
    server.socket.close()  # of this process; the other serves
    return child, f"http://127.0.0.1:{server.server_port}/v1"
