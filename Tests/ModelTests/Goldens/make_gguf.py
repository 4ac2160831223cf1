"""Makes the GGUF files of the model tests from the golden folders beside this file, with `gguf` (0.19.0) from PyPI.

    python make_gguf.py

The maps are those of llama.cpp's convert_hf_to_gguf.py: names, LLaMA's paired rows of queries and keys, Gemma's norms plus
one, GPT-2's transposed matrices. `gguf/FOLDER.gguf` holds a folder's numbers in F32. `gguf/llama-quantised.gguf` is a model of
its own whose matrices are of every quantised type; its golden is Hugging Face's run on the weights that gguf dequantises.
"""

import json
import math
from pathlib import Path

import gguf
import numpy
import torch
import transformers
from gguf import GGMLQuantizationType as Type
from safetensors.torch import load_file, save_file

ROOT = Path(__file__).resolve().parent
OUT = ROOT / "gguf"


def paired(weight, heads):
    """LlamaModel.permute: a head's halves become adjacent pairs."""
    return weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:]).swapaxes(1, 2).reshape(weight.shape)


def llama_names(arch):
    """Module names of LLaMA-shaped families."""
    norms = {"post_attention_layernorm": "ffn_norm"}
    if arch in ("gemma2", "gemma3"):
        norms = {"post_attention_layernorm": "post_attention_norm", "pre_feedforward_layernorm": "ffn_norm", "post_feedforward_layernorm": "post_ffw_norm"}
    return {"input_layernorm": "attn_norm", **norms, "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k", "self_attn.v_proj": "attn_v",
            "self_attn.o_proj": "attn_output", "self_attn.q_norm": "attn_q_norm", "self_attn.k_norm": "attn_k_norm", "self_attn.qkv_proj": "attn_qkv",
            "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up", "mlp.down_proj": "ffn_down", "mlp.gate_up_proj": "ffn_up",
            "self_attn.dense": "attn_output", "mlp.fc1": "ffn_up", "mlp.fc2": "ffn_down", "block_sparse_moe.gate": "ffn_gate_inp", "mlp.gate": "ffn_gate_inp",
            "mlp.shared_expert_gate": "ffn_gate_inp_shexp", **{f"mlp.shared_expert.{part}_proj": f"ffn_{part}_shexp" for part in ("gate", "up", "down")}}


EXPERT_NAMES = {"gate_proj": "ffn_gate_exps", "up_proj": "ffn_up_exps", "down_proj": "ffn_down_exps", "w1": "ffn_gate_exps", "w3": "ffn_up_exps", "w2": "ffn_down_exps"}


def stacked(tensors):
    """All experts' matrices of a layer in one tensor, as MixtralModel and Qwen2MoeModel do."""
    stacks = {}
    for name, tensor in tensors.items():
        if ".experts." not in name:
            yield name, tensor
            continue
        module, rest = name.split(".experts.")
        expert, part, _ = rest.split(".")
        layer = module.removeprefix("model.").split(".")[1]
        stacks.setdefault(f"blk.{layer}.{EXPERT_NAMES[part]}.weight", {})[int(expert)] = tensor
    for target, parts in stacks.items():
        yield target, torch.stack([parts[expert] for expert in range(len(parts))])


GPT2_NAMES = {"ln_1": "attn_norm", "attn.c_attn": "attn_qkv", "attn.c_proj": "attn_output", "ln_2": "ffn_norm", "mlp.c_fc": "ffn_up", "mlp.c_proj": "ffn_down"}
TOP_NAMES = {"embed_tokens": "token_embd", "norm": "output_norm", "lm_head": "output", "final_layernorm": "output_norm",
             "wte": "token_embd", "wpe": "position_embd", "ln_f": "output_norm"}


