"""A real model through rknn-toolkit2 and its simulator, where its environment is there: doctor --install rknn."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit.compilers.step import compile_model
from edgekit.errors import CompilerError
from edgekit.progress import silent
from edgekit_converters.environments import TOOLS, inspect_environment
from tests.unit.compile_requests import accelerator, target

pytestmark = [pytest.mark.convert, pytest.mark.slow]

SCALE, ZERO_POINT = 0.5847029, 83


@pytest.fixture(autouse=True)
def environment() -> None:
    if inspect_environment(TOOLS["rknn"]).state != "ready":
        pytest.skip("no environment of rknn-toolkit2 here: run `edgekit doctor --install rknn` (2.3 GB)")


def test_keyword_spotting_is_built_and_simulated(tmp_path: Path, cases: Path) -> None:
    data = np.load(cases / "data" / "kws" / "kws_mfcc_int8.npz")["x"][:16]

    def samples() -> Iterator[Mapping[str, np.ndarray[Any, Any]]]:
        for sample in data:
            yield {"input": ((sample.astype(np.float32) - ZERO_POINT) * SCALE)[None]}

    compiled = compile_model(
        (cases / "models" / "tflite_ref" / "kws_int8.tflite").read_bytes(),
        target=target(),
        accelerator=accelerator("rknn", target_platform="rk3588"),
        settings={},
        directory=tmp_path,
        log_folder=tmp_path,
        progress=silent,
        samples=samples,
    )
    figures = compiled.entry.figures
    assert compiled.name == "model.rknn"
    assert (compiled.entry.ops_on_accelerator, compiled.entry.ops_on_cpu) == (13, {"Reshape": 1})
    assert figures["simulated_same_largest"] == figures["simulated_samples"] == 16.0
    assert compiled.findings == ()


def test_a_state_in_the_model_is_refused_with_its_reason(tmp_path: Path, cases: Path) -> None:
    with pytest.raises(CompilerError, match="did not load the model: ValueError") as err:
        compile_model(
            (cases / "models" / "tflm" / "mnist_lstm_int8.tflite").read_bytes(),
            target=target(),
            accelerator=accelerator("rknn", target_platform="rk3588"),
            settings={},
            directory=tmp_path,
            log_folder=tmp_path,
            progress=silent,
        )
    assert "compile-rknn.log" in err.value.hint
