# SPDX-License-Identifier: Apache-2.0
"""Everything that tools/bench starts, and the promise that it ends: mounts, servers, clients. Whatever way the program
leaves (end, exception, SIGINT, SIGTERM), Stage.close unmounts lazily, kills what it started and removes its folder."""
import atexit
import contextlib
import glob
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time

CONNECTIONS = 64


class Failed(Exception):
    """A row cannot be measured; the text says why."""


def cpu_times():
    """(all, idle) of all processors, in ticks."""
    with open("/proc/stat", encoding="utf-8") as f:
        t = [int(x) for x in f.readline().split()[1:9]]
    return sum(t), t[3] + t[4]


def read_text(path):
    with open(path, encoding="utf-8") as f:
        return f.read()


def undisturbed():
    """For a child: a scheduling group of its own, before others where that is allowed. Of no use to the ratios on a
    quiet machine, and a help on another."""
    os.setsid()
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, -10)
        with open("/proc/self/autogroup", "w", encoding="ascii") as f:
            f.write("-10")


def end(proc, seconds):
    """Of a process that has been told to: by force when it does not."""
    try:
        proc.wait(seconds)
    except subprocess.TimeoutExpired:
        proc.kill()
        proc.wait()


class Stage:
    """A private folder with what runs in it."""

    def __init__(self, build):
        self.build = build
        self.threads = os.cpu_count()
        self.dir = tempfile.mkdtemp(prefix="voxfs-bench-")
        self.open = []
        self.numbered = 0
        atexit.register(self.close)
        for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(s, lambda n, _: sys.exit(128 + n))

    def path(self, stem):
        self.numbered += 1
        return os.path.join(self.dir, f"{stem}{self.numbered}")

    def close(self):
        for s in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(s, signal.SIG_IGN)
        while self.open:
            with contextlib.suppress(Exception):
                self.open.pop().stop()
        if not any(self.dir in line for line in open("/proc/self/mountinfo", encoding="utf-8")):
            shutil.rmtree(self.dir, ignore_errors=True)

    def add(self, thing):
        self.open.append(thing)
        return thing

    def drop(self, thing):
        if thing in self.open:
            self.open.remove(thing)

    @staticmethod
    def calm(patience=1.0):
        """Waits, not for ever, until nobody else is using the processors."""
        deadline = time.monotonic() + patience
        busy = 1.0
        while busy > 0.15 and time.monotonic() < deadline:
            a = cpu_times()
            time.sleep(0.05)
            b = cpu_times()
            busy = 1 - (b[1] - a[1]) / max(1, b[0] - a[0])

    # ---- voxbench ----

    def tool(self, command, stdin=None, **args):
        """Runs a command of voxbench, returns what it printed."""
        line = [os.path.join(self.build, "tools/voxbench"), command] + [f"{k}={v}" for k, v in args.items()]
        r = subprocess.run(line, input=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
                           preexec_fn=undisturbed)
        if r.returncode:
            raise Failed(f"voxbench {command}: {r.stderr.strip()[-300:]}")
        return json.loads(r.stdout)

    @contextlib.contextmanager
    def running_tool(self, command, **args):
        """Starts one that prints a line and stays until its input ends; gives that line."""
        p = self.add(Child(self, [os.path.join(self.build, "tools/voxbench"), command]
                           + [f"{k}={v}" for k, v in args.items()]))
        try:
            line = p.proc.stdout.readline()
            if not line:
                raise Failed(f"voxbench {command} did not start")
            yield json.loads(line)
        finally:
            p.stop()


class Child:
    """A process that ends when its input does."""

    def __init__(self, stage, line):
        self.stage = stage
        self.proc = subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                                     preexec_fn=undisturbed)

    def stop(self):
        with contextlib.suppress(OSError):
            self.proc.stdin.close()
        end(self.proc, 5)
        self.stage.drop(self)


