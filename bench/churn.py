#!/usr/bin/env python3
# churn.py -- data that changes: what insertion costs beside hnswlib, what
# searches cost meanwhile, and what is left of a graph after many replacements.
#
# Usage: churn.py [--reps N] [--cosine] [--out PREFIX] B_CHURN B_REPLACE FOLDER
#
# Half of the rows are there and indexed; the other half comes in commits of
# 1,000 rows. b_churn does that with two threads and searches between commits;
# hnswlib (M 16, efConstruction 200) adds the same rows with one thread. Rounds
# alternate between the two, medians are told. Then b_replace, once.
#
# --out writes PREFIX.json, with all rounds and the machine, and PREFIX.txt.
import argparse
import json
import os
import re
import statistics
import subprocess
import time

import numpy as np

from dataset import read_set
from machine import machine

STEP = 1000


def hnswlib_rows_per_second(base):
    """None where hnswlib is not installed. One thread: seconds are those of
    the processor."""
    try:
        import hnswlib
    except ImportError:
        return None
    half = len(base) // 2
    index = hnswlib.Index(space="l2", dim=base.shape[1])
    index.init_index(max_elements=len(base), M=16, ef_construction=200)
    index.add_items(base[:half], np.arange(half), num_threads=os.cpu_count())
    begin = time.process_time()
    for lo in range(half, len(base), STEP):
        part = base[lo:lo + STEP]
        index.add_items(part, np.arange(lo, lo + len(part)), num_threads=1)
    return (len(base) - half) / (time.process_time() - begin)


def churn(args):
    command = [args.b_churn, "-t", "2", "-s", str(STEP)]
    command += ["-c"] * args.cosine + [args.folder]
    out = subprocess.run(command, check=True, text=True,
                         stdout=subprocess.PIPE).stdout
    inserts = re.search(r"inserts: (\d+) rows/s, ([\d.]+) us", out)
    slower = re.search(r"meanwhile: ([\d.]+) .*slowest ([\d.]+)", out)
    return {"rows_per_s": float(inserts[1]), "us_of_processor": float(inserts[2]),
            "search_slower": float(slower[1]),
            "search_slowest": float(slower[2]), "output": out}


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--reps", type=int, default=3)
    ap.add_argument("--cosine", action="store_true")
    ap.add_argument("--out")
    ap.add_argument("b_churn")
    ap.add_argument("b_replace")
    ap.add_argument("folder")
    args = ap.parse_args()

    base = read_set(args.folder, "base")
    if args.cosine:
        base /= np.maximum(np.linalg.norm(base, axis=1, keepdims=True), 1e-30)
    rounds, peer = [], []
    for _ in range(args.reps):
        rounds.append(churn(args))
        peer.append(hnswlib_rows_per_second(base))
    replaced = subprocess.run(
        [args.b_replace] + ["-c"] * args.cosine + [args.folder], check=True,
        text=True, stdout=subprocess.PIPE).stdout

    def mid(name):
        return statistics.median(r[name] for r in rounds)

    text = [f"{os.path.basename(args.folder.rstrip('/'))}: {len(base) // 2} rows"
            f" and as many in commits of {STEP}, medians of {args.reps} rounds",
            f"vecdb, graph kept current, 2 threads: {mid('rows_per_s'):.0f} "
            f"rows/s, {mid('us_of_processor'):.1f} us of processor time each"]
    if peer[0]:
        text.append(f"hnswlib, 1 thread: {statistics.median(peer):.0f} rows/s; "
                    f"vecdb {mid('rows_per_s') / statistics.median(peer):.2f}x")
    text += [f"searches between commits: {mid('search_slower'):.2f} times as "
             f"slow, slowest thousand {mid('search_slowest'):.2f}", "",
             "half of a table replaced:", replaced.rstrip()]
    print("\n".join(text))
    if args.out:
        record = {"machine": machine(), "vecdb": rounds,
                  "hnswlib_rows_per_s": peer, "replaced": replaced}
        with open(args.out + ".json", "w") as f:
            json.dump(record, f, indent=1)
        with open(args.out + ".txt", "w") as f:
            f.write("\n".join(text) + "\n")


main()
