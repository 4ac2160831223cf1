"""The runs of one model: the base run every model has, and the groups that its spec asks for by name.

Every pass is checked against Hugging Face before it is stored; tokens of padding are no part of that check.
"""

import torch
from transformers import GenerationConfig

from .edits import edits_for
from .hf_models import VOCAB
from .recorder import check, is_gated, relative_error, run
from .tl_models import to_tl

NEW_TOKENS = 20
PAD = 0


def tokens_for(spec, salt=0, shape=None):
    generator = torch.Generator().manual_seed(1000 + spec.seed + salt)
    return torch.randint(3, VOCAB, shape or spec.batch, generator=generator)


def hf_logits(hf, tokens, mask=None):
    """Hugging Face's logits; with a mask, positions count the real tokens, as its own generation has it."""
    with torch.no_grad():
        if mask is None:
            return hf(tokens).logits
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        return hf(tokens, attention_mask=mask, position_ids=positions).logits


def base(golden, spec, hf, tl):
    """The unpadded batch with every flag off: the sites, their shapes, their order, their values."""
    tokens = tokens_for(spec)
    logits, recorder = run(tl, tokens, strict=True)
    reference = hf_logits(hf, tokens)
    error = check(logits, reference, spec.name)
    golden.add("base", {"logits": logits, "hf_logits": reference, **recorder.values}, tokens=tokens.tolist(),
               fired=recorder.fired, hf_relative_error=error)
    return tokens, logits, recorder.values


def flags(golden, spec, hf, base_run):
    """The gated sites, one flag at a time, so that every site has its own shape. With split inputs ln1 works on
    a copy for each head; that shape of ln1's sites is not kept."""
    tokens, logits, _ = base_run
    names = ["use_attn_result", "use_split_qkv_input", "use_hook_mlp_in", "use_hook_tokens"]
    if hf.config.model_type == "gpt2" or hf.config.num_key_value_heads == hf.config.num_attention_heads:
        names.append("use_attn_in")
    for name in names:
        output, recorder = run(to_tl(hf, **{name: True}), tokens)
        check(output, logits, f"{spec.name} {name}")
        gated = {site: value for site, value in recorder.values.items() if is_gated(site)}
        golden.add(f"flag.{name}", gated, tokens=tokens.tolist(), flags={name: True}, fired=recorder.fired)


def padded(spec, lengths, side):
    """Rows of these lengths, padded to the longest; tokens and mask."""
    tokens, width = tokens_for(spec, 1, (len(lengths), max(lengths))), max(lengths)
    mask = torch.zeros_like(tokens)
    for row, length in enumerate(lengths):
        real = slice(width - length, width) if side == "left" else slice(0, length)
        mask[row, real] = 1
    return torch.where(mask == 1, tokens, PAD), mask


def padding(golden, spec, hf, tl):
    """Left and right padding and a mask with a hole; real rows are compared with Hugging Face and, when the
    padding is on one side, with each row run alone."""
    lengths = [7, 4, 1]
    left, right = padded(spec, lengths, "left"), padded(spec, lengths, "right")
    hole = (left[0][:1], torch.tensor([[1, 1, 0, 1, 0, 1, 1]]))
    for name, (tokens, mask) in {"left": left, "right": right, "hole": hole}.items():
        logits, recorder = run(tl, tokens, strict=True, attention_mask=mask)
        real = mask.bool()
        reference = hf_logits(hf, tokens, mask)
        error = check(logits[real], reference[real], f"{spec.name} padded {name}")
        values = recorder.values if name == "left" else {
            site: value for site, value in recorder.values.items()
            if site.endswith(("hook_pos_embed", "hook_attn_scores", "hook_pattern", "hook_rot_k", "hook_resid_post"))}
        losses = losses_of(tl, tokens, mask)
        golden.add(f"pad.{name}", {"logits": logits, **losses, **values}, tokens=tokens.tolist(),
                   attention_mask=mask.tolist(), hf_relative_error=error)
        if name != "hole":
            for row in range(len(lengths)):
                alone, _ = run(tl, tokens[row:row + 1, real[row]])
                check(logits[row, real[row]], alone[0], f"{spec.name} padded {name}, row {row} alone")


def losses_of(tl, tokens, mask=None):
    with torch.no_grad():
        return {"loss": tl(tokens, return_type="loss", attention_mask=mask),
                "loss_per_token": tl(tokens, return_type="loss", loss_per_token=True, attention_mask=mask)}


