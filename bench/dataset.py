# dataset.py -- the vectors of a file of the layout that dataset.h describes.
import os

import numpy as np


def read_vectors(path):
    dtype = np.uint8 if path.endswith("u8bin") else np.float32
    n, d = np.fromfile(path, dtype=np.uint32, count=2)
    x = np.fromfile(path, dtype=dtype, offset=8)
    return x.reshape(n, d).astype(np.float32)


def read_set(folder, stem):
    for ext in ("u8bin", "fbin"):
        path = os.path.join(folder, f"{stem}.{ext}")
        if os.path.exists(path):
            return read_vectors(path)
    raise SystemExit(f"no {stem}.u8bin or {stem}.fbin in {folder}")
