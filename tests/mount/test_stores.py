# SPDX-License-Identifier: Apache-2.0
"""Volumes in buckets and behind TLS: every way to the same bytes, and secrets that stay where they are."""
import errno
import json
import os
import re
import subprocess

from kit import equal, fails, needs, read_file

VOLUME = dict(size=(96, 64, 32), chunk=(32, 32, 32), dtype="uint16", kind="index")
BOX = ((5, 90), (0, 64), (3, 30))
KEY, SECRET, SESSION = "AKIAVOXFSTEST", "vErY+sEcReT/kEy=", "a-session-token-for-voxfs"
ENVIRONMENT = ("AWS_", "GOOGLE_", "GS_", "GCE_", "CLOUD", "BOTO", "NETRC", "STORAGE_", "NO_GCE", "CURL_CA", "SSL_CERT")


def home(t):
    """An environment that knows no credentials."""
    path = t.name("home")
    os.makedirs(path + "/.cloudvolume/secrets")
    for name in [n for n in t.env if n.startswith(ENVIRONMENT)]:
        del t.env[name]
    t.env.update(HOME=path, AWS_EC2_METADATA_DISABLED="true", NO_GCE_CHECK="true", no_proxy="*")
    return path


def buckets(t, volume):
    """A folder with the bucket `bucket` that has the volume at data/em."""
    root = t.name("buckets")
    os.makedirs(root + "/bucket/data")
    return root, volume.copied(root + "/bucket/data/em")


def write(path, value):
    with open(path, "w") as f:
        f.write(value if isinstance(value, str) else json.dumps(value))


def shown(m):
    """Everything that a mount says anywhere."""
    parts = [m.said(), m.errors(), json.dumps(m.stats()), m.read("info.json").decode()]
    for name in ("cmdline",):
        with open("/proc/%d/%s" % (m.pid, name)) as f:
            parts.append(f.read())
    return "".join(parts)


def check_volume(m, *secrets):
    """Bytes, a failure, and that no secret is to be seen."""
    m.check(BOX)
    m.check(((0, 96), (0, 64), (0, 32)))
    text = shown(m)
    for secret in secrets:
        assert secret not in text


def test_s3(t):
    home(t)
    root, v = buckets(t, t.volume(**VOLUME))
    c = t.cloudd(root)
    c.state(keys={KEY: {"secret": SECRET, "session": SESSION}})
    t.env.update(AWS_ENDPOINT_URL=c.url, AWS_ACCESS_KEY_ID=KEY, AWS_SECRET_ACCESS_KEY=SECRET, AWS_SESSION_TOKEN=SESSION)
    m = t.mount("precomputed://s3://bucket/data/em", volume=v)
    check_volume(m, SECRET, SESSION)
    # Revoked: EACCES, with a sentence that tells nothing.
    c.state(keys={})
    m.unmount()
    m = t.mount_fails("s3://bucket/data/em")
    assert "HTTP status 403" in m and SECRET not in m and SESSION not in m, m
    equal(c.counts()["refused"].count("SignatureDoesNotMatch"), 0, "wrong signatures")


def test_s3_keys_vanish(t):
    home(t)
    root, v = buckets(t, t.volume(**VOLUME))
    c = t.cloudd(root)
    c.state(keys={KEY: {"secret": SECRET}})
    t.env.update(AWS_ACCESS_KEY_ID=KEY, AWS_SECRET_ACCESS_KEY=SECRET)
    m = t.mount("precomputed://s3://%s/bucket/data/em/" % c.url, volume=v, name="em")
    c.state(keys={})
    path = m.file(BOX)
    fails(errno.EACCES, read_file, path)
    said = os.getxattr(path, "user.voxfs.error").decode()
    assert "HTTP status 403" in said and "s3://" in said, said
    assert SECRET not in shown(m) + said
    c.state(keys={KEY: {"secret": SECRET}})
    m.check(BOX)


def test_s3_role_of_the_machine(t):
    home(t)
    root, v = buckets(t, t.volume(**VOLUME))
    c = t.cloudd(root)
    c.state(issue={"id": KEY, "secret": SECRET, "session": SESSION})
    t.env.update(AWS_ENDPOINT_URL=c.url, AWS_EC2_METADATA_SERVICE_ENDPOINT=c.url, AWS_EC2_METADATA_DISABLED="false")
    m = t.mount("s3://bucket/data/em", volume=v)
    check_volume(m, SECRET, SESSION)
    equal(c.counts()["asks"]["imds_keys"], 1, "requests for keys")
    equal(m.stats("store.tokens"), 1, "searches for credentials")


