#!/usr/bin/env python3
# filtered.py -- filtered searches at every share of the rows: vecdb and its peers.
#
# Usage: filtered.py [--queries N] [--reps N] [--peers LIST] [--out STEM]
#                  B_SELECT FOLDER
#
# Filters: `uniform` has nothing to do with the vectors; `near` are the rows
# nearest to row 0, `far` the farthest, while queries are anywhere; columns of
# the set (lexname, n_words, label) as they are. Recall counts distances: a row
# not farther than the 10th true one is right. Seconds are processor time of one
# thread, the least of the repetitions. All systems are built first; then each
# filter goes round all of them. A peer gets the smallest effort of its sweep that
# reaches recall .95 at that filter, or the largest.
#
# Goals: recall >= .95 and all rows there are at every filter; queries per
# second >= the better of comparing all that qualify and .3 of unfiltered.
#
# Peers from PyPI, where they are installed: hnswlib (a filter in Python), faiss
# (HNSW with an IDSelectorBitmap), usearch (its Python has no filter: it is asked
# for 15/share rows, at most 4096), sqlite-vec (metadata columns, exact; needs a
# Python whose sqlite3 loads extensions, as Debian's does).
import argparse
import json
import os
import sqlite3
import subprocess
import tempfile
import time

import numpy as np

from dataset import read_set

K = 10
SHARES = (.0001, .0003, .001, .003, .01, .03, .05, .1, .2, .3, .5, .7, .9, 1)


def columns(folder, base):
    """Named integer columns: uniform and near in 1/10000 of the rows."""
    rng = np.random.default_rng(7)
    n = len(base)
    d2 = ((base - base[0]) ** 2).sum(axis=1)
    near = np.empty(n, dtype=np.int64)
    near[np.argsort(d2, kind="stable")] = np.arange(n) * 10000 // n
    uniform = rng.permutation(n) * 10000 // n
    out = {"uniform": uniform, "near": near}
    path = os.path.join(folder, "labels.u8")
    if os.path.exists(path):
        out["label"] = np.fromfile(path, dtype=np.uint8).astype(np.int64)
    path = os.path.join(folder, "meta.tsv")
    if os.path.exists(path):
        with open(path, encoding="utf-8") as f:
            head = f.readline().rstrip("\n").split("\t")
            rows = [line.rstrip("\n").split("\t") for line in f]
        for name in ("n_words", "lexname", "source_image"):
            if name not in head:
                continue
            v = [r[head.index(name)] for r in rows]
            if name == "lexname":
                ids = {z: i for i, z in enumerate(sorted(set(v)))}
                v = [ids[z] for z in v]
            out[name] = np.array([int(z) for z in v], dtype=np.int64)
    return out


def filters(col):
    """(kind, name, column, low, high): low <= value <= high."""
    out = [("none", "none", None, 0, 0)]
    for s in SHARES:
        out.append(("uniform", f"uniform {s:.2%}", "uniform", 0,
                    round(s * 10000) - 1))
    for s in (.003, .01, .03, .1, .3, .5, .9):
        out.append(("near", f"near {s:.1%}", "near", 0, round(s * 10000) - 1))
    for s in (.003, .01, .03, .1, .3, .5):
        out.append(("far", f"far {s:.1%}", "near", 10000 - round(s * 10000),
                    9999))
    if "label" in col:
        out += [("column", f"label = {i}", "label", i, i) for i in (0, 3, 7, 9)]
    if "lexname" in col:
        count = np.bincount(col["lexname"])
        order = np.argsort(-count)
        for i in order[[0, 1, 3, 8, 15, 25, 35]]:
            out.append(("column", f"lexname = {i}", "lexname", int(i), int(i)))
    if "n_words" in col:
        for q in (.02, .1, .3, .6):
            out.append(("column", f"n_words <= {np.quantile(col['n_words'], q):.0f}",
                        "n_words", 0, int(np.quantile(col["n_words"], q))))
    return [f for f in out if f[2] is None
            or ((col[f[2]] >= f[3]) & (col[f[2]] <= f[4])).any()]


def passing(col, f, n):
    if f[2] is None:
        return np.ones(n, dtype=bool)
    return (col[f[2]] >= f[3]) & (col[f[2]] <= f[4])


