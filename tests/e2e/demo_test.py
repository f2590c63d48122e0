#!/usr/bin/env python3
"""Property: the demo ends by itself with 0, its summary agrees to the event and says so in JSON, and it leaves no process.

    demo_test.py --build DIR [--lines N] [--kafka]
"""
import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

TOP = pathlib.Path(__file__).resolve().parents[2]


def processes_on(folder):
    """Command lines that name the folder."""
    found = []
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) != os.getpid():
            try:
                command = pathlib.Path("/proc", entry, "cmdline").read_bytes()
            except OSError:
                continue
            if os.fsencode(folder) in command:
                found.append(command.replace(b"\0", b" ").decode(errors="replace"))
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--build", required=True)
    parser.add_argument("--lines", type=int, default=6000)
    parser.add_argument("--kafka", action="store_true")
    arguments = parser.parse_args()
    sample = subprocess.run([TOP / "tools/dev/sample-data.sh"], check=True, capture_output=True, text=True).stdout.strip()
    with tempfile.TemporaryDirectory(prefix="landfall-demo-test-") as folder:
        report_file = pathlib.Path(folder, "report.json")
        done = subprocess.run(
            [sys.executable, TOP / "tools/dev/demo.py", "--build", arguments.build, "--sample", sample, "--lines",
             str(arguments.lines), "--json", report_file] + (["--kafka"] if arguments.kafka else []),
            env=os.environ | {"TMPDIR": folder}, timeout=180, check=False)
        if done.returncode != 0:
            return f"the demo ended with {done.returncode}"
        report = json.loads(report_file.read_text())
        telemetry = {side: held["telemetry"] for side, held in report["counts"].items()}
        sides = {"published", "edge", "hub"} | ({"kafka"} if arguments.kafka else set())
        if telemetry != dict.fromkeys(sides, arguments.lines):
            return f"not {arguments.lines} sentences on every side: {telemetry}"
        if report["counts"]["published"]["alarm"] == 0 or not report["agree"]:
            return f"the counts do not agree: {report['counts']}"
        if report["catch_up"]["alarms_s"] > report["catch_up"]["all_s"]:
            return f"alarms did not land first: {report['catch_up']}"
        left = processes_on(folder)
        if left:
            return f"processes are left: {left}"
    return 0


if __name__ == "__main__":
    sys.exit(main())
