"""A proxy between a client and the log that loses the first answer, as networks do.

What is asked reaches the log every time.
"""

import http.client
import http.server
import threading
import urllib.parse

from harness import COMMAND_SECONDS_MAX

# Hop by hop, or said anew by this proxy.
NOT_PASSED_ON = {"connection", "content-length", "date", "server", "transfer-encoding"}


class LossyProxy:
    """Passes everything to `url` and spoils the first answer; a context manager.

    The connection is closed without it: at once, or if `late` when the client asks again.
    """

    def __init__(self, url: str, late: bool = False):
        # Methods, paths and what the log answered, in order.
        self.answers: list[tuple[str, str, int]] = []
        self._log = urllib.parse.urlsplit(url).netloc
        self._late = late
        self._asked_again = threading.Event()
        proxy = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                proxy.pass_on(self)

            def do_POST(self) -> None:
                proxy.pass_on(self)

            def log_message(self, *_arguments) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever)

    def __enter__(self) -> "LossyProxy":
        self._thread.start()
        return self

    def __exit__(self, *_exception) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def pass_on(self, request: http.server.BaseHTTPRequestHandler) -> None:
        length = int(request.headers.get("content-length", 0))
        body = request.rfile.read(length) if length else None
        headers = {name: value for name, value in request.headers.items()
                   if name.lower() not in NOT_PASSED_ON | {"host"}}
        connection = http.client.HTTPConnection(self._log)
        connection.request(request.command, request.path, body, headers)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        is_first = not self.answers
        self.answers.append((request.command, request.path, answer.status))
        request.close_connection = True
        if is_first:
            if self._late:
                self._asked_again.wait(COMMAND_SECONDS_MAX)
            return
        self._asked_again.set()
        request.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in NOT_PASSED_ON:
                request.send_header(name, value)
        request.send_header("content-length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)