def converted(arch, config, tensors):
    """GGUF names and numbers of a checkpoint's tensors."""
    modules = GPT2_NAMES if arch == "gpt2" else llama_names(arch)
    for name, tensor in stacked(tensors):
        if name.startswith("blk."):
            yield name, numpy.ascontiguousarray(tensor.float().numpy())
            continue
        name = name.removeprefix("model.").removeprefix("transformer.")
        module, end = name.rsplit(".", 1)
        data = tensor.float().numpy()
        if module in TOP_NAMES:
            target = TOP_NAMES[module]
        else:
            _, layer, module = module.split(".", 2)
            target = f"blk.{layer}.{modules[module]}"
        if arch == "llama" and module in ("self_attn.q_proj", "self_attn.k_proj"):
            data = paired(data, config["num_attention_heads" if "q_proj" in module else "num_key_value_heads"])
        if arch.startswith("gemma") and module.endswith("norm"):
            data = data + numpy.float32(1)
        if module == "mlp.shared_expert_gate":
            data = data[0]
        if arch == "gpt2" and module in ("attn.c_attn", "attn.c_proj", "mlp.c_fc", "mlp.c_proj") and end == "weight":
            data = data.T
        yield f"{target}.{end}", numpy.ascontiguousarray(data)


def rope_factors(config, rope):
    """LlamaModel.generate_extra_tensors."""
    dim = config["head_dim"]
    freqs = 1.0 / (rope["rope_theta"] ** (torch.arange(0, dim, 2, dtype=torch.float32) / dim))
    old, low, high, factor = (rope[key] for key in ("original_max_position_embeddings", "low_freq_factor", "high_freq_factor", "factor"))
    factors = []
    for freq in freqs:
        wavelength = 2 * math.pi / freq
        if wavelength < old / high:
            factors.append(1)
        elif wavelength > old / low:
            factors.append(factor)
        else:
            smooth = (old / wavelength - low) / (high - low)
            factors.append(1 / ((1 - smooth) / factor + smooth))
    return numpy.array(factors, dtype=numpy.float32)


def write_metadata(writer, arch, config):
    if arch == "gpt2":
        names = {"n_layer": "num_hidden_layers", "n_embd": "hidden_size", "n_head": "num_attention_heads", "n_positions": "max_position_embeddings", "n_inner": "intermediate_size"}
        config = {**config, **{new: config[old] for old, new in names.items()}, "layer_norm_eps": config["layer_norm_epsilon"]}
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    if "num_key_value_heads" in config:
        writer.add_head_count_kv(config["num_key_value_heads"])
    if "rms_norm_eps" in config:
        writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    if "layer_norm_eps" in config:
        writer.add_layer_norm_eps(config["layer_norm_eps"])
    if config.get("head_dim"):
        writer.add_key_length(config["head_dim"])
        writer.add_value_length(config["head_dim"])
    writer.add_vocab_size(config["vocab_size"])
    if "num_experts_per_tok" in config:
        writer.add_expert_count(config.get("num_local_experts") or config["num_experts"])
        writer.add_expert_used_count(config["num_experts_per_tok"])
    if "moe_intermediate_size" in config:
        writer.add_expert_feed_forward_length(config["moe_intermediate_size"])
    if "shared_expert_intermediate_size" in config:
        writer.add_expert_shared_feed_forward_length(config["shared_expert_intermediate_size"])
    if config.get("sliding_window") and config.get("use_sliding_window") is not False:
        writer.add_sliding_window(config["sliding_window"])
    for key, add in (("attn_logit_softcapping", writer.add_attn_logit_softcapping), ("final_logit_softcapping", writer.add_final_logit_softcapping)):
        if config.get(key):
            add(config[key])
    if arch in ("gemma2", "gemma3") and config["query_pre_attn_scalar"] != config["head_dim"]:
        writer.add_attention_scale(config["query_pre_attn_scalar"] ** -0.5)
    if arch == "gpt2":
        return
    rope = config.get("rope_parameters") or {"rope_theta": config["rope_theta"], **(config.get("rope_scaling") or {})}
    writer.add_rope_freq_base(rope["rope_theta"])
    width = config.get("head_dim") or config["hidden_size"] // config["num_attention_heads"]
    writer.add_rope_dimension_count(int(width * rope.get("partial_rotary_factor", 1)))
    if rope.get("rope_type") == "linear":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
        writer.add_rope_scaling_factor(rope["factor"])
    if rope.get("rope_type") == "yarn":
        writer.add_rope_scaling_type(gguf.RopeScalingType.YARN)
        writer.add_rope_scaling_factor(rope["factor"])
        writer.add_rope_scaling_orig_ctx_len(rope["original_max_position_embeddings"])
        for key, add in (("beta_fast", writer.add_rope_scaling_yarn_beta_fast), ("beta_slow", writer.add_rope_scaling_yarn_beta_slow)):
            if rope.get(key):
                add(rope[key])
    if rope.get("rope_type") == "longrope":
        original = config["original_max_position_embeddings"]
        writer.add_rope_scaling_orig_ctx_len(original)
        factor = config["max_position_embeddings"] / original
        writer.add_rope_scaling_attn_factors(math.sqrt(1 + math.log(factor) / math.log(original)) if factor > 1 else 1.0)
        for name in ("long", "short"):
            writer.add_tensor(f"rope_factors_{name}.weight", numpy.array(rope[f"{name}_factor"], dtype=numpy.float32))
    if arch == "gemma3":
        writer.add_sliding_window_pattern(config["sliding_window_pattern"])
        writer.add_rope_freq_base_swa(config["rope_local_base_freq"])
    if rope.get("rope_type") == "llama3":
        writer.add_tensor("rope_freqs.weight", rope_factors(config, rope))


