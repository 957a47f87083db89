# SPDX-License-Identifier: Apache-2.0
"""The HTTP servers of the mount tests: faultd, which misbehaves when told to, and nginx."""
import http.client
import json
import os
import random
import socket
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))


class Faultd:
    """tests/lib/faultd.py over a directory. It ends when its standard input closes, so it cannot outlive a test."""

    def __init__(self, t, root, port=0):
        self.t = t
        self.process = subprocess.Popen(
            ["/usr/bin/python3", os.path.join(HERE, "..", "lib", "faultd.py"), "--root", root, "--port", str(port)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        word, _, number = self.process.stdout.readline().partition(" ")
        if word != "PORT":
            raise AssertionError("faultd does not start")
        self.port = int(number)
        self.url = "precomputed://http://127.0.0.1:%d" % self.port

    def ask(self, method, path, body=None):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.t.seconds(30))
        try:
            c.request(method, path, body if body is None else json.dumps(body))
            answer = c.getresponse()
            text = answer.read()
            if answer.status != 200:
                raise AssertionError("faultd says %d: %r" % (answer.status, text))
            return json.loads(text)
        finally:
            c.close()

    def rules(self, *rules):
        """Replaces the rules in force."""
        self.ask("POST", "/__faults", list(rules))

    def reset(self):
        self.ask("POST", "/__reset")

    def counts(self):
        return self.ask("GET", "/__stats")

    def chunk_requests(self):
        """{path: requests}, without the metadata."""
        return {p: n for p, n in self.counts()["paths"].items() if not p.endswith("info")}

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(self.t.seconds(10))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


NGINX = """
daemon off; master_process off; worker_processes 1; pid {top}/pid; error_log {top}/error.txt;
events {{ worker_connections 512; }}
http {{
    access_log {top}/access.txt;
    client_body_temp_path {top}/a; proxy_temp_path {top}/b; fastcgi_temp_path {top}/c;
    uwsgi_temp_path {top}/d; scgi_temp_path {top}/e;
    server {{
        listen 127.0.0.1:{port};
        root {root};
        location ~ /info$ {{ }}
        location ~ \\.(gz|br|zstd)$ {{ return 404; }}
        location / {{ error_page 404 = @gzip; }}
        location @gzip {{ try_files $uri.gz @br; add_header Content-Encoding gzip; }}
        location @br {{ try_files $uri.br @zstd; add_header Content-Encoding br; }}
        location @zstd {{ try_files $uri.zstd =404; add_header Content-Encoding zstd; }}
    }}
}}
"""


class Nginx:
    """Serves a directory as buckets do: NAME.gz answers for NAME, with its Content-Encoding."""

    def __init__(self, t, root):
        self.t = t
        self.top = t.name("nginx")
        os.mkdir(self.top)
        for _ in range(20):
            self.port = random.randrange(20000, 32000)  # below what the kernel hands out
            with open(self.top + "/conf", "w") as f:
                f.write(NGINX.format(top=self.top, port=self.port, root=root))
            self.process = subprocess.Popen(["nginx", "-p", self.top, "-c", self.top + "/conf"], stdin=subprocess.DEVNULL,
                                            stderr=subprocess.DEVNULL, env=dict(os.environ, PATH="/usr/sbin:/usr/bin"))
            if t.until(self._answers_or_died, "nginx") == "answers":
                break
        else:
            raise AssertionError("nginx does not start")
        self.url = "http://127.0.0.1:%d" % self.port

    def _answers_or_died(self):
        if self.process.poll() is not None:
            return "died"
        try:
            socket.create_connection(("127.0.0.1", self.port), 5).close()
            return "answers"
        except OSError:
            return None

    def close(self):
        self.process.terminate()
        self.process.wait(self.t.seconds(10))
