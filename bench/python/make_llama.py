"""Writes a random model of a LLaMA's shape (134 M: 12 layers, 768 wide, MLP 2048, 32,000 tokens), the same weights for every program.

    python make_llama.py FOLDER [--layers N]

FOLDER/hf is a Hugging Face folder in float32; FOLDER/{f32,f16,q8_0,q4_0}.gguf hold the same numbers for llama.cpp and for
this package, every matrix (embeddings and output too) in that one format, quantised by `gguf`. The scales are a trained
model's, about, so that nothing is denormal. About 1.4 GB.
"""

import argparse
import math
from pathlib import Path

import gguf
import numpy
import torch
from transformers import LlamaConfig, LlamaForCausalLM

FORMATS = {"f32": gguf.GGMLQuantizationType.F32, "f16": gguf.GGMLQuantizationType.F16,
           "q8_0": gguf.GGMLQuantizationType.Q8_0, "q4_0": gguf.GGMLQuantizationType.Q4_0}
NAMES = {"input_layernorm": "attn_norm", "post_attention_layernorm": "ffn_norm", "self_attn.q_proj": "attn_q", "self_attn.k_proj": "attn_k",
         "self_attn.v_proj": "attn_v", "self_attn.o_proj": "attn_output", "mlp.gate_proj": "ffn_gate", "mlp.up_proj": "ffn_up",
         "mlp.down_proj": "ffn_down"}
TOP = {"embed_tokens": "token_embd", "norm": "output_norm", "lm_head": "output"}


def random_model(layers):
    config = LlamaConfig(vocab_size=32000, hidden_size=768, intermediate_size=2048, num_hidden_layers=layers, num_attention_heads=12,
                         num_key_value_heads=12, max_position_embeddings=32768, tie_word_embeddings=False)
    model = LlamaForCausalLM(config)
    generator = torch.Generator().manual_seed(1)
    for name, parameter in sorted(model.named_parameters()):
        draw = torch.randn(parameter.shape, generator=generator)
        if parameter.dim() == 1:
            value = 1.0 + 0.05 * draw
        elif "embed_tokens" in name:
            value = draw
        else:
            value = draw / math.sqrt(parameter.shape[1])
        parameter.data.copy_(value)
    return model


def converted(model):
    """GGUF names and numbers; rows of queries and keys in llama.cpp's order, a head's halves as adjacent pairs."""
    heads = model.config.num_attention_heads
    for name, tensor in model.state_dict().items():
        module = name.removeprefix("model.").removesuffix(".weight")
        data = tensor.numpy()
        if module in TOP:
            yield TOP[module], data
            continue
        _, layer, part = module.split(".", 2)
        if part in ("self_attn.q_proj", "self_attn.k_proj"):
            data = data.reshape(heads, 2, -1, data.shape[1]).swapaxes(1, 2).reshape(data.shape)
        yield f"blk.{layer}.{NAMES[part]}", numpy.ascontiguousarray(data)


def write_gguf(path, model, kind):
    config, writer = model.config, gguf.GGUFWriter(path, "llama")
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_freq_base(10000.0)
    writer.add_rope_dimension_count(config.hidden_size // config.num_attention_heads)
    writer.add_vocab_size(config.vocab_size)
    # llama.cpp wants a vocabulary; what its pieces are does not matter.
    writer.add_tokenizer_model("llama")
    pieces = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)]
    writer.add_token_list(pieces + [f"p{index}" for index in range(len(pieces), config.vocab_size)])
    writer.add_token_scores([0.0] * config.vocab_size)
    writer.add_token_types([2, 3, 3] + [6] * 256 + [1] * (config.vocab_size - len(pieces)))
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    for name, data in converted(model):
        if data.ndim == 1 or kind is gguf.GGMLQuantizationType.F32:
            writer.add_tensor(f"{name}.weight", data)
        else:
            writer.add_tensor(f"{name}.weight", gguf.quants.quantize(data, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layers", type=int, default=12)
    arguments = parser.parse_args()
    model = random_model(arguments.layers)
    model.save_pretrained(arguments.folder / "hf")
    for name, kind in FORMATS.items():
        write_gguf(arguments.folder / f"{name}.gguf", model, kind)
    print(arguments.folder)


if __name__ == "__main__":
    main()
