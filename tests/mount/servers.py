# SPDX-License-Identifier: Apache-2.0
"""The HTTP servers of the mount tests: faultd, which misbehaves when told to; cloudd, which has buckets and gives out
credentials; nginx, also with TLS; and versitygw, a real S3 server, where it is installed (tests/lib/interop)."""
import http.client
import json
import os
import random
import socket
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))


class Small:
    """One of the servers in tests/lib. It ends when its standard input closes, so it cannot outlive a test."""

    def __init__(self, t, program, root, port=0):
        self.t = t
        self.process = subprocess.Popen(
            ["/usr/bin/python3", os.path.join(HERE, "..", "lib", program), "--root", root, "--port", str(port)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        word, _, number = self.process.stdout.readline().partition(" ")
        if word != "PORT":
            raise AssertionError(program + " does not start")
        self.port = int(number)

    def ask(self, method, path, body=None):
        c = http.client.HTTPConnection("127.0.0.1", self.port, timeout=self.t.seconds(30))
        try:
            c.request(method, path, body if body is None else json.dumps(body))
            answer = c.getresponse()
            text = answer.read()
            if answer.status != 200:
                raise AssertionError("the server says %d: %r" % (answer.status, text))
            return json.loads(text)
        finally:
            c.close()

    def reset(self):
        self.ask("POST", "/__reset")

    def counts(self):
        return self.ask("GET", "/__stats")

    def close(self):
        self.process.stdin.close()
        try:
            self.process.wait(self.t.seconds(10))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


class Faultd(Small):
    def __init__(self, t, root, port=0):
        super().__init__(t, "faultd.py", root, port)
        self.url = "precomputed://http://127.0.0.1:%d" % self.port

    def rules(self, *rules):
        """Replaces the rules in force."""
        self.ask("POST", "/__faults", list(rules))

    def chunk_requests(self):
        """{path: requests}, without the metadata."""
        return {p: n for p, n in self.counts()["paths"].items() if not p.endswith("info")}


class Cloudd(Small):
    def __init__(self, t, root):
        super().__init__(t, "cloudd.py", root)
        self.url = "http://127.0.0.1:%d" % self.port

    def state(self, **more):
        self.ask("POST", "/__state", more)


NGINX = """
daemon off; master_process off; worker_processes 1; pid {top}/pid; error_log {top}/error.txt;
events {{ worker_connections 512; }}
http {{
    log_format short '$server_protocol $connection $status $uri $body_bytes_sent';
    access_log {top}/access.txt short;
    client_body_temp_path {top}/a; proxy_temp_path {top}/b; fastcgi_temp_path {top}/c;
    uwsgi_temp_path {top}/d; scgi_temp_path {top}/e;
    server {{
        listen 127.0.0.1:{port}{more};
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

    def __init__(self, t, root, tls=None, protocol=""):
        """`tls`: (certificate, key); `protocol`: "http2"."""
        self.t = t
        self.top = t.name("nginx")
        os.mkdir(self.top)
        more = " ssl %s; ssl_certificate %s; ssl_certificate_key %s" % ((protocol,) + tls) if tls else ""
        for _ in range(20):
            self.port = random.randrange(20000, 32000)  # below what the kernel hands out
            with open(self.top + "/conf", "w") as f:
                f.write(NGINX.format(top=self.top, port=self.port, root=root, more=more))
            self.process = subprocess.Popen(["nginx", "-p", self.top, "-c", self.top + "/conf"], stdin=subprocess.DEVNULL,
                                            stderr=subprocess.DEVNULL, env=dict(os.environ, PATH="/usr/sbin:/usr/bin"))
            if t.until(self._answers_or_died, "nginx") == "answers":
                break
        else:
            raise AssertionError("nginx does not start")
        self.url = "%s://127.0.0.1:%d" % ("https" if tls else "http", self.port)

    def requests(self):
        """[(protocol, connection, status, path)], of those that are over."""
        with open(self.top + "/access.txt") as f:
            return [tuple(line.split(" ")[:4]) for line in f.read().splitlines()]

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


class Versitygw:
    """A real S3 server over a directory whose folders are the buckets."""

    def __init__(self, t, program, root, key, secret):
        self.t = t
        self.log = t.name("versitygw") + ".log"
        for _ in range(20):
            self.port = random.randrange(20000, 32000)
            with open(self.log, "wb") as log:
                self.process = subprocess.Popen(
                    [program, "--port", "127.0.0.1:%d" % self.port, "--keep-alive", "posix", "--sidecar",
                     self._made(t.name("sidecar")), root],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                    env=dict(os.environ, ROOT_ACCESS_KEY_ID=key, ROOT_SECRET_ACCESS_KEY=secret))
            if t.until(self._answers_or_died, "versitygw") == "answers":
                break
        else:
            raise AssertionError("versitygw does not start")
        self.url = "http://127.0.0.1:%d" % self.port

    @staticmethod
    def _made(path):
        os.mkdir(path)
        return path

    _answers_or_died = Nginx._answers_or_died

    def close(self):
        self.process.kill()
        self.process.wait(self.t.seconds(10))
