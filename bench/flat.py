#!/usr/bin/env python3
# flat.py -- exact search through SQL: vecdb with index=flat and sqlite-vec.
#
# Usage: flat.py [--rows N] [--dims D] [--reps N] [--data KIND,..] [--k K,..]
#                [--sets FOLDER] [--out FILE] VECDB_SO VEC0_SO
#
# Both extensions are loaded into one SQLite; VEC0_SO is what
# sqlite_vec.loadable_path() says (PyPI: sqlite-vec). Both hold the same rows:
# sqlite-vec in memory, vecdb in a file that is removed afterwards. Queries alternate between the
# two, one thread; medians of processor time are printed. Answers are compared:
# the distances of every answer must agree to float accuracy, and those of
# vecdb be sorted.
#
# Data: gaussian; clusters (200 centres, noise 0.5); uniform; and, given
# --sets, wordnet and fashion: rows of a real set, mixed in pairs until there
# are enough, moved to D dimensions by a random matrix.
import argparse
import json
import os
import sqlite3
import statistics
import tempfile
import time

import numpy as np

from dataset import read_vectors

METRIC = {"l2": ("l2", "l2"), "cosine": ("cosine", "cosine")}


def upsample(path, n, d, rng):
    base = read_vectors(path)
    a, b = rng.integers(0, len(base), (2, n))
    t = rng.uniform(0, 0.3, (n, 1)).astype(np.float32)
    x = base[a] * (1 - t) + base[b] * t
    if d == base.shape[1]:
        return x
    turn = rng.standard_normal((base.shape[1], d), dtype=np.float32)
    return x @ turn / np.sqrt(np.float32(d))


def make(kind, n, d, rng, sets):
    if kind == "gaussian":
        return rng.standard_normal((n, d), dtype=np.float32)
    if kind == "uniform":
        return rng.random((n, d), dtype=np.float32)
    if kind == "clusters":
        centre = rng.standard_normal((200, d), dtype=np.float32)
        noise = rng.standard_normal((n, d), dtype=np.float32)
        return centre[rng.integers(0, 200, n)] + np.float32(0.5) * noise
    folder = {"wordnet": "wordnet-glosses-lsi-256/base.fbin",
              "fashion": "fashion-mnist-784-euclidean/base.u8bin"}[kind]
    return upsample(os.path.join(sets, folder), n, d, rng)


def fill(db, table, x):
    t = time.process_time()
    db.execute("BEGIN")
    db.executemany(f"INSERT INTO {table}(rowid, v) VALUES(?, ?)",
                   ((i + 1, row.tobytes()) for i, row in enumerate(x)))
    db.execute("COMMIT")
    return time.process_time() - t


def ask(db, table, query, k):
    sql = f"SELECT rowid, distance FROM {table} WHERE v MATCH ? AND k = ?"
    t = time.process_time()
    rows = db.execute(sql, (query, k)).fetchall()
    return time.process_time() - t, rows


def agree(ours, theirs):
    a = np.array([r[1] for r in ours])
    b = np.array([r[1] for r in theirs])
    return (len(a) == len(b) and bool((np.diff(a) >= 0).all())
            and bool(np.allclose(a, b, rtol=1e-4, atol=1e-5)))


def measure(opt, kind, k, metric):
    rng = np.random.default_rng(11)
    x = make(kind, opt.rows + opt.reps, opt.dims, rng, opt.sets)
    query, x = x[opt.rows:], x[:opt.rows]
    db = sqlite3.connect(":memory:", isolation_level=None)
    db.enable_load_extension(True)
    db.load_extension(opt.vecdb)
    db.load_extension(opt.vec0)
    folder = tempfile.TemporaryDirectory()
    d = opt.dims
    db.execute("CREATE VIRTUAL TABLE ours USING vecdb("
               f"v float[{d}] index={opt.index} "
               f"distance_metric={metric}, file='{folder.name}/flat.vdb')")
    db.execute("CREATE VIRTUAL TABLE theirs USING vec0("
               f"v float[{d}] distance_metric={metric})")
    load = fill(db, "ours", x), fill(db, "theirs", x)
    out = []
    for n in k:
        ours, theirs, same = [], [], True
        for q in query:
            b, rows_b = ask(db, "theirs", q.tobytes(), n)
            a, rows_a = ask(db, "ours", q.tobytes(), n)
            ours.append(a)
            theirs.append(b)
            same = same and agree(rows_a, rows_b)
        m = statistics.median(ours), statistics.median(theirs)
        out.append({"data": kind, "metric": metric, "rows": opt.rows,
                    "dims": d, "k": n, "vecdb_ms": m[0] * 1e3,
                    "sqlite_vec_ms": m[1] * 1e3, "ratio": m[1] / m[0],
                    "exact": same, "load_s": load,
                    "vecdb_all_ms": [round(t * 1e3, 4) for t in ours],
                    "sqlite_vec_all_ms": [round(t * 1e3, 4) for t in theirs]})
        print(f"{kind:9} {metric:6} {opt.rows} x {d} k={n:<5}"
              f" vecdb {m[0]*1e3:8.3f} ms  sqlite-vec {m[1]*1e3:8.3f} ms"
              f"  {m[1]/m[0]:6.1f}x  {'exact' if same else 'WRONG'}",
              flush=True)
    version = db.execute("SELECT vec_version()").fetchone()[0]
    db.close()
    folder.cleanup()
    return out, version


def main():
    a = argparse.ArgumentParser(description="exact search and sqlite-vec")
    a.add_argument("vecdb")
    a.add_argument("vec0")
    a.add_argument("--rows", type=int, default=100000)
    a.add_argument("--dims", type=int, default=768)
    a.add_argument("--reps", type=int, default=21)
    a.add_argument("--data", default="gaussian,clusters")
    a.add_argument("--k", default="10,1000")
    a.add_argument("--metric", default="l2", choices=sorted(METRIC))
    a.add_argument("--index", default="flat")
    a.add_argument("--sets")
    a.add_argument("--out")
    opt = a.parse_args()
    result = {"bench": "flat", "runs": []}
    for kind in opt.data.split(","):
        runs, version = measure(opt, kind, [int(z) for z in opt.k.split(",")],
                                opt.metric)
        result["runs"] += runs
        result["sqlite_vec"] = version
    if opt.out:
        with open(opt.out, "w", encoding="utf-8") as f:
            json.dump(result, f, indent=1)
            f.write("\n")


main()