def write_tokenizer(writer):
    """97 tokens of one printable character each."""
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(["<|endoftext|>", "Ġ"] + [chr(code) for code in range(33, 127)] + ["ab"])
    writer.add_token_types([3] + [1] * 96)
    writer.add_token_merges(["a b"])
    writer.add_bos_token_id(0)
    writer.add_eos_token_id(0)


def finish(writer):
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def from_folder(arch, name):
    config = json.loads((ROOT / name / "config.json").read_text())
    path = OUT / f"{name}.gguf"
    writer = gguf.GGUFWriter(path, arch)
    write_metadata(writer, arch, config)
    if arch == "gpt2":
        write_tokenizer(writer)
    for target, data in converted(arch, config, load_file(ROOT / name / "model.safetensors")):
        writer.add_tensor(target, data)
    finish(writer)
    return path, config


def verified(path, name):
    """Hugging Face's own reader of GGUF, where it knows the architecture, gives the folder's logits."""
    tokens = torch.arange(10)[None] * 7 % 97
    folder = transformers.AutoModelForCausalLM.from_pretrained(ROOT / name)(tokens).logits
    found = transformers.AutoModelForCausalLM.from_pretrained(path.parent, gguf_file=path.name)(tokens).logits
    return (folder - found).abs().max().item()