class Mount:
    """with Mount(stage, url, cache="4G") as m: m.box("0-64_0-64_0-64"), m.stats(), m.pid; m.pids:
    the keeper and the server, which does the work."""

    def __init__(self, stage, url, **options):
        self.stage = stage
        self.point = stage.path("mnt")
        os.mkdir(self.point)
        self.log = open(stage.path("log"), "w+", encoding="utf-8")
        options = {"name": "v", "threads": stage.threads, "connections": CONNECTIONS} | options
        listed = ",".join(f"{k}={v}" for k, v in options.items())
        self.proc = subprocess.Popen([os.path.join(stage.build, "fs/voxfs"), url, self.point, "-f", "-o", listed],
                                     stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, preexec_fn=undisturbed)
        self.pid = self.proc.pid
        stage.add(self)
        self.wait_until_up()
        self.pids = [self.pid, self.stats()["server"]["pid"]]

    def wait_until_up(self):
        deadline = time.monotonic() + 20
        while not os.path.isdir(self.point + "/.voxfs"):
            if self.proc.poll() is not None or time.monotonic() > deadline:
                self.log.seek(0)
                raise Failed(f"voxfs does not mount: {self.log.read().strip()[-300:]}")
            time.sleep(0.002)

    def wait_until_ready(self, patience=60.0):
        """Until the daemon has made ready, in the background, what memory it wants to have at hand: the thread that
        does it has come to rest. Then until a host that takes back what was freed before has done so: it begins two
        seconds later, and holds up whoever uses memory meanwhile."""
        deadline, last, same = time.monotonic() + patience, (-1, -1.0), 0
        while same < 6 and time.monotonic() < deadline:
            now = (self.stats()["cache"]["ready_bytes"], self.cpu(warm=True))
            same = same + 1 if now[0] == last[0] and now[1] - last[1] < 0.002 else 0
            last = now
            time.sleep(0.025)
        if same < 6:
            raise Failed("the daemon does not get its memory ready")
        time.sleep(2.5)

    def box(self, name):
        return f"{self.point}/v/{name}.raw"

    def stats(self):
        with open(self.point + "/.voxfs/stats.json", encoding="utf-8") as f:
            return json.load(f)

    def cpu(self, warm=False):
        """Processor seconds that the daemon's threads have used: the one that makes memory ready, or the others."""
        ns = 0
        for where in itertools.chain(*(glob.glob(f"/proc/{pid}/task/*/") for pid in self.pids)):
            with contextlib.suppress(OSError):
                if (read_text(where + "comm") == "vx-warm\n") == warm:
                    ns += int(read_text(where + "schedstat").split()[0])
        return ns / 1e9

    def stop(self):
        subprocess.run(["umount", "-l", self.point], stderr=subprocess.DEVNULL, check=False)
        end(self.proc, 10)
        self.log.close()
        self.stage.drop(self)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()


NGINX = """
{user}
worker_processes {workers};
pid {dir}/pid;
error_log {dir}/error.log;
daemon off;
events {{ worker_connections 2048; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    keepalive_requests 1000000;
    keepalive_timeout 600;
    default_type application/octet-stream;
    client_body_temp_path {dir}/body; proxy_temp_path {dir}/proxy; fastcgi_temp_path {dir}/fastcgi;
    uwsgi_temp_path {dir}/uwsgi; scgi_temp_path {dir}/scgi;
    server {{
        listen 127.0.0.1:{port} backlog=1024;
        root {root};
        gzip_static {gzip};
    }}
}}
"""


def free_port():
    import socket
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Nginx:
    """Serves a folder on the loopback; files that end in .gz also without the suffix, as Content-Encoding: gzip."""

    def __init__(self, stage, root):
        if not shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin"):
            raise Failed("nginx is not installed")
        self.stage = stage
        self.port = free_port()
        where = stage.path("nginx")
        os.mkdir(where)
        with open(where + "/conf", "w", encoding="utf-8") as f:
            f.write(NGINX.format(user="user root;" if os.geteuid() == 0 else "", workers=stage.threads, dir=where,
                                 port=self.port, root=root, gzip="on"))
        self.proc = subprocess.Popen([shutil.which("nginx", path=os.environ["PATH"] + ":/usr/sbin"), "-p", where,
                                      "-c", where + "/conf", "-e", where + "/error.log"], stdin=subprocess.DEVNULL,
                                     preexec_fn=undisturbed)
        stage.add(self)
        self.url = f"http://127.0.0.1:{self.port}"
        self.wait_until_up()

    def wait_until_up(self):
        import urllib.error
        import urllib.request
        deadline = time.monotonic() + 10
        while True:
            try:
                urllib.request.urlopen(self.url + "/", timeout=1)
                return
            except urllib.error.HTTPError:
                return
            except OSError:
                if self.proc.poll() is not None or time.monotonic() > deadline:
                    raise Failed("nginx does not start") from None
                time.sleep(0.01)

    def stop(self):
        self.proc.terminate()
        end(self.proc, 5)
        self.stage.drop(self)
