#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""A small HTTP/1.1 file server that misbehaves when told to. Python's standard library only.

    faultd.py --root DIR [--port 0] [--log FILE] [--rules FILE]

Prints "PORT n" once it listens on 127.0.0.1 and ends when its standard input closes, or at SIGTERM, so that no test
leaves it behind. One thread, asyncio, keep-alive; hundreds of connections at once are fine.

Serves GET and HEAD of files below DIR with a correct Content-Length. When a file is absent but FILE.gz, FILE.br or
FILE.zstd is there, that one is served with the Content-Encoding it tells of, as a bucket does that CloudVolume wrote.
One byte range is served (206, or 416 when it starts past the end); an ETag is sent, and If-None-Match understood.

Control:
    POST /__faults   body: a JSON list of rules, which replaces the rules in force
    POST /__reset    forgets rules and counts
    GET  /__stats    {"total": requests, "paths": {path: requests}, "connections": opened in all,
                      "max_connections": open at once, "max_concurrent": requests under way at once,
                      "ranges": {path: {value of the Range header: requests}}, "faults": rules applied, "last": {path: headers of its last request, names in lower case}}
Control requests are not counted, and neither are their connections.

A rule: {"match": regex searched in the path (with its query), "do": what, "times": n or null for always,
"skip": requests to let pass first (0), "held": true for not before other rules are in force, ...}. The first rule that
matches and is not used up applies. What:
    status    answer "status" with "headers" {name: value} and "body" (text)
    delay     wait "ms", then answer properly
    drip      answer properly, but the body in "parts" (10) with "ms" (100) before each
    hold      answer properly once the path has been asked for "requests" times
    stall     send the head and half the body, then nothing for "seconds" (3600), then close; "at": "head" sends nothing
    cut       send the whole head, "bytes" (half) of the body, then close
    lie       Content-Length is off by "delta"; the connection closes after the body
    nolength  no Content-Length: "how": "chunked" (default) or "close"
    garbage   "bytes" (4096) random bytes instead of an answer; "where": "body" keeps head and length, spoils the body
    redirect  "status" (302) to "to"; to the very same URL without it; "to": "loop" counts up without end
    reset     RST at once; "after": n bytes of the body first
    encoding  a Content-Encoding of "value" ("bogus")
    norange   answer with the whole object and 200, whatever range was asked for; "chunked": true leaves its length out
    range     a 206 whose Content-Range is "value", with "body" (text), whatever was asked for
    oversize  "bytes" more than the file has, Content-Length included; "chunked": true leaves it out
