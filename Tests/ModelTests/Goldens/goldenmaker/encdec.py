"""The goldens of encoders, encoder-decoders and decoders that normalise sums: BERT, RoBERTa, DistilBERT, T5, GPT-1, OPT-350m.

    python -m goldenmaker.encdec [--only NAME]...

Activations come from TransformerLens' own components: HookedEncoder, HookedEncoderDecoder, and for the two decoders a root
module of its BertBlocks with a causal mask. Every pass is checked against Hugging Face before it is written. Padded batches
(`masked.*`) hold Hugging Face's numbers only, and are compared at real positions.
"""

import argparse
import dataclasses
import json
import logging
import shutil
import sys
import warnings
from pathlib import Path

import einops
import torch
import transformers as hf
from safetensors.torch import load_file, save_file
from torch import nn
from transformer_lens import HookedEncoder, HookedEncoderDecoder, HookedRootModule, HookedTransformerConfig
from transformer_lens.components import BertBlock, Embed, PosEmbed
from transformer_lens.hook_points import HookPoint
from transformers.models.t5.modeling_t5 import T5Attention

from . import encdec_text
from .hf_models import VOCAB
from .recorder import Golden, check, relative_error, run

ROOT = Path(__file__).resolve().parent.parent
GATED = ("hook_result", "hook_q_input", "hook_k_input", "hook_v_input", "hook_attn_in", "hook_mlp_in", "hook_cross_attn_in")
PAD, NEW_TOKENS = 0, 14


# ------------------------------------------------------------------------------------------------------- Hugging Face models

def bert(**more):
    return {**dict(vocab_size=VOCAB, hidden_size=18, num_hidden_layers=2, num_attention_heads=3, intermediate_size=22, max_position_embeddings=24,
                   type_vocab_size=2, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0), **more}


def t5(**more):
    return {**dict(vocab_size=VOCAB, d_model=18, d_kv=6, d_ff=22, num_layers=2, num_heads=3, dropout_rate=0.0,
                   decoder_start_token_id=PAD, pad_token_id=PAD, eos_token_id=1), **more}


# name: (class, config, seed)
SPECS = {
    "bert": (hf.BertForPreTraining, hf.BertConfig(**bert(hidden_size=30)), 301),
    "bert-old-names": (hf.BertForPreTraining, hf.BertConfig(**bert(layer_norm_eps=1e-3)), 302),
    "bert-bare": (hf.BertModel, hf.BertConfig(**bert(hidden_act="gelu_new")), 303),
    "bert-next-sentence": (hf.BertForNextSentencePrediction, hf.BertConfig(**bert(num_hidden_layers=1)), 304),
    "bert-untied": (hf.BertForMaskedLM, hf.BertConfig(**bert(hidden_act="relu", tie_word_embeddings=False)), 305),
    "roberta": (hf.RobertaForMaskedLM, hf.RobertaConfig(**bert(hidden_act="gelu_new", pad_token_id=1, type_vocab_size=1)), 306),
    "roberta-bare": (hf.RobertaModel, hf.RobertaConfig(**bert(pad_token_id=1, num_hidden_layers=1)), 307),
    "distilbert": (hf.DistilBertForMaskedLM, hf.DistilBertConfig(
        vocab_size=VOCAB, dim=18, n_layers=2, n_heads=3, hidden_dim=22, max_position_embeddings=24, dropout=0.0,
        attention_dropout=0.0), 308),
    "distilbert-bare": (hf.DistilBertModel, hf.DistilBertConfig(
        vocab_size=VOCAB, dim=18, n_layers=1, n_heads=3, hidden_dim=22, max_position_embeddings=24, activation="relu",
        sinusoidal_pos_embds=True), 309),
    "t5": (hf.T5ForConditionalGeneration, hf.T5Config(**t5(num_layers=3, num_decoder_layers=2)), 310),
    "t5-gated": (hf.T5ForConditionalGeneration, hf.T5Config(**t5(
        feed_forward_proj="gated-gelu", tie_word_embeddings=False, relative_attention_num_buckets=10,
        relative_attention_max_distance=13)), 311),
    "openai-gpt": (hf.OpenAIGPTLMHeadModel, hf.OpenAIGPTConfig(
        vocab_size=VOCAB, n_positions=24, n_embd=30, n_layer=2, n_head=3, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0), 312),
    "opt-350m": (hf.OPTForCausalLM, hf.OPTConfig(
        vocab_size=VOCAB, hidden_size=30, num_hidden_layers=2, num_attention_heads=3, ffn_dim=22, word_embed_proj_dim=14,
        do_layer_norm_before=False, max_position_embeddings=24, dropout=0.0, pad_token_id=1), 313),
}


