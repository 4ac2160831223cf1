"""The table of bench.py, as Markdown."""

LIMIT = 0.8  # of the machine's own: as good as the ratio asked for


def shares(row, limits):
    """How much of the machine's limits a row reaches: arithmetic against the large sgemm, reads against memory as it was then."""
    found = {}
    if row.get("flops"):
        found["sgemm"] = row["flops"] / row["ours_s"] * 1e-9 / limits["sgemm_gflops"]
    if row.get("bytes"):
        found["read"] = row["bytes"] / row["ours_s"] * 1e-9 / (row.get("read_gb_per_s") or limits["read_gb_per_s"])
    return found


def milliseconds(seconds):
    return f"{1e3 * seconds:.1f} ms" if seconds >= 0.01 else f"{1e3 * seconds:.2f} ms"


def megabytes(count):
    return f"{count / 2**20:,.0f} MiB"


def verdict(row, limits):
    if "peak_bytes" in row:
        return row["peak_bytes"] <= row["at_most"] * row["weights_bytes"]
    if "of_own" in row:
        return row["of_own"] <= row["at_most"] if row["at_most"] else None  # a clock cannot tell one part in a hundred
    if "seconds_at_most" in row:
        return row["ours_s"] <= row["seconds_at_most"]
    if not row["bars"] or not row["peers_s"]:
        return None
    near = max(shares(row, limits).values(), default=0) >= LIMIT
    return all(near or row["peers_s"][who] / row["ours_s"] >= bar for who, bar in row["bars"].items() if who in row["peers_s"])


def line(row, limits):
    met = {True: "yes", False: "**no**", None: "–"}[verdict(row, limits)]
    if "peak_bytes" in row:
        peers = "; ".join(f"{who} {megabytes(count)}" for who, count in row["peers_peak_bytes"].items())
        return [row["work"], megabytes(row["peak_bytes"]), peers, f"{row['peak_bytes'] / row['weights_bytes']:.2f} × weights", f"≤ {row['at_most']} × weights", "", met]
    if "instructions" in row:
        return [row["work"], f"{row['instructions'] / 1e6:.1f} M instructions", "", f"{row['of_own']:.4f} × its forward", f"≤ {row['at_most']} × its forward", "", met]
    peers = "; ".join(f"{who} {milliseconds(seconds)}" for who, seconds in row["peers_s"].items())
    ratios = [f"{seconds / row['ours_s']:.2f}× {who}" for who, seconds in row["peers_s"].items()]
    asked = [f"{bar}× {who}" for who, bar in row["bars"].items()]
    if "of_own" in row:
        ratios.insert(0, f"{row['of_own']:.3f} × its forward")
        asked += [f"≤ {row['at_most']} × its forward"] if row["at_most"] else []
    if "seconds_at_most" in row:
        asked.append(f"≤ {row['seconds_at_most']} s")
    share = ", ".join(f"{100 * value:.0f} % {name}" for name, value in shares(row, limits).items())
    return [row["work"], milliseconds(row["ours_s"]), peers, "; ".join(ratios), "; ".join(asked), share, met]


def scale_tables(scale):
    out = [f"## Scale\n\nThe LLaMA-shaped model in f16, {scale['layers']} layers.\n"]
    one = {entry["positions"]: entry["median_s"] for entry in scale["threads"] if entry["threads"] == 1}
    out += ["| threads | positions in a pass | time | efficiency |", "|---|---|---|---|"]
    out += [f"| {entry['threads']} | {entry['positions']} | {milliseconds(entry['median_s'])} | {100 * one[entry['positions']] / entry['median_s'] / entry['threads']:.0f} % |"
            for entry in scale["threads"]]
    out += ["", "| rows decoded together | a step | per token |", "|---|---|---|"]
    out += [f"| {entry['batch']} | {milliseconds(entry['median_s'])} | {milliseconds(entry['median_s'] / entry['batch'])} |" for entry in scale["batch"]]
    out += ["", "| positions held | one more | prefill to there, tokens/s | cache | formula |", "|---|---|---|---|---|"]
    out += [f"| {entry['context']:,} | {milliseconds(entry['median_s'])} | {entry['prefill_tokens_per_s']:,.0f} | {megabytes(entry['cache_bytes'])} | {megabytes(entry['formula_bytes'])} |"
            for entry in scale["context"]]
    return "\n".join(out) + "\n"


def table(result):
    limits = result["limits"]
    head = (f"{result['machine']}, {result['cores']} cores, {result['threads']} threads, {result['date']}; best of {result['rounds']} rounds' medians.\n\n"
            f"The machine, measured in the same run: multiply-adds in registers {limits['fma_gflops']:.0f} GFLOP/s, a 2048³ sgemm {limits['sgemm_gflops']:.0f} GFLOP/s, "
            f"memory read {limits['read_gb_per_s']:.1f} GB/s.\n\n")
    rows = ["| work | ours | peers | ratio | asked | share of the machine | met |", "|---|---|---|---|---|---|---|"]
    rows += ["| " + " | ".join(line(row, limits)) + " |" for row in result["rows"]]
    return head + "\n".join(rows) + "\n" + ("\n" + scale_tables(result["scale"]) if result.get("scale") else "")


def merged(old, new):
    """`new` with the rows of `old` it lacks, in the old order; the limits are the better of both."""
    fresh = {row["work"]: row for row in new["rows"]}
    rows = [fresh.pop(row["work"], row) for row in old["rows"]] + list(fresh.values())
    limits = {name: max(value, old["limits"].get(name, 0)) for name, value in new["limits"].items()}
    return {**new, "rows": rows, "limits": limits, "scale": new.get("scale") or old.get("scale")}
