"""This package's hub client and Hugging Face's share one cache: each finds what the other downloaded.

    python check_with_python.py PATH_TO_TLENS MODEL_FOLDER

Serves MODEL_FOLDER as two repositories on the loopback interface, the way the hub does; has `tlens` download the first and
huggingface_hub the second; then each runs offline on the other's. Needs huggingface_hub (tested with 2.4.0).
"""

import hashlib
import http.server
import json
import os
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

COMMIT = "89abcdef" * 5


def blob_name(content):
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    folder: Path
    seen: list = []

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.answer(False)

    def do_GET(self):
        self.answer(True)

    def answer(self, with_body):
        self.seen.append((self.command, self.path))
        parts = self.path.split("?")[0].strip("/").split("/")
        if parts[:2] == ["api", "models"]:
            files = [p for p in sorted(self.folder.iterdir()) if p.is_file()]
            if "tree" in parts:
                answer = [{"type": "file", "path": p.name, "size": p.stat().st_size, "oid": blob_name(p.read_bytes())} for p in files]
            else:
                answer = {"id": "/".join(parts[2:4]), "sha": COMMIT, "siblings": [{"rfilename": p.name} for p in files]}
            body = json.dumps(answer).encode()
            headers = {"Content-Type": "application/json"}
        else:
            path = self.folder / parts[-1]
            if not path.is_file():
                self.send_response(404)
                self.send_header("X-Error-Code", "EntryNotFound")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            body = path.read_bytes()
            headers = {"ETag": f'"{blob_name(body)}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        self.send_response(200)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if with_body:
            self.wfile.write(body)


def main():
    tlens, folder = sys.argv[1], Path(sys.argv[2])
    Handler.folder = folder
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    with tempfile.TemporaryDirectory() as cache:
        os.environ.update(HF_ENDPOINT=f"http://127.0.0.1:{server.server_port}", HF_HUB_CACHE=cache, HF_HUB_DISABLE_TELEMETRY="1")
        os.environ.pop("HF_HUB_OFFLINE", None)
        run = [tlens, "run", "--tokens", "1,2,3", "--processing", "none", "--json"]
        subprocess.run([*run[:2], "ours/tiny", *run[2:]], check=True, stdout=subprocess.DEVNULL)
        import huggingface_hub

        found = huggingface_hub.snapshot_download("ours/tiny", local_files_only=True)
        assert (Path(found) / "model.safetensors").read_bytes() == (folder / "model.safetensors").read_bytes()
        theirs = huggingface_hub.snapshot_download("theirs/tiny")
        count = len(Handler.seen)
        for name in ["theirs/tiny", "ours/tiny"]:
            subprocess.run([*run[:2], name, *run[2:]], check=True, stdout=subprocess.DEVNULL)
        assert len(Handler.seen) == count, Handler.seen[count:]
        print(f"each found the other's: {Path(found).name[:8]}, {Path(theirs).name[:8]}; huggingface_hub {huggingface_hub.__version__}")


if __name__ == "__main__":
    main()