def build(kind, config, seed):
    """The model, every parameter drawn: matrices so that activations neither die nor explode, norms around one."""
    torch.manual_seed(seed)
    model = kind(config).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() == 1:
                is_scale = name.endswith("weight")
                parameter.copy_(noise * 0.2 + (1 if is_scale else 0))
            elif "relative_attention_bias" in name:
                parameter.copy_(noise)
            elif any(part in name for part in ("embed", "shared", "lm_head.weight")):
                parameter.copy_(noise * (1.0 if config.model_type == "t5" and "lm_head" not in name else 0.6))
            else:
                fan = parameter.shape[0] if "c_" in name else parameter.shape[1]
                scores = config.model_type == "t5" and name.endswith((".q.weight", ".k.weight"))
                parameter.copy_(noise * (0.7 if scores else 1.4) / fan ** 0.5)
    model.tie_weights()
    return model


def save(name, kind, config, seed):
    """Writes the folder, emptied first; returns what `from_pretrained` reads back."""
    folder = ROOT / name
    shutil.rmtree(folder, ignore_errors=True)
    build(kind, config, seed).save_pretrained(folder, safe_serialization=True)
    model = kind.from_pretrained(folder, attn_implementation="eager", dtype=torch.float32).eval()
    if name == "bert-old-names":
        # As bert-base-uncased is: a masked-language class whose file holds all heads, norms named as in TensorFlow.
        path, weights = folder / "config.json", load_file(folder / "model.safetensors")
        renamed = {key.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value
                   for key, value in weights.items()}
        renamed["bert.embeddings.position_ids"] = torch.arange(config.max_position_embeddings)[None]
        renamed["cls.predictions.decoder.weight"] = weights["bert.embeddings.word_embeddings.weight"].clone()
        save_file(renamed, folder / "model.safetensors", metadata={"format": "pt"})
        path.write_text(json.dumps({**json.loads(path.read_text()), "architectures": ["BertForMaskedLM"],
                                    "position_embedding_type": "absolute"}, indent=2, sort_keys=True) + "\n")
    if name == "t5":
        # As t5-small is: the table under all its names, and a bias that nothing reads.
        weights = load_file(folder / "model.safetensors")
        for key in ("encoder.embed_tokens.weight", "decoder.embed_tokens.weight"):
            weights[key] = weights["shared.weight"].clone()
        weights["decoder.block.0.layer.1.EncDecAttention.relative_attention_bias.weight"] = torch.zeros(32, 3)
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
    return folder, model


# ----------------------------------------------------------------------------------------------------- the same in TransformerLens

def heads_in(linear, n):
    return einops.rearrange(linear.weight, "(n h) m -> n m h", n=n), einops.rearrange(linear.bias, "(n h) -> n h", n=n)


def norm(state, name, layer):
    state[f"{name}.w"], state[f"{name}.b"] = layer.weight, layer.bias


def linear(state, name, layer, parts=("W", "b")):
    state[f"{name}{parts[0]}"], state[f"{name}{parts[1]}"] = layer.weight.T, layer.bias


def block_state(state, i, n, q, k, v, out, ln1, w_in, w_out, ln2):
    for letter, layer in zip("QKV", (q, k, v)):
        state[f"blocks.{i}.attn.W_{letter}"], state[f"blocks.{i}.attn.b_{letter}"] = heads_in(layer, n)
    state[f"blocks.{i}.attn.W_O"] = einops.rearrange(out.weight, "m (n h) -> n h m", n=n)
    state[f"blocks.{i}.attn.b_O"] = out.bias
    norm(state, f"blocks.{i}.ln1", ln1), norm(state, f"blocks.{i}.ln2", ln2)
    for name, layer in (("in", w_in), ("out", w_out)):
        state[f"blocks.{i}.mlp.W_{name}"], state[f"blocks.{i}.mlp.b_{name}"] = layer.weight.T, layer.bias


