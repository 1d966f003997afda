"""What ``edgekit[bundle]`` installs for every format, asked for before it is needed."""

from importlib.util import find_spec

from edgekit.errors import BundleError

VERIFYING = ("securesystemslib", "asn1crypto")
CREATING = (*VERIFYING, "cyclonedx", "packageurl")


def require(modules: tuple[str, ...]) -> None:
    """Raises BundleError for the first of ``modules`` that is not installed."""
    for module in modules:
        if find_spec(module) is None:
            raise BundleError(
                f"{module} is not installed here, and bundles need it.",
                hint="Install what bundles need: pip install 'edgekit[bundle]'.",
            )
