"""Servers that never heard of us, for our client to call; prints one line for each, then serves.

`scripted URL` answers POST by the first segment of the path: a status, `cut-before` (closes before
it has read the request's body) or `cut-after` (reads the whole request, then closes).
`stock URL` is http.server as it comes: it has no POST and answers 501.
`refusing URL` is a port on which nothing listens.
"""

import socket
import threading
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer


class Scripted(BaseHTTPRequestHandler):
    """Answers POST as the path says."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        script = self.path.split("/")[1]
        if script == "cut-before":
            self.close_connection = True
            return
        self.rfile.read(int(self.headers.get("content-length", 0)))
        if script == "cut-after":
            self.close_connection = True
            return
        body = b"pong from python"
        self.send_response(int(script))
        self.send_header("content-type", "text/plain")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Stock(SimpleHTTPRequestHandler):
    """http.server as it comes, without its log."""

    def log_message(self, *_):
        pass


def serve(name, handler):
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    print(f"{name} http://127.0.0.1:{server.server_address[1]}", flush=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    return thread


threads = [serve("scripted", Scripted), serve("stock", Stock)]
with socket.socket() as unused:
    unused.bind(("127.0.0.1", 0))
    print(f"refusing http://127.0.0.1:{unused.getsockname()[1]}", flush=True)
    for thread in threads:
        thread.join()
