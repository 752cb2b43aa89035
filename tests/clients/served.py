#!/usr/bin/env python3
"""Runs a command beside a server of its own: the real binary, the starter models, the sample intranet.

    tests/clients/served.py python3 tests/clients/openai_python.py

The command finds in its environment
    SERVED_URL            http://127.0.0.1:PORT
    SERVED_KEY        an API key of ana, a member of the group legal
    SERVED_ADMIN_KEY  an API key of marta, an admin of no group
    SERVED_PASSWORD   the password of ana, rosa (a member of no group) and marta

The sample intranet is indexed once for a binary and copied for each run. The run fails if the command does, and also if the
server ended early, did not end when asked to, or wrote a panic or a failure into its log.
"""

import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TARGET = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")).resolve()
BINARY = Path(os.environ.get("SERVED_BINARY", TARGET / "release" / "intramuros")).resolve()
PEOPLE = [("ana", "member", "legal"), ("rosa", "member", None), ("marta", "admin", None)]


def intramuros(data: Path, *arguments: str, **options) -> str:
    done = subprocess.run([BINARY, "--data-dir", data, *arguments], stdout=subprocess.PIPE, text=True, check=False, **options)
    if done.returncode:
        sys.exit(f"`intramuros {' '.join(arguments)}` ended with {done.returncode}\n{done.stdout}")
    return done.stdout


def indexed() -> Path:
    """The sample intranet, indexed by this binary and no other."""
    data = TARGET / "served" / "data"
    mark = TARGET / "served" / "binary"
    about = BINARY.stat()
    stamp = f"{about.st_size} {about.st_mtime_ns}"
    if not mark.exists() or mark.read_text() != stamp:
        shutil.rmtree(data.parent, ignore_errors=True)
        data.mkdir(parents=True)
        intramuros(data, "ingest", str(ROOT / "samples" / "intranet" / "docs"))
        mark.write_text(stamp)
    return data


def people(data: Path) -> dict[str, str]:
    """Creates users and keys; returns what the command is told."""
    password = secrets.token_urlsafe(18)
    for name, role, group in PEOPLE:
        intramuros(data, "user", "create", name, "--role", role, "--password-stdin", input=password + "\n")
        if group:
            intramuros(data, "group", "add", group, name)

    def key(user: str, role: str) -> str:
        return intramuros(data, "key", "create", "--user", user, "--role", role).split()[0]

    return {
        "SERVED_PASSWORD": password,
        "SERVED_KEY": key("ana", "member"),
        "SERVED_ADMIN_KEY": key("marta", "admin"),
    }


def run(command: list[str], data: Path, log: Path) -> list[str]:
    """Returns what went wrong."""
    told = people(data)
    # What an answer is made from must not depend on how busy the machine is.
    settings = {"INTRAMUROS_ANSWER__FIRST_TOKEN_MS": "0", **os.environ}
    with log.open("wb") as errors:
        server = subprocess.Popen(
            [BINARY, "--data-dir", data, "serve", "--listen", "127.0.0.1:0"],
            stdout=subprocess.PIPE, stderr=errors, text=True, env=settings)
    wrong = []
    try:
        address = re.search(r"http://\S+", server.stdout.readline())
        if not address:
            return [f"the server did not start: it ended with {server.wait()}"]
        environment = {**os.environ, **told, "SERVED_URL": address.group(), "SERVED_SERVER_PID": str(server.pid)}
        status = subprocess.run(command, env=environment, check=False).returncode
        if status:
            wrong.append(f"`{' '.join(command)}` ended with {status}")
        if server.poll() is not None:
            wrong.append(f"the server ended on its own with {server.returncode}")
        else:
            server.send_signal(signal.SIGTERM)
            if server.wait(timeout=90):
                wrong.append(f"the server, asked to end, ended with {server.returncode}")
    except subprocess.TimeoutExpired:
        wrong.append("the server did not end within 90 s of being asked to")
    finally:
        if server.poll() is None:
            server.kill()
            server.wait()
    said = log.read_text(errors="replace")
    bad = [line for line in said.splitlines() if "panicked" in line or re.search(r"\bERROR\b", line)]
    if bad:
        wrong.append("the server's log tells of failures:\n" + "\n".join(bad[:10]))
    return wrong


def main() -> int:
    command = sys.argv[1:]
    if not command or command[0] in ("-h", "--help"):
        print(__doc__)
        return 0 if command else 2
    data = indexed()
    with tempfile.TemporaryDirectory(prefix="intramuros-") as scratch:
        own = Path(scratch) / "data"
        shutil.copytree(data, own, ignore=shutil.ignore_patterns("socket", "lock"))
        log = Path(scratch) / "log"
        wrong = run(command, own, log)
        if wrong:
            lines = log.read_text(errors="replace").splitlines() if log.exists() else []
            print("\nthe end of the server's log:", *lines[-15:], sep="\n", file=sys.stderr)
            print("\nfailed:", *wrong, sep="\n- ", file=sys.stderr)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
