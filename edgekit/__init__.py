"""edgekit: from a trained model to a working, measured, signed deployment on a small device.

The names below are the public API, each imported when it is first used: ``import edgekit`` stays light. The verbs
carry their object, since ``edgekit.build`` and its like are modules.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgekit.artifact import Artifact, read_artifact
    from edgekit.audit import audit as audit_model
    from edgekit.bench import BenchmarkReport, BenchOptions
    from edgekit.bench import bench as benchmark
    from edgekit.bench.session import Parts as BenchParts
    from edgekit.bench.session import run_session as benchmark_parts
    from edgekit.bench.versus.compare import compare as compare_models
    from edgekit.bench.versus.comparison import ComparisonReport
    from edgekit.build import build as build_artifact
    from edgekit.bundle.create import BundleRequest, create_bundle
    from edgekit.bundle.create import Created as CreatedBundle
    from edgekit.bundle.verify import Policy as BundlePolicy
    from edgekit.bundle.verify import Verified as VerifiedBundle
    from edgekit.bundle.verify import verify_bundle
    from edgekit.deploy import deploy as deploy_artifact
    from edgekit.deploy import rollback as roll_back
    from edgekit.deployment import Deployment
    from edgekit.device import Device, list_devices, resolve_device
    from edgekit.errors import EdgekitError
    from edgekit.evaluate import evaluate as evaluate_models
    from edgekit.history import find_run
    from edgekit.inspection import inspect as inspect_model
    from edgekit.keys.new import new_keys
    from edgekit.keys.trust import read_trust
    from edgekit.plan import BuildOptions, BuildPlan
    from edgekit.plan import plan as plan_build
    from edgekit.predict import predict as predict_sample
    from edgekit.project import Project, load_project
    from edgekit.report.html import write_html
    from edgekit.target import Target, list_targets, load_target
    from edgekit.transport import connect

_NAMES = {
    "Artifact": "artifact.Artifact",
    "BenchOptions": "bench.BenchOptions",
    "BenchParts": "bench.session.Parts",
    "BenchmarkReport": "bench.BenchmarkReport",
    "BuildOptions": "plan.BuildOptions",
    "BuildPlan": "plan.BuildPlan",
    "BundlePolicy": "bundle.verify.Policy",
    "BundleRequest": "bundle.create.BundleRequest",
    "ComparisonReport": "bench.versus.comparison.ComparisonReport",
    "CreatedBundle": "bundle.create.Created",
    "Deployment": "deployment.Deployment",
    "Device": "device.Device",
    "EdgekitError": "errors.EdgekitError",
    "Project": "project.Project",
    "Target": "target.Target",
    "VerifiedBundle": "bundle.verify.Verified",
    "audit_model": "audit.audit",
    "benchmark": "bench.bench",
    "benchmark_parts": "bench.session.run_session",
    "build_artifact": "build.build",
    "compare_models": "bench.versus.compare.compare",
    "connect": "transport.connect",
    "create_bundle": "bundle.create.create_bundle",
    "deploy_artifact": "deploy.deploy",
    "evaluate_models": "evaluate.evaluate",
    "find_run": "history.find_run",
    "inspect_model": "inspection.inspect",
    "list_devices": "device.list_devices",
    "list_targets": "target.list_targets",
    "load_project": "project.load_project",
    "load_target": "target.load_target",
    "new_keys": "keys.new.new_keys",
    "plan_build": "plan.plan",
    "predict_sample": "predict.predict",
    "read_artifact": "artifact.read_artifact",
    "read_trust": "keys.trust.read_trust",
    "resolve_device": "device.resolve_device",
    "roll_back": "deploy.rollback",
    "verify_bundle": "bundle.verify.verify_bundle",
    "write_html": "report.html.write_html",
}
"""Public name -> where it is."""

__all__ = [
    "Artifact",
    "BenchOptions",
    "BenchParts",
    "BenchmarkReport",
    "BuildOptions",
    "BuildPlan",
    "BundlePolicy",
    "BundleRequest",
    "ComparisonReport",
    "CreatedBundle",
    "Deployment",
    "Device",
    "EdgekitError",
    "Project",
    "Target",
    "VerifiedBundle",
    "audit_model",
    "benchmark",
    "benchmark_parts",
    "build_artifact",
    "compare_models",
    "connect",
    "create_bundle",
    "deploy_artifact",
    "evaluate_models",
    "find_run",
    "inspect_model",
    "list_devices",
    "list_targets",
    "load_project",
    "load_target",
    "new_keys",
    "plan_build",
    "predict_sample",
    "read_artifact",
    "read_trust",
    "resolve_device",
    "roll_back",
    "verify_bundle",
    "write_html",
]


def __getattr__(name: str) -> Any:
    if name in _NAMES:
        module, _, attribute = _NAMES[name].rpartition(".")
        return getattr(import_module(f"edgekit.{module}"), attribute)
    raise AttributeError(f"module 'edgekit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
