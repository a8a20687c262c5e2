"""Folders and files on a server, with the part of the interface of `Path` that readers use."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from attrs import frozen

from trainers.datasets.outages import brief, is_of_this_moment
from trainers.errors import DataError, DataUnavailableError

_URL = re.compile(r"(file|https?|s3|gs)://(.*)", re.DOTALL)


@frozen
class RemotePath:
    """A URL: `http(s)://HOST/…`, `s3://BUCKET/…` or `gs://BUCKET/…`.

    AWS_ENDPOINT_URL and AWS_REGION select an S3 server other than Amazon's; credentials come from
    where the vendors' own tools look for them.
    """

    url: str

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> RemotePath:
        return RemotePath(f"{self.url}/{name}") if name else self

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]

    @property
    def parent(self) -> RemotePath:
        return RemotePath(self.url.rpartition("/")[0])

    @property
    def parents(self) -> tuple[RemotePath, ...]:
        """The folders above, nearest first, up to the host or bucket."""
        if not urlsplit(self.url).path.strip("/"):
            return ()
        return (self.parent, *self.parent.parents)

    def is_file(self) -> bool:
        return _read(self.url) is not None

    def is_dir(self) -> bool:
        """Return True: servers have no folders, so any prefix may be one."""
        return True

    def read_bytes(self) -> bytes:
        content = _read(self.url)
        if content is None:
            raise FileNotFoundError(f"{self.url}: not found")
        return content

    @property
    def kvstore(self) -> dict[str, Any]:
        """TensorStore's kvstore spec of the folder."""
        parts = urlsplit(self.url)
        path = parts.path.lstrip("/") + "/"
        if parts.scheme == "s3":
            settings = {
                "endpoint": os.environ.get("AWS_ENDPOINT_URL"),
                "aws_region": os.environ.get("AWS_REGION"),
            }
            given: dict[str, Any] = {key: value for key, value in settings.items() if value}
            # By default TensorStore looks for credential files too, and logs each that is missing.
            if "AWS_ACCESS_KEY_ID" in os.environ:
                given["aws_credentials"] = {"type": "environment"}
            return {"driver": "s3", "bucket": parts.netloc, "path": path, **given}
        if parts.scheme == "gs":
            return {"driver": "gcs", "bucket": parts.netloc, "path": path}
        base = f"{parts.scheme}://{parts.netloc}"
        return {"driver": "http", "base_url": base, "path": f"/{path}"}


VolumePath = Path | RemotePath


def volume_path(text: str | VolumePath) -> VolumePath:
    """Convert a URL to a RemotePath, and any other text, or a `file://` URL, to a Path."""
    match = _URL.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return text if isinstance(text, RemotePath) else Path(text)
    if match[1] == "file":
        return Path(unquote(match[2].removeprefix("localhost")))
    return RemotePath(str(text).rstrip("/"))


def is_url(text: str) -> bool:
    return _URL.fullmatch(text) is not None


def kvstore(path: VolumePath) -> dict[str, Any]:
    """Return TensorStore's kvstore spec of a folder."""
    if isinstance(path, RemotePath):
        return path.kvstore
    return {"driver": "file", "path": f"{path.absolute()}/"}


def forget_answers() -> None:
    """Ask servers again for the small files that they have given, refused or not had."""
    _read.cache_clear()


@cache
def _read(url: str) -> bytes | None:
    """Return the content of a small file; None if it does not exist or is forbidden.

    Buckets without the right to list answer 403 for both. Cached: the readers of several formats
    probe for the same files.
    """
    import tensorstore as ts

    from trainers.datasets.read_options import Reading

    path = RemotePath(url)
    reading = Reading()
    try:
        store = ts.KvStore.open(path.parent.kvstore, context=reading.context).result()
        found = store.read(path.name).result(timeout=reading.timeout_s)
    except (ValueError, TimeoutError) as error:
        if str(error).startswith("PERMISSION_DENIED"):
            return None
        kind = DataUnavailableError if is_of_this_moment(error) else DataError
        raise kind(f"{url}: cannot be read: {brief(error)}") from error
    return bytes(found.value) if found.state == "value" else None
