"""Runs a command on a terminal of its own and answers what it asks.

    terminal.py '[["question", "answer"], ...]' COMMAND...

Each answer is typed when its question has appeared after the one before. What the terminal shows goes to standard
output; the exit status is the command's, or 99 where a question never came.
"""

import json
import os
import pty
import sys
import termios
import time

answers = json.loads(sys.argv[1])
child, terminal = pty.fork()
if child == 0:
    os.execvp(sys.argv[2], sys.argv[2:])


def is_listening():
    """Whether what is typed now is read: who asks turns the echo off, and throws away what was typed before."""
    if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT):
        return True
    return not termios.tcgetattr(terminal)[3] & termios.ECHO


shown = b""
read = 0
while True:
    try:
        chunk = os.read(terminal, 65536)
    except OSError:
        # EIO: nobody has the other end open any more.
        break
    if not chunk:
        break
    shown += chunk
    while answers and (at := shown.find(answers[0][0].encode(), read)) >= 0:
        question, answer = answers.pop(0)
        read = at + len(question)
        while not is_listening():
            time.sleep(0.005)
        os.write(terminal, answer.encode() + b"\r")
sys.stdout.buffer.write(shown)
status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
for question, _ in answers:
    sys.stderr.write(f"never asked: {question}\n")
sys.exit(99 if answers else status)