def encoder_to_tl(model, **flags):
    """A HookedEncoder of a BERT, RoBERTa or DistilBERT."""
    c, kind = model.config, model.config.model_type
    body = model if kind == c.model_type and not hasattr(model, kind) else getattr(model, kind)
    distil = kind == "distilbert"
    d, n = (c.dim, c.n_heads) if distil else (c.hidden_size, c.num_attention_heads)
    layers = body.transformer.layer if distil else body.encoder.layer
    skip = c.pad_token_id + 1 if kind == "roberta" else 0
    cfg = HookedTransformerConfig(
        n_layers=len(layers), d_model=d, d_head=d // n, n_heads=n, d_mlp=22, d_vocab=VOCAB, n_ctx=c.max_position_embeddings - skip,
        eps=1e-12 if distil else c.layer_norm_eps, act_fn={"gelu_pytorch_tanh": "gelu_new"}.get(c.activation if distil else c.hidden_act, c.activation if distil else c.hidden_act),
        normalization_type="LN", attention_dir="bidirectional", init_weights=False, device="cpu", **flags)
    with torch.no_grad():
        tl = HookedEncoder(cfg)
        tl.embed.token_type_embed.W_token_type = nn.Parameter(torch.zeros(2, d))
        state, e = {}, body.embeddings
        state["embed.embed.W_E"], state["embed.pos_embed.W_pos"] = e.word_embeddings.weight, e.position_embeddings.weight[skip:]
        types = torch.zeros(2, d)
        if not distil:
            types[:c.type_vocab_size] = e.token_type_embeddings.weight
        state["embed.token_type_embed.W_token_type"] = types
        norm(state, "embed.ln", e.LayerNorm)
        for i, layer in enumerate(layers):
            if distil:
                a = layer.attention
                block_state(state, i, n, a.q_lin, a.k_lin, a.v_lin, a.out_lin, layer.sa_layer_norm, layer.ffn.lin1,
                            layer.ffn.lin2, layer.output_layer_norm)
            else:
                a = layer.attention.self
                block_state(state, i, n, a.query, a.key, a.value, layer.attention.output.dense, layer.attention.output.LayerNorm,
                            layer.intermediate.dense, layer.output.dense, layer.output.LayerNorm)
        head = mlm_parts(model)
        if head:
            transform, ln, unembed, bias, act = head
            linear(state, "mlm_head.", transform), norm(state, "mlm_head.ln", ln)
            state["unembed.W_U"], state["unembed.b_U"] = unembed.T, bias
            tl.mlm_head.act_fn = act
        if getattr(body, "pooler", None) is not None:
            linear(state, "pooler.", body.pooler.dense)
        sequential = getattr(getattr(model, "cls", None), "seq_relationship", None)
        if sequential is not None:
            linear(state, "nsp_head.", sequential)
        missing, unexpected = tl.load_state_dict(state, strict=False)
        assert not unexpected, unexpected
        assert all(name.startswith(("mlm_head", "unembed", "pooler", "nsp_head")) or name.endswith(("mask", "IGNORE")) for name in missing), missing
    return tl.eval(), head is not None, getattr(body, "pooler", None) is not None, sequential is not None


def mlm_parts(model):
    """(transform, norm, unembedding, bias, activation), or None."""
    if hasattr(model, "vocab_projector"):
        return model.vocab_transform, model.vocab_layer_norm, model.vocab_projector.weight, model.vocab_projector.bias, model.activation
    if hasattr(model, "lm_head"):
        return model.lm_head.dense, model.lm_head.layer_norm, model.lm_head.decoder.weight, model.lm_head.decoder.bias, nn.GELU()
    if hasattr(getattr(model, "cls", None), "predictions"):
        p = model.cls.predictions
        return p.transform.dense, p.transform.LayerNorm, p.decoder.weight, p.decoder.bias, p.transform.transform_act_fn
    return None


class EncoderRun(HookedRootModule):
    """What one run of this package does: every head there is, in one pass."""

    def __init__(self, tl, has_head, has_pooler, has_nsp):
        super().__init__()
        self.tl, self.parts = tl, (has_head, has_pooler, has_nsp)

    def hooks(self, **arguments):
        return self.tl.hooks(**arguments)

    def __call__(self, tokens, types=None):
        has_head, has_pooler, has_nsp = self.parts
        output = self.tl.encoder_output(tokens, types)
        if has_pooler:
            pooled = self.tl.pooler(output)
            if has_nsp:
                self.tl.nsp_head(pooled)
        return self.tl.unembed(self.tl.mlm_head(output)) if has_head else output


class PostNormDecoder(HookedRootModule):
    """TransformerLens' BertBlocks, causal, with a decoder's embeddings: GPT-1 and OPT-350m."""

    def __init__(self, cfg, project_in=None, project_out=None):
        super().__init__()
        self.embed, self.pos_embed = Embed(cfg), PosEmbed(cfg)
        self.hook_embed, self.hook_pos_embed = HookPoint(), HookPoint()
        self.blocks = nn.ModuleList([BertBlock(cfg) for _ in range(cfg.n_layers)])
        self.unembed = Unembedding()
        self.project_in, self.project_out = project_in, project_out
        self.setup()

    def forward(self, tokens):
        embedded = self.embed(tokens)
        if self.project_in is not None:
            embedded = self.project_in(embedded)
        positions = self.pos_embed(tokens)
        stream = self.hook_embed(embedded) + self.hook_pos_embed(positions)
        for block in self.blocks:
            stream = block(stream)
        stream = self.unembed.hook_in(stream)
        if self.project_out is not None:
            stream = self.project_out(stream)
        return self.unembed.hook_out(stream @ self.W_U)


