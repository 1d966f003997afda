"""What each source is refused with, as JSON; all in one process, because torch takes seconds to import.

``python refuse_torch.py FOLDER < [[spec, weights or null, {input: [shape, dtype or null]}], ...]``
"""

import json
import sys
from pathlib import Path

from edgekit_converters import from_torch
from edgekit_converters.errors import SourceError
from edgekit_converters.shapes import InputHint
from edgekit_converters.sources import open_source


def main(folder: Path) -> None:
    said = []
    for spec, weights, inputs in json.load(sys.stdin):
        source = open_source(spec, directory=folder, weights=folder / weights if weights else None)
        hints = {
            name: InputHint(shape=tuple(shape), dtype=dtype, declared=True) for name, (shape, dtype) in inputs.items()
        }
        try:
            from_torch.load(source, hints=hints)
        except SourceError as err:
            said.append(err.message)
        else:
            said.append("")
    sys.stdout.write("\n" + json.dumps(said))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