def truth(base, query, mask):
    """Square distance of the K-th nearest that passes; how many there are."""
    rows = np.flatnonzero(mask)
    x = base[rows]
    d2 = (x * x).sum(axis=1)[None, :] - 2 * (query @ x.T)
    k = min(K, len(rows))
    part = np.argpartition(d2, k - 1, axis=1)[:, :k]
    limit = np.empty(len(query))
    for i, p in enumerate(part):
        e = x[p].astype(np.float64) - query[i].astype(np.float64)
        limit[i] = (e * e).sum(axis=1).max() * (1 + 1e-5) + 1e-9
    return limit, k


def judge(base, query, mask, limit, k, labels):
    """Recall, and whether k rows that pass came for each query."""
    right, full = 0, True
    for q, lim, row in zip(query, limit, labels):
        row = row[row >= 0][:k]
        full &= len(row) == k and mask[row].all() and len(set(row)) == k
        e = base[row].astype(np.float64) - q.astype(np.float64)
        right += ((e * e).sum(axis=1) <= lim).sum()
    return right / (len(query) * k), bool(full)


# ---- Systems -----------------------------------------------------------------

class Vecdb:
    """b_select, which answers one filter after the other through pipes."""

    def __init__(self, args, col, n_query, cosine, tmp):
        self.names, self.n_query = list(col), n_query
        self.size = 16 + 4 * K * n_query + 4
        attr = os.path.join(tmp, "attr")
        with open(attr, "wb") as f:
            f.write(np.uint32(len(self.names)).tobytes())
            f.write(np.stack([col[c] for c in self.names], axis=1)
                    .astype(np.int32).tobytes())
        cmd = [os.path.abspath(args.b_select), "-q", str(n_query), "-r",
               str(args.reps)] + (["-c"] if cosine else [])
        cmd += [os.path.abspath(args.folder), attr, "/dev/stdin", "/dev/stdout"]
        self.process = subprocess.Popen(cmd, cwd=tmp, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE)

    def measure(self, f):
        """By default and exactly: seconds, with the filter anew, rows, switches."""
        _, _, c, lo, hi = f
        text = ("" if c is None
                else f"a{self.names.index(c)} BETWEEN {lo} AND {hi}")
        self.process.stdin.write((text + "\n").encode("ascii"))
        self.process.stdin.flush()
        one = []
        for _ in range(2):
            w = np.frombuffer(self.process.stdout.read(self.size), dtype=np.uint8)
            t = w[:16].copy().view(np.float64)
            rows = w[16:16 + 4 * K * self.n_query].copy().view(np.int32)
            one.append((t[0], t[1], rows.reshape(self.n_query, K),
                        int(w[-4:].copy().view(np.uint32)[0])))
        return one

    def close(self):
        self.process.stdin.close()
        if self.process.wait() != 0:
            raise SystemExit("filtered.py: b_select failed")


class Hnswlib:
    name = "hnswlib"
    sweep = (10, 40, 160, 640)

    def __init__(self, base, _col):
        import hnswlib
        self.index = hnswlib.Index(space="l2", dim=base.shape[1])
        self.index.init_index(max_elements=len(base), M=16,
                              ef_construction=200)
        self.index.add_items(base)

    def search(self, query, mask, ef, _f):
        self.index.set_ef(ef)
        ok = mask.tolist()
        try:
            return self.index.knn_query(query, k=K, num_threads=1,
                                        filter=lambda i: ok[i])[0]
        except RuntimeError:                       # fewer than k were found
            return np.full((len(query), K), -1)


class Faiss:
    name = "faiss-hnsw"
    sweep = (10, 40, 160, 640)

    def __init__(self, base, _col):
        import faiss
        faiss.omp_set_num_threads(os.cpu_count())
        self.faiss = faiss
        self.index = faiss.IndexHNSWFlat(base.shape[1], 16)
        self.index.hnsw.efConstruction = 200
        self.index.add(base)
        faiss.omp_set_num_threads(1)

    def search(self, query, mask, ef, _f):
        sel = self.faiss.IDSelectorBitmap(np.packbits(mask, bitorder="little"))
        p = self.faiss.SearchParametersHNSW(efSearch=ef, sel=sel)
        return self.index.search(query, K, params=p)[1]


class Usearch:
    name = "usearch"
    sweep = (10, 80, 640)

    def __init__(self, base, _col):
        from usearch.index import Index
        self.index = Index(ndim=base.shape[1], metric="l2sq", dtype="f32",
                           connectivity=16, expansion_add=200)
        self.index.add(np.arange(len(base)), base)

    def search(self, query, mask, ef, _f):
        out = np.full((len(query), K), -1)
        want = min(4096, max(K, int(1.5 * K / mask.mean())))
        self.index.expansion_search = max(ef, want)
        for i, q in enumerate(query):
            row = np.atleast_1d(self.index.search(q, want, threads=1).keys)
            row = row.astype(np.int64)
            row = row[mask[row]][:K]
            out[i, :len(row)] = row
        return out