class Unembedding(nn.Module):
    def __init__(self):
        super().__init__()
        self.hook_in, self.hook_out = HookPoint(), HookPoint()


def decoder_to_tl(model, **flags):
    c = model.config
    gpt = c.model_type == "openai-gpt"
    d, n, layers = (c.n_embd, c.n_head, model.transformer.h) if gpt else (c.hidden_size, c.num_attention_heads, model.model.decoder.layers)
    cfg = HookedTransformerConfig(
        n_layers=len(layers), d_model=d, d_head=d // n, n_heads=n, d_mlp=4 * d if gpt else c.ffn_dim, d_vocab=VOCAB, n_ctx=24,
        eps=1e-5, act_fn="gelu_new" if gpt else "relu", normalization_type="LN", attention_dir="causal", init_weights=False,
        device="cpu", **flags)
    body = model.transformer if gpt else model.model.decoder
    with torch.no_grad():
        tl, state = PostNormDecoder(cfg, getattr(body, "project_in", None), getattr(body, "project_out", None)), {}
        if gpt:
            state["pos_embed.W_pos"] = body.positions_embed.weight
            table = body.tokens_embed.weight
        else:
            state["pos_embed.W_pos"] = body.embed_positions.weight[2:]
            table = body.embed_tokens.weight
            tl.embed.W_E = nn.Parameter(torch.empty(table.shape))
        state["embed.W_E"], tl.W_U = table, model.lm_head.weight.T
        for i, layer in enumerate(layers):
            if gpt:
                # Conv1D keeps [in, out]; as Linear layers the same code reads them.
                def part(conv, rows=slice(None)):
                    out = nn.Linear(conv.weight.shape[0], len(range(*rows.indices(conv.weight.shape[1]))))
                    out.weight, out.bias = nn.Parameter(conv.weight[:, rows].T), nn.Parameter(conv.bias[rows])
                    return out
                q, k, v = (part(layer.attn.c_attn, slice(s * d, (s + 1) * d)) for s in range(3))
                block_state(state, i, n, q, k, v, part(layer.attn.c_proj), layer.ln_1, part(layer.mlp.c_fc), part(layer.mlp.c_proj), layer.ln_2)
            else:
                a = layer.self_attn
                block_state(state, i, n, a.q_proj, a.k_proj, a.v_proj, a.out_proj, layer.self_attn_layer_norm, layer.fc1, layer.fc2, layer.final_layer_norm)
        missing, unexpected = tl.load_state_dict(state, strict=False)
        assert not unexpected and all(name.endswith(("mask", "IGNORE")) or name.startswith("project") for name in missing), (missing, unexpected)
    return tl.eval()


