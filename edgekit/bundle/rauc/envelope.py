"""Make, open and check a RAUC bundle."""

import hashlib
import os
import re
import shutil
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from edgekit.bundle.rauc import manifest as manifests
from edgekit.bundle.rauc import squashfs
from edgekit.bundle.rauc.manifest import IMAGE, RaucManifest, read_manifest
from edgekit.bundle.rauc.settings import compatible, read_settings
from edgekit.bundle.rauc.verity import hash_tree
from edgekit.bundle.refusal import refused
from edgekit.bundle.tools import check_room, find_tool, make, run_tool
from edgekit.bundle.types import CreateRequest, Opened, ToolCheck
from edgekit.errors import BundleError
from edgekit.keys.cms import one_form, verify_cms
from edgekit.keys.private import matching_key
from edgekit.keys.trust import read_trust
from edgekit.keys.types import Trust

SUFFIX = ".raucb"
INSTALL = "Install RAUC 1.5 or newer and squashfs-tools: sudo apt install rauc squashfs-tools."
MAX_SIGNATURE_BYTES = 64 * 1024
LENGTH_BYTES = 8
CONFIGURATION = "[system]\ncompatible=edgekit\nbootloader=noop\n\n[keyring]\npath=keyring.pem\ncheck-purpose=codesign\n"
"""``check-purpose`` is known to a configuration only, and without it RAUC refuses a codeSigning certificate."""


def create(request: CreateRequest) -> Path:
    """A bundle by ``rauc bundle``; raises BundleError. The image holds no time, no owner and nothing compressed."""
    if len(request.payload) > squashfs.MAX_PAYLOAD_BYTES:
        raise BundleError(
            f"The release has {len(request.payload):,} bytes; a RAUC bundle takes {squashfs.MAX_PAYLOAD_BYTES:,}.",
            hint="Use a smaller model, or another format.",
        )
    rauc = find_tool("rauc", install=INSTALL)
    find_tool("mksquashfs", install=INSTALL)  # rauc calls it
    content = request.scratch / "content"
    content.mkdir()
    release = request.tree.release
    bundle_format = read_settings(request.settings).format
    manifest = manifests.write_manifest(compatible(release), release.version, bundle_format)
    (content / IMAGE).write_bytes(request.payload)
    (content / squashfs.MANIFEST).write_text(manifest)
    trust = read_trust(request.keys)
    configuration = _configure(request.scratch, trust)
    made = request.scratch / f"release{SUFFIX}"
    modes = " ".join(f"-p '{name} m 644 0 0'" for name in (squashfs.MANIFEST, IMAGE))  # whatever our umask is
    make(
        [
            rauc, "--conf", str(configuration), "bundle",
            "--cert", str(trust.certificate("cms")), "--key", str(matching_key(request.keys, "cms")),
            f"--mksquashfs-args={squashfs.MKSQUASHFS} {modes}", str(content), str(made),
        ],
        environment={**os.environ, "SOURCE_DATE_EPOCH": "0"},
    )  # fmt: skip
    signature, body = _split(memoryview(made.read_bytes()))
    signature = one_form(signature, trust)
    made.write_bytes(b"".join((body, signature, len(signature).to_bytes(LENGTH_BYTES, "big"))))
    return made


