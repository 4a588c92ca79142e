#!/usr/bin/env python3
# peers.py -- vecdb's graph index and its peers on one data set, in one run.
#
# Usage: peers.py [--reps N] [--threads N] [--cosine] [--peers LIST]
#                 [--queries N] [--out PREFIX] B_KNN FOLDER
#                 [-- options of b_knn]
#
# Peers are hnswlib, faiss (HNSW; IVF-PQ FastScan with refinement), usearch and
# annoy from PyPI (requirements.txt); what is not installed is left out. vecdb
# is searched through its C interface by b_knn, in a file: one statement again
# and again, each time in a transaction of its own ("vecdb"), and all queries at
# once ("vecdb, batch"), which is what the peers are given. It sweeps targets
# of recall, the peers their effort.
#
# Every system is built once. Then rounds alternate between the systems: each
# sweeps its parameter over all queries. With one thread times are processor
# time, with all threads wall time; medians over the rounds are printed. Recall
# counts distances: a result not farther than the 10th true neighbour is right.
# QPS at a recall is interpolated in log QPS. Memory is what the resident set
# grew by while a peer was built, for vecdb the peak of its process; bytes per
# row are those of the saved index.
#
# --out writes PREFIX.json, PREFIX.txt and PREFIX.svg.
import argparse
import json
import math
import os
import statistics
import subprocess
import tempfile
import time

import numpy as np

import chart
from dataset import read_set
from machine import machine

K = 10
TARGETS = "0.8,0.85,0.9,0.93,0.95,0.97,0.98,0.99,0.995"


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


