#!/usr/bin/env python3
"""An endpoint that accepts everything: tests/receiver.py PORT FILE, a line in FILE for each body."""

import http.server
import sys


class Accepts(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        with open(sys.argv[2], "ab") as file:
            file.write(body + b"\n")
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_):
        pass


http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Accepts).serve_forever()
