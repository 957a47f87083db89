#!/usr/bin/python3
# SPDX-License-Identifier: Apache-2.0
"""Clouds in small: a bucket server that checks every signature, and the servers from which credentials come. Python's
standard library only.

    cloudd.py --root DIR [--port 0]

Prints "PORT n" once it listens on 127.0.0.1 and ends when its standard input closes. DIR/BUCKET/KEY is served as
/BUCKET/KEY, with ranges; objects NAME.gz answer for NAME with their Content-Encoding.

    POST /__state   body: JSON, merged into the state below
    POST /__reset   the state and counts as at the start
    GET  /__stats   {"asks": {what: times}, "paths": {"METHOD path": times}, "last": {header: value}, "refused": [why]}

State:
    keys      {id: {"secret": s, "session": s or absent}}   what SigV4 signatures may be made with
    tokens    [bearer tokens that are accepted]
    public    [buckets that anybody may read]
    region    the region that signatures must name ("us-east-1"); another is told with x-amz-bucket-region
    service   "s3"
    issue     what the metadata servers and STS hand out: {"id", "secret", "session", "seconds"}
    oauth     {"n": modulus in hex, "iss": mail, "refresh": {client_id, client_secret, refresh_token}, "seconds": life}
    gate      the authorization that the container's endpoint wants
    payer     whether x-amz-request-payer is wanted
    fail      {what: [HTTP statuses to answer with first]}
"""
import argparse
import base64
import datetime
import gzip
import hashlib
import hmac
import http.server
import json
import os
import re
import sys
import threading
import time
import urllib.parse

EMPTY = {"keys": {}, "tokens": [], "public": [], "region": "us-east-1", "issue": {}, "oauth": {}, "gate": None,
         "payer": False, "fail": {}}
ROLE = "/latest/meta-data/iam/security-credentials/"
lock = threading.Lock()


class Refused(Exception):
    def __init__(self, status, why, headers=()):
        super().__init__(why)
        self.status, self.why, self.headers = status, why, dict(headers)


def reset():
    global state, stats, issued
    state = json.loads(json.dumps(EMPTY))
    stats = {"asks": {}, "paths": {}, "last": {}, "refused": []}
    issued = 0


def sign(key, text):
    return hmac.new(key, text.encode(), hashlib.sha256).digest()