def open_envelope(data: bytes, trust: Trust, now: datetime) -> Opened:
    """Account for every byte; raises IntegrityError.

    Plain: the signature covers the image. Verity: it covers the manifest, whose root hash covers the tree and the
    image. The image itself is written again from what is in it, and is the same.
    """
    signature, body = _split(memoryview(data))
    inner, start = _read_inner(body)
    before, after = squashfs.frame(bytes(body[squashfs.SUPERBLOCK_BYTES : start]), inner.size, name=IMAGE)
    end = start + inner.size
    image_bytes = end + len(after)
    if image_bytes > len(body) or body[:start] != before or body[end:image_bytes] != after:
        raise refused("The SquashFS image of the RAUC bundle is not as edgekit has it made, or was changed.")
    if image_bytes == len(body):
        verify_cms(signature, bytes(body), trust, now)
        signed = inner
    else:
        signed = read_manifest(verify_cms(signature, None, trust, now))
        _check_tree(signed, body[:image_bytes], body[image_bytes:])
    if replace(signed, verity=None) != inner:
        raise refused("The signed manifest of the RAUC bundle is not the one inside its image.")
    payload = bytes(body[start:end])
    if hashlib.sha256(payload).hexdigest() != signed.sha256:
        raise refused("The release in the RAUC bundle is not the one that its manifest names.")
    return Opened(payload=payload, version=signed.version, hardware=(signed.compatible,), signed_by=("cms",))


def check(path: Path, trust: Trust, scratch: Path) -> ToolCheck:
    """``rauc extract``: ``rauc info`` would not read what a verity bundle holds.

    Raises IntegrityError when it refuses, BundleError when it is not installed.
    """
    rauc = find_tool("rauc", install=INSTALL)
    find_tool("unsquashfs", install=INSTALL)  # rauc calls it
    check_room(scratch, 2 * path.stat().st_size + 2**20)  # the copy, what is unpacked of it, and some more
    copy = scratch / f"bundle{SUFFIX}"
    shutil.copyfile(path, copy)  # as root it would take the file itself away from its owner
    ran = run_tool([rauc, "--conf", str(_configure(scratch, trust)), "extract", str(copy), str(scratch / "extracted")])
    if ran.status != 0:
        raise refused(f"rauc refuses the bundle: {_last_words(ran.output)}")
    version = run_tool([rauc, "--version"]).output.strip().rpartition(" ")[2] or None
    return ToolCheck(tool="rauc", version=version, checked="signature, certificate purpose and every byte of the image")


def _configure(folder: Path, trust: Trust) -> Path:
    shutil.copyfile(trust.certificate("ca"), folder / "keyring.pem")
    path = folder / "system.conf"
    path.write_text(CONFIGURATION)
    return path


def _split(data: memoryview) -> tuple[bytes, memoryview]:
    """The signature and what stands before it."""
    size = int.from_bytes(data[-LENGTH_BYTES:], "big")
    end = len(data) - LENGTH_BYTES
    if not 0 < size <= min(MAX_SIGNATURE_BYTES, end - squashfs.PAGE_BYTES):
        raise refused("The RAUC bundle does not end with the length of its signature: it is cut off, or goes on.")
    return bytes(data[end - size : end]), data[: end - size]


def _read_inner(body: memoryview) -> tuple[RaucManifest, int]:
    """The manifest at the beginning of the image, and where the release begins."""
    start = squashfs.SUPERBLOCK_BYTES
    head = bytes(body[start : start + manifests.MAX_BYTES])
    length = head.find(manifests.END) + len(manifests.END)
    if length < len(manifests.END):
        raise refused("The RAUC bundle does not begin with a manifest of edgekit's.")
    inner = read_manifest(head[:length])
    if inner.size > squashfs.MAX_PAYLOAD_BYTES:
        raise refused(f"The RAUC bundle says that it holds {inner.size:,} bytes, more than edgekit makes.")
    return inner, start + length


def _check_tree(signed: RaucManifest, image: memoryview, tree: memoryview) -> None:
    if signed.verity is None:
        raise refused("The RAUC bundle has bytes between its image and its signature that its manifest does not name.")
    expected, root = hash_tree(image, signed.verity.salt)
    if signed.verity.tree_bytes != len(tree) or tree != expected or root != signed.verity.root:
        raise refused("The image of the RAUC bundle is not the one that was signed: its hash tree does not fit.")


def _last_words(output: str) -> str:
    lines = [line for line in output.splitlines() if line.strip()]
    return re.sub(r"[^ -~]", "?", lines[-1].strip())[:300] if lines else "it said nothing."