def t5_to_tl(model, **flags):
    c = model.config
    n, gated = c.num_heads, c.is_gated_act
    count = max(c.num_layers, c.num_decoder_layers)
    cfg = HookedTransformerConfig(
        n_layers=count, d_model=c.d_model, d_head=c.d_kv, n_heads=n, d_mlp=c.d_ff, d_vocab=VOCAB, n_ctx=64, eps=c.layer_norm_epsilon,
        act_fn=c.dense_act_fn, gated_mlp=gated, normalization_type="RMS", positional_embedding_type="relative_positional_bias",
        attention_dir="bidirectional", use_attn_scale=False, init_weights=False, device="cpu",
        relative_attention_num_buckets=c.relative_attention_num_buckets,
        relative_attention_max_distance=c.relative_attention_max_distance, tie_word_embeddings=c.scale_decoder_outputs, **flags)
    with torch.no_grad():
        tl = HookedEncoderDecoder(cfg)
        tl.encoder, tl.decoder = nn.ModuleList(list(tl.encoder)[:c.num_layers]), nn.ModuleList(list(tl.decoder)[:c.num_decoder_layers])
        for block in tl.decoder:  # TransformerLens' own cross-attention fails with its own split inputs
            block.cross_attn.cfg = dataclasses.replace(cfg, use_split_qkv_input=False, use_attn_in=False)
        tl.hook_dict, tl.mod_dict = {}, {}
        tl.setup()
        state = {"embed.W_E": model.shared.weight, "unembed.W_U": model.lm_head.weight.T}
        for side, stack in (("encoder", model.encoder), ("decoder", model.decoder)):
            first = stack.block[0].layer[0].SelfAttention
            state[f"{side}.0.attn.rel_pos_bias.weight"] = first.relative_attention_bias.weight
            state[f"{side}_final_ln.w"] = stack.final_layer_norm.weight
            for i, block in enumerate(stack.block):
                kinds = [("attn", block.layer[0].SelfAttention)] + ([("cross_attn", block.layer[1].EncDecAttention)] if side == "decoder" else [])
                for name, attention in kinds:
                    for letter in "qkv":
                        state[f"{side}.{i}.{name}.W_{letter.upper()}"] = einops.rearrange(getattr(attention, letter).weight, "(n h) m -> n m h", n=n)
                    state[f"{side}.{i}.{name}.W_O"] = einops.rearrange(attention.o.weight, "m (n h) -> n h m", n=n)
                for j, layer in enumerate(block.layer):
                    state[f"{side}.{i}.ln{j + 1}.w"] = layer.layer_norm.weight
                dense = block.layer[-1].DenseReluDense
                if gated:
                    state[f"{side}.{i}.mlp.W_gate"], state[f"{side}.{i}.mlp.W_in"] = dense.wi_0.weight.T, dense.wi_1.weight.T
                else:
                    state[f"{side}.{i}.mlp.W_in"] = dense.wi.weight.T
                state[f"{side}.{i}.mlp.W_out"] = dense.wo.weight.T
        missing, unexpected = tl.load_state_dict(state, strict=False)
        for name in missing:  # biases that T5 has not
            assert ".b_" in name or name.endswith((".mask", ".IGNORE")), name
        for name, parameter in tl.named_parameters():
            if ".b_" in name:
                parameter.zero_()
        assert not unexpected, unexpected
    return tl.eval()


# ---------------------------------------------------------------------------------------------------------------- runs

def random_tokens(seed, shape):
    return torch.randint(3, VOCAB, shape, generator=torch.Generator().manual_seed(seed))


def described(golden, name, output_name, recorder, output, reference, what, drop=(), **about):
    values = {site: value for site, value in recorder.values.items() if site not in drop}
    fired = [site for site in recorder.fired if site not in drop]
    hf_name = {"hf_logits": reference} if output_name == "logits" else {}
    golden.add(name, {output_name: output, **hf_name, **values}, fired=fired, hf_relative_error=check(output, reference, what), **about)


def edit_runs(golden, name, model, tokens, plain, edits, arguments, about):
    """Hooked runs: what comes out with an edit made."""
    for label, edit in edits.items():
        output, _ = run(model, tokens, edits=[edit], **arguments)
        moved = relative_error(output, plain)
        if not moved > 1e-3:
            raise ValueError(f"{name}: edit {label} moves the output by {moved:.1e} only")
        golden.add(f"edit.{label}", {about["output"]: output}, tokens=tokens.tolist(), edits=[edit],
                   **{k: v for k, v in about.items() if k != "output"})