def unbase64(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def encode(text):
    return urllib.parse.quote(text, safe="-._~")


def canonical(method, target, headers, signed):
    path, _, query = target.partition("?")
    pairs = sorted((encode(k), encode(v)) for k, v in urllib.parse.parse_qsl(query, keep_blank_values=True))
    lines = [method, "/".join(encode(urllib.parse.unquote(s)) for s in path.split("/")),
             "&".join(k + "=" + v for k, v in pairs)]
    lines += ["%s:%s" % (h, " ".join(headers[h].split())) for h in signed]
    return "\n".join(lines + ["", ";".join(signed), headers["x-amz-content-sha256"]])


def check_signature(method, target, headers):
    """As S3 does; returns the key's id."""
    m = re.fullmatch(r"AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/s3/aws4_request, *"
                     r"SignedHeaders=([a-z0-9;-]+), *Signature=([0-9a-f]{64})", headers["authorization"])
    if not m:
        raise Refused(400, "AuthorizationHeaderMalformed: " + headers["authorization"].split("Signature")[0])
    name, day, region, signed, signature = m.groups()
    signed = signed.split(";")
    key = state["keys"].get(name)
    if not key:
        raise Refused(403, "InvalidAccessKeyId")
    if region != state["region"]:
        raise Refused(400, "AuthorizationHeaderMalformed: region", {"x-amz-bucket-region": state["region"]})
    must = {"host"} | {h for h in headers if h.startswith("x-amz-")}
    if signed != sorted(signed) or not must <= set(signed) or not set(signed) <= set(headers):
        raise Refused(403, "AccessDenied: headers not signed: %s of %s" % (signed, sorted(must)))
    if {"accept-encoding", "user-agent"} & set(signed):
        raise Refused(403, "headers are signed that proxies change")
    if headers.get("x-amz-content-sha256") != hashlib.sha256(b"").hexdigest():
        raise Refused(400, "XAmzContentSHA256Mismatch")
    when = headers["x-amz-date"]
    at = datetime.datetime.strptime(when, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.timezone.utc).timestamp()
    if not when.startswith(day) or abs(at - time.time()) > 900:
        raise Refused(403, "RequestTimeTooSkewed")
    if headers.get("x-amz-security-token") != key.get("session"):
        raise Refused(400, "ExpiredToken")
    text = "\n".join(["AWS4-HMAC-SHA256", when, "%s/%s/s3/aws4_request" % (day, region),
                      hashlib.sha256(canonical(method, target, headers, signed).encode()).hexdigest()])
    k = ("AWS4" + key["secret"]).encode()
    for part in (day, region, "s3", "aws4_request"):
        k = sign(k, part)
    if not hmac.compare_digest(sign(k, text).hex(), signature):
        raise Refused(403, "SignatureDoesNotMatch")
    return name


def check_jwt(jwt):
    """RS256 with the modulus of the state."""
    head, claims, signature = jwt.split(".")
    o = state["oauth"]
    n = int(o["n"], 16)
    size = (n.bit_length() + 7) // 8
    plain = pow(int.from_bytes(unbase64(signature), "big"), 65537, n).to_bytes(size, "big")
    digest = hashlib.sha256((head + "." + claims).encode()).digest()
    tail = bytes.fromhex("3031300d060960864801650304020105000420") + digest
    if plain != b"\0\1" + b"\xff" * (size - len(tail) - 3) + b"\0" + tail:
        raise Refused(400, "the signature is wrong")
    c = json.loads(unbase64(claims))
    if json.loads(unbase64(head))["alg"] != "RS256" or c["iss"] != o["iss"] or not c["aud"].endswith("/token"):
        raise Refused(400, "the claims are wrong")
    if abs(c["iat"] - time.time()) > 60 or c["exp"] != c["iat"] + 3600 or "devstorage" not in c["scope"]:
        raise Refused(400, "the claims are wrong")


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, *args):
        pass

    def send(self, status, data=b"", headers=()):
        self.send_response_only(status)
        for k, v in dict(headers).items():
            self.send_header(k, v)
        if status != 304:
            self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def send_json(self, value):
        self.send(200, json.dumps(value).encode())

    def handle_any(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.low = {k.lower(): v for k, v in self.headers.items()}
        try:
            with lock:
                answer = self.answer(body)
            self.send(*answer) if isinstance(answer, tuple) else self.send_json(answer)
        except Refused as e:
            with lock:
                stats["refused"].append(e.why)
            word = e.why.split(":")[0]
            xml = '<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>%s</Code><Message>%s</Message></Error>'
            self.send(e.status, (xml % (word, e.why)).encode() if word.isalnum() else e.why.encode(), e.headers)

    do_GET = do_PUT = do_POST = handle_any

    def answer(self, body):
        if self.path == "/__state":
            state.update(json.loads(body))
            return {}
        if self.path == "/__reset":
            reset()
            return {}
        if self.path == "/__stats":
            return stats
        path = self.path.split("?")[0]
        what = {"/latest/api/token": "imds_token", ROLE: "imds_role", ROLE + "the-role": "imds_keys", "/ecs": "ecs",
                "/sts": "sts", "/token": "oauth"}.get(path)
        if path.startswith("/computeMetadata/"):
            what = "gce"
        stats["last"] = self.low
        name = self.command + " " + self.path
        stats["paths"][name] = stats["paths"].get(name, 0) + 1
        if what:
            stats["asks"][what] = stats["asks"].get(what, 0) + 1
        failures = state["fail"].get(what or "object")
        if failures:
            raise Refused(failures.pop(0), "told to fail")
        return getattr(self, "ask_" + what)(body) if what else self.get_object(path)

    # --- credentials ---

    def issued_keys(self):
        """Fresh keys, which signatures may be made with from now on."""
        global issued
        i = state["issue"]
        if not i:
            raise Refused(404, "no role")
        issued += 1
        session = "%s-%d" % (i["session"], issued)
        state["keys"] = {i["id"]: {"secret": i["secret"], "session": session}}
        until = datetime.datetime.fromtimestamp(time.time() + i.get("seconds", 3600), datetime.timezone.utc)
        return {"AccessKeyId": i["id"], "SecretAccessKey": i["secret"], "Token": session,
                "Expiration": until.strftime("%Y-%m-%dT%H:%M:%SZ")}

    def ask_imds_token(self, body):
        if self.command != "PUT" or not self.low["x-aws-ec2-metadata-token-ttl-seconds"].isdigit():
            raise Refused(400, "not IMDSv2")
        return 200, b"machine-token"

    def need_machine_token(self):
        if self.low.get("x-aws-ec2-metadata-token") != "machine-token":
            raise Refused(401, "no machine token")

    def ask_imds_role(self, body):
        self.need_machine_token()
        if not state["issue"]:
            raise Refused(404, "no role")
        return 200, b"the-role"

    def ask_imds_keys(self, body):
        self.need_machine_token()
        return dict(self.issued_keys(), Code="Success", Type="AWS-HMAC")

    def ask_ecs(self, body):
        if self.low.get("authorization") != state["gate"]:
            raise Refused(403, "no authorization")
        return self.issued_keys()

    def ask_sts(self, body):
        q = dict(urllib.parse.parse_qsl(body.decode()))
        if (q["Action"], q["RoleArn"], q["WebIdentityToken"]) != ("AssumeRoleWithWebIdentity", "arn:role/x+y", "web/id="):
            raise Refused(403, "not this role")
        k = self.issued_keys()
        k["SessionToken"] = k.pop("Token")
        xml = "".join("<%s>%s</%s>" % (n, v, n) for n, v in k.items())
        return 200, ("<R xmlns=\"x\"><Credentials>%s</Credentials></R>" % xml).encode()

    def issued_token(self):
        global issued
        issued += 1
        token = "ya29.token-%d" % issued
        state["tokens"] = [token]
        return {"access_token": token, "expires_in": state["oauth"].get("seconds", 3600), "token_type": "Bearer"}

    def ask_gce(self, body):
        if self.low.get("metadata-flavor") != "Google":
            raise Refused(403, "no flavor")
        if not state["oauth"]:
            raise Refused(404, "no service account")
        return self.issued_token()

    def ask_oauth(self, body):
        q = dict(urllib.parse.parse_qsl(body.decode()))
        if q["grant_type"] == "refresh_token":
            if {k: v for k, v in q.items() if k != "grant_type"} != state["oauth"].get("refresh"):
                raise Refused(400, "invalid_grant")
        else:
            check_jwt(q["assertion"])
        return self.issued_token()

    # --- objects ---

    def authorize(self, bucket):
        authorization = self.low.get("authorization", "")
        if authorization.startswith("Bearer "):
            if authorization[7:] not in state["tokens"]:
                raise Refused(401, "this token is not accepted")
        elif authorization:
            check_signature(self.command, self.path, self.low)
        elif bucket not in state["public"]:
            raise Refused(403, "AccessDenied: anonymous")
        if state["payer"] and self.low.get("x-amz-request-payer") != "requester":
            raise Refused(403, "AccessDenied: who pays?")

    def get_object(self, path):
        name = os.path.normpath(urllib.parse.unquote(path)).lstrip("/")
        self.authorize(name.split("/")[0])
        if not os.path.isdir(os.path.join(root, name.split("/")[0])):
            raise Refused(404, "NoSuchBucket")
        for suffix, headers in (("", {}), (".gz", {"Content-Encoding": "gzip"})):
            try:
                with open(os.path.join(root, name + suffix), "rb") as f:
                    data = f.read()
                break
            except OSError:
                continue
        else:
            raise Refused(404, "NoSuchKey")
        if suffix and "gzip" not in self.low.get("accept-encoding", ""):
            data, headers = gzip.decompress(data), {}
        headers["ETag"] = '"%s"' % hashlib.md5(data).hexdigest()
        if self.low.get("if-none-match") == headers["ETag"]:
            return 304, b"", headers
        return self.ranged(data, headers)

    def ranged(self, data, headers):
        m = re.fullmatch(r"bytes=(\d*)-(\d*)", self.low.get("range", ""))
        if not m:
            return 200, data, headers
        size = len(data)
        first, last = (int(m[1]), int(m[2] or size)) if m[1] else (max(0, size - int(m[2])), size)
        last = min(last, size - 1)
        if first > last:
            raise Refused(416, "InvalidRange", {"Content-Range": "bytes */%d" % size})
        headers["Content-Range"] = "bytes %d-%d/%d" % (first, last, size)
        return 206, data[first:last + 1], headers


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256

    def handle_error(self, request, address):
        if not isinstance(sys.exc_info()[1], ConnectionError):  # a client may leave when it likes
            super().handle_error(request, address)


def main():
    global root
    p = argparse.ArgumentParser(description="bucket and credential servers for tests; see the head of this file")
    p.add_argument("--root", required=True)
    p.add_argument("--port", type=int, default=0)
    a = p.parse_args()
    root = os.path.realpath(a.root)
    reset()
    server = Server(("127.0.0.1", a.port), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print("PORT %d" % server.server_port, flush=True)
    while sys.stdin.buffer.read1(4096):
        pass
    os._exit(0)


if __name__ == "__main__":
    main()
