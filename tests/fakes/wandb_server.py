"""A W&B server on this machine, for the real client: runs, history, resume and rewind."""

from __future__ import annotations

import base64
import json
import re
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from attrs import define, field

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


class Refusal(Exception):
    """The server answers with an error."""


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


class WandbServer:
    """Serves from a free port until closed; `runs` has what the clients have sent, by run id.

    As the real one, it rewinds only a run that has ended; with `can_rewind` False none at all.
    """

    def __init__(self, *, can_rewind: bool = True) -> None:
        self.runs: dict[str, ServedRun] = {}
        self.can_rewind = can_rewind
        self.asked: list[str] = []
        self._lock = threading.Lock()
        self._http = _HttpServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.05,))
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    def close(self) -> None:
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()

    def answer(self, path: str, body: bytes) -> Reply:
        """The reply to any request.

        Raises:
            Refusal: The reply is an error.
        """
        with self._lock:
            if path == "/graphql":
                question = json.loads(body)
                return self._graphql(question["query"], question.get("variables") or {})
            if stream := re.fullmatch(r"/files/[^/]+/[^/]+/([^/]+)/file_stream", path):
                return self._receive(self.runs[stream[1]], json.loads(body))
            if upload := re.fullmatch(r"/put/([^/]+)/(.+)", path):
                self.runs[upload[1]].files[upload[2]] = body
            return {}

    def _graphql(self, query: str, variables: dict[str, Any]) -> Reply:
        named = re.search(r"(?:query|mutation)\s+(\w+)", query)
        operation = named[1] if named else ""
        self.asked.append(operation)
        answers: dict[str, Callable[[dict[str, Any]], Reply]] = {
            "ServerFeaturesQuery": self._features,
            "RunResumeStatus": self._resume_status,
            "UpsertBucket": self._upsert,
            "RewindRun": self._rewind,
            "RunStoppedStatus": lambda _: {"project": {"run": {"stopped": False}}},
            "CreateRunFiles": self._create_files,
            "Viewer": lambda _: {"viewer": _VIEWER},
            "ArtifactType": lambda _: {"project": {"artifact": None}},
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

    def _create_files(self, variables: dict[str, Any]) -> Reply:
        url = f"{self.url}/put/{variables['run']}"
        files = [{"name": name, "uploadUrl": f"{url}/{name}"} for name in variables["files"]]
        return {"createRunFiles": {"runID": "id", "uploadHeaders": [], "files": files}}

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
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up, as a killed one does, is no matter."""


def _handler(server: WandbServer) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            try:
                reply, status = server.answer(self.path.partition("?")[0], body), 200
            except Refusal as refusal:
                reply, status = {"data": None, "errors": [{"message": str(refusal)}]}, 400
            data = json.dumps(reply).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_PUT = do_GET = do_POST

        def log_message(self, format: str, *args: Any) -> None:
            pass

    return Handler
