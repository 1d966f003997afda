"""Classify pictures with the active model of a device, and follow its deployments.

On the device:

    export PYTHONPATH=~/.edgekit/lib/edgekit.pyz
    ~/.edgekit/runtime/current/bin/python classify.py ~/.edgekit/models/NAME FILE...

FILE is a .npy with one image (H, W, 3), uint8, RGB, as a camera gives it. Needs numpy and a TFLite runtime, which
``edgekit device setup`` installs.
"""

import sys

import numpy as np

from edgekit.agent import load


def main() -> None:
    model = load(sys.argv[1])
    for path in sys.argv[2:]:
        model.reload()  # a new deployment is used from the next picture on
        found = model.predict(np.load(path, allow_pickle=False))
        if found.label is None:
            print(model.digest[:12], {name: values.ravel().tolist() for name, values in found.outputs.items()})
        else:
            print(model.digest[:12], found.label, round(found.score, 3))


if __name__ == "__main__":
    main()
