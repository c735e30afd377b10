# SPDX-License-Identifier: MIT
"""Programs that nobody here wrote, for run.py.

Each is a function of a folder that does not exist yet and of variables to be added to the
environment; it returns what must be the same with and without the library: output with times
and addresses taken out, or the files that were made.
"""
import glob
import hashlib
import os
import re
import shutil
import socket
import subprocess
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
TIMEOUT = 120

SQL = """
PRAGMA journal_mode=MEMORY;
CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, b REAL, c BLOB);
WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i < 60000)
  INSERT INTO t SELECT i, printf('%x-%d', i * 2654435761 % 4294967296, i), i * 0.37,
  zeroblob(i % 300) FROM n;
CREATE INDEX ta ON t(a);
CREATE INDEX tb ON t(b, a);
SELECT count(*), sum(b), max(length(c)), group_concat(substr(a, 1, 1), '') FROM
  (SELECT * FROM t WHERE id % 500 = 0 ORDER BY a);
SELECT length(c) % 17 AS k, count(*), avg(b), min(a), max(a) FROM t GROUP BY k ORDER BY k;
SELECT x.a, y.a FROM t x JOIN t y ON y.id = x.id * 3 WHERE x.a < y.a ORDER BY x.a LIMIT 50;
DELETE FROM t WHERE id % 3 = 0;
UPDATE t SET a = upper(a) || a WHERE id % 5 = 1;
VACUUM;
PRAGMA integrity_check;
SELECT count(*), sum(length(a)), total(b) FROM t;
"""

PERL = r"""
my ($x, %h, @l) = (12345);
sub r { $x = ($x * 1103515245 + 12345) % 2147483648; return $x >> 8 }
for my $i (1 .. 120000) {
	my $k = "key" . r() % 20000;
	$h{$k} .= "x" x (r() % 40);
	push @l, [$i, { k => $k, n => r() % 1000 }] if $i % 3 == 0;
	splice @l, r() % @l, 1 if @l > 5000;
	delete $h{"key" . r() % 20000} if $i % 7 == 0;
}
my $text = join ",", map { "$_:" . length $h{$_} } sort keys %h;
$text =~ s/(\d+):(\d+)/<$2|$1>/g;
my $n = () = $text =~ /key<\d*[05]\|/g;
print length($text), " $n ", scalar(@l), " ", join("", map { $_->[1]{n} } @l[0 .. 99]), "\n";
print join "", (sort { $b cmp $a } split /,/, $text)[0 .. 200];
"""

PYTHON_TESTS = ["test_list", "test_dict", "test_bytes", "test_json", "test_gc", "test_array",
                "test_re"]


class Missing(Exception):
    """A program is not there or did not do what it should."""


def run(command, env, folder=None, **more):
    whole = {**os.environ, "LC_ALL": "C", "TZ": "UTC", **env}
    done = subprocess.run(command, env=whole, cwd=folder, timeout=TIMEOUT,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, **more)
    if done.returncode:
        raise Missing(f"{command[0]}: status {done.returncode}: "
                      f"{done.stderr.decode(errors='replace')[-1500:]}")
    return done


def digest(paths):
    lines = []
    for path in sorted(paths):
        with open(path, "rb") as f:
            lines.append(f"{os.path.basename(path)} {hashlib.sha256(f.read()).hexdigest()}\n")
    return "".join(lines).encode()


def sqlite3(folder, env):
    os.mkdir(folder)
    return run(["sqlite3", f"{folder}/db"], env, input=SQL.encode()).stdout


def perl(_folder, env):
    return run(["perl", "-we", PERL], env).stdout


def python3(folder, env):
    """Its own test suite; every object by malloc()."""
    os.mkdir(folder)
    done = run(["/usr/bin/python3", "-B", "-m", "unittest", "-v",
                *(f"test.{name}" for name in PYTHON_TESTS)],
               {**env, "PYTHONMALLOC": "malloc", "PYTHONHASHSEED": "1"}, folder)
    return re.sub(rb" in [0-9.]+s", b"", done.stderr)


def compiler(cc):
    """It compiles this project, to the last byte alike."""
    def compile_project(folder, env):
        os.mkdir(folder)
        for path in sorted(glob.glob(f"{ROOT}/mm/*.c"))[::3]:
            out = os.path.join(folder, os.path.basename(path) + ".o")
            run([cc, "-O2", "-g", "-ffreestanding", f"-I{ROOT}", f"-I{ROOT}/include",
                 f"-I{ROOT}/arch/x86_64/include", f"-ffile-prefix-map={ROOT}=.",
                 "-fdebug-prefix-map=" + folder + "=.", "-c", path, "-o", out], env, ROOT)
        return digest(glob.glob(f"{folder}/*.o"))
    return compile_project


