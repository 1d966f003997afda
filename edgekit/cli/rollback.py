"""``edgekit rollback``."""

import click

from edgekit.cli.options import common, option


@click.command()
@option("--device", required=True, help="A name in device_configs/, user@host, or local.")
@option(
    "--name", help="Name of the model on the device.  [default: [deploy] name, else the project's, else the only one]"
)
@common
def command(*, device: str, name: str | None, as_json: bool, verbose: bool) -> None:  # noqa: ARG001 - acts in its callback
    """Make the version before the active one active again; self-test and health check decide."""
    from edgekit.cli.deploy import print_mismatch, show_deployment
    from edgekit.deploy import only_model, rollback
    from edgekit.errors import SelfTestError
    from edgekit.project import load_project
    from edgekit.transport import connect, find_device

    project = load_project()
    settings = project.deploy if project.deploy.on_activate or project.deploy.health_check else None
    with connect(find_device(device)) as connection:
        chosen = name or project.deploy.name or project.name or only_model(connection)
        try:
            deployment = rollback(connection, name=chosen, settings=settings)
        except SelfTestError as err:
            print_mismatch(err.details)
            raise
    show_deployment(deployment, as_json=as_json)