def test_s3_real_server(t):
    """versitygw: keys with odd characters, ranges, wrong secrets, nobody."""
    folder = home(t)
    root, v = buckets(t, t.volume(**VOLUME))
    s = t.versitygw(root, KEY, SECRET)
    write(folder + "/.cloudvolume/secrets/aws-secret.json", {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET})
    m = t.mount("precomputed://s3://%s/bucket/data/em" % s.url, volume=v, name="em")
    check_volume(m, SECRET)
    m.unmount()
    odd = "a b+c=d&e~(f)'g!h@i,k;m$n\u00fc%20"
    os.rename(v.path, root + "/bucket/data/" + odd)
    m = t.mount("s3+%s/bucket/data/%s" % (s.url, odd), volume=v, name="em", wait=True)
    check_volume(m, SECRET)
    m.unmount()
    write(folder + "/.cloudvolume/secrets/aws-secret.json", {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": "no"})
    assert "HTTP status 403 (" in t.mount_fails("s3://%s/bucket/data/em" % s.url)
    os.unlink(folder + "/.cloudvolume/secrets/aws-secret.json")
    assert "HTTP status 403 (" in t.mount_fails("s3://%s/bucket/data/em" % s.url)


def test_public_buckets(t):
    home(t)
    root, v = buckets(t, t.volume(**VOLUME))
    c = t.cloudd(root)
    c.state(public=["bucket"])
    t.env.update(AWS_ENDPOINT_URL=c.url, STORAGE_EMULATOR_HOST=c.url)
    for source in ("s3://bucket/data/em", "precomputed://gs://bucket/data/em"):
        m = t.mount(source, volume=v)
        check_volume(m)
        m.unmount()
    assert "authorization" not in c.counts()["last"]


def test_gs_token_of_the_machine(t):
    home(t)
    del t.env["NO_GCE_CHECK"]
    root, v = buckets(t, t.volume(**VOLUME))
    c = t.cloudd(root)
    c.state(oauth={"seconds": 3600})
    t.env.update(STORAGE_EMULATOR_HOST=c.url, GCE_METADATA_HOST="127.0.0.1:%d" % c.port)
    m = t.mount("precomputed://gs://bucket/data/em", volume=v)
    check_volume(m, "ya29")
    c.state(tokens=[])  # revoked: another is asked for, and nobody notices
    m.check(((0, 96), (0, 64), (0, 32)))
    check_volume(m, "ya29")


def test_bearer_tokens(t):
    folder = home(t)
    root, v = buckets(t, t.volume(**VOLUME))
    c = t.cloudd(root)
    c.state(tokens=["cave-token-1"])
    write(folder + "/.cloudvolume/secrets/127.0.0.1-cave-secret.json", {"token": "cave-token-1"})
    m = t.mount("precomputed://%s/bucket/data/em" % c.url, volume=v)
    check_volume(m, "cave-token")


# --- TLS ---

def certificates(t):
    """(the CA's certificate, (a server's certificate, its key))"""
    top = t.name("tls")
    os.mkdir(top)

    def openssl(*args):
        subprocess.run(["openssl", *args], check=True, cwd=top, stdin=subprocess.DEVNULL, capture_output=True)

    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl("req", "-x509", *curve, "-keyout", "ca.key", "-out", "ca.pem", "-subj", "/CN=voxfs test", "-days", "2")
    openssl("req", *curve, "-keyout", "key", "-out", "request", "-subj", "/CN=127.0.0.1")
    write(top + "/more", "subjectAltName=IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", "request", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", "more", "-out", "pem")
    return top + "/ca.pem", (top + "/pem", top + "/key")


@needs("openssl")
def test_tls(t):
    home(t)
    v = t.volume(**VOLUME)
    ca, server = certificates(t)
    n = t.nginx(v.path, tls=server)
    said = t.mount_fails("precomputed://" + n.url)
    assert "certificate was not accepted" in said, said
    for variable in ("CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        t.env[variable] = ca
        m = t.mount("precomputed://" + n.url, volume=v)
        check_volume(m)
        m.unmount()
        del t.env[variable]


@needs("openssl")
def test_redirected_to_tls(t):
    """As servers are that have moved to it."""
    home(t)
    v = t.volume(**VOLUME)
    ca, server = certificates(t)
    n = t.nginx(v.path, tls=server)
    t.env["CURL_CA_BUNDLE"] = ca
    m, d = t.mount_http(v)
    chunks = [os.path.relpath(os.path.join(f, name), v.path) for f, _, names in os.walk(v.path) for name in names
              if name[0].isdigit() or name[0] == "-"]
    d.rules(*({"match": "/%s$" % re.escape(c), "do": "redirect", "to": "%s/%s" % (n.url, c)} for c in chunks))
    check_volume(m)
    assert len(n.requests()) >= len(chunks), n.requests()


@needs("openssl")
def test_http2(t):
    """Many requests at once in few connections."""
    home(t)
    v = t.volume(size=(256, 256, 64), chunk=(32, 32, 16), dtype="uint8", kind="index")
    ca, server = certificates(t)
    n = t.nginx(v.path, tls=server, protocol="http2")
    t.env["CURL_CA_BUNDLE"] = ca
    m = t.mount("precomputed://" + n.url, volume=v)
    m.check(((0, 256), (0, 256), (0, 64)))
    m.unmount()
    chunks = [r for r in n.requests() if not r[3].endswith("/info")]
    equal(len(chunks), 8 * 8 * 4, "requests")
    equal({r[0] for r in chunks}, {"HTTP/2.0"}, "protocols")
    assert len({r[1] for r in chunks}) <= 8, "connections"
