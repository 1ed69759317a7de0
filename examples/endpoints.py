#!/usr/bin/env python3
"""Four endpoints to try homing with, on one port: /healthy accepts everything, /recovers fails
twice and then accepts, /dead fails until a POST to /repair, and /gone says until then that it is
gone for good.

    examples/endpoints.py 127.0.0.1:9000

It prints a line per request, and needs nothing but Python 3.
"""

import http.server
import sys
import threading

repaired = threading.Event()


def answer(path, attempt):
    """The status of an answer; None where there is no such endpoint."""
    return {
        "/healthy": 200,
        "/recovers": 503 if attempt <= 2 else 200,
        "/dead": 200 if repaired.is_set() else 500,
        "/gone": 200 if repaired.is_set() else 410,
    }.get(path)


class Endpoints(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers.get("content-length", 0)))
        if self.path == "/repair":
            repaired.set()
            return self.finish_with(204)
        attempt = self.headers.get("x-homing-attempt", "1")
        status = answer(self.path, int(attempt) if attempt.isdigit() else 1)
        topic = self.headers.get("x-homing-topic", "-")
        if status:
            print(f"  {self.path:<10} {topic:<14} attempt {attempt}: {status}", flush=True)
        self.finish_with(status or 404)

    def finish_with(self, status):
        self.send_response(status)
        if status != 204:
            self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        """Nothing: what is to be seen is printed above."""


def main():
    host, _, port = (sys.argv[1:] or ["127.0.0.1:9000"])[0].rpartition(":")
    try:
        server = http.server.ThreadingHTTPServer((host, int(port)), Endpoints)
    except (OSError, ValueError, OverflowError) as error:
        sys.exit(f"endpoints: cannot listen on {host}:{port}: {error}")
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        pass


main()
