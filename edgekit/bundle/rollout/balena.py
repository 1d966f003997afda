"""balena: a container that carries the release and installs it into a volume, so that a bad one leaves the old active.

Source: https://docs.balena.io/learn/develop/multicontainer/ (Compose 2.1, named volumes survive an update).
"""

from collections.abc import Mapping
from types import MappingProxyType

from edgekit.bundle.entries import Format
from edgekit.bundle.rollout.types import FILES, RolloutRequest, script

FORMATS: tuple[Format, ...] = ("tar",)
SETTINGS: Mapping[str, str] = MappingProxyType({})
NEXT = "balena push FLEET --source {folder}"
COMPOSE = """\
version: "2.1"
volumes:
  edgekit: {{}}
services:
  model:
    build: .
    restart: always
    volumes:
      - edgekit:{root}
    healthcheck:
      test: ["CMD", "test", "-e", "{root}/models/{name}/current/manifest.json"]
      interval: 60s
# an application: another service with the same volume and PYTHONPATH={root}/lib/edgekit.pyz
"""


def files(request: RolloutRequest) -> Mapping[str, bytes]:
    """A folder for ``balena push``: the release's tree is in it, unpacked."""
    release = request.release
    root = release.installation.root
    docker = (FILES / "balena.Dockerfile").read_text(encoding="utf-8").replace("@ROOT@", root)
    return {
        "Dockerfile": docker.encode(),
        "docker-compose.yml": COMPOSE.format(root=root, name=release.name).encode(),
        "start.sh": script("balena_start.sh"),
        **{f"release/{path}": data for path, data in request.tree.items()},
    }