def loss(golden, spec, hf, tl, base_run):
    tokens = base_run[0]
    losses = losses_of(tl, tokens)
    with torch.no_grad():
        check(losses["loss"], hf(tokens, labels=tokens).loss, f"{spec.name} loss")
    golden.add("loss", losses, tokens=tokens.tolist())


def layers(golden, spec, tl, base_run):
    """Stopping before a layer and starting at one. `input` names the tensor of the base run that goes in."""
    tokens, logits, values = base_run
    count = tl.cfg.n_layers
    for stop in [0, 1, count - 1, -1]:
        output, recorder = run(tl, tokens, stop_at_layer=stop)
        golden.add(f"stop.{stop}", {"residual": output}, tokens=tokens.tolist(), stop_at_layer=stop,
                   fired=recorder.fired)
    for start, stop in [(0, None), (1, None), (-1, None), (1, count), (0, 1)]:
        site = f"blocks.{start % count}.hook_resid_pre"
        output, recorder = run(tl, values[site], start_at_layer=start, stop_at_layer=stop)
        if stop is None:
            check(output, logits, f"{spec.name} from layer {start}")
        golden.add(f"start.{start}" + (f".stop.{stop}" if stop is not None else ""),
                   {"logits" if stop is None else "residual": output}, input=site, start_at_layer=start,
                   stop_at_layer=stop, fired=recorder.fired)


def edits(golden, spec, hf, tl):
    """Hooked runs: each edit with its logits, two of them with what the residual stream becomes. An edit that
    moves nothing would test nothing, so it is refused."""
    tokens = tokens_for(spec, 2, (2, 7))
    logits, _ = run(tl, tokens)
    golden.add("edit.none", {"logits": logits}, tokens=tokens.tolist())
    models = {(): tl}
    for name, flag, changes in edits_for(spec.family):
        key = tuple(flag)
        if key not in models:
            models[key] = to_tl(hf, **flag)
        output, recorder = run(models[key], tokens, edits=changes)
        moved = relative_error(output, logits)
        if not moved > 1e-3:
            raise ValueError(f"{spec.name}: edit {name} moves the logits by {moved:.1e} only")
        kept = {site: value for site, value in recorder.values.items()
                if name in ("z-head", "same-site-in-order") and site.endswith(("hook_resid_post", "0.hook_mlp_out"))}
        golden.add(f"edit.{name}", {"logits": output, **kept}, tokens=tokens.tolist(), flags=flag or None,
                   edits=changes)


def greedy(hf, tokens, mask, **more):
    """Hugging Face's greedy generation with its cache: (tokens with the prompt, logits of every step)."""
    config = GenerationConfig(max_new_tokens=NEW_TOKENS, do_sample=False, use_cache=True, pad_token_id=PAD,
                              output_logits=True, return_dict_in_generate=True, **more)
    hf.generation_config = config
    with torch.no_grad():
        result = hf.generate(tokens, attention_mask=mask)
    return result.sequences, torch.stack(result.logits, dim=1)


def generate(golden, spec, hf, tl):
    """Greedy generation, alone, in a left-padded batch, and stopped by an end token. The margin says how far
    the best token was ahead of the second at the closest step."""
    tokens, mask = padded(spec, [6, 3], "left")
    single, ones = tokens[:1], torch.ones_like(tokens[:1])
    cases = {"single": (single, ones, {}), "batch": (tokens, mask, {})}
    sequences, _ = greedy(hf, single, ones)
    cases["eos"] = (tokens, mask, {"eos_token_id": sequences[0, single.shape[1] + 7].item()})
    for name, (prompt, prompt_mask, more) in cases.items():
        sequences, logits = greedy(hf, prompt, prompt_mask, **more)
        top = logits.topk(2, dim=-1).values
        margin = (top[..., 0] - top[..., 1]).min().item()
        if not margin > 1e-3:
            raise ValueError(f"{spec.name}: greedy generation is a near tie ({margin:.1e})")
        if not more:
            full = torch.cat([prompt_mask, torch.ones(len(prompt), NEW_TOKENS, dtype=torch.long)], dim=1)
            again, _ = run(tl, sequences[:, :-1], attention_mask=full[:, :-1])
            check(again[:, prompt.shape[1] - 1:], logits, f"{spec.name} generated {name}")
        golden.add(f"generate.{name}", {"step_logits": logits}, tokens=prompt.tolist(),
                   attention_mask=prompt_mask.tolist(), max_new_tokens=NEW_TOKENS, pad_token_id=PAD, **more,
                   sequences=sequences.tolist(), margin=margin)
