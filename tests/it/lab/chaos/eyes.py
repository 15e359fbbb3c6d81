"""Tells what a host really has: no word of it comes from rosey.

Standard input is this program, its one argument a JSON list of apps, each with name, root, port, units and patience.
"""

import fcntl
import glob
import json
import os
import sqlite3
import subprocess
import sys
import time
import urllib.request

apps = json.loads(sys.argv[1])


def read(path):
    try:
        with open(path, errors="replace") as file:
            return file.read()
    except OSError:
        return None


def main_process(unit):
    output = subprocess.run(["systemctl", "show", unit, "--property=MainPID", "--value"], stdout=subprocess.PIPE, universal_newlines=True).stdout
    return int(output.strip() or 0)


def working_directory(process):
    try:
        return os.readlink(f"/proc/{process}/cwd")
    except OSError:
        return None


def mark(process):
    """What the unit that rosey writes gives the service."""
    words = (read(f"/proc/{process}/environ") or "").split("\0")
    return next((word for word in words if word.startswith("BOT_UNIT=")), None)


def health(port):
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/api/health", timeout=5) as answer:
            return json.load(answer)
    except Exception as error:
        return str(error)


def may_answer(units):
    """Whether systemd has a unit up, on its way up, or yet to be started."""
    show = ["systemctl", "show", "--property=ActiveState,Job", *units]
    lines = subprocess.run(show, stdout=subprocess.PIPE, universal_newlines=True).stdout.split()
    return any(line.partition("=")[2] not in ("", "0", "inactive", "failed") for line in lines)


def serving(app):
    """A service that was just started, by rosey or by systemd, is given the time that it needs to answer; one that nobody starts is not."""
    until = time.monotonic() + app["patience"]
    while True:
        found = health(app["port"])
        if not isinstance(found, str) and found["status"] == "running" or time.monotonic() > until:
            return found
        if not may_answer(app["units"]):
            return health(app["port"])
        time.sleep(0.1)


def rows(root, query):
    """The first column; nothing where there is no such table, or no database."""
    try:
        connection = sqlite3.connect(f"file:{root}/shared/data/rosey.db?mode=ro", uri=True, timeout=10)
        return [value for (value,) in connection.execute(query)]
    except sqlite3.Error:
        return []


def look(app):
    root = app["root"]
    current = f"{root}/current"
    answer = serving(app)
    # Of an old name and a new one, that of which there is a process, by the time at which it answers.
    process = max(main_process(unit) for unit in app["units"])
    return {
        "current": os.readlink(current) if os.path.islink(current) else None,
        "health": answer,
        "cwd": working_directory(process) if process else None,
        "mark": mark(process) if process else None,
        "migrations": rows(root, "SELECT name FROM migrations ORDER BY name"),
        "quotes": rows(root, "SELECT count(*) FROM quotes"),
        "kept": sorted(glob.glob(root + "/*") + glob.glob(root + "/.rosey/*")),
    }


def held():
    """Locks that somebody has."""
    for path in glob.glob("/var/lib/rosey/apps/*/lock"):
        with open(path) as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield path


def processes():
    for path in glob.glob("/proc/[0-9]*"):
        words = (read(path + "/cmdline") or "").split("\0")
        environment = (read(path + "/environ") or "").split("\0")
        if any(word.startswith("ROSEY_COMMAND=") for word in environment):
            yield "a command that rosey began: " + " ".join(words)
        elif len(words) > 1 and words[1] == "helper":
            yield "a helper: " + " ".join(words)


def debris():
    patterns = ["/etc/.*.rosey-*", "/etc/systemd/system/.*.rosey-*", "/etc/systemd/system/*/.*.rosey-*", "/run/rosey/*"]
    for app in apps:
        patterns += [app["root"] + "/.rosey/staging/*", app["root"] + "/.*.rosey-*", app["root"] + "/*/.*.rosey-*", app["root"] + "/.rosey/objects/incoming*"]
    for pattern in patterns:
        yield from glob.glob(pattern)
    output = subprocess.run(["systemctl", "list-units", "--all", "--plain", "--no-legend", "rosey-run-*"], stdout=subprocess.PIPE, universal_newlines=True).stdout
    yield from output.splitlines()


json.dump({"apps": {app["name"]: look(app) for app in apps}, "held": list(held()), "processes": list(processes()), "debris": list(debris())}, sys.stdout)
