"""Times a training step of the grokking configuration (Nanda et al. 2023) in PyTorch: one layer, four heads, width 128, modular
addition modulo 113, 30 % of the pairs as one batch, loss on the last position in float64, AdamW.

    python training.py --threads 2 [--steps 20]

Two models: TransformerLens' HookedTransformer, and the same arithmetic in plain PyTorch, without a hook anywhere. JSON on
stdout: medians of the steps after a warm-up, in milliseconds, and processor time over elapsed time.
"""
import argparse, json, statistics, time
import torch

P = 113


def batch(seed=0):
    pairs = [(a, b) for a in range(P) for b in range(P)]
    order = torch.randperm(len(pairs), generator=torch.Generator().manual_seed(seed))[: int(len(pairs) * 0.3)]
    rows = [pairs[i] for i in order.tolist()]
    return torch.tensor([[a, b, P] for a, b in rows]), torch.tensor([(a + b) % P for a, b in rows])


class Plain(torch.nn.Module):
    """The paper's model with einsums, as its own code has it."""

    def __init__(self, d=128, heads=4, d_head=32, d_mlp=512):
        super().__init__()
        w = lambda *shape: torch.nn.Parameter(torch.randn(*shape) / d**0.5)
        self.W_E, self.W_pos, self.W_U = w(P + 1, d), w(3, d), w(d, P)
        self.qkv, self.out = torch.nn.ParameterList([w(d, heads * d_head) for _ in range(3)]), w(heads * d_head, d)
        self.W_in, self.W_out = w(d, d_mlp), w(d_mlp, d)
        self.heads, self.d_head = heads, d_head
        self.register_buffer("mask", torch.tril(torch.ones(3, 3)).bool())

    def forward(self, tokens):
        x = self.W_E[tokens] + self.W_pos
        n = x.shape[0]
        q, k, v = ((x @ w).reshape(n, 3, self.heads, self.d_head).transpose(1, 2) for w in self.qkv)
        scores = (q @ k.transpose(-1, -2)) / self.d_head**0.5
        pattern = scores.masked_fill(~self.mask, -1e10).softmax(-1)
        x = x + (pattern @ v).transpose(1, 2).reshape(n, 3, -1) @ self.out
        x = x + torch.relu(x @ self.W_in) @ self.W_out
        return x @ self.W_U


def hooked():
    from transformer_lens import HookedTransformer, HookedTransformerConfig

    config = HookedTransformerConfig(n_layers=1, n_heads=4, d_model=128, d_head=32, d_mlp=512, act_fn="relu", normalization_type=None,
                                     d_vocab=P + 1, d_vocab_out=P, n_ctx=3, init_weights=True, device="cpu", seed=999)
    model = HookedTransformer(config)
    for name, parameter in model.named_parameters():
        if "b_" in name:
            parameter.requires_grad = False
    return model


def loss_of(logits, labels):
    logits = logits[:, -1].to(torch.float64)
    return -logits.log_softmax(-1).gather(-1, labels[:, None])[:, 0].mean()


def measure(model, steps):
    tokens, labels = batch()
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-3, betas=(0.9, 0.98), weight_decay=1.0)
    times, cpu = [], time.process_time()
    begin = time.perf_counter()
    for _ in range(steps + 3):
        start = time.perf_counter()
        optimizer.zero_grad()
        loss = loss_of(model(tokens), labels)
        loss.backward()
        optimizer.step()
        times.append(time.perf_counter() - start)
    busy = (time.process_time() - cpu) / (time.perf_counter() - begin)
    return {"median_ms": 1000 * statistics.median(times[3:]), "best_ms": 1000 * min(times[3:]), "loss": loss.item(), "busy": busy}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(json.dumps({"torch": torch.__version__, "plain": measure(Plain(), arguments.steps), "transformer_lens": measure(hooked(), arguments.steps)}))