class SqliteVec:
    name = "sqlite-vec"
    sweep = (0,)

    def __init__(self, base, col):
        import sqlite_vec
        self.db = sqlite3.connect(":memory:")
        self.db.enable_load_extension(True)
        sqlite_vec.load(self.db)
        names = list(col)
        self.db.execute("CREATE VIRTUAL TABLE t USING vec0(id integer primary "
                        f"key, v float[{base.shape[1]}], "
                        + ", ".join(f"{c} integer" for c in names) + ")")
        mark = ",".join("?" * (2 + len(names)))
        self.db.executemany(
            f"INSERT INTO t(id, v, {', '.join(names)}) VALUES({mark})",
            ((i, base[i].tobytes(), *(int(col[c][i]) for c in names))
             for i in range(len(base))))

    def search(self, query, mask, _ef, f):
        out = np.full((len(query), K), -1)
        sql = "SELECT id FROM t WHERE v MATCH ? AND k = 10"
        par = []
        if f[2] is not None:
            sql += f" AND {f[2]} >= ? AND {f[2]} <= ?"
            par = [f[3], f[4]]
        for i, q in enumerate(query):
            row = [r[0] for r in self.db.execute(sql, [q.tobytes()] + par)]
            out[i, :len(row)] = row
        return out


ALL = {c.name: c for c in (Hnswlib, Faiss, Usearch, SqliteVec)}


def measure_peer(system, base, query, f, mask, limit, k):
    n_query = min(len(query), 20 if system.name == "sqlite-vec" else 100)
    q = query[:n_query]
    for ef in system.sweep:
        t = time.process_time()
        labels = np.asarray(system.search(q, mask, ef, f))
        t = (time.process_time() - t) / n_query
        r, full = judge(base, q, mask, limit, k, labels)
        if r >= .95:
            break
    return {"qps": 1 / t, "recall": r, "full": full, "ef": ef}


# ---- Output ------------------------------------------------------------------

COLOURS = {"vecdb": "#0b62a4", "exact": "#8a8a8a", "hnswlib": "#d1495b",
           "faiss-hnsw": "#e8a33d", "usearch": "#4f9d69",
           "sqlite-vec": "#7a5195"}