def stress_ng(folder, env):
    os.mkdir(folder)
    done = run(["stress-ng", "--malloc", "2", "-t", "5", "--verify", "--temp-path", folder], env)
    verdict = re.findall(rb"successful run completed", done.stdout + done.stderr)
    if b"fail" in (done.stdout + done.stderr).replace(b"failed: 0", b""):
        raise Missing(done.stderr.decode(errors="replace"))
    return b"".join(verdict)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return str(s.getsockname()[1])


def redis_load():
    lines, x = [], 1
    for i in range(20000):
        x = (x * 1103515245 + 12345) % (1 << 31)
        key, value = f"k{x % 3000}", "v" * (x >> 8 & 1023)
        lines += [f"SET s{key} {value}|", f"LPUSH l{key} {i}",
                  f"HSET h{key} f{i % 50} {value[:99]}|",
                  f"ZADD z{key} {x % 997} m{i % 60}", f"DEL s{key}x", f"APPEND s{key} {i}"]
        if i % 5 == 0:
            lines += [f"DEL sk{x % 700}", f"LTRIM l{key} 0 20", f"HDEL h{key} f{i % 13}"]
    return "".join(line + "\r\n" for line in lines).encode()


def redis(folder, env):
    os.mkdir(folder)
    port = free_port()
    server = subprocess.Popen(["redis-server", "--port", port, "--bind", "127.0.0.1", "--dir",
                               folder, "--save", "", "--daemonize", "no",
                               "--enable-debug-command", "yes"],
                              env={**os.environ, **env}, stdout=subprocess.DEVNULL)
    try:
        cli = ["redis-cli", "-h", "127.0.0.1", "-p", port]
        for _ in range(100):
            if subprocess.run([*cli, "ping"], capture_output=True, check=False).returncode == 0:
                break
            time.sleep(0.1)
        run([*cli, "--pipe"], {}, input=redis_load())
        answer = run([*cli, "debug", "digest"], {}).stdout
        bench = run(["redis-benchmark", "-h", "127.0.0.1", "-p", port, "-q", "-n", "10000", "-r",
                     "1000", "-d", "300", "-t", "set,get,lpush,lpop,hset,zadd,lrange_100"],
                    env).stdout
        run([*cli, "flushall"], {})
        return answer + b"".join(re.findall(rb"[A-Z_]+(?= ?[^\r\n:]*: [0-9.]+ requests)", bench))
    finally:
        server.terminate()
        server.wait(20)


def git(folder, env):
    os.mkdir(folder)
    env = {**env, "HOME": folder, "GIT_CONFIG_NOSYSTEM": "1"}
    for name in ("AUTHOR", "COMMITTER"):
        env |= {f"GIT_{name}_NAME": "a", f"GIT_{name}_EMAIL": "a@b",
                f"GIT_{name}_DATE": "2020-01-01T00:00:00Z"}
    run(["git", "init", "-q"], env, folder)
    for part in ("mm", "lib", "include", "tests"):
        shutil.copytree(f"{ROOT}/{part}", f"{folder}/{part}",
                        ignore=shutil.ignore_patterns("__pycache__"))
        run(["git", "add", "-A"], env, folder)
        run(["git", "commit", "-q", "-m", part], env, folder)
    run(["git", "gc", "-q", "--aggressive"], env, folder)
    run(["git", "fsck", "--strict"], env, folder)
    log = run(["git", "log", "-p", "--stat"], env, folder).stdout
    return run(["git", "rev-parse", "HEAD"], env, folder).stdout + \
        hashlib.sha256(log).hexdigest().encode()


def xz(folder, env):
    os.mkdir(folder)
    data = b"".join(open(p, "rb").read() for p in sorted(glob.glob(f"{ROOT}/mm/*.[ch]"))) * 12
    packed = run(["xz", "-T2", "-6", "--block-size=2MiB", "-c"], env, input=data).stdout
    if run(["xz", "-T2", "-dc"], env, input=packed).stdout != data:
        raise Missing("xz: not what it was")
    return hashlib.sha256(packed).hexdigest().encode()


def all_of(opts):
    return [("sqlite3", sqlite3), ("perl", perl), ("python3", python3),
            ("compiler", compiler(opts.cc)), ("stress-ng", stress_ng), ("redis", redis),
            ("git", git), ("xz", xz)]
