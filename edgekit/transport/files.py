"""Files by their content: what the agent answers ``need`` with, where its cache has them not."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from edgekit.errors import DeviceFaultError, ModelError

CHUNK = 256 * 1024


def answer_need(event: Mapping[str, Any], files: Mapping[str, Path], device: str) -> Iterator[bytes]:
    """The bytes of the files (sha256 -> path) that a ``need`` event names, one after the other; none for other events.

    Raises:
        DeviceFaultError: a file is asked for that was not offered.
        ModelError: a file cannot be read.
    """
    if event["event"] != "need":
        return
    digests = event.get("files")
    if not isinstance(digests, list) or not all(isinstance(digest, str) and digest in files for digest in digests):
        raise DeviceFaultError(
            f"{device}: the agent asks for files that are not part of this: {str(digests)[:200]}.",
            hint="Something else than edgekit's agent answers there; run it again with -v.",
        )
    for digest in digests:
        try:
            with files[digest].open("rb") as stream:
                while chunk := stream.read(CHUNK):
                    yield chunk
        except OSError as err:
            raise ModelError(f"{files[digest]} cannot be read: {err.strerror}.", hint="Check the file.") from err
