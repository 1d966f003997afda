"""sbom.cdx.json: what is in a release, as CycloneDX 1.6 (https://cyclonedx.org/docs/1.6/json/).

Deterministic: the serial number is a UUID of the artifact's digest, the version and the licences; there is no time.
"""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgekit.artifact import Artifact
from edgekit.bundle.types import AGENT, ARTIFACT
from edgekit.documents import write_json
from edgekit.errors import BundleError
from edgekit_converters.types import Finding

if TYPE_CHECKING:
    from cyclonedx.model import HashType, Property
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component
    from cyclonedx.model.license import License

NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://github.com/edgekit/edgekit/bundle")


@dataclass(frozen=True, kw_only=True)
class Described:
    """What an SBOM is about."""

    artifact: Artifact
    name: str
    version: str
    licenses: tuple[str, ...]
    """SPDX identifiers or expressions of the model's licences."""
    agent_sha256: str
    agent_version: str
    requirements: tuple[str, ...]
    """Lines of requirements.txt."""


def licence_findings(licenses: Sequence[str]) -> tuple[Finding, ...]:
    """That no licence was given; raises BundleError for what is neither an SPDX identifier nor an expression."""
    from cyclonedx.spdx import fixup_id, is_expression, is_supported_id

    for text in licenses:
        close = None if is_supported_id(text) else fixup_id(text)  # identifiers are case-sensitive
        if close is not None or not (is_supported_id(text) or is_expression(text)):
            raise BundleError(
                f"{text!r} is no SPDX licence.",
                hint=f"Did you mean {close!r}?"
                if close
                else "Such as Apache-2.0 or 'MIT OR Apache-2.0'; https://spdx.org/licenses names all.",
            )
    if licenses:
        return ()
    return (
        Finding(
            name="no-license",
            severity="warning",
            message="The SBOM names no licence of the model: nobody gave one.",
            fix="Name what the model and its training data allow: --license SPDX, such as --license Apache-2.0.",
        ),
    )


def sbom(described: Described) -> bytes:
    """The SBOM as canonical JSON."""
    from cyclonedx.output.json import JsonV1Dot6

    document: dict[str, Any] = json.loads(JsonV1Dot6(_bom(described)).output_as_string())
    del document["metadata"]["timestamp"]  # the library always writes one
    return write_json(document)


def _bom(described: Described) -> "Bom":
    from cyclonedx.model.bom import Bom, BomMetaData
    from cyclonedx.model.dependency import Dependency

    model = _model(described)
    parts = [*_made_from(described.artifact), _agent(described), *map(_library, described.requirements)]
    identity = "\n".join((described.artifact.digest, described.name, described.version, *described.licenses))
    return Bom(
        serial_number=uuid.uuid5(NAMESPACE, identity),
        metadata=BomMetaData(component=model),
        components=parts,
        dependencies=[
            Dependency(ref=model.bom_ref, dependencies=[Dependency(ref=part.bom_ref) for part in parts]),
            *(Dependency(ref=part.bom_ref) for part in parts),
        ],
    )


def _model(described: Described) -> "Component":
    from cyclonedx.model.component import Component, ComponentType

    manifest = described.artifact.manifest
    facts = {
        "file": f"{ARTIFACT}/{manifest.model}",
        "artifact": described.artifact.digest,
        "target": manifest.target,
        "precision": manifest.precision,
    }
    return Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref="model",
        name=described.name,
        version=described.version,
        hashes=_sha256(manifest.files[manifest.model].sha256),
        licenses=_licenses(described.licenses),
        properties=_properties(facts),
    )


def _made_from(artifact: Artifact) -> list["Component"]:
    """The source model, the model that a compiler took, the calibration data."""
    from cyclonedx.model.component import Component, ComponentType

    manifest = artifact.manifest
    parts = [
        Component(
            type=ComponentType.MACHINE_LEARNING_MODEL,
            bom_ref="source",
            name=manifest.source.name,
            description=f"The {manifest.source.format} model it was made from; not in the bundle.",
            hashes=_sha256(manifest.source.sha256),
        )
    ]
    if manifest.reference != manifest.model:
        parts.append(
            Component(
                type=ComponentType.MACHINE_LEARNING_MODEL,
                bom_ref="reference",
                name=manifest.reference,
                description="The quantized model that the compiled one was made from.",
                hashes=_sha256(manifest.files[manifest.reference].sha256),
            )
        )
    if manifest.calibration is not None:
        parts.append(
            Component(
                type=ComponentType.DATA,
                bom_ref="calibration",
                name="calibration data",
                description=f"{manifest.calibration.samples} samples; the digest is over them as the model saw them.",
                hashes=_sha256(manifest.calibration.sha256),
            )
        )
    return parts


def _agent(described: Described) -> "Component":
    from cyclonedx.model.component import Component, ComponentType

    return Component(
        type=ComponentType.APPLICATION,
        bom_ref="agent",
        name="edgekit agent",
        version=described.agent_version,
        description="Checks, tests and switches versions on the device, and is the library of its applications.",
        hashes=_sha256(described.agent_sha256),
        licenses=_licenses(("Apache-2.0",)),
        properties=_properties({"file": AGENT}),
    )


def _library(line: str) -> "Component":
    """A line of requirements.txt; its purl has a version where the line pins one."""
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL
    from packaging.requirements import Requirement

    wanted = Requirement(line)
    pinned = next((item.version for item in wanted.specifier if item.operator == "=="), None)
    return Component(
        type=ComponentType.LIBRARY,
        bom_ref=f"requirement:{line}",
        name=wanted.name,
        version=pinned,
        description="On the device, not in the bundle.",
        purl=PackageURL(type="pypi", name=wanted.name, version=pinned),
        properties=_properties({"requirement": line}),
    )


def _sha256(digest: str) -> "list[HashType]":
    from cyclonedx.model import HashAlgorithm, HashType

    return [HashType(alg=HashAlgorithm.SHA_256, content=digest)]


def _properties(facts: dict[str, str]) -> "list[Property]":
    from cyclonedx.model import Property

    return [Property(name=f"edgekit:{name}", value=value) for name, value in sorted(facts.items())]


def _licenses(texts: Sequence[str]) -> "list[License]":
    """CycloneDX takes identifiers side by side, or a single expression; several expressions are joined by AND."""
    from cyclonedx.model.license import DisjunctiveLicense, LicenseExpression
    from cyclonedx.spdx import is_supported_id

    if all(map(is_supported_id, texts)):
        return [DisjunctiveLicense(id=text) for text in texts]
    return [LicenseExpression(value=" AND ".join(f"({text})" for text in texts) if texts[1:] else texts[0])]
