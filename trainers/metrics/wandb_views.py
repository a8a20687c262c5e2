"""`python -m trainers.metrics.wandb_views dashboard` or `… report`: make a view of runs at W&B.

The request is JSON on standard input, see `make_dashboard` and `make_report`; the answer is JSON on
standard output: what was made, or under `problem` a sentence that says why it was not. There is no
secret in either: credentials are W&B's own.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

from trainers.metrics.wandb_process import clean_environment, end_process
from trainers.metrics.wandb_server import sentence_of

HTTP_TIMEOUT_S = 8


def make_view(kind: str, request: dict[str, Any]) -> dict[str, Any]:
    """Return the answer to a request for a `dashboard` or a `report`.

    Without an entity it is made for the account's default one, as runs are.
    """
    clean_environment()
    os.environ["WANDB_HTTP_TIMEOUT"] = str(HTTP_TIMEOUT_S)
    os.environ["WANDB_SILENT"] = "true"
    try:
        import wandb

        api = wandb.Api(timeout=HTTP_TIMEOUT_S)
        entity = request["entity"] or api.default_entity
        if not entity:
            return {"problem": "the account has no default entity; set wandb.entity"}
        if kind == "dashboard":
            from trainers.metrics.wandb_dashboard import make_dashboard

            return make_dashboard(api, entity, request)
        from trainers.metrics.wandb_report import make_report

        return make_report(entity, request)
    except Exception as error:
        return {"problem": sentence_of(error)}


if __name__ == "__main__":
    answer = make_view(sys.argv[1], json.load(sys.stdin))
    sys.stdout.write(f"{json.dumps(answer)}\n")
    end_process(0)