def make_encoder(name, folder, model, seed, golden):
    kind = model.config.model_type
    tl, *parts = encoder_to_tl(model)
    runner, tokens = EncoderRun(tl, *parts), random_tokens(seed, (2, 9))
    has_types = kind == "bert"
    types = torch.tensor([[0] * 4 + [1] * 5, [0] * 7 + [1] * 2]) if has_types else None
    arguments = {"types": types} if has_types else {}
    extra = {"token_types": types.tolist()} if has_types else {}
    hf_arguments = {"token_type_ids": types} if has_types else {}
    drop = [] if kind != "distilbert" else ["embed.hook_token_type_embed"]
    output_name = "logits" if parts[0] else "residual"

    def reference(tokens, **more):
        with torch.no_grad():
            result = model(tokens, output_hidden_states=True, **more)
        first = result.get("prediction_logits", result.get("logits")) if parts[0] else result.hidden_states[-1]
        return first, result
    output, recorder = run(runner, tokens, strict=True, **arguments)
    expected, result = reference(tokens, **hf_arguments)
    described(golden, "base", output_name, recorder, output, expected, name, drop, tokens=tokens.tolist(), **extra)
    if parts[2]:
        key = "seq_relationship_logits" if parts[0] else "logits"
        check(recorder.values["nsp_head.hook_nsp_out"], result[key], f"{name} next sentence")
    if parts[1] and hasattr(result, "pooler_output"):
        check(recorder.values["pooler.hook_pooler_out"], result.pooler_output, f"{name} pooler")
    if has_types:  # kinds left out are kind 0
        output, recorder = run(runner, tokens)
        check(output, reference(tokens)[0], f"{name} without types")
        golden.add("no-types", {output_name: output}, tokens=tokens.tolist())
    for flag in ("use_attn_result", "use_split_qkv_input", "use_hook_mlp_in") if name == "bert" else ():
        flagged, *_ = encoder_to_tl(model, **{flag: True})
        again, recorder = run(EncoderRun(flagged, *parts), tokens[:1])
        check(again, run(runner, tokens[:1])[0], f"{name} {flag}")
        gated = {site: value for site, value in recorder.values.items() if site.rsplit(".", 1)[-1] in GATED}
        golden.add(f"flag.{flag}", gated, tokens=tokens[:1].tolist(), flags={flag: True},
                   fired=[site for site in recorder.fired if site not in drop])
    plain, _ = run(runner, tokens, **arguments)
    last = len(tl.blocks) - 1
    edits = {
        "z-head": {"site": f"blocks.{last}.attn.hook_z", "operation": "set", "value": 0, "at": [None, None, 1]},
        "scores": {"site": "blocks.0.attn.hook_attn_scores", "operation": "multiply", "value": 0.5, "at": [None, [0, 2]]},
        "pattern": {"site": "blocks.0.attn.hook_pattern", "operation": "set", "value": 0, "at": [None, 2, None, 3]},
        "ln1-scale": {"site": "blocks.0.ln1.hook_scale", "operation": "multiply", "value": 1.5, "at": [0]},
        "ln2-normalized": {"site": f"blocks.{last}.ln2.hook_normalized", "operation": "multiply", "value": 0.5, "at": [0]},
        "resid-mid": {"site": "blocks.0.hook_resid_mid", "operation": "add", "value": 0.5, "at": [None, 3, [0, 9]]},
        "full-embed": {"site": "hook_full_embed", "operation": "multiply", "value": 0.5, "at": [None, 0]},
        "output": {"site": f"blocks.{last}.hook_normalized_resid_post", "operation": "add", "value": 0.3, "at": [None, None, [0, 7]]},
    }
    if parts[0]:
        edits["mlm-normalized"] = {"site": "mlm_head.ln.hook_normalized", "operation": "multiply", "value": 0.7, "at": [None, 1]}
    one = {key: value[:1] for key, value in arguments.items()}
    edit_runs(golden, name, runner, tokens[:1], plain[:1], edits, one, {"output": output_name, **{k: v[:1] for k, v in extra.items()}})
    masked_encoder(golden, name, model, reference, output_name, seed, has_types)


def masked_encoder(golden, name, model, reference, output_name, seed, has_types):
    """Padded batches, Hugging Face's numbers. Positions count real tokens, as for a row alone."""
    kind = model.config.model_type
    pad = model.config.pad_token_id
    tokens, lengths, width = random_tokens(seed + 1, (3, 9)), [9, 5, 2], 9
    for side in ("right", "left"):
        mask = torch.zeros_like(tokens)
        for row, length in enumerate(lengths):
            mask[row, slice(0, length) if side == "right" else slice(width - length, width)] = 1
        padded = torch.where(mask == 1, tokens, pad)
        more = {"attention_mask": mask}
        if has_types:
            more["token_type_ids"] = (torch.arange(9)[None] > 4).long().expand(3, 9)
        if kind == "bert":
            more["position_ids"] = (mask.cumsum(-1) - 1).clamp(min=0)
        if kind == "distilbert" and side == "left":
            continue  # it has no way to be told positions
        output, result = reference(padded, **more)
        values = {output_name: output}
        if "seq_relationship_logits" in result and side == "right":
            values["nsp_head.hook_nsp_out"] = result.seq_relationship_logits
        golden.add(f"masked.{side}", values, tokens=padded.tolist(), attention_mask=mask.tolist(),
                   token_types=more["token_type_ids"].tolist() if has_types else None)


