#!/usr/bin/env python3
# peers.py -- vecdb's graph index and its peers on one data set, in one run.
#
# Usage: peers.py [--reps N] [--threads N] [--cosine] [--peers LIST]
#                 [--out FILE] B_GRAPH FOLDER [-- options of b_graph]
#
# Peers are hnswlib, faiss (HNSW; IVF-PQ FastScan with refinement) and usearch
# from PyPI; what is not installed is left out. Every system is built once.
# Then rounds alternate between the systems: each sweeps its parameter over all
# queries with one thread. Times are processor time; medians over the rounds
# are printed. Recall counts distances: a result not farther than the 10th true
# neighbour is right. QPS at a recall is interpolated in log QPS.
import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np

K = 10


def read_set(folder, stem):
    for ext, dtype in (("u8bin", np.uint8), ("fbin", np.float32)):
        path = os.path.join(folder, f"{stem}.{ext}")
        if os.path.exists(path):
            n, d = np.fromfile(path, dtype=np.uint32, count=2)
            x = np.fromfile(path, dtype=dtype, offset=8)
            return x.reshape(n, d).astype(np.float32)
    raise SystemExit(f"peers.py: no {stem} in {folder}")


def read_truth(folder, base, query):
    gt = np.fromfile(os.path.join(folder, "gt.ivecs"), dtype=np.int32)
    gt = gt.reshape(len(query), -1)[:, 1:1 + K]
    d2 = np.stack([exact(base, q, row) for q, row in zip(query, gt)])
    return d2.max(axis=1) * (1 + 1e-6) + 1e-12


def exact(base, q, rows):
    diff = base[rows].astype(np.float64) - q.astype(np.float64)
    return (diff * diff).sum(axis=1)


def recall(base, query, limit, labels):
    hits = 0
    for q, lim, row in zip(query, limit, labels):
        row = row[row >= 0]
        hits += (exact(base, q, row) <= lim).sum()
    return hits / (len(query) * K)


class Hnswlib:
    name = "hnswlib"
    sweep = (10, 14, 20, 28, 40, 56, 80, 112, 160, 224, 320, 450, 640, 900)

    def __init__(self, base, threads):
        import hnswlib
        self.index = hnswlib.Index(space="l2", dim=base.shape[1])
        self.index.init_index(max_elements=len(base), M=16,
                              ef_construction=200)
        self.index.set_num_threads(threads)
        self.index.add_items(base)
        self.index.set_num_threads(1)

    def search(self, query, p):
        self.index.set_ef(p)
        return self.index.knn_query(query, k=K, num_threads=1)[0]


class FaissHnsw:
    name = "faiss-hnsw"
    sweep = Hnswlib.sweep

    def __init__(self, base, threads):
        import faiss
        faiss.omp_set_num_threads(threads)
        self.index = faiss.IndexHNSWFlat(base.shape[1], 16)
        self.index.hnsw.efConstruction = 200
        self.index.add(base)
        faiss.omp_set_num_threads(1)

    def search(self, query, p):
        self.index.hnsw.efSearch = p
        return self.index.search(query, K)[1]


