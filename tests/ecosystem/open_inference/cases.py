"""What every program shares: tensors in a file, by "<graph>|<version>|<tensor>"."""

import json
import sys

import numpy as np

DATATYPES = {"float32": "FP32", "int64": "INT64"}


def arguments():
    """Returns the address and, by graph and version, the input tensors."""
    address, file, _ = sys.argv[1:]
    cases = {}
    with np.load(file) as tensors:
        for key in tensors:
            name, version, tensor = key.split("|")
            cases.setdefault((name, version), {})[tensor] = tensors[key]
    return address, cases


def finish(outputs, facts):
    """Writes the output tensors, by graph and version, and prints what was seen."""
    np.savez(
        sys.argv[3],
        **{f"{name}|{version}|{key}": value for (name, version), o in outputs.items() for key, value in o.items()},
    )
    print(json.dumps(facts))
