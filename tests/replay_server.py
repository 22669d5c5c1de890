"""A web server for tests: it serves files over https, replays answers of ENA, and breaks transfers on demand."""

import hashlib
import os
import re
import ssl
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.utils import formatdate
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit


@dataclass
class Site:
    """What a server serves, and what went on there.

    Attributes:
        files: content by path.
        faults: by path, what happens to its next requests, one entry each: a status ("500"), a status with Retry-After
            ("503 1"), a redirect ("302 URL"), "cut" (half of what is asked for, then the connection ends), "stall"
            (half, then nothing), "flip" (a wrong byte).
        reports: answers of the file report by accession.
        has_ranges: whether parts of a file can be had.
        validators: "both", "weak" or "none": what tells a client that a file is still the same.
        requests: (path, Range or "") of each request.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    faults: dict[str, list[str]] = field(default_factory=dict)
    reports: dict[str, str] = field(default_factory=dict)
    has_ranges: bool = True
    has_length: bool = True
    validators: str = "both"
    requests: list[tuple[str, str]] = field(default_factory=list)
    url: str = ""
    authority: str = ""

    def add_run(self, accession: str, layout: str, platform: str, files: dict[str, bytes]) -> None:
        """Serve files as ENA serves those of a run, with a report of their sizes and sums in ENA's form."""
        folder = f"/vol1/fastq/{accession[:6]}/{accession}"
        self.files |= {f"{folder}/{name}": data for name, data in files.items()}
        host = self.url.removeprefix("https://")
        cells = [
            ";".join(f"{host}{folder}/{name}" for name in files),
            ";".join(hashlib.md5(data).hexdigest() for data in files.values()),
            ";".join(str(len(data)) for data in files.values()),
        ]
        header = "run_accession\tlibrary_layout\tinstrument_platform\tfastq_ftp\tfastq_md5\tfastq_bytes"
        self.reports[accession] = f"{header}\n" + "\t".join([accession, layout, platform, *cells]) + "\n"


class _Handler(BaseHTTPRequestHandler):
    def __init__(self, site: Site, stopped: threading.Event, *arguments):
        self._site, self._stopped = site, stopped
        super().__init__(*arguments)

    def do_GET(self):
        path = urlsplit(self.path).path
        self._site.requests.append((path, self.headers.get("Range", "")))
        fault = self._site.faults[path].pop(0) if self._site.faults.get(path) else ""
        if re.match("[345][0-9][0-9]", fault):
            status, _, value = fault.partition(" ")
            self.send_response(int(status))
            if value:
                self.send_header("Location" if status[0] == "3" else "Retry-After", value)
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif path.endswith("/filereport"):
            accession = parse_qs(urlsplit(self.path).query)["accession"][0]
            self._send(200, self._site.reports[accession].encode(), {"Content-Type": "text/plain"}, fault)
        elif path not in self._site.files:
            self.send_error(404)
        else:
            self._send_file(self._site.files[path], fault)

    def _send_file(self, data: bytes, fault: str):
        tag = f'"{hashlib.sha256(data).hexdigest()[:12]}"'
        headers = {"both": {"ETag": tag, "Last-Modified": formatdate(1_600_000_000, usegmt=True)}}
        headers["weak"] = {"ETag": f"W/{tag}"}
        headers = headers.get(self._site.validators, {})
        begin = re.fullmatch("bytes=([0-9]+)-", self.headers.get("Range", ""))
        wanted = self.headers.get("If-Range", tag)
        if begin is None or not self._site.has_ranges or wanted not in (tag, headers.get("Last-Modified")):
            self._send(200, data, headers, fault)
        elif int(begin[1]) >= len(data):
            self._send(416, b"", {"Content-Range": f"bytes */{len(data)}"}, fault)
        else:
            first = int(begin[1])
            headers["Content-Range"] = f"bytes {first}-{len(data) - 1}/{len(data)}"
            self._send(206, data[first:], headers, fault)

    def _send(self, status: int, data: bytes, headers: dict[str, str], fault: str):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if self._site.has_length:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if fault == "flip":
            data = data[:-1] + bytes([data[-1] ^ 1])
        if fault in ("cut", "stall"):
            data = data[: len(data) // 2]
        self.wfile.write(data)
        self.wfile.flush()
        if fault == "stall":
            self._stopped.wait(60)
        self.close_connection = True

    def log_message(self, *arguments):
        pass


def make_certificate(folder: Path) -> tuple[Path, Path]:
    """Make a certificate for this machine, signed by itself; return it and its key."""
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    names = "subjectAltName=DNS:localhost,IP:127.0.0.1"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    subprocess.run(
        [*command.split(), "-addext", names, "-keyout", key, "-out", certificate], check=True, capture_output=True
    )
    return certificate, key


@contextmanager
def serve(folder: Path | None) -> Iterator[Site]:
    """Run a server in a thread; over https, with a new certificate in `folder`, or over http where that is None."""
    site, stopped = Site(), threading.Event()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Handler, site, stopped))
    server.daemon_threads = True
    site.url = f"http://127.0.0.1:{server.server_port}"
    if folder is not None:
        certificate, key = make_certificate(folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        site.url, site.authority = f"https://127.0.0.1:{server.server_port}", os.fspath(certificate)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield site
    finally:
        stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()