"""
import argparse
import asyncio
import json
import os
import random
import re
import signal
import socket
import struct
import sys
import urllib.parse
import zlib

VARIANTS = (("", None), (".gz", "gzip"), (".br", "br"), (".zstd", "zstd"))
REASONS = {200: "OK", 206: "Partial Content", 302: "Found", 304: "Not Modified", 404: "Not Found",
           405: "Method Not Allowed", 416: "Range Not Satisfiable"}


class Close(Exception):
    """Ends the connection."""


class Counts:
    def __init__(self):
        self.total = self.connections = self.open = self.max_connections = 0
        self.busy = self.max_concurrent = self.faults = 0
        self.paths = {}
        self.ranges = {}
        self.last = {}

    def as_json(self):
        return {"total": self.total, "paths": self.paths, "connections": self.connections,
                "max_connections": self.max_connections, "max_concurrent": self.max_concurrent,
                "ranges": self.ranges, "faults": self.faults, "last": self.last}


class Rule:
    def __init__(self, spec):
        self.spec = spec
        self.match = re.compile(spec["match"])
        self.skip = spec.get("skip", 0)
        self.times = spec.get("times")
        if getattr(Connection, "do_" + spec["do"], None) is None:
            raise ValueError("no such fault: " + spec["do"])

    def applies(self, path):
        if self.times == 0 or not self.match.search(path):
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.times is not None:
            self.times -= 1
        return True


class Server:
    def __init__(self, root, log):
        self.root = os.path.realpath(root)
        self.log = log
        self.rules = []
        self.counts = Counts()

    def find(self, path):
        """The bytes of an object and their encoding, or (None, None)."""
        name = urllib.parse.unquote(path.split("?")[0])
        for suffix, encoding in VARIANTS:
            full = os.path.normpath(self.root + "/" + name + suffix)
            if not full.startswith(self.root + "/"):
                continue
            try:
                with open(full, "rb") as f:
                    return f.read(), encoding
            except OSError:
                continue
        return None, None

    def rule_for(self, path):
        for rule in self.rules:
            if rule.applies(path):
                self.counts.faults += 1
                return rule.spec
        return None

    async def serve(self, reader, writer):
        try:
            await Connection(self, reader, writer).run()
        except (Close, ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError):
            pass
        finally:
            writer.close()


class Connection:
    def __init__(self, server, reader, writer):
        self.server, self.reader, self.writer = server, reader, writer
        self.counted = None
        writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def run(self):
        try:
            while await self.one_request():
                pass
        finally:
            if self.counted:
                self.counted.open -= 1

    async def one_request(self):
        try:
            head = await self.reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return False
        lines = head.decode("latin-1").split("\r\n")
        method, path, _ = lines[0].split(" ", 2)
        headers = {k.lower(): v.strip() for k, v in (line.split(":", 1) for line in lines[1:] if ":" in line)}
        body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        self.head_only = method == "HEAD"
        self.headers = headers
        keep = headers.get("connection", "").lower() != "close"
        if path.startswith("/__"):
            await self.control(method, path, body)
            return keep
        counts = self.count(path, headers)
        counts.busy += 1
        counts.max_concurrent = max(counts.max_concurrent, counts.busy)
        try:
            await self.answer(method, path)
        finally:
            counts.busy -= 1
        return keep

    def count(self, path, headers):
        c = self.server.counts
        if self.counted is not c:
            self.counted = c
            c.connections += 1
            c.open += 1
            c.max_connections = max(c.max_connections, c.open)
        c.total += 1
        c.paths[path] = c.paths.get(path, 0) + 1
        c.last[path] = headers
        if "range" in headers:
            of_path = c.ranges.setdefault(path, {})
            of_path[headers["range"]] = of_path.get(headers["range"], 0) + 1
        return c

    async def control(self, method, path, body):
        s = self.server
        status, reply = 200, {"ok": True}
        if method == "POST" and path == "/__faults":
            try:
                s.rules = [Rule(r) for r in json.loads(body)]
            except (ValueError, KeyError, TypeError, re.error) as e:
                status, reply = 400, {"ok": False, "why": str(e)}
        elif method == "POST" and path == "/__reset":
            s.rules, s.counts = [], Counts()
        elif method == "GET" and path == "/__stats":
            reply = s.counts.as_json()
        else:
            status, reply = 404, {"ok": False}
        await self.send(status, json.dumps(reply).encode(), {"Content-Type": "application/json"})

    async def answer(self, method, path):
        rule = self.server.rule_for(path)
        if self.server.log:
            print(method, path, rule["do"] if rule else "-", file=self.server.log, flush=True)
        data, encoding = self.server.find(path)
        headers = {"Content-Encoding": encoding} if encoding else {}
        if method not in ("GET", "HEAD"):
            await self.send(405, b"", {})
        elif rule:
            while rule.get("held") and any(rule is r.spec for r in self.server.rules):
                await asyncio.sleep(0.002)
            await getattr(self, "do_" + rule["do"])(rule, path, data, headers)
        else:
            await self.proper(data, headers)

    async def proper(self, data, headers):
        if data is None:
            await self.send(404, b"no such object\n", {})
            return
        headers = dict(headers, ETag='"%08x"' % zlib.crc32(data))
        wanted = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("range", ""))
        if self.headers.get("if-none-match") == headers["ETag"]:
            await self.send(304, b"", headers, send_length=False)
        elif wanted and any(wanted.groups()):
            await self.send_range(data, headers, *wanted.groups())
        else:
            await self.send(200, data, headers)

    async def send_range(self, data, headers, first, last):
        size = len(data)
        first, last = (int(first), int(last or size)) if first else (max(0, size - int(last)), size)
        last = min(last, size - 1)
        if first > last:
            await self.send(416, b"", dict(headers, **{"Content-Range": "bytes */%d" % size}))
        else:
            headers["Content-Range"] = "bytes %d-%d/%d" % (first, last, size)
            await self.send(206, data[first:last + 1], headers)

    async def send(self, status, data, headers, length=None, send_length=True):
        await self.send_head(status, headers, (len(data) if length is None else length) if send_length else None)
        if not self.head_only:
            await self.send_bytes(data)

    async def send_head(self, status, headers, length):
        lines = ["HTTP/1.1 %d %s" % (status, REASONS.get(status, "Status"))]
        lines += ["%s: %s" % h for h in headers.items()]
        if length is not None:
            lines.append("Content-Length: %d" % length)
        await self.send_bytes(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    async def send_bytes(self, data):
        if data:
            self.writer.write(data)
            await self.writer.drain()

    def abort(self):
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
        raise Close

    # --- faults: each takes the rule, the path, the object's bytes (None: absent) and its headers ---

    async def do_status(self, rule, path, data, headers):
        await self.send(rule["status"], rule.get("body", "").encode(), rule.get("headers", {}))

    async def do_delay(self, rule, path, data, headers):
        await asyncio.sleep(rule.get("ms", 100) / 1000)
        await self.proper(data, headers)

    async def do_drip(self, rule, path, data, headers):
        data, parts = data or b"", rule.get("parts", 10)
        await self.send_head(200, headers, len(data))
        for i in range(parts):
            await asyncio.sleep(rule.get("ms", 100) / 1000)
            await self.send_bytes(data[len(data) * i // parts:len(data) * (i + 1) // parts])

    async def do_hold(self, rule, path, data, headers):
        while self.server.counts.paths.get(path, 0) < rule["requests"]:
            await asyncio.sleep(0.002)
        await self.proper(data, headers)

    async def do_stall(self, rule, path, data, headers):
        data = data or b""
        if rule.get("at") != "head":
            await self.send_head(200, headers, len(data))
            await self.send_bytes(data[:len(data) // 2])
        # A client that gives up meanwhile frees this at once.
        try:
            await asyncio.wait_for(self.reader.read(1), rule.get("seconds", 3600))
        except asyncio.TimeoutError:
            pass
        raise Close

    async def do_cut(self, rule, path, data, headers):
        data = data or b""
        await self.send_head(200, headers, len(data))
        await self.send_bytes(data[:rule.get("bytes", len(data) // 2)])
        raise Close

    async def do_lie(self, rule, path, data, headers):
        data = data or b""
        await self.send(200, data, headers, length=max(0, len(data) + rule["delta"]))
        raise Close

    async def do_nolength(self, rule, path, data, headers):
        if rule.get("how") == "close":
            await self.send(200, data or b"", dict(headers, Connection="close"), send_length=False)
            raise Close
        await self.send_chunked(data or b"", headers)

    async def send_chunked(self, data, headers):
        await self.send_head(200, dict(headers, **{"Transfer-Encoding": "chunked"}), None)
        for at in range(0, len(data), 65536):
            part = data[at:at + 65536]
            await self.send_bytes(b"%x\r\n" % len(part) + part + b"\r\n")
        await self.send_bytes(b"0\r\n\r\n")

    async def do_garbage(self, rule, path, data, headers):
        if rule.get("where") == "body":
            await self.send(200, random.randbytes(len(data or b"")), headers)
            return
        # Never the start of a status line.
        await self.send_bytes(b"\xff" + random.randbytes(rule.get("bytes", 4096)))
        raise Close

    async def do_redirect(self, rule, path, data, headers):
        to = rule.get("to", path)
        if to == "loop":
            base, _, n = path.partition("?n=")
            to = "%s?n=%d" % (base, int(n or 0) + 1)
        await self.send(rule.get("status", 302), b"elsewhere\n", {"Location": to})

    async def do_reset(self, rule, path, data, headers):
        if rule.get("after"):
            await self.send_head(200, headers, len(data or b""))
            await self.send_bytes((data or b"")[:rule["after"]])
        self.abort()

    async def do_encoding(self, rule, path, data, headers):
        await self.proper(data, dict(headers, **{"Content-Encoding": rule.get("value", "bogus")}))

    async def do_norange(self, rule, path, data, headers):
        if rule.get("chunked"):
            await self.send_chunked(data or b"", headers)
        else:
            await self.send(200, data or b"", headers)

    async def do_range(self, rule, path, data, headers):
        await self.send(206, rule.get("body", "").encode(), dict(headers, **{"Content-Range": rule["value"]}))

    async def do_oversize(self, rule, path, data, headers):
        data = (data or b"") + bytes(rule.get("bytes", 1))
        if rule.get("chunked"):
            await self.send_chunked(data, headers)
        else:
            await self.send(200, data, headers)


async def end_of_input():
    loop = asyncio.get_running_loop()
    end = loop.create_future()

    def finish():
        if not end.done():
            end.set_result(None)

    def readable():
        if not os.read(0, 4096):
            loop.remove_reader(0)
            finish()

    loop.add_signal_handler(signal.SIGTERM, finish)
    loop.add_signal_handler(signal.SIGINT, finish)
    try:
        loop.add_reader(0, readable)
    except (OSError, ValueError):
        pass  # a plain file or /dev/null, which says nothing about whoever started us: SIGTERM remains
    await end


async def main():
    p = argparse.ArgumentParser(description="HTTP file server with faults; see the head of this file")
    p.add_argument("--root", required=True)
    p.add_argument("--port", type=int, default=0)
    p.add_argument("--log")
    p.add_argument("--rules", help="JSON file with the rules to start with")
    a = p.parse_args()
    random.seed(1)
    server = Server(a.root, open(a.log, "a") if a.log else None)
    if a.rules:
        with open(a.rules) as f:
            server.rules = [Rule(r) for r in json.load(f)]
    listener = await asyncio.start_server(server.serve, "127.0.0.1", a.port, backlog=1024, limit=1 << 17)
    print("PORT %d" % listener.sockets[0].getsockname()[1], flush=True)
    await end_of_input()
    sys.stdout.flush()
    os._exit(0)  # connections under way have nobody left to answer to


if __name__ == "__main__":
    asyncio.run(main())
