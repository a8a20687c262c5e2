"""Folders and files on a server, used as a `Path` is."""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from attrs import frozen

from trainers.errors import DataError

_URL = re.compile(r"(file|https?|s3|gs)://(.*)", re.DOTALL)


@frozen
class RemotePath:
    """A place that a URL names: `http(s)://HOST/…`, `s3://BUCKET/…` or `gs://BUCKET/…`.

    For servers that speak S3 but are not Amazon's, AWS_ENDPOINT_URL and AWS_REGION are respected;
    credentials come from where the vendors' own tools have them.
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
        """Folders above, the nearest first, up to the host or bucket."""
        if not urlsplit(self.url).path.strip("/"):
            return ()
        return (self.parent, *self.parent.parents)

    def is_file(self) -> bool:
        return _read(self.url) is not None

    def is_dir(self) -> bool:
        """Servers have no folders."""
        return True

    def read_bytes(self) -> bytes:
        content = _read(self.url)
        if content is None:
            raise FileNotFoundError(f"{self.url}: there is no such file")
        return content

    @property
    def kvstore(self) -> dict[str, Any]:
        """TensorStore's specification of the folder."""
        parts = urlsplit(self.url)
        path = parts.path.lstrip("/") + "/"
        if parts.scheme == "s3":
            settings = {
                "endpoint": os.environ.get("AWS_ENDPOINT_URL"),
                "aws_region": os.environ.get("AWS_REGION"),
            }
            given: dict[str, Any] = {key: value for key, value in settings.items() if value}
            if "AWS_ACCESS_KEY_ID" in os.environ:  # else files are looked for, and missed aloud
                given["aws_credentials"] = {"type": "environment"}
            return {"driver": "s3", "bucket": parts.netloc, "path": path, **given}
        if parts.scheme == "gs":
            return {"driver": "gcs", "bucket": parts.netloc, "path": path}
        base = f"{parts.scheme}://{parts.netloc}"
        return {"driver": "http", "base_url": base, "path": f"/{path}"}


VolumePath = Path | RemotePath


def volume_path(text: str | VolumePath) -> VolumePath:
    """A path, or a place on a server if it is a URL; `file://` stands for a path."""
    match = _URL.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return text if isinstance(text, RemotePath) else Path(text)
    if match[1] == "file":
        return Path(unquote(match[2]))
    return RemotePath(str(text).rstrip("/"))


def is_url(text: str) -> bool:
    return _URL.fullmatch(text) is not None


def kvstore(path: VolumePath) -> dict[str, Any]:
    """TensorStore's specification of a folder."""
    if isinstance(path, RemotePath):
        return path.kvstore
    return {"driver": "file", "path": f"{path.absolute()}/"}


@cache
def _read(url: str) -> bytes | None:
    """A small file; None if there is none, or the server does not show it.

    Buckets that may not be listed answer alike for what is not there and what is forbidden.
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
        raise DataError(f"{url}: cannot be read: {error or 'no answer'}") from error
    return bytes(found.value) if found.state == "value" else None