def quantised():
    """A LLaMA whose matrices are of every quantised type, with random blocks; the golden from what gguf dequantises."""
    generator = numpy.random.default_rng(5)
    config = transformers.LlamaConfig(vocab_size=97, hidden_size=256, intermediate_size=32, num_hidden_layers=2, num_attention_heads=4,
                                      num_key_value_heads=2, head_dim=14, max_position_embeddings=24, rms_norm_eps=1e-5, tie_word_embeddings=True)
    torch.manual_seed(5)
    model = transformers.LlamaForCausalLM(config).eval()
    types = {"embed_tokens": Type.Q6_K, "self_attn.o": Type.F16, "0.self_attn.q": Type.Q4_K, "0.self_attn.k": Type.Q8_0, "0.self_attn.v": Type.Q5_K, "0.mlp.gate": Type.Q3_K, "0.mlp.up": Type.Q2_K,
             "0.mlp.down": Type.Q5_1, "1.self_attn.q": Type.Q4_0, "1.self_attn.k": Type.Q4_1, "1.self_attn.v": Type.Q5_0, "1.mlp.gate": Type.F16, "1.mlp.up": Type.BF16, "1.mlp.down": Type.Q8_0}
    writer = gguf.GGUFWriter(OUT / "llama-quantised.gguf", "llama")
    fields = {**config.to_dict(), "rope_parameters": {"rope_theta": 10000.0}}
    write_metadata(writer, "llama", fields)
    state = {key: value for key, value in model.state_dict().items() if key != "lm_head.weight"}
    state = {key: torch.rand(value.shape) + 0.5 if value.ndim == 1 else torch.randn(value.shape) * 0.15 for key, value in state.items()}
    for (source, _), (target, data) in zip(list(state.items()), list(converted("llama", fields, state))):
        kind = next((kind for part, kind in types.items() if part in source), Type.F32)
        raw = stored(data, kind, generator)
        writer.add_tensor(target, raw, raw_dtype=kind, raw_shape=None)
        numbers = gguf.quants.dequantize(raw, kind).reshape(data.shape) if kind is not Type.F32 else data
        if ".q_proj" in source or ".k_proj" in source:
            heads = 4 if ".q_proj" in source else 2
            numbers = numbers.reshape(heads, 7, 2, -1).swapaxes(1, 2).reshape(numbers.shape)
        state[source] = torch.from_numpy(numpy.array(numbers))
    finish(writer)
    model.load_state_dict({**state, "lm_head.weight": state["model.embed_tokens.weight"]})
    tokens = torch.tensor([[1, 5, 9, 2, 90, 33, 7], [4, 4, 8, 60, 11, 12, 0]])
    with torch.no_grad():
        logits = model(tokens).logits
    save_file({"tokens": tokens, "logits": logits, **{f"weights/{key}": value for key, value in state.items() if "layers.0.self_attn.q" in key or "layers.0.self_attn.k" in key}},
              OUT / "llama-quantised.safetensors")
    return logits.std().item()


def stored(data, kind, generator):
    """`data` as bytes of a type; of those gguf cannot write, random blocks of about the same size."""
    try:
        return gguf.quants.quantize(data, kind)
    except NotImplementedError:
        elements, size = gguf.GGML_QUANT_SIZES[kind]
        blocks = generator.integers(0, 256, (data.size // elements, size), dtype=numpy.uint8)
        # Where a block keeps its scales of float16, and how large they may be for numbers of about 0.15.
        places = {Type.Q2_K: [(80, 0.008), (82, 0.003)], Type.Q3_K: [(108, 0.002)], Type.Q4_K: [(0, 0.0005), (2, 0.003)], Type.Q5_K: [(0, 0.0003), (2, 0.003)],
                  Type.Q6_K: [(208, 0.00006)]}[kind]
        for place, scale in places:
            values = (generator.random(len(blocks)) * scale).astype(numpy.float16)
            blocks[:, place:place + 2] = values.view(numpy.uint8).reshape(-1, 2)
        return blocks.reshape(data.shape[0], -1)


def main():
    OUT.mkdir(exist_ok=True)
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    for name, arch in {"llama-rope-llama3": "llama", "llama-multiquery": "llama", "mistral": "llama", "qwen2-tied": "qwen2", "qwen3": "qwen3", "gemma": "gemma", "gemma2": "gemma2",
                       "gemma3-old": "gemma3", "phi": "phi2", "phi3-window": "phi3", "gpt2-untied": "gpt2",
                       "phi3-longrope": "phi3", "llama-rope-yarn": "llama", "mixtral": "llama", "qwen2-moe": "qwen2moe", "qwen3-moe": "qwen3moe"}.items():
        path, _ = from_folder(arch, name)
        try:
            check = f"Hugging Face's reader differs by {verified(path, name):.1e}"
        except Exception as error:
            check = f"no check: {type(error).__name__}: {str(error).splitlines()[0][:90]}"
        print(f"{name:20} {path.stat().st_size:7} bytes  {check}")
    print(f"llama-quantised      logits sd {quantised():.2f}")


if __name__ == "__main__":
    main()