def chart(path, title, points):
    """Queries per second by share of uniform filters, both logarithmic."""
    w, h, left, top, right, bottom = 720, 420, 70, 40, 130, 50
    used = [(x, y) for p in points.values() for x, y, _ in p]
    y_lo = 10 ** np.floor(np.log10(min(y for _, y in used)))
    y_hi = 10 ** np.ceil(np.log10(max(y for _, y in used)))

    def px(x):
        return left + (np.log10(x) + 4) / 4 * (w - left - right)

    def py(y):
        return top + ((np.log10(y_hi) - np.log10(y))
                      / (np.log10(y_hi) - np.log10(y_lo)) * (h - top - bottom))

    z = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{w}" height="{h}" '
         'font-family="sans-serif" font-size="12">',
         f'<rect width="{w}" height="{h}" fill="white"/>',
         f'<text x="{left}" y="22" font-size="15">{title}</text>']
    for e in range(-4, 1):
        x = px(10.0 ** e)
        z.append(f'<path d="M{x:.0f} {top}V{h - bottom}" stroke="#e4e4e4"/>'
                 f'<text x="{x:.0f}" y="{h - bottom + 18}" '
                 f'text-anchor="middle">{10.0 ** e:.4g}</text>')
    for e in range(int(np.log10(y_lo)), int(np.log10(y_hi)) + 1):
        y = py(10.0 ** e)
        z.append(f'<path d="M{left} {y:.0f}H{w - right}" stroke="#e4e4e4"/>'
                 f'<text x="{left - 8}" y="{y + 4:.0f}" text-anchor="end">'
                 f'{10 ** e:,}</text>')
    z.append(f'<text x="{(left + w - right) // 2}" y="{h - 12}" '
             'text-anchor="middle">share of the rows that qualify</text>')
    for i, (name, p) in enumerate(points.items()):
        c = COLOURS[name]
        line = "L".join(f"{px(x):.1f} {py(y):.1f}" for x, y, _ in p)
        z.append(f'<path d="M{line}" fill="none" stroke="{c}" '
                 'stroke-width="2"/>')
        for x, y, ok in p:
            z.append(f'<circle cx="{px(x):.1f}" cy="{py(y):.1f}" r="3.5" '
                     f'fill="{c if ok else "white"}" stroke="{c}"/>')
        z.append(f'<text x="{w - right + 10}" y="{top + 16 * i + 12}" '
                 f'fill="{c}">{name}</text>')
    z.append(f'<text x="{w - right + 10}" y="{h - bottom}" fill="#555" '
             'font-size="10">hollow: recall below .95</text></svg>')
    with open(path, "w", encoding="ascii") as f:
        f.write("\n".join(z) + "\n")


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--queries", type=int, default=300)
    ap.add_argument("--reps", type=int, default=3)
    ap.add_argument("--peers", default="hnswlib,faiss-hnsw,usearch,sqlite-vec")
    ap.add_argument("--out")
    ap.add_argument("b_select")
    ap.add_argument("folder")
    args = ap.parse_args()
    name = os.path.basename(args.folder.rstrip("/"))
    base, query = read_set(args.folder, "base"), read_set(args.folder, "query")
    cosine = name.startswith("wordnet")
    if cosine:
        for x in (base, query):
            x /= np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-30)
    query = np.ascontiguousarray(query[:args.queries])
    col = columns(args.folder, base)
    todo = filters(col)
    masks = [passing(col, f, len(base)) for f in todo]
    limits = [truth(base, query, m) for m in masks]
    systems = []
    for p in filter(None, args.peers.split(",")):
        try:
            systems.append(ALL[p](base, col))
        except (ImportError, AttributeError) as e:   # or sqlite3 loads nothing
            print(f"{p}: left out: {e}")
    ours, peers = [], {s.name: [] for s in systems}
    with tempfile.TemporaryDirectory() as tmp:
        vecdb = Vecdb(args, col, len(query), cosine, tmp)
        for f, mask, (limit, k) in zip(todo, masks, limits):
            ours.append(vecdb.measure(f))
            for s in systems:
                peers[s.name].append(measure_peer(s, base, query, f, mask,
                                                  limit, k))
        vecdb.close()
    result = {"folder": name, "rows": len(base), "queries": len(query),
              "filters": []}
    plain = 1 / ours[0][0][0]
    points = {"vecdb": [], "exact": []}
    points.update({p: [] for p in peers})
    print(f"{name}: {len(query)} queries, unfiltered {plain:.0f}/s")
    print(f"{'filter':18s} {'share':>8s} {'recall':>7s} {'k':>3s} {'qps':>8s} "
          f"{'anew':>8s} {'exact':>8s} {'goal':>8s} {'switch':>6s}"
          + "".join(f" {p:>16s}" for p in peers))
    for i, (f, mask, (limit, k)) in enumerate(zip(todo, masks, limits)):
        (t, fresh, rows, n_switch), (t_exact, _, rows_e, _) = ours[i]
        r, full = judge(base, query, mask, limit, k, rows)
        r_e, full_e = judge(base, query, mask, limit, k, rows_e)
        goal = max(1 / t_exact, .3 * plain)
        entry = {"kind": f[0], "filter": f[1], "share": float(mask.mean()),
                 "recall": r, "all_rows": full, "qps": 1 / t,
                 "qps_filter_anew": 1 / fresh, "qps_exact": 1 / t_exact,
                 "exact_is_right": r_e == 1 and full_e, "goal_qps": goal,
                 "share_switched": n_switch / len(query),
                 "peers": {p: v[i] for p, v in peers.items()}}
        result["filters"].append(entry)
        print(f"{f[1]:18s} {mask.mean():8.4%} {r:7.4f} {'ok' if full else 'NO':>3s}"
              f" {1 / t:8.0f} {1 / fresh:8.0f} {1 / t_exact:8.0f} {goal:8.0f} "
              f"{n_switch / len(query):6.2f}" + "".join(
                  f" {v[i]['qps']:8.0f}@{v[i]['recall']:.3f}"
                  + (" " if v[i]["full"] else "-") for v in peers.values()))
        if f[0] == "uniform":
            x = float(mask.mean())
            points["vecdb"].append((x, 1 / t, r >= .95))
            points["exact"].append((x, 1 / t_exact, True))
            for p, v in peers.items():
                points[p].append((x, v[i]["qps"], v[i]["recall"] >= .95))
    if args.out:
        with open(args.out + ".json", "w", encoding="ascii") as f:
            json.dump(result, f, indent=1)
        chart(args.out + ".svg", f"{name}: filtered searches, 1 thread", points)


main()
