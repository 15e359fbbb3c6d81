"""A chat bot's service, small enough to read: it keeps quotes in SQLite and tells how it is at /api/health.

Settings come from config.json beside this file; without it, from $PORT and defaults.
  listen, port, channel, admins, limits  what a bot would need
  log_level                              "info" logs a line for each request
  start_delay                            seconds before it answers, as a bot that has to log in first
  tick                                   seconds between two quotes that it writes by itself
  fault                                  for trying out what a deployment does about it, or $BOT_FAULT:
      "exit"      ends at once            "unhealthy"   never says "running"     "version"    reports another version
      "slow"      answers after 2 s       "errors"      every other answer is an error
      "migrate"   leaves the service alone; bin/migrate fails

While the file data/channel-down is there the upstream channel counts as down; POST /api/channel {"up": false} makes it.
"""

import json
import logging
import os
import signal
import sqlite3
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

HERE = Path(__file__).resolve().parent
DATA = HERE / "data"
DOWN = DATA / "channel-down"
DATABASE = DATA / "rosey.db"
LOG = logging.getLogger("bot")

DEFAULTS = {
    "listen": "127.0.0.1",
    "port": 8000,
    "channel": "rosey",
    "admins": [],
    "limits": {},
    "log_level": "warning",
    "start_delay": 0,
    "tick": 0.2,
    "fault": "",
}


def load_settings():
    settings = dict(DEFAULTS)
    if "PORT" in os.environ:
        settings["port"] = int(os.environ["PORT"])
    path = HERE / "config.json"
    if path.exists():
        settings.update(json.loads(path.read_text()))
    settings["fault"] = os.environ.get("BOT_FAULT", settings["fault"])
    return settings


class Quotes:
    """The bot's table. One connection for all threads, since SQLite has one writer anyhow."""

    def __init__(self, path):
        path.parent.mkdir(parents=True, exist_ok=True)
        self.lock = threading.Lock()
        self.connection = sqlite3.connect(path, check_same_thread=False, timeout=10)
        self.connection.execute("PRAGMA journal_mode = WAL")
        self.connection.execute("CREATE TABLE IF NOT EXISTS quotes (id INTEGER PRIMARY KEY, at REAL NOT NULL, who TEXT NOT NULL, text TEXT NOT NULL)")
        self.connection.commit()

    def add(self, who, text):
        with self.lock, self.connection:
            return self.connection.execute("INSERT INTO quotes (at, who, text) VALUES (?, ?, ?)", (time.time(), who, text)).lastrowid

    def last(self, count):
        with self.lock:
            rows = self.connection.execute("SELECT id, who, text FROM quotes ORDER BY id DESC LIMIT ?", (count,)).fetchall()
        return [{"id": id, "who": who, "text": text} for id, who, text in rows]

    def people(self):
        with self.lock:
            return self.connection.execute("SELECT count(DISTINCT who) FROM quotes").fetchone()[0]

    def close(self):
        with self.lock:
            self.connection.close()


class Bot:
    def __init__(self, settings):
        self.settings = settings
        self.version = (HERE / "VERSION").read_text().strip()
        self.started = time.monotonic()
        self.quotes = Quotes(DATABASE)
        self.counting = threading.Lock()
        self.requests = 0
        self.errors = 0
        self.stopping = threading.Event()

    def health(self):
        fault = self.settings["fault"]
        connected = not DOWN.exists()
        status = "running" if connected else "degraded"
        if fault == "unhealthy" or time.monotonic() - self.started < self.settings["start_delay"]:
            status, connected = "starting", False
        return {
            "status": status,
            "connected": connected,
            "channel": self.settings["channel"],
            "uptime": round(time.monotonic() - self.started, 3),
            "version": "0.0.0-wrong" if fault == "version" else self.version,
            "user_count": self.quotes.people(),
            "requests": self.requests,
            "errors": self.errors,
        }

    def keep(self, who, text):
        """A quote that somebody asked to keep goes into the table, and into a text file for people to read."""
        number = self.quotes.add(who, text)
        kept = DATA / "quotes" / f"{self.settings['channel']}.txt"
        kept.parent.mkdir(exist_ok=True)
        with kept.open("a") as file:
            file.write(f"{who}: {text}\n")
        return number

    def chatter(self):
        """Writes all the time, as a busy channel would; a backup has to cope with that."""
        number = 0
        while not self.stopping.wait(self.settings["tick"]):
            number += 1
            try:
                self.quotes.add(f"guest{number % 7}", f"line {number}")
            except sqlite3.Error as error:
                LOG.error("could not write a quote: %s", error)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    bot = None

    def do_GET(self):
        if not self.begin():
            return
        if self.path == "/api/health":
            self.answer(200, self.bot.health())
        elif self.path == "/api/quotes":
            self.answer(200, self.bot.quotes.last(20))
        elif self.path == "/api/settings":
            self.answer(200, {name: self.bot.settings[name] for name in ("channel", "admins", "limits", "log_level")})
        else:
            self.answer(404, {"error": f"nothing at {self.path}"})

    def do_POST(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if not self.begin():
            return
        try:
            message = json.loads(body or b"{}")
            if self.path == "/api/channel":
                DOWN.unlink(missing_ok=True) if message["up"] else DOWN.touch()
                self.answer(200, self.bot.health())
            elif self.path == "/api/quotes":
                self.answer(201, {"id": self.bot.keep(message["who"], message["text"])})
            else:
                self.answer(404, {"error": f"nothing at {self.path}"})
        except (ValueError, KeyError, TypeError) as error:
            self.answer(400, {"error": f"not understood: {error!r}"})

    def begin(self):
        with self.bot.counting:
            self.bot.requests += 1
            number = self.bot.requests
        fault = self.bot.settings["fault"]
        if fault == "slow":
            time.sleep(2)
        if fault == "errors" and number % 2 == 0:
            self.answer(500, {"error": "a fault on purpose"})
            return False
        return True

    def answer(self, code, content):
        if code >= 500:
            with self.bot.counting:
                self.bot.errors += 1
        body = (json.dumps(content) + "\n").encode()
        self.send_response(code)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format, *arguments):
        LOG.info(format, *arguments)


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


def main():
    settings = load_settings()
    logging.basicConfig(level=settings["log_level"].upper(), stream=sys.stderr, format="%(levelname)s %(message)s")
    if settings["fault"] == "exit":
        sys.exit("ends at once: a fault on purpose")
    bot = Bot(settings)
    Handler.bot = bot
    server = Server((settings["listen"], settings["port"]), Handler)

    def stop(number, frame):
        bot.stopping.set()
        # shutdown() waits for the serving loop, which is what this handler has interrupted.
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    writer = threading.Thread(target=bot.chatter, daemon=True)
    writer.start()
    LOG.warning("version %s listens on port %s", bot.version, settings["port"])
    server.serve_forever(poll_interval=0.05)
    server.server_close()
    writer.join()
    bot.quotes.close()


if __name__ == "__main__":
    main()
