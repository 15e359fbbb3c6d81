"""Tells everything about some paths and units of a machine, one line each, in an order that never changes.

Standard input is this program, so its one argument is a JSON object: roots, except (patterns), units, times.
"""

import fnmatch
import glob
import grp
import hashlib
import json
import os
import pwd
import stat
import subprocess
import sys
import time

request = json.loads(sys.argv[1])
lines = {}


def printable(path):
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def name_of(number, lookup):
    try:
        return lookup(number)[0]
    except KeyError:
        return str(number)


def digest(path):
    total = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            total.update(block)
    return total.hexdigest()


def describe(path, status):
    words = []
    kind = stat.S_IFMT(status.st_mode)
    if kind == stat.S_IFREG:
        words += ["file", f"sha256={digest(path)}"]
    elif kind == stat.S_IFDIR:
        words += ["directory"]
    elif kind == stat.S_IFLNK:
        words += ["link", f"target={printable(os.readlink(path))}"]
    elif kind == stat.S_IFSOCK:
        words += ["socket"]
    elif kind == stat.S_IFIFO:
        words += ["fifo"]
    else:
        words += ["device", str(status.st_rdev)]
    # A link's own mode means nothing on Linux.
    if kind != stat.S_IFLNK:
        words += [f"mode={stat.S_IMODE(status.st_mode):04o}"]
    words += [f"owner={name_of(status.st_uid, pwd.getpwuid)}:{name_of(status.st_gid, grp.getgrgid)}"]
    if request["times"]:
        words += [f"inode={status.st_ino} written={status.st_mtime_ns} changed={status.st_ctime_ns}"]
    for name in sorted(os.listxattr(path, follow_symlinks=False)):
        words += [f"{name}={os.getxattr(path, name, follow_symlinks=False).hex()}"]
    return " ".join(words)


def walk(path):
    if any(fnmatch.fnmatchcase(path, pattern) for pattern in request["except"]):
        return
    try:
        status = os.lstat(path)
        lines[printable(path)] = describe(path, status)
        if stat.S_ISDIR(status.st_mode):
            for name in os.listdir(path):
                walk(os.path.join(path, name))
    except FileNotFoundError:
        # Gone between listing and looking, or never there: either way it is not part of the picture.
        lines.pop(printable(path), None)


def properties(unit):
    names = ["LoadState", "UnitFileState", "ActiveState", "SubState", "FragmentPath", "DropInPaths", "NeedDaemonReload"]
    command = ["systemctl", "show", unit] + [f"--property={name}" for name in names]
    output = subprocess.run(command, check=True, stdout=subprocess.PIPE, universal_newlines=True).stdout
    return dict(line.split("=", 1) for line in output.splitlines())


def describe_unit(unit):
    # "activating" is on its way to something else, unless it only waits to be started again, which counts as active.
    until = time.monotonic() + 60
    found = properties(unit)
    while found["ActiveState"] == "activating" and found["SubState"] != "auto-restart" and time.monotonic() < until:
        time.sleep(0.05)
        found = properties(unit)
    active = found["ActiveState"] in ("active", "reloading") or found["SubState"] == "auto-restart"
    words = [f"active={'yes' if active else 'no'}"]
    words += [f"{name}={found[name]}" for name in ("LoadState", "UnitFileState", "FragmentPath", "DropInPaths", "NeedDaemonReload")]
    return "unit " + " ".join(words)


for root in request["roots"]:
    for path in glob.glob(root) or [root]:
        walk(path)
for unit in request["units"]:
    lines[unit] = describe_unit(unit)
json.dump(dict(sorted(lines.items())), sys.stdout)
