"""Issue of the whole: a real trained model, built, deployed, self-tested and measured on an arm64 Linux over ssh."""

import json
from pathlib import Path

import numpy as np
import pytest

from edgekit.agent.runtime import Model
from edgekit.artifact import read_artifact
from edgekit.cli import cli
from edgekit.cli.failures import guarded
from tests import kws
from tests.lab.arm64 import Arm64

pytestmark = pytest.mark.lab

RUN_ON_DEVICE = """
import sys, numpy
sys.path.insert(0, "/home/pi/.edgekit/lib/edgekit.pyz")
from edgekit.agent import load
model = load("~/.edgekit/models/kws")
data = numpy.load("/tmp/kws.npy")
numpy.save("/tmp/kws-out.npy", numpy.stack([model.predict(x).outputs["dense"][0] for x in data]))
"""


def edgekit(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    code = guarded(cli, [*arguments, "--json"])
    captured = capsys.readouterr()
    assert code == 0, captured.err
    document: dict[str, object] = json.loads(captured.out)
    return document


def test_build_deploy_bench_and_the_same_outputs(
    arm64_device: Arm64, cases: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kws.write_data(cases, tmp_path)
    (tmp_path / "edgekit.toml").write_text(
        f'name = "kws"\n[model]\npath = {json.dumps(str(kws.saved_model(cases)))}\n'
        '[calibration]\ndata = "calibration.npz"\n[evaluation]\ndata = "evaluation.npz"\nmax_drop = "0.5pt"\n'
    )
    built = edgekit(["build", "--target", "rpi4"], capsys)
    device = arm64_device.device().name
    deployed = edgekit(["deploy", "--device", device], capsys)
    assert (deployed["active"], deployed["digest"]) == (True, built["digest"])
    assert edgekit(["deploy", "--device", device], capsys)["bytes_sent"] == 0
    measured = edgekit(
        ["bench", str(built["path"]), "--device", device, "--num-runs", "3", "--min-secs", "0", "--processes", "2"],
        capsys,
    )
    assert measured["artifact_digest"] == built["digest"]
    assert measured["latency_ms"]["median"] > 0  # type: ignore[index]
    names = {finding["name"] for finding in measured["findings"]}  # type: ignore[attr-defined]
    assert "emulated" in names, "an emulated latency is never shown as a device's"
    assert _largest_difference(arm64_device, read_artifact(Path(str(built["path"]))).model, cases) <= 1


def _largest_difference(device: Arm64, model_path: Path, cases: Path) -> float:
    """In steps of the output's scale, over 40 real samples: the application's library there against this machine."""
    from edgekit.transport import connect

    x, _ = kws.samples(cases)
    host = Model(model_path)
    from edgekit.agent.preprocess import prepare

    expected = np.stack([host.run({host.inputs[0].name: prepare(None, s, host.inputs[0])})["dense"][0] for s in x[:40]])
    with connect(device.device()) as connection:
        np.save("data.npy", x[:40])
        sent = connection.run(["sh", "-c", "cat > /tmp/kws.npy"], stdin=Path("data.npy").read_bytes())
        assert sent.exit_code == 0
        ran = connection.run(["/home/pi/.edgekit/runtime/current/bin/python", "-c", RUN_ON_DEVICE], timeout_s=120)
        assert ran.exit_code == 0, ran.stderr.decode()
        Path("out.npy").write_bytes(connection.run(["cat", "/tmp/kws-out.npy"]).stdout)
    found = np.load("out.npy") / (host.outputs[0].scale or 1) + (host.outputs[0].zero_point or 0)
    return float(np.abs(found - expected).max())
