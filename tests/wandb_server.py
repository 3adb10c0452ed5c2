"""A server on this machine that speaks as much of W&B's protocol as ``wandb sync`` needs, and keeps what it is told."""

from __future__ import annotations

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class StoredRun:
    """One run as the server has it.

    Attributes:
        history: line number -> what was logged there.
        written: line numbers of the history in the order in which they came; a duplicate would be twice in it.
        files: names of uploaded files.
    """

    name: str
    config: dict = field(default_factory=dict)
    group: str | None = None
    history: dict[int, dict] = field(default_factory=dict)
    written: list[int] = field(default_factory=list)
    summary: dict = field(default_factory=dict)
    files: list[str] = field(default_factory=list)
    exit_code: int | None = None


@dataclass
class Server:
    """What came in.

    Attributes:
        url: where it listens.
        runs: by id.
        artifacts: id -> its name, its files, and whether it was committed.
        uploads: path -> bytes.
        refuse: status code that every request gets; 0 for none.
    """

    url: str = ""
    runs: dict[str, StoredRun] = field(default_factory=dict)
    artifacts: dict[str, dict] = field(default_factory=dict)
    uploads: dict[str, int] = field(default_factory=dict)
    requests: int = 0
    refuse: int = 0

    def environment(self) -> dict[str, str]:
        """What a process needs to upload here."""
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": "a" * 40, "no_proxy": "127.0.0.1"}

    def answer(self, name: str, told: dict[str, Any]) -> dict[str, Any]:
        """To one operation of GraphQL."""
        project = {"id": "p", "name": "treg_exp", "entity": {"id": "e", "name": "me"}}
        if name == "RunResumeStatus":
            run = self.runs.get(told["name"])
            return {"model": {**project, "bucket": run and self._bucket(run)}}
        if name == "UpsertBucket":
            new = told["name"] not in self.runs
            run = self.runs.setdefault(told["name"], StoredRun(told["name"]))
            run.config |= json.loads(told.get("config") or "{}")
            run.group = told.get("groupName") or run.group
            about = {**self._bucket(run), "description": "", "sweepName": None, "project": project}
            return {"upsertBucket": {"bucket": about, "inserted": new}}
        if name == "CreateRunFiles":
            run = self.runs[told["run"]]
            run.files += told["files"]
            files = [{"name": file, "uploadUrl": f"{self.url}/up/{run.name}/{file}"} for file in told["files"]]
            return {"createRunFiles": {"runID": run.name, "uploadHeaders": [], "files": files}}
        return self._of_artifacts(name, told)

    def _of_artifacts(self, name: str, told: dict[str, Any]) -> dict[str, Any]:
        if name == "CreateArtifact":
            key = f"a{len(self.artifacts)}"
            self.artifacts[key] = {"name": told["input"]["artifactCollectionName"], "files": [], "committed": False}
            made = {"id": key, "state": "PENDING", "artifactSequence": {"latestArtifact": None}}
            return {"createArtifact": {"artifact": made}}
        if name in ("CreateArtifactManifest", "UpdateArtifactManifest"):
            file = {"id": "f", "uploadUrl": f"{self.url}/up/manifest", "uploadHeaders": []}
            field_name = name[0].lower() + name[1:]
            return {field_name: {"artifactManifest": {"id": told.get("artifactManifestID", "m"), "file": file}}}
        if name == "CreateArtifactFiles":
            edges = []
            for spec in told["input"]["artifactFiles"]:
                self.artifacts[spec["artifactID"]]["files"].append(spec["name"])
                node = {
                    "storagePath": spec["name"], "uploadUrl": f"{self.url}/up/{spec['artifactID']}/{spec['name']}",
                    "uploadHeaders": [], "uploadMultipartUrls": None, "artifact": {"id": spec["artifactID"]},
                }  # fmt: skip
                edges.append({"node": node})
            return {"createArtifactFiles": {"files": {"edges": edges}}}
        if name == "CommitArtifact":
            self.artifacts[told["artifactID"]]["committed"] = True
            return {"commitArtifact": {"artifact": {"id": told["artifactID"], "digest": "d"}}}
        return {"serverInfo": {"features": []}, "viewer": {"id": "u", "entity": "me", "flags": "{}", "teams": None}}

    def _bucket(self, run: StoredRun) -> dict[str, Any]:
        tail = [json.dumps(run.history[max(run.history)])] if run.history else []
        return {
            "id": run.name, "name": run.name, "displayName": run.name, "summaryMetrics": json.dumps(run.summary),
            "logLineCount": 0, "historyLineCount": len(run.history), "eventsLineCount": 0,
            "historyTail": json.dumps(tail), "eventsTail": "[]", "config": json.dumps(run.config), "tags": [],
            "notes": None, "wandbConfig": json.dumps({"t": 1}),
        }  # fmt: skip

    def stream(self, name: str, told: dict[str, Any]) -> None:
        """Lines of a run's files."""
        run = self.runs[name]
        files = told.get("files") or {}
        if lines := files.get("wandb-history.jsonl"):
            for at, line in enumerate(lines["content"], lines["offset"]):
                run.history[at] = json.loads(line)
                run.written.append(at)
        for line in files.get("wandb-summary.json", {}).get("content", ()):
            run.summary = json.loads(line)
        if told.get("complete"):
            run.exit_code = told.get("exitcode")


@contextmanager
def wandb_server() -> Iterator[Server]:
    """A running server."""
    state = Server()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *arguments: object) -> None:
            pass

        def _told(self) -> bytes:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            return gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body

        def _answer(self, value: object) -> None:
            body = json.dumps(value).encode()
            self.send_response(state.refuse or 200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self) -> None:
            self._answer({})

        def do_PUT(self) -> None:
            state.uploads[self.path] = len(self._told())
            self._answer({})

        def do_POST(self) -> None:
            body = self._told()
            state.requests += 1
            if state.refuse:
                self._answer({"error": "refused"})
                return
            if self.path == "/graphql":
                query = json.loads(body)
                self._answer({"data": state.answer(query.get("operationName") or "", query.get("variables") or {})})
                return
            if self.path.endswith("/file_stream"):
                state.stream(self.path.split("/")[-2], json.loads(body))
            self._answer({})

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *arguments: object) -> None:
            """A client that is gone is no news."""

    with Quiet(("127.0.0.1", 0), Handler) as http:
        state.url = f"http://127.0.0.1:{http.server_address[1]}"
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        try:
            yield state
        finally:
            http.shutdown()
