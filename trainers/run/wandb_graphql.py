"""Ask W&B's server by GraphQL, without W&B's client."""

from __future__ import annotations

import base64
import json
import urllib.request
from collections.abc import Mapping
from typing import Any


def ask(
    server: str,
    authorization: str,
    query: str,
    variables: Mapping[str, Any],
    *,
    timeout_s: float,
) -> Any:
    """Return the JSON that the server answers.

    Args:
        server: Its base URL.
        authorization: See `basic`; it is in no error.

    Raises:
        urllib.error.HTTPError: The server refuses.
        OSError, http.client.HTTPException: It does not answer.
        ValueError: The answer is not JSON.
    """
    request = urllib.request.Request(
        f"{server.rstrip('/')}/graphql",
        data=json.dumps({"query": query, "variables": dict(variables)}).encode(),
        headers={"Content-Type": "application/json", "Authorization": authorization},
    )
    with urllib.request.urlopen(request, timeout=timeout_s) as response:
        return json.loads(response.read())


def basic(api_key: str) -> str:
    """Return the header by which an API key authorizes a request."""
    return f"Basic {base64.b64encode(f'api:{api_key}'.encode()).decode()}"
