#!/usr/bin/env python3
# gpu_peer.py -- torch's matmul and topk on the data of b_gpu, on the same GPU.
#
# Usage: gpu_peer.py [-q] [-n ROWS]
#
# For float32, TF32 and fp16: batches of Q queries from host to host, rows on the
# device, the best of three sizes of a block of queries. Recall says how many of
# the exact 10 (by float64 on 100 queries) each finds: TF32 and fp16 are not
# exact. Without torch or a GPU it says so and measures nothing.
import argparse
import statistics
import sys
import time

try:
    import numpy as np
    import torch
except ImportError as e:
    print(f"not measured: {e}")
    sys.exit(0)
if not torch.cuda.is_available():
    print("not measured: torch sees no GPU")
    sys.exit(0)

K = 10
K_MORE = 100
Q = (1, 4, 16, 64, 100, 256, 1000, 4000, 10000)


def generate(n, d, seed):
    """The numbers of b_gpu.c: sums of four uniform ones, from a hash."""
    out = np.empty(n * d, np.float32)
    for lo in range(0, n * d, 1 << 24):
        i = np.arange(lo, min(lo + (1 << 24), n * d), dtype=np.uint64)
        with np.errstate(over="ignore"):
            z = i * np.uint64(0x9E3779B97F4A7C15)
            z += np.uint64((seed * 0xBF58476D1CE4E5B9) & (2**64 - 1))
            z = (z ^ z >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
            z = (z ^ z >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
            z ^= z >> np.uint64(31)
        m = np.uint64(0xFFFF)
        s = sum(((z >> np.uint64(16 * j)) & m).astype(np.int64)
                for j in range(4))
        out[lo:lo + len(i)] = (s - 131072).astype(np.float32) * 2.0**-15
    return out.reshape(n, d)


def search(rows, norms, queries, block, k=K):
    """Indices of the k nearest by |x|^2 - 2qx."""
    out = []
    for lo in range(0, len(queries), block):
        q = queries[lo:lo + block].cuda(non_blocking=True).to(rows.dtype)
        v = norms - 2 * (q @ rows.T).float()
        out.append(torch.topk(v, k, largest=False)[1])
    return torch.cat(out).cpu()


def measure(rows, norms, queries, nq, k):
    best = None
    for block in (128, 1024, 4096):
        if block // 8 > nq or len(rows) * min(block, nq) * 8 > 60e9:
            continue
        q = queries[:nq].pin_memory()
        search(rows, norms, q, block, k)
        t = []
        while len(t) < 5 or (len(t) < 20 and sum(t) < 1):
            t0 = time.perf_counter()
            search(rows, norms, q, block, k)
            t.append(time.perf_counter() - t0)
        t = statistics.median(t)
        best = t if best is None else min(best, t)
    return best


def ceilings():
    a = torch.randn(1 << 28, device="cuda")
    b = torch.empty_like(a)
    m = torch.randn(8192, 8192, device="cuda", dtype=torch.float16)
    h = torch.randn(1 << 26).pin_memory()
    for name, fn, work, unit in (
            ("copy", lambda: b.copy_(a), 8 * a.numel(), "GB/s"),
            ("fp16 matmul", lambda: m @ m, 2 * 8192**3, "GFLOP/s"),
            ("pinned upload", lambda: a[:1 << 26].copy_(h, non_blocking=True),
             4 * h.numel(), "GB/s")):
        fn()
        torch.cuda.synchronize()
        t0 = time.perf_counter()
        for _ in range(20):
            fn()
        torch.cuda.synchronize()
        t = (time.perf_counter() - t0) / 20
        print(f"{name:24s} {work / t / 1e9:10.0f} {unit}")


def one_size(n, d, quick):
    rows = generate(n, d, 1)
    queries = torch.from_numpy(generate(10000, d, 2))
    x = torch.from_numpy(rows).cuda()
    norms = (x.double() ** 2).sum(1).float()
    some = queries[:100].cuda().double()
    exact = torch.empty(100, K, dtype=torch.int64)
    for i in range(100):
        v = ((x.double() - some[i]) ** 2).sum(1)
        exact[i] = torch.topk(v, K, largest=False)[1].cpu()
    for name in ("float32", "tf32", "fp16"):
        torch.backends.cuda.matmul.allow_tf32 = name == "tf32"
        y = x.half() if name == "fp16" else x
        got = search(y, norms, queries[:100], 1024)
        hits = sum(len(set(a.tolist()) & set(b.tolist()))
                   for a, b in zip(got, exact))
        print(f"{n} x {d} torch {name}: recall {hits / 1000:.3f}")
        for i, nq in enumerate(Q):
            if quick and i % 4:
                continue
            for k in (K, K_MORE) if nq in (1, 100, 1000) else (K,):
                t = measure(y, norms, queries, nq, k)
                print(f"{n}x{d} Q={nq} k={k} torch {name:8s} "
                      f"{1e3 * t:12.4g} ms", flush=True)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("-q", action="store_true")
    p.add_argument("-n", type=int, default=0)
    a = p.parse_args()
    print(torch.cuda.get_device_name(0), "torch", torch.__version__)
    ceilings()
    if a.n:
        one_size(a.n, 128, a.q)
    else:
        one_size(1000000, 128, a.q)
        one_size(1000000, 768, a.q)


main()
