"""`python -m trainers.metrics.wandb_alert`: have W&B send an alert about a run.

The alert is JSON on standard input: entity, project, run_id, title, text, level. The run itself is
not opened, which would show one that has ended as running again.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from trainers.metrics.wandb_process import clean_environment, end_process
from trainers.metrics.wandb_server import sentence_of

_LEVELS = {"info": "INFO", "success": "INFO", "warning": "WARN", "failure": "ERROR"}
_MAX_TITLE = 63
_TIMEOUT_S = 8
_MUTATION = """
mutation NotifyScriptableRunAlert($entityName: String!, $projectName: String!, $runName: String!,
    $title: String!, $text: String!, $severity: AlertSeverity = INFO, $waitDuration: Duration) {
  notifyScriptableRunAlert(input: {entityName: $entityName, projectName: $projectName,
      runName: $runName, title: $title, text: $text, severity: $severity,
      waitDuration: $waitDuration}) {
    success
  }
}
"""
"""What `wandb.Run.alert` sends."""


def send_alert(alert: dict[str, Any]) -> None:
    """Send an alert; an exception of W&B says why it could not."""
    clean_environment()
    os.environ["WANDB_SILENT"] = "true"
    import wandb

    api = wandb.Api(timeout=_TIMEOUT_S)
    title = str(alert["title"])
    variables = {
        "entityName": alert["entity"] or api.default_entity,
        "projectName": alert["project"],
        "runName": alert["run_id"],
        "title": title if len(title) <= _MAX_TITLE else f"{title[: _MAX_TITLE - 1]}…",
        "text": alert["text"],
        "severity": _LEVELS[alert["level"]],
        "waitDuration": 0,
    }
    api._service_api.execute_graphql(_MUTATION, variables)  # it has no public method for this


def main() -> int:
    try:
        send_alert(json.load(sys.stdin))
    except Exception as error:
        sys.stderr.write(f"{sentence_of(error)}\n")
        return 1
    return 0


if __name__ == "__main__":
    end_process(main())
