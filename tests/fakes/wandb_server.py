"""A W&B server on this machine, for the real client: runs, history, resume and rewind.

`python -m tests.fakes.wandb_server` serves until stdin ends, and prints its address first;
`GET /runs` then has the iterations of each run, those with pictures, the iterations of checkpoints
by alias, and the most connections so far.
"""

from __future__ import annotations

import base64
import json
import re
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from attrs import define, field

from tests.fakes.wandb_artifacts import Artifacts

ENTITY = "somebody"

Reply = dict[str, Any]


_VIEWER = {
    "id": "u",
    "entity": ENTITY,
    "username": ENTITY,
    "email": "somebody@example.org",
    "flags": "{}",
    "teams": {"edges": []},
    "apiKeys": {"edges": []},
}
Fault = int | float | str | None
"""What becomes of a request: a status instead of its answer, seconds before it, `stall` for no
answer at all, `reset` for a connection that breaks, or None."""


class Refusal(Exception):
    """The server answers with an error."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@define
class ServedRun:
    """What the server knows of a run."""

    name: str
    project: str
    config: dict[str, Any] = field(factory=dict)
    history: list[dict[str, Any]] = field(factory=list)
    state: str = "running"
    display_name: str = ""
    group: str = ""
    job_type: str = ""
    notes: str = ""
    tags: list[str] = field(factory=list)
    summary: dict[str, Any] = field(factory=dict)
    system: list[dict[str, Any]] = field(factory=list)
    """System metrics, oldest first."""
    files: dict[str, bytes] = field(factory=dict)
    """Uploaded ones, such as pictures, by name."""

    @property
    def iterations(self) -> list[int]:
        return [row["iteration"] for row in self.history]

    @property
    def pictured(self) -> list[int]:
        """The iterations of rows with a picture that has arrived."""
        pictures = {
            row["iteration"]: row["snapshot"]["path"] for row in self.history if "snapshot" in row
        }
        return [iteration for iteration, path in pictures.items() if path in self.files]


class WandbServer:
    """Serves from a free port until closed; `runs` has what the clients have sent, by run id.

    As the real one, it rewinds only a run that has ended; with `can_rewind` False none at all.

    Args:
        port: 0 for any free one; a server that comes back has that of the one before.
    """

    def __init__(self, *, can_rewind: bool = True, port: int = 0) -> None:
        self.runs: dict[str, ServedRun] = {}
        self.can_rewind = can_rewind
        self.projects: set[str] = set()
        """Those that were made without a run, as `entity/project`."""
        self.views: dict[str, dict[str, Any]] = {}
        """What was saved last of each workspace and report, by name."""
        self.num_saved_views = 0
        self.alerts: list[dict[str, Any]] = []
        self.artifacts = Artifacts(lambda: self.url, ENTITY)
        self.asked: list[str] = []
        """The operations of GraphQL, and `file_stream`, in order."""
        self.fault: Callable[[str], Fault] = lambda operation: None
        """What becomes of a request for an operation, `file_stream` or `file`."""
        self.max_requests_per_s: float = float("inf")
        """Others are answered with 429."""
        self.num_refused = 0
        self.max_connections = 0
        """How many were open at once, at most."""
        self.stopped = threading.Event()
        self._connections: set[socket.socket] = set()
        self._recent: deque[float] = deque()
        self._deleted: set[str] = set()
        self._lock = threading.Lock()
        self._http = _HttpServer(("127.0.0.1", port), _handler(self))
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    @property
    def port(self) -> int:
        return int(self._http.server_port)

    def close(self) -> None:
        self.stopped.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()
        for connection in self._connections_now():
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def delete(self, run_id: str) -> None:
        """Delete a run as in the browser: its id cannot be used again."""
        with self._lock:
            del self.runs[run_id]
            self._deleted.add(run_id)

    def opened(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.add(connection)
            self.max_connections = max(self.max_connections, len(self._connections))

    def closed(self, connection: socket.socket) -> None:
        with self._lock:
            self._connections.discard(connection)

    def fault_of(self, path: str, body: bytes) -> Fault:
        """Return what becomes of a request, before it is looked at."""
        with self._lock:
            now = time.monotonic()
            while self._recent and self._recent[0] < now - 1:
                self._recent.popleft()
            if len(self._recent) >= self.max_requests_per_s:
                self.num_refused += 1
                return 429
            self._recent.append(now)
        if path == "/graphql":
            return self.fault(_operation(json.loads(body)["query"]))
        return self.fault("file_stream" if path.endswith("/file_stream") else "file")

    def _connections_now(self) -> list[socket.socket]:
        with self._lock:
            return list(self._connections)

    def answer(self, path: str, body: bytes) -> Reply | bytes:
        """The reply to any request.

        Raises:
            Refusal: The reply is an error.
        """
        with self._lock:
            if path == "/graphql":
                question = json.loads(body)
                return self._graphql(question["query"], question.get("variables") or {})
            if path == "/runs":
                return {
                    "iterations": {name: run.iterations for name, run in self.runs.items()},
                    "states": {name: run.state for name, run in self.runs.items()},
                    "pictured": {name: run.pictured for name, run in self.runs.items()},
                    "checkpoints": {name: self.artifacts.of_run(name) for name in self.runs},
                    "max_connections": self.max_connections,
                }
            if stream := re.fullmatch(r"/files/[^/]+/[^/]+/([^/]+)/file_stream", path):
                self.asked.append("file_stream")
                if stream[1] not in self.runs:
                    raise Refusal("run not found", 404)
                return self._receive(self.runs[stream[1]], json.loads(body))
            if upload := re.fullmatch(r"/put/([^/]+)/(.+)", path):
                self.runs[upload[1]].files[upload[2]] = body
            if artifact := re.fullmatch(r"/artifact/(.+)", path):
                if not body:
                    return self.artifacts.get(artifact[1])
                self.artifacts.put(artifact[1], body)
            return {}

    def _graphql(self, query: str, variables: dict[str, Any]) -> Reply:
        operation = _operation(query)
        self.asked.append(operation)
        answers: dict[str, Callable[[dict[str, Any]], Reply]] = {
            "ServerFeaturesQuery": self._features,
            "RunResumeStatus": self._resume_status,
            "UpsertBucket": self._upsert,
            "RewindRun": self._rewind,
            "RunStoppedStatus": lambda _: {"project": {"run": {"stopped": False}}},
            "CreateRunFiles": self._create_files,
            "NotifyScriptableRunAlert": self._alert,
            "GetDefaultEntity": lambda _: {"viewer": {"id": "u", "entity": ENTITY}},
            "GetProjects": self._get_projects,
            "CreateProject": self._create_project,
            "ProjectInternalId": lambda _: {
                "project": {"id": "p", "internalId": "aW50ZXJuYWw6MQ=="}
            },
            "View": self._find_view,
            "UpsertView2": self._save_view,
            "upsertView": self._save_view,
            "Viewer": lambda _: {"viewer": _VIEWER},
            **self.artifacts.answers,
        }
        if operation not in answers:
            raise Refusal(f"this server does not know the operation {operation!r}")
        return {"data": answers[operation](variables)}

    def _features(self, _: dict[str, Any]) -> Reply:
        return {"serverInfo": {"features": [{"name": "rewind", "isEnabled": True}]}}

    def _resume_status(self, variables: dict[str, Any]) -> Reply:
        run = self.runs.get(variables["name"])
        return {"model": {"bucket": _bucket(run) if run else None}}

    def _upsert(self, variables: dict[str, Any]) -> Reply:
        name = variables.get("name") or base64.b64decode(variables["id"]).decode()
        if name in self._deleted:
            raise Refusal(f"run {name} was previously created and deleted", 409)
        is_new = name not in self.runs
        run = self.runs.setdefault(name, ServedRun(name, variables.get("project") or ""))
        if run.state != "preempting":
            run.state = "running"
        run.config = json.loads(variables.get("config") or "null") or run.config
        run.display_name = variables.get("displayName") or run.display_name
        run.group = variables.get("groupName") or run.group
        run.job_type = variables.get("jobType") or run.job_type
        run.notes = variables.get("notes") or run.notes
        run.tags = variables.get("tags") or run.tags
        return {"upsertBucket": {"bucket": _bucket(run), "inserted": is_new}}

    def _rewind(self, variables: dict[str, Any]) -> Reply:
        run = self.runs[variables["runName"]]
        if not self.can_rewind or run.state == "running":
            raise Refusal("cannot rewind a run that is not in a terminal state")
        run.history = [row for row in run.history if row["_step"] <= variables["metricValue"]]
        return {"rewindRun": {"rewoundRun": _bucket(run)}}

    def _alert(self, variables: dict[str, Any]) -> Reply:
        if variables["runName"] not in self.runs:
            raise Refusal("run not found")
        self.alerts.append(variables)
        return {"notifyScriptableRunAlert": {"success": True}}

    def _create_files(self, variables: dict[str, Any]) -> Reply:
        url = f"{self.url}/put/{variables['run']}"
        files = [{"name": name, "uploadUrl": f"{url}/{name}"} for name in variables["files"]]
        return {"createRunFiles": {"runID": "id", "uploadHeaders": [], "files": files}}

    def _get_projects(self, variables: dict[str, Any]) -> Reply:
        names = [
            name
            for entity, name in (each.split("/") for each in sorted(self.projects))
            if entity == variables["entity"]
        ]
        page = {"__typename": "PageInfo", "endCursor": None, "hasNextPage": False}
        return {"models": {"pageInfo": page, "edges": [{"node": _project(name)} for name in names]}}

    def _create_project(self, variables: dict[str, Any]) -> Reply:
        name = variables["input"]["name"]
        self.projects.add(f"{variables['input']['entityName']}/{name}")
        return {"result": {"project": _project(name), "model": _project(name), "inserted": True}}

    def _find_view(self, variables: dict[str, Any]) -> Reply:
        name = f"{variables['entityName']}/{variables['name']}"
        if name not in self.projects and not any(
            run.project == variables["name"] for run in self.runs.values()
        ):
            return {"project": None}
        view = self.views.get(variables["viewName"])
        edges = [{"node": {"id": view["id"]}}] if view else []
        return {"project": {"id": "p", "allViews": {"edges": edges}}}

    def _save_view(self, variables: dict[str, Any]) -> Reply:
        name = variables["name"]
        self.num_saved_views += 1
        is_new = name not in self.views
        self.views[name] = {**variables, "id": f"view-{name}"}
        project = {"id": "p", "name": variables["projectName"]}
        view = {
            **{key: variables.get(key) for key in ("name", "displayName", "description", "type")},
            "id": f"view-{name}",
            "spec": variables["spec"],
            "project": {**project, "entityName": variables["entityName"]},
            "updatedAt": "2026-01-01T00:00:00",
        }
        return {"upsertView": {"view": view, "inserted": is_new}}

    def _receive(self, run: ServedRun, body: dict[str, Any]) -> Reply:
        if history := (body.get("files") or {}).get("wandb-history.jsonl"):
            rows = [json.loads(line) for line in history["content"]]
            run.history[history["offset"] : history["offset"] + len(rows)] = rows
        if events := (body.get("files") or {}).get("wandb-events.jsonl"):
            rows = [json.loads(line) for line in events["content"]]
            run.system[events["offset"] : events["offset"] + len(rows)] = rows
        if summary := (body.get("files") or {}).get("wandb-summary.json"):
            run.summary = json.loads(summary["content"][-1])
        if body.get("preempting"):
            run.state = "preempting"
        if body.get("complete"):
            if body.get("exitcode") == 0:
                run.state = "finished"
            else:
                run.state = "preempted" if run.state == "preempting" else "failed"
        return {"exitcode": None, "limits": {}}


def _project(name: str) -> Reply:
    return {
        "__typename": "Project",
        "id": f"project-{name}",
        "name": name,
        "entityName": ENTITY,
        "createdAt": "2026-01-01T00:00:00",
        "isBenchmark": False,
        "user": None,
    }


def _operation(query: str) -> str:
    named = re.search(r"(?:query|mutation)\s+(\w+)", query)
    return named[1] if named else ""


def _bucket(run: ServedRun) -> Reply:
    last_row = run.history[-1:]
    return {
        "id": base64.b64encode(run.name.encode()).decode(),
        "name": run.name,
        "displayName": run.display_name,
        "config": json.dumps(run.config),
        "project": {"name": run.project, "entity": {"name": ENTITY}},
        "historyLineCount": len(run.history),
        "historyTail": json.dumps([json.dumps(row) for row in last_row]),
        "summaryMetrics": json.dumps(run.summary | (last_row[0] if last_row else {})),
        "eventsLineCount": len(run.system),
        "eventsTail": json.dumps([json.dumps(row) for row in run.system[-1:]]),
        "tags": run.tags,
        "notes": run.notes,
        "logLineCount": 0,
        "wandbConfig": json.dumps({"t": 1}),
    }


class _HttpServer(ThreadingHTTPServer):
    request_queue_size = 1024
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up, as a killed one does, is no matter."""


def _handler(server: WandbServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            super().setup()
            server.opened(self.connection)

        def finish(self) -> None:
            server.closed(self.connection)
            super().finish()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            path = self.path.partition("?")[0]
            match server.fault_of(path, body):
                case int(status):
                    self._answer(_error(f"the words of a {status}"), status)
                    return
                case float(seconds):
                    server.stopped.wait(seconds)
                case "stall":
                    server.stopped.wait()
                    return
                case "reset":
                    self.close_connection = True
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
            try:
                self._answer(server.answer(path, body), 200)
            except Refusal as refusal:
                self._answer(_error(str(refusal)), refusal.status)

        do_PUT = do_GET = do_POST

        def _answer(self, reply: Reply | bytes, status: int) -> None:
            data = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler


def _error(message: str) -> Reply:
    return {"data": None, "errors": [{"message": message}]}


def main() -> None:
    """Serve until stdin ends."""
    server = WandbServer()
    sys.stdout.write(f"{server.url}\n")
    sys.stdout.flush()
    sys.stdin.read()
    server.close()


if __name__ == "__main__":
    main()
