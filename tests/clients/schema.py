"""schemathesis over /openapi.json of a running server, as a member and as an admin: see served.py.

Run by `./test`, or alone:  tests/clients/served.py target/clients/bin/python tests/clients/schema.py
SCHEMA_SECONDS bounds each of the two runs (75 if not said); which requests are drawn does not depend on chance.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

URL = os.environ["SERVED_URL"]
SECONDS = os.environ.get("SCHEMA_SECONDS", "75")
CHECKS = [
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "unsupported_method", "allow_header_conformance", "ignored_auth",
]


def run(role: str, key: str) -> bool:
    print(f"\nschemathesis as {role}", flush=True)
    command = [
        Path(sys.executable).absolute().with_name("st"), "--no-color", "--config-file", Path(__file__).resolve().with_name("schemathesis.toml"),
        "run", f"{URL}/openapi.json", "--header", f"Authorization: Bearer {key}",
        "--checks", ",".join(CHECKS), "--max-time", SECONDS, "--generation-deterministic", "--continue-on-failure",
    ]
    # It leaves files for its own `replay` where it runs.
    with tempfile.TemporaryDirectory() as scratch:
        return subprocess.run(command, cwd=scratch, check=False).returncode == 0


def main() -> int:
    passed = [run("a member", os.environ["SERVED_KEY"]), run("an admin", os.environ["SERVED_ADMIN_KEY"])]
    return 0 if all(passed) else 1


if __name__ == "__main__":
    sys.exit(main())
