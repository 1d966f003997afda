"""The other peer: a float .tflite to int8 with ai-edge-quantizer's own recipe and calibration, as its README shows it.

python ai_edge_quantizer_int8.py FLOAT.tflite SAMPLES.npz OUT.tflite    (one input, one signature)
"""

import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from ai_edge_quantizer import quantizer, recipe


def main(model: str, samples: str, out: str) -> None:
    ((key, signature),) = Interpreter(model).get_signature_list().items()
    # A list: its calibrator takes the length of what it gets.
    data = [{signature["inputs"][0]: sample[np.newaxis].astype(np.float32)} for sample in np.load(samples)["x"]]
    made = quantizer.Quantizer(model, recipe.static_wi8_ai8())
    made.quantize(made.calibrate({key: data})).export_model(out, overwrite=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
