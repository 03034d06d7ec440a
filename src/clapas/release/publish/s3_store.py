"""A mirror in an S3-compatible store: AWS, MinIO, Ceph. Credentials are the environment's, as boto3 finds them."""

from __future__ import annotations

import hashlib
import mimetypes
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from clapas.recipe.errors import UserError
from clapas.release.publish.contents import File
from clapas.release.publish.patience import HubError, LineError, said, waits
from clapas_data.optional import needs

PART = 64 << 20
"""Bytes of a part of a large file; the store checks the SHA-256 of each."""
TRIES = 8
"""Of each call, by boto3 itself, with waits that grow."""
CHUNK = 1 << 20
DENIED = ("AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "NoSuchBucket", "403")
"""Codes that name a mistake in credentials or address."""


def open_s3(address: str, endpoint: str | None) -> S3Store:
    """The store of `s3://bucket/prefix`. endpoint: None for $AWS_ENDPOINT_URL, else AWS."""
    match = re.fullmatch(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*?))?/?", address)
    if match is None:
        raise UserError("not an S3 address", where="--mirror", found=address, wanted="s3://bucket/prefix")
    with needs("boto3", "a mirror in S3", extra="mirror"):
        import boto3
        from botocore.config import Config
    config = Config(retries={"max_attempts": TRIES, "mode": "standard"}, connect_timeout=20, read_timeout=120)
    with _told(address):
        client = boto3.client("s3", endpoint_url=endpoint, config=config)
    return S3Store(client, match[1], match[2] or "")


class S3Store:
    """The objects below a prefix of a bucket. An object appears when all of it has come. See `mirror.Store`."""

    def __init__(self, client: Any, bucket: str, prefix: str) -> None:
        from boto3.s3.transfer import TransferConfig

        self._client, self._bucket, self._prefix = client, bucket, f"{prefix}/" if prefix else ""
        self._transfer = TransferConfig(multipart_threshold=PART, multipart_chunksize=PART)

    @property
    def url(self) -> str:
        return f"{self._client.meta.endpoint_url}/{self._bucket}/{self._prefix}".rstrip("/")

    def _object(self, name: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + name}

    def names(self, prefix: str) -> dict[str, int]:
        with _told(self.url):
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix + prefix
            )
            objects = [found for page in pages for found in page.get("Contents", ())]
        return {found["Key"].removeprefix(self._prefix): found["Size"] for found in objects}

    def has(self, name: str, file: File) -> bool:
        head = self._head(name)
        return head is not None and (head["ContentLength"], head["Metadata"].get("sha256")) == (file.size, file.sha256)

    def _head(self, name: str) -> dict[str, Any] | None:
        from botocore.exceptions import ClientError

        with _told(self.url):
            try:
                return self._client.head_object(**self._object(name))
            except ClientError as error:
                if error.response["Error"]["Code"] in ("404", "NoSuchKey"):
                    return None
                raise

    def put(self, name: str, file: File) -> None:
        facts = {"Metadata": {"sha256": file.sha256}, "ContentType": _kind(name), "ChecksumAlgorithm": "SHA256"}
        with _told(self.url):
            self._forget_parts(name)
            target = self._object(name)
            self._client.upload_file(
                str(file.path), target["Bucket"], target["Key"], ExtraArgs=facts, Config=self._transfer
            )

    def _forget_parts(self, name: str) -> None:
        """Drop the parts that a killed publication left: they are stored, and paid for, until somebody does."""
        key = self._prefix + name
        begun = self._client.list_multipart_uploads(Bucket=self._bucket, Prefix=key).get("Uploads", ())
        for upload in begun:
            if upload["Key"] == key:
                self._client.abort_multipart_upload(**self._object(name), UploadId=upload["UploadId"])

    def sha256(self, name: str) -> str:
        """A cut download goes on where it was."""
        from botocore.exceptions import HTTPClientError, IncompleteReadError

        digest, have, last = hashlib.sha256(), 0, Exception()
        with _told(self.url):
            for wait in waits():
                time.sleep(wait)
                wanted = {"Range": f"bytes={have}-"} if have else {}
                try:
                    for chunk in self._client.get_object(**self._object(name), **wanted)["Body"].iter_chunks(CHUNK):
                        digest.update(chunk)
                        have += len(chunk)
                    return digest.hexdigest()
                except (HTTPClientError, IncompleteReadError) as error:
                    last = error
        raise LineError("no answer", where=f"{self.url}/{name}", found=said(last), way_out="publish again: it goes on")

    def remove(self, name: str) -> None:
        with _told(self.url):
            self._client.delete_object(**self._object(name))

    def read(self, name: str) -> bytes | None:
        if self._head(name) is None:
            return None
        with _told(self.url):
            return self._client.get_object(**self._object(name))["Body"].read()

    def write(self, name: str, content: bytes, kind: str) -> None:
        with _told(self.url):
            self._client.put_object(**self._object(name), Body=content, ContentType=kind, ChecksumAlgorithm="SHA256")


def _kind(name: str) -> str:
    """The media type that a browser shows a file by: cards and notices as text."""
    if name.endswith((".md", ".cff", "LICENSE", "NOTICE", "SHA256SUMS", ".yaml", ".pub", ".jinja")):
        return "text/plain; charset=utf-8"
    return mimetypes.guess_type(name)[0] or "application/octet-stream"


@contextmanager
def _told(where: str) -> Iterator[None]:
    """Raise what the store refused as the user's own mistake, or as a line that broke."""
    from boto3.exceptions import S3UploadFailedError
    from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError, NoCredentialsError

    try:
        yield
    except NoCredentialsError:
        way_out = "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or a profile"
        raise UserError("no credentials for the store", where=where, way_out=way_out) from None
    except (ClientError, S3UploadFailedError) as error:
        if any(f"({code})" in str(error) for code in DENIED):
            raise UserError("the store does not let us in", where=where, found=said(error)) from error
        raise HubError("the store refused", where=where, found=said(error)) from error
    except HTTPClientError as error:
        raise LineError("no answer", where=where, found=said(error), way_out="publish again: it goes on") from error
    except BotoCoreError as error:
        raise HubError("the store cannot be used", where=where, found=said(error)) from error
