#!/usr/bin/env python3
# gpu_report.py -- what tools/gpu-check measured, as bench/results wants it.
#
# Usage: gpu_report.py LOGS OUT COMMAND
#
# Reads 0-machine.log, bench.log, peer.log of the folder LOGS (any may be
# missing), writes OUT/gpu-DATE-DEVICE.md: device, driver, compiler, commit and
# command; ceilings; every time beside its floor and torch's; what was missed;
# and the logs as they are. A floor is what the ceilings measured in the same run
# allow: the bytes of the rows (floats up to four queries, then fp16) by the
# copy, or the products by the fp16 matmul, whichever takes longer.
import datetime
import json
import os
import re
import sys

TIME = re.compile(r"^(\d+)x(\d+) Q=(\d+) k=(\d+)\s+(?:torch (\S+)\s+)?"
                  r"([\d.e+-]+) ms(.*)$")
CEILING = re.compile(r"^(copy|fp16 matmul|pinned upload)\s+([\d.]+) (\S+)$")
FIGURE = re.compile(r"^(attach|lists|edges|graph|k-means)(.*?)\s{2,}([\d.e+-]+) s\b(.*)$")


def read(folder, name):
    try:
        with open(os.path.join(folder, name), encoding="utf-8",
                  errors="replace") as f:
            return f.read()
    except OSError:
        return ""


def first(pattern, text, otherwise="unknown"):
    m = re.search(pattern, text, re.M)
    return m.group(1).strip() if m else otherwise


def status_of(text):
    for line in text.splitlines():
        if line.startswith("{"):
            try:
                return json.loads(line)
            except ValueError:
                pass
    return {}


def floor_ms(n, d, q, ceilings):
    if "copy" not in ceilings or "fp16 matmul" not in ceilings:
        return None
    size = 4 if q <= 4 else 2
    read_s = n * d * size / (ceilings["copy"] * 1e9)
    work_s = 2 * q * n * d / (ceilings["fp16 matmul"] * 1e9) if q > 4 else 0
    return 1e3 * max(read_s, work_s)


def table(ours, theirs, ceilings):
    yield "| rows | Q | k | vecdb ms | floor ms | torch float32 | tf32 | fp16 |" \
          " vecdb / fastest | |"
    yield "|---|---|---|---|---|---|---|---|---|---|"
    for (n, d, q, k), (ms, note) in ours.items():
        floor = floor_ms(n, d, q, ceilings)
        peers = [theirs.get((n, d, q, k, t)) for t in ("float32", "tf32",
                                                       "fp16")]
        best = min((p for p in peers if p), default=None)
        cells = [f"{n:,} x {d}", f"{q:,}", str(k), f"{ms:.4g}",
                 f"{floor:.4g}" if floor else ""]
        cells += [f"{p:.4g}" if p else "" for p in peers]
        cells += [f"{ms / best:.2f}" if best else "", note.strip()]
        yield "| " + " | ".join(cells) + " |"


def main():
    logs, out, command = sys.argv[1:4]
    machine, bench, peer = (read(logs, f) for f in (
        "0-machine.log", "bench.log", "peer.log"))
    status = status_of(bench)
    device = status.get("device", "no device")
    today = datetime.date.today().isoformat()
    ours, theirs, ceilings, figures = {}, {}, {}, []
    for line in (bench + peer).splitlines():
        m = TIME.match(line)
        if m:
            key = tuple(int(x) for x in m.group(1, 2, 3, 4))
            if m.group(5):
                theirs[key + (m.group(5),)] = float(m.group(6))
            else:
                ours[key] = (float(m.group(6)), m.group(7))
        m = CEILING.match(line)
        if m:
            ceilings[m.group(1)] = float(m.group(2))
        m = FIGURE.match(line)
        if m:
            figures.append((m.group(1) + m.group(2), m.group(3), m.group(4)))
    if not ours and not status:
        sys.exit("gpu_report: bench.log says nothing")
    text = [f"# GPU: {device}, {today}", ""]
    if status.get("plugin") != "cuda":
        text += ["**A rehearsal without a device: no figure here is one of a "
                 "GPU.**", ""]
    text += [
        "| | |", "|---|---|",
        f"| plugin | {status.get('plugin', 'none')} "
        f"{status.get('version', '')} |",
        f"| device | {device}, compute capability "
        f"{status.get('arch', 0) / 10:.1f} |",
        f"| memory | {status.get('memory', 0) / 2**30:.0f} GiB |",
        "| driver | " + first(r"Driver Version:\s*(\S+)", machine) + " |",
        "| compiler | " + first(r"(release [\d.]+)", machine) + " |",
        "| commit | " + first(r"^commit (\w+)", machine) + " |",
        f"| command | `{command}` |",
        "| data | hash generator, seeds 1 (rows) and 2 (queries) |", "",
        "Times are medians from host to host, rows resident. Of every line up to "
        "100 answers", "had the bits of the CPU; where they had not it says void.",
        ""]
    if ceilings:
        text += ["| ceiling | measured |", "|---|---|"]
        units = {"fp16 matmul": "GFLOP/s"}
        text += [f"| {k} | {v:,.0f} {units.get(k, 'GB/s')} |"
                 for k, v in ceilings.items()] + [""]
    text += list(table(ours, theirs, ceilings)) + [""]
    if figures:
        text += ["| besides | s | |", "|---|---|---|"]
        text += [f"| {a} | {b} | {c.strip()} |" for a, b, c in figures] + [""]
    for name, log in (("bench.log", bench), ("peer.log", peer)):
        text += [f"## {name}", "", "```", log.rstrip(), "```", ""]
    word = re.sub(r"[^a-z0-9]+", "-", device.lower()).strip("-")
    path = os.path.join(out, f"gpu-{today}-{word}.md")
    with open(path, "w", encoding="utf-8") as f:
        f.write("\n".join(text))
    print(path)


main()
