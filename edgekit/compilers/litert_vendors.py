"""The NPU makers that ai-edge-litert has compiler plug-ins for, and where their own libraries are found.

The plug-ins are in the wheel (``ai_edge_litert/vendors``); the makers' SDKs are not. The packages
``ai-edge-litert-sdk-*`` fetch them from the makers' servers *while they are installed*, and most end with success
where that failed: so the libraries themselves are looked for, never the package.
"""

import contextlib
import importlib
import importlib.util
import io
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from edgekit.errors import CompilerError

OPENVINO = re.compile(rb"libopenvino\.so\.[0-9]{1,8}")
"""What the Intel plug-in is linked with: one version of OpenVINO and no other."""


@dataclass(frozen=True, kw_only=True)
class Vendor:
    """A maker of NPUs."""

    name: str
    """As in ``ai_edge_litert/vendors`` and the setting ``vendor``."""
    manufacturer: str
    """As apply_plugin_main calls it."""
    sdk: str
    """Package that fetches its libraries."""
    library: str | None
    """The one of them that the plug-in needs first."""
    page: str
    """Where the maker hands its SDK out."""


VENDORS: Mapping[str, Vendor] = {
    vendor.name: vendor
    for vendor in (
        Vendor(
            name="qualcomm",
            manufacturer="Qualcomm",
            sdk="ai-edge-litert-sdk-qualcomm",
            library="libQnnHtp.so",
            page="https://www.qualcomm.com/developer/software/qualcomm-ai-engine-direct-sdk",
        ),
        Vendor(
            name="mediatek",
            manufacturer="MediaTek",
            sdk="ai-edge-litert-sdk-mediatek",
            library="libneuron_adapter.so",
            page="https://neuropilot.mediatek.com/",
        ),
        Vendor(
            name="samsung",
            manufacturer="Samsung",
            sdk="ai-edge-litert-sdk-samsung-nightly",
            library=None,
            page="https://developer.samsung.com/",
        ),
        Vendor(
            name="google_tensor",
            manufacturer="Google",
            sdk="ai-edge-litert-sdk-google-tensor",
            library="liblitert_plugin_compiler.so",
            page="https://ai.google.dev/edge/litert/next/tensor-sdk",
        ),
        Vendor(
            name="intel_openvino",
            manufacturer="IntelOpenVINO",
            sdk="ai-edge-litert-sdk-intel",
            library="libopenvino_intel_npu_compiler_loader.so",
            page="https://docs.openvino.ai/",
        ),
    )
}
"""By name."""


def models(vendor: Vendor) -> tuple[str, ...]:
    """The chips it compiles for, as the wheel lists them."""
    target = importlib.import_module(f"ai_edge_litert.aot.vendors.{vendor.name}.target")
    return tuple(sorted(str(model.value) for model in target.SocModel if model.value != "ALL"))


def wheel() -> Path:
    """Folder of the package ai_edge_litert; nothing of it is imported."""
    spec = importlib.util.find_spec("ai_edge_litert")
    if spec is None or not spec.submodule_search_locations:
        raise CompilerError("ai-edge-litert is not installed.", hint='Install it: pip install "edgekit".')
    return Path(next(iter(spec.submodule_search_locations)))


def plugin(vendor: Vendor) -> Path:
    """Its compiler plug-in; raises CompilerError where this wheel has none."""
    found = sorted((wheel() / "vendors" / vendor.name / "compiler").glob("libLiteRtCompilerPlugin_*.so"))
    if not found:
        raise CompilerError(
            f"This ai-edge-litert has no compiler plug-in for {vendor.manufacturer}.",
            hint="The plug-ins are in the wheels for Linux on x86-64: compile there.",
        )
    return found[0]


def libraries(vendor: Vendor, soc_model: str, given: Path | None, *, npu: bool = True) -> tuple[Path, ...]:
    """Folders that the plug-in finds its maker's libraries in.

    ``given`` is the user's own SDK. Without ``npu`` Intel's compiler for its NPU is not asked for: OpenVINO compiles
    for other devices, too. Raises CompilerError naming the library that is missing and what brings it.
    """
    folders = (given,) if given else tuple(_from_package(vendor, soc_model))
    if vendor.name == "intel_openvino":
        folders += (_openvino(vendor),)
    if vendor.library and npu and not any((folder / vendor.library).is_file() for folder in folders):
        looked = f" in {given}" if given else ""
        raise CompilerError(
            f"{vendor.manufacturer}'s {vendor.library} is not there{looked}: the plug-in of ai-edge-litert cannot "
            "compile without it.",
            hint=f"pip install {vendor.sdk} fetches it from the maker while it installs (with --force-reinstall "
            f"--no-cache-dir if it is installed: it ends with success without it), or get the SDK from {vendor.page} "
            "and set sdk_libs to the folder of its libraries for x86_64-linux.",
        )
    return folders


def search_path(folders: tuple[Path, ...]) -> str:
    """LD_LIBRARY_PATH for the plug-in: the maker's libraries, the wheel's, then the user's own."""
    own = os.environ.get("LD_LIBRARY_PATH")
    return os.pathsep.join([*map(str, folders), str(wheel()), *([own] if own else [])])


def _from_package(vendor: Vendor, soc_model: str) -> Iterator[Path]:
    name = vendor.sdk.removesuffix("-nightly").replace("-", "_")
    if importlib.util.find_spec(name) is None:
        return
    module = importlib.import_module(name)
    arguments: tuple[str, ...] = ()
    if vendor.name == "mediatek":  # two SDKs in one package
        target = importlib.import_module("ai_edge_litert.aot.vendors.mediatek.target")
        arguments = (target.map_soc_to_np_version(soc_model),)
    with contextlib.redirect_stderr(io.StringIO()), contextlib.suppress(NotImplementedError):
        found = module.path_to_sdk_libs(*arguments)
        if found is not None:
            yield Path(found)


def _openvino(vendor: Vendor) -> Path:
    """The libraries of the package openvino, of exactly the version that the plug-in is linked with."""
    needed = OPENVINO.search(plugin(vendor).read_bytes())
    library = needed[0].decode() if needed else "libopenvino.so"
    spec = importlib.util.find_spec("openvino")
    for package in (spec.submodule_search_locations if spec else None) or ():
        if (Path(package) / "libs" / library).is_file():
            return Path(package) / "libs"
    year, minor, patch = (f"20{library[-4:-2]}", library[-2], library[-1]) if needed else ("", "", "")
    wanted = f"openvino=={year}.{minor}.{patch}" if needed else "openvino"
    raise CompilerError(
        f"Intel's plug-in needs OpenVINO's {library}, and "
        + ("another version of OpenVINO is installed." if spec else "OpenVINO is not installed."),
        hint=f'Install that version: pip install "{wanted}".',
    )