class FaissIvf:
    name = "faiss-ivfpqfs-refine"
    sweep = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)

    def __init__(self, base, threads):
        import faiss
        faiss.omp_set_num_threads(threads)
        d = base.shape[1]
        m = max(i for i in range(1, d // 2 + 1) if d % i == 0)
        spec = f"IVF{int(4 * math.sqrt(len(base)))},PQ{m}x4fs,RFlat"
        self.index = faiss.index_factory(d, spec)
        self.index.k_factor = 8
        self.index.train(base)
        self.index.add(base)
        self.faiss = faiss
        faiss.omp_set_num_threads(1)

    def search(self, query, p):
        self.faiss.extract_index_ivf(self.index.base_index).nprobe = p
        return self.index.search(query, K)[1]


class Usearch:
    name = "usearch"
    sweep = Hnswlib.sweep

    def __init__(self, base, threads):
        from usearch.index import Index
        self.index = Index(ndim=base.shape[1], metric="l2sq", dtype="f32",
                           connectivity=16, expansion_add=200)
        self.index.add(np.arange(len(base)), base, threads=threads)

    def search(self, query, p):
        self.index.expansion_search = p
        return self.index.search(query, K, threads=1).keys.astype(np.int64)


ALL = {c.name: c for c in (Hnswlib, FaissHnsw, FaissIvf, Usearch)}


def qps_at(points, target):
    """Interpolated in log QPS along the best of the curve; None if missed."""
    best = []
    for r, q in sorted(points, key=lambda p: -p[1]):
        if not best or r > best[-1][0]:
            best.append((r, q))
    for (r0, q0), (r1, q1) in zip(best, best[1:]):
        if r0 <= target <= r1 and r1 > r0:
            t = (target - r0) / (r1 - r0)
            return math.exp(math.log(q0) * (1 - t) + math.log(q1) * t)
    return best[0][1] if best and best[0][0] >= target else None


def run_vecdb(args, index, out):
    cmd = [args.b_graph, "-r", "1", "-o", out, "-i", index]
    cmd += (["-c"] if args.cosine else []) + args.rest + [args.folder]
    subprocess.run(cmd, check=True, stdout=subprocess.DEVNULL)
    with open(out) as f:
        return json.load(f)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--reps", type=int, default=5)
    ap.add_argument("--threads", type=int, default=1)
    ap.add_argument("--cosine", action="store_true")
    ap.add_argument("--peers", default="hnswlib")
    ap.add_argument("--out")
    ap.add_argument("b_graph")
    ap.add_argument("folder")
    argv = sys.argv[1:]
    cut = argv.index("--") if "--" in argv else len(argv)
    args = ap.parse_args(argv[:cut])
    args.rest = argv[cut + 1:]

    base, query = read_set(args.folder, "base"), read_set(args.folder, "query")
    if args.cosine:
        for x in (base, query):
            x /= np.maximum(np.linalg.norm(x.astype(np.float64), axis=1,
                                           keepdims=True), 1e-30)
    limit = read_truth(args.folder, base, query)

    tmp = tempfile.mkdtemp()
    index, out = os.path.join(tmp, "index"), os.path.join(tmp, "out.json")
    cmd = [args.b_graph, "-t", str(args.threads), "-r", "1", "-e", "10", "-w",
           index, "-o", out] + (["-c"] if args.cosine else [])
    subprocess.run(cmd + args.rest + [args.folder], check=True,
                   stdout=subprocess.DEVNULL)
    with open(out) as f:
        first = json.load(f)
    result = {"folder": os.path.basename(args.folder.rstrip("/")),
              "threads_build": args.threads, "systems": {}}
    systems = {"vecdb": None}
    result["systems"]["vecdb"] = {"build_s": first["build_s"],
                                  "bytes_per_row": first["bytes_per_row"]}
    for name in args.peers.split(","):
        try:
            t = time.process_time()
            systems[name] = ALL[name](base, args.threads)
            t = time.process_time() - t
        except ImportError as e:
            print(f"{name}: left out: {e}")
            continue
        result["systems"][name] = {"build_s": t}

    times, recalls = {}, {}
    for _ in range(args.reps):
        for name, system in systems.items():
            if system is None:
                for p in run_vecdb(args, index, out)["points"]:
                    key = (name, f"{p['ef']}/{p['stop']}")
                    times.setdefault(key, []).append(p["qps"])
                    recalls[key] = p["recall"]
                    key = ("vecdb-batch", key[1])
                    times.setdefault(key, []).append(p["qps_batch"])
                    recalls[key] = p["recall"]
                continue
            for p in system.sweep:
                t = time.process_time()
                labels = system.search(query, p)
                t = time.process_time() - t
                times.setdefault((name, p), []).append(len(query) / t)
                if (name, p) not in recalls:
                    recalls[name, p] = recall(base, query, limit, labels)
    curves = {}
    for (name, p), t in times.items():
        curves.setdefault(name, []).append((recalls[name, p],
                                            statistics.median(t), str(p)))
    ref = {}
    print(f"{result['folder']}: build {args.threads} thread(s), "
          f"{args.reps} rounds")
    for name in ["hnswlib"] + [n for n in curves if n != "hnswlib"]:
        if name not in curves:
            continue
        entry = result["systems"].setdefault(name, {})
        entry["points"] = sorted(curves[name])
        line = f"{name:22s}"
        for target in (0.90, 0.95, 0.99):
            q = qps_at([(r, v) for r, v, _ in curves[name]], target)
            entry[f"qps@{target}"] = q
            if name == "hnswlib":
                ref[target] = q
            ratio = q / ref[target] if q and ref.get(target) else 0
            line += f"  {target:.2f}: {q or 0:8.0f} ({ratio:5.2f}x)"
        if "build_s" in entry:
            line += f"  build {entry['build_s']:.1f} s"
        print(line)
    if args.out:
        with open(args.out, "w") as f:
            json.dump(result, f, indent=1)


main()