def make_t5(name, folder, model, seed, golden):
    tl = t5_to_tl(model)
    encoder, decoder = random_tokens(seed, (1, 23)), random_tokens(seed + 1, (1, 21))
    if name == "t5":
        encoder, decoder = random_tokens(seed, (2, 9)), random_tokens(seed + 1, (2, 7))
    decoder[:, 0] = PAD

    def reference(encoder, decoder, mask=None, decoder_mask=None):
        with torch.no_grad():
            return model(input_ids=encoder, decoder_input_ids=decoder, attention_mask=mask, decoder_attention_mask=decoder_mask)
    arguments = {"decoder_input": decoder}
    output, recorder = run(tl, encoder, strict=False, **arguments)
    result = reference(encoder, decoder)
    # ln1 fires for queries, keys and values; what it holds is the same each time.
    about = {"tokens": decoder.tolist(), "encoder_tokens": encoder.tolist()}
    described(golden, "base", "logits", recorder, output, result.logits, name, **about)
    check(recorder.values["encoder_final_ln.hook_normalized"] * tl.encoder_final_ln.w, result.encoder_last_hidden_state, f"{name} encoder")
    if name == "t5":
        for flag in ("use_attn_result", "use_split_qkv_input", "use_attn_in", "use_hook_mlp_in"):
            again, recorder = run(t5_to_tl(model, **{flag: True}), encoder[:1], decoder_input=decoder[:1])
            check(again, output[:1], f"{name} {flag}")
            gated = {site: value for site, value in recorder.values.items() if site.rsplit(".", 1)[-1] in GATED}
            golden.add(f"flag.{flag}", gated, flags={flag: True}, fired=recorder.fired, tokens=decoder[:1].tolist(),
                       encoder_tokens=encoder[:1].tolist())
        edits = {
            "encoder-z": {"site": "encoder.0.attn.hook_z", "operation": "set", "value": 0, "at": [None, None, 1]},
            "encoder-scores": {"site": "encoder.2.attn.hook_attn_scores", "operation": "multiply", "value": 0.5, "at": [None, [0, 2]]},
            "decoder-scores": {"site": "decoder.1.attn.hook_attn_scores", "operation": "add", "value": 1, "at": [None, 0, 5, 2]},
            "cross-k": {"site": "decoder.0.cross_attn.hook_k", "operation": "multiply", "value": 0.5, "at": [None, 3]},
            "cross-v": {"site": "decoder.1.cross_attn.hook_v", "operation": "multiply", "value": -1, "at": [None, [2, 4], 1]},
            "cross-pattern": {"site": "decoder.1.cross_attn.hook_pattern", "operation": "set", "value": 0, "at": [None, 2, None, 1]},
            "cross-scores": {"site": "decoder.0.cross_attn.hook_attn_scores", "operation": "set", "value": "-inf", "at": [None, 1, 3, [0, 5]]},
            "cross-z": {"site": "decoder.1.cross_attn.hook_z", "operation": "set", "value": 0, "at": [None, None, 0]},
            "cross-out": {"site": "decoder.0.hook_cross_attn_out", "operation": "set", "value": 0, "at": [None, -1]},
            "resid-mid-cross": {"site": "decoder.1.hook_resid_mid_cross", "operation": "add", "value": 0.5, "at": [None, 3, [0, 9]]},
            "ln2-scale": {"site": "decoder.0.ln2.hook_scale", "operation": "multiply", "value": 1.5, "at": [0]},
            "ln3-normalized": {"site": "decoder.1.ln3.hook_normalized", "operation": "multiply", "value": 0.5, "at": [0]},
            "encoder-final": {"site": "encoder_final_ln.hook_normalized", "operation": "multiply", "value": 0.5, "at": [None, 4]},
            "embed": {"site": "hook_embed", "operation": "multiply", "value": 0.5, "at": [None, 4]},
        }
        for label, edit in edits.items():
            edited, _ = run(tl, encoder[:1], edits=[edit], decoder_input=decoder[:1])
            if not relative_error(edited, output[:1]) > 1e-3:
                raise ValueError(f"{name}: edit {label} moves nothing")
            golden.add(f"edit.{label}", {"logits": edited}, edits=[edit], tokens=decoder[:1].tolist(), encoder_tokens=encoder[:1].tolist())
    tokens, width = random_tokens(seed + 2, (3, 9)), 9
    for side in ("right", "left"):
        mask = torch.zeros_like(tokens)
        for row, length in enumerate([9, 5, 2]):
            mask[row, slice(0, length) if side == "right" else slice(width - length, width)] = 1
        padded, begin = torch.where(mask == 1, tokens, PAD), random_tokens(seed + 3, (3, 5))
        begin[:, 0] = PAD
        golden.add(f"masked.{side}", {"logits": reference(padded, begin, mask).logits}, tokens=begin.tolist(),
                   encoder_tokens=padded.tolist(), encoder_mask=mask.tolist())
    # The second row's decoder begins later.
    decoder_mask = torch.tensor([[1] * 5, [0, 0, 1, 1, 1], [1] * 5])
    golden.add("masked.decoder", {"logits": reference(padded, begin, mask, decoder_mask).logits}, tokens=begin.tolist(),
               attention_mask=decoder_mask.tolist(), encoder_tokens=padded.tolist(), encoder_mask=mask.tolist())
    generate_t5(golden, name, model, tokens)