def resident_mb():
    with open("/proc/self/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


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

    def search(self, query, p, threads):
        self.index.set_ef(p)
        return self.index.knn_query(query, k=K, num_threads=threads)[0]

    def save(self, path):
        self.index.save_index(path)


class Faiss:
    def search(self, query, p, threads):
        self.faiss.omp_set_num_threads(threads)
        self.set(p)
        return self.index.search(query, K)[1]

    def save(self, path):
        self.faiss.write_index(self.index, path)


class FaissHnsw(Faiss):
    name = "faiss-hnsw"
    sweep = Hnswlib.sweep

    def __init__(self, base, threads):
        import faiss
        faiss.omp_set_num_threads(threads)
        self.faiss = faiss
        self.index = faiss.IndexHNSWFlat(base.shape[1], 16)
        self.index.hnsw.efConstruction = 200
        self.index.add(base)

    def set(self, p):
        self.index.hnsw.efSearch = p


class FaissIvf(Faiss):
    name = "faiss-ivfpqfs-refine"
    sweep = (1, 2, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)

    def __init__(self, base, threads):
        import faiss
        faiss.omp_set_num_threads(threads)
        self.faiss = faiss
        d = base.shape[1]
        m = max(i for i in range(1, d // 2 + 1) if d % i == 0)
        spec = f"IVF{int(4 * math.sqrt(len(base)))},PQ{m}x4fs,RFlat"
        self.index = faiss.index_factory(d, spec)
        self.index.k_factor = 8
        self.index.train(base)
        self.index.add(base)

    def set(self, p):
        self.faiss.extract_index_ivf(self.index.base_index).nprobe = p


class Usearch:
    name = "usearch"
    sweep = Hnswlib.sweep

    def __init__(self, base, threads):
        from usearch.index import Index
        self.index = Index(ndim=base.shape[1], metric="l2sq", dtype="f32",
                           connectivity=16, expansion_add=200)
        self.index.add(np.arange(len(base)), base, threads=threads)

    def search(self, query, p, threads):
        self.index.expansion_search = p
        return self.index.search(query, K,
                                 threads=threads).keys.astype(np.int64)

    def save(self, path):
        self.index.save(path)


class Annoy:
    """One query at a time, in one thread whatever is asked for."""
    name = "annoy"
    sweep = (200, 500, 1000, 2000, 5000, 10000, 20000, 50000, 100000)

    def __init__(self, base, threads):
        from annoy import AnnoyIndex
        self.index = AnnoyIndex(base.shape[1], "euclidean")
        self.index.set_seed(1)
        for i, x in enumerate(base):
            self.index.add_item(i, x)
        self.index.build(50, threads)

    def search(self, query, p, threads):
        return [np.array(self.index.get_nns_by_vector(q, K, p), dtype=np.int64)
                for q in query]

    def save(self, path):
        self.index.save(path)


ALL = {c.name: c for c in (Hnswlib, FaissHnsw, FaissIvf, Usearch, Annoy)}


def qps_at(points, target):
    """Interpolated in log QPS along the best of the curve; None if missed."""
    best = chart.best(points)
    for (r0, q0), (r1, q1) in zip(best, best[1:]):
        if r0 <= target <= r1 and r1 > r0:
            t = (target - r0) / (r1 - r0)
            return math.exp(math.log(q0) * (1 - t) + math.log(q1) * t)
    return best[0][1] if best and best[0][0] >= target else None


class Measured:
    """Times of every setting, by curve; recall of every setting."""

    def __init__(self):
        self.times, self.recalls = {}, {}

    def add(self, curve, setting, qps, found):
        self.times.setdefault((curve, setting), []).append(qps)
        self.recalls[curve, setting] = found

    def curves(self):
        out = {}
        for (curve, setting), t in self.times.items():
            out.setdefault(curve, []).append((self.recalls[curve, setting],
                                              statistics.median(t)))
        return out


def run_vecdb(args, file, out):
    cmd = [args.b_knn, "-r", "1", "-e", "", "-R", TARGETS, "-o", out,
           "-f", file, "-t", str(args.threads), "-q", str(args.queries)]
    cmd += (["-c"] if args.cosine else []) + args.rest + [args.folder]
    subprocess.run(cmd, check=True, stdout=subprocess.DEVNULL)
    with open(out) as f:
        return json.load(f)


def round_vecdb(m, points):
    for p in points:
        m.add("vecdb", p["target"], p["qps"], p["recall"])
        m.add("vecdb, batch", p["target"], p["qps_batch"], p["recall"])
        m.add("vecdb, all threads", p["target"], p["qps_all"], p["recall"])


def round_peer(m, system, base, query, limit, cores):
    for p in system.sweep:
        t = time.process_time()
        labels = system.search(query, p, 1)
        t = time.process_time() - t
        found = m.recalls.get((system.name, p))
        if found is None:
            found = recall(base, query, limit, labels)
        m.add(system.name, p, len(query) / t, found)
        t = time.perf_counter()
        system.search(query, p, cores)
        t = time.perf_counter() - t
        m.add(system.name + ", all threads", p, len(query) / t, found)


def build_peers(args, base, result, tmp):
    systems = []
    for name in args.peers.split(","):
        try:
            mb, t = resident_mb(), time.process_time()
            system = ALL[name](base, args.threads)
            t = time.process_time() - t
        except ImportError as e:
            print(f"{name}: left out: {e}")
            continue
        path = os.path.join(tmp, "peer")
        mb = resident_mb() - mb
        system.save(path)
        result["systems"][name] = {
            "build_s": t, "memory_mb": mb,
            "bytes_per_row": os.path.getsize(path) / len(base)}
        os.remove(path)
        systems.append(system)
    return systems


def report(result, curves):
    """The lines of the table; figures go into result."""
    lines = [f"{result['set']}: {result['rows']} x {result['dims']}, built by "
             f"{result['threads_build']} thread(s), {result['rounds']} rounds; "
             "queries per second at recall, times those of hnswlib"]
    ref = {}
    for name in sorted(curves, key=lambda n: (n != "hnswlib", n)):
        entry = result["systems"].setdefault(name, {})
        entry["points"] = sorted(curves[name])
        text = f"{name:34s}"
        for target in (0.90, 0.95, 0.99):
            q = entry[f"qps@{target}"] = qps_at(curves[name], target)
            if name == "hnswlib":
                ref[target] = q
            if ", all threads" in name or not q or not ref.get(target):
                text += f"  {target:.2f}: {q or 0:8.0f}        "
            else:
                text += f"  {target:.2f}: {q:8.0f} {q / ref[target]:5.2f}x "
        if "build_s" in entry:
            text += (f"  build {entry['build_s']:6.1f} s, "
                     f"{entry['bytes_per_row']:6.0f} bytes per row, "
                     f"{entry['memory_mb']:5.0f} MiB")
        lines.append(text)
    v = result["systems"]["vecdb"]
    lines.append(f"vecdb: import {v['import_s']:.1f} s; after opening, file on "
                 f"disk: first answer {v['cold_first_ms']:.1f} ms, first 100 "
                 f"queries {v['cold_us']:.0f} us each, 1000 "
                 f"{v['cold1000_us']:.0f}; file in memory: "
                 f"{v['open_first_ms']:.1f} ms, {v['open_us']:.0f} us, "
                 f"{v['open1000_us']:.0f} us ({v['open1000_cpu_us']:.1f} of "
                 "processor)")
    return lines


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--reps", type=int, default=5)
    ap.add_argument("--threads", type=int, default=1)
    ap.add_argument("--cosine", action="store_true")
    ap.add_argument("--peers", default=",".join(ALL))
    ap.add_argument("--queries", type=int, default=0)
    ap.add_argument("--out")
    ap.add_argument("b_knn")
    ap.add_argument("folder")
    ap.add_argument("rest", nargs="*")
    args = ap.parse_args()

    base, query = read_set(args.folder, "base"), read_set(args.folder, "query")
    if args.cosine:
        for x in (base, query):
            x /= np.maximum(np.linalg.norm(x.astype(np.float64), axis=1,
                                           keepdims=True), 1e-30)
    limit = read_truth(args.folder, base, query)
    if args.queries:
        query, limit = query[:args.queries], limit[:args.queries]
    result = {"machine": machine(),
              "set": os.path.basename(args.folder.rstrip("/")),
              "rows": len(base), "dims": base.shape[1],
              "threads_build": args.threads, "cores": os.cpu_count(),
              "rounds": args.reps, "systems": {}}
    m = Measured()
    with tempfile.TemporaryDirectory() as tmp:
        file, out = os.path.join(tmp, "v.vdb"), os.path.join(tmp, "out.json")
        first = run_vecdb(args, file, out)
        result["systems"]["vecdb"] = {
            "build_s": first["build_s"], "memory_mb": first["peak_mb"],
            "bytes_per_row": first["file_bytes_per_row"],
            "graph_bytes_per_row": first["graph_bytes_per_row"],
            "import_s": first["import_s"]}
        for name in first:
            if name.startswith(("cold", "open")):
                result["systems"]["vecdb"][name] = first[name]
        systems = build_peers(args, base, result, tmp)
        for _ in range(args.reps):
            round_vecdb(m, run_vecdb(args, file, out)["points"])
            for system in systems:
                round_peer(m, system, base, query, limit, os.cpu_count())
    curves = m.curves()
    lines = report(result, curves)
    print("\n".join(lines))
    if args.out:
        with open(args.out + ".json", "w") as f:
            json.dump(result, f, indent=1)
        with open(args.out + ".txt", "w") as f:
            f.write("\n".join(lines) + "\n")
        chart.write(args.out + ".svg", f"{result['set']}, {len(base):,} x "
                    f"{base.shape[1]}, one thread",
                    [(n, c) for n, c in curves.items()
                     if "all threads" not in n])


main()
