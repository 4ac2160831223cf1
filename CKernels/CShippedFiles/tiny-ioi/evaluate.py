#!/usr/bin/env python3
"""How often a model says the right word on prompts it was not trained on (`language.py held-out`).

    evaluate.py TLENS MODEL held-out.json

For each kind: prompts, how often the answer is the likeliest word, and how often it is likelier than the wrong one.
"""
import collections
import json
import subprocess
import sys

tlens, model, path = sys.argv[1:]
cases = json.load(open(path))
counts = collections.defaultdict(lambda: [0, 0, 0])
for start in range(0, len(cases), 100):
    part = cases[start:start + 100]
    prompts = [word for case in part for word in ("--prompt", case["prompt"])]
    found = json.loads(subprocess.run([tlens, "run", model, *prompts, "--top", "1000", "--json"], check=True, capture_output=True).stdout)
    for case, row in zip(part, found["rows"]):
        logits = {next_token["token"]: next_token["logit"] for next_token in row["next"]}
        count = counts[case["kind"]]
        count[0] += 1
        count[1] += max(logits, key=logits.get) == case["answer"]
        count[2] += logits[case["answer"]] > logits[case["wrong"]]
print(f"{'kind':<12}{'prompts':>8}{'likeliest':>11}{'over wrong':>12}")
for kind, (all_of_them, first, over) in counts.items():
    print(f"{kind:<12}{all_of_them:>8}{first / all_of_them:>11.3f}{over / all_of_them:>12.3f}")