def generate_t5(golden, name, model, tokens):
    mask = torch.ones_like(tokens)
    mask[1, 5:], mask[2, 2:] = 0, 0
    padded = torch.where(mask == 1, tokens, PAD)

    def greedy(rows, **more):
        config = hf.GenerationConfig(max_new_tokens=NEW_TOKENS, do_sample=False, use_cache=True, pad_token_id=PAD, decoder_start_token_id=PAD,
                                     output_logits=True, return_dict_in_generate=True, **more)
        model.generation_config = config
        with torch.no_grad():
            result = model.generate(padded[:rows], attention_mask=mask[:rows])
        return result.sequences, torch.stack(result.logits, dim=1)
    single, _ = greedy(1)
    batch, _ = greedy(3)
    eos = batch[1, 6].item()
    for label, rows, more in (("single", 1, {}), ("batch", 3, {}), ("eos", 3, {"eos_token_id": eos})):
        sequences, logits = greedy(rows, **more)
        top = logits.topk(2, dim=-1).values
        margin = (top[..., 0] - top[..., 1]).min().item()
        if not margin > 1e-3:
            raise ValueError(f"{name}: greedy generation is a near tie ({margin:.1e})")
        golden.add(f"generate.{label}", {"step_logits": logits}, tokens=[[PAD]] * rows, encoder_tokens=padded[:rows].tolist(),
                   encoder_mask=mask[:rows].tolist(), max_new_tokens=NEW_TOKENS, pad_token_id=PAD, **more,
                   sequences=sequences.tolist(), margin=margin)


def make_decoder(name, folder, model, seed, golden):
    tl, tokens = decoder_to_tl(model), random_tokens(seed, (2, 7))
    output, recorder = run(tl, tokens, strict=True)
    with torch.no_grad():
        reference = model(tokens).logits
    described(golden, "base", "logits", recorder, output, reference, name, tokens=tokens.tolist())
    for flag in ("use_attn_result", "use_split_qkv_input", "use_hook_mlp_in"):
        again, recorder = run(decoder_to_tl(model, **{flag: True}), tokens)
        check(again, output, f"{name} {flag}")
        gated = {site: value for site, value in recorder.values.items() if site.rsplit(".", 1)[-1] in GATED}
        golden.add(f"flag.{flag}", gated, tokens=tokens.tolist(), flags={flag: True}, fired=recorder.fired)


def buckets():
    """Hugging Face's buckets of distances, run by run: [bucket, first distance] where a new one begins."""
    cases = []
    for count, furthest, bidirectional in [(32, 128, True), (32, 128, False), (10, 13, True), (10, 13, False), (6, 40, True), (64, 1000, False),
                                           (12, 96, True), (2, 2, False), (4, 5, True), (33, 129, True), (32, 20, False)]:
        distances = torch.arange(-furthest - 5, furthest + 6)
        found = T5Attention._relative_position_bucket(distances, bidirectional, count, furthest).tolist()
        steps = [[bucket, distance] for bucket, distance, before in zip(found, distances.tolist(), [None] + found) if bucket != before]
        cases.append({"buckets": count, "max_distance": furthest, "bidirectional": bidirectional, "steps": steps})
    (ROOT / "relative-buckets.json").write_text("[\n" + ",\n".join(" " + json.dumps(case) for case in cases) + "\n]\n")


def make(name):
    from make_goldens import describe, versions
    kind, config, seed = SPECS[name]
    folder, model = save(name, kind, config, seed)
    golden = Golden(folder, {"model": name, "made_with": versions(), "notes": []})
    makers = {"t5": make_t5, "openai-gpt": make_decoder, "opt": make_decoder}
    makers.get(config.model_type, make_encoder)(name, folder, model, seed, golden)
    golden.write()
    base = golden.document["runs"][0]
    first = golden.tensors.get("base/logits", golden.tensors.get("base/residual"))
    values = {key[5:]: value for key, value in golden.tensors.items() if key.startswith("base/")}
    return describe(name, first, values, base["hf_relative_error"])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", action="append", help="make this folder alone (repeatable)")
    chosen = parser.parse_args().only
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    logging.disable(logging.WARNING)
    hf.utils.logging.disable_progress_bar()
    if not chosen:
        buckets()
    for name in SPECS:
        if not chosen or name in chosen:
            print(make(name), flush=True)
    encdec_text.main()


if __name__ == "__main__":
    sys.exit(main())
