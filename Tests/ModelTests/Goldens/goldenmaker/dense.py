"""Goldens of further dense decoders and of rotations for long contexts: models, folders and runs.

Activations come from the running Hugging Face model (dense_sites.py); of Qwen 1, which is not in transformers, from
TransformerLens, checked against qwen1.py; of SantaCoder, whose own code is on the hub, from the same model as transformers'
GPTBigCode.
"""

import json
import math
import shutil
from dataclasses import dataclass, field
from types import SimpleNamespace

import torch
import transformers
from safetensors.torch import load_file, save_file
from transformers import GenerationConfig

from . import dense_sites
from .dense_sites import Shape
from .recorder import Golden, check, run

VOCAB = 97
PLAIN = Shape()
COHERE = dict(kind="layer", qk_kind="layer", parallel=True, ln2="absent", q_norm="q_norm", k_norm="k_norm", unembed=lambda c: c.logit_scale)
GRANITE = dict(residual=lambda c: c.residual_multiplier, unembed=lambda c: 1 / c.logits_scaling)
OLMO2 = dict(on_output=True, ln1="post_attention_layernorm", ln2="post_feedforward_layernorm", q_norm="q_norm", k_norm="k_norm", span="all")
GEMMA3 = dict(ln1_post="post_attention_layernorm", ln2="pre_feedforward_layernorm", ln2_post="post_feedforward_layernorm", q_norm="q_norm", k_norm="k_norm")
STABLELM = dict(kind="layer", qk_kind="layer", q_norm="q_layernorm", k_norm="k_layernorm")
PHI = dict(kind="layer", qk_kind="layer", parallel=True, ln2="absent", out="self_attn.dense", final="final_layernorm", q_norm="q_layernorm",
           k_norm="k_layernorm", mlp_in="mlp.fc1", gate=None, mlp_out="mlp.fc2")
MPT = dict(layers="blocks", final="norm_f", attention="attn", out="attn.out_proj", ln1="norm_1", ln2="norm_2", kind="layer", rotary=False, mlp_in="ffn.up_proj",
           gate=None, mlp_out="ffn.down_proj", project=dense_sites.mpt_attention)
FALCON = dict(layers="h", final="ln_f", attention="self_attention", out="self_attention.dense", kind="layer", rotary=False, mlp_in="mlp.dense_h_to_4h",
              gate=None, mlp_out="mlp.dense_4h_to_h", project=dense_sites.falcon_attention)


@dataclass
class Spec:
    name: str
    model: str  # the start of the Hugging Face classes' names
    shape: Shape
    config: dict
    seed: int
    batch: tuple = (1, 7)
    generates: int = 0  # tokens of greedy generation with a cache
    respell: dict | None = None  # what the written config.json says instead; None takes a key out
    rename: dict = field(default_factory=dict)  # starts of tensor names, and what the written file has instead
    attention: str = "eager"
    notes: list = field(default_factory=list)


def llama_like(name, model, seed, shape=PLAIN, *, heads=4, kv=2, hidden=24, layers=2, inner=22, positions=24, rope=None, **more):
    keys = {key: more.pop(key) for key in ("batch", "generates", "respell", "rename", "notes") if key in more}
    config = dict(vocab_size=VOCAB, max_position_embeddings=positions, hidden_size=hidden, intermediate_size=inner, num_hidden_layers=layers,
                  num_attention_heads=heads, num_key_value_heads=kv, bos_token_id=1, eos_token_id=2, pad_token_id=0)
    if rope is not False:
        config["rope_parameters"] = {"rope_type": "default", "rope_theta": 1000.0, **(rope or {})}
    return Spec(name, model, shape, {**config, **more}, seed, **keys)


YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16, "beta_fast": 2.0, "beta_slow": 0.25, "rope_theta": 500.0}
OLD_YARN = {"type": "yarn", "factor": 6.0, "original_max_position_embeddings": 12, "mscale": 0.7, "mscale_all_dim": 1.1, "truncate": False,
            "beta_fast": 1.5, "beta_slow": 0.3}
LONG = {"rope_type": "longrope", "short_factor": [1.0, 1.1, 1.3, 1.7, 2.0], "long_factor": [1.2, 2.0, 3.5, 5.0, 9.0], "rope_theta": 500.0}
LONG4 = {**LONG, "original_max_position_embeddings": 8, "short_factor": LONG["short_factor"][:4], "long_factor": LONG["long_factor"][:4]}
OLMO3_ROPE = {"sliding_attention": {"rope_type": "default", "rope_theta": 300.0}, "full_attention": {**YARN, "rope_theta": 300.0, "attention_factor": 1.2}}
MULTIPLIERS = dict(embedding_multiplier=1.7, residual_multiplier=0.45, attention_multiplier=0.3, logits_scaling=1.6)
VISION = dict(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, image_size=4, patch_size=2)

SPECS = [
    llama_like("llama-rope-dynamic", "Llama", 301, rope={"rope_type": "dynamic", "factor": 3.0}, positions=8, head_dim=10, batch=(1, 13),
               notes=["thirteen tokens, made for eight"]),
    llama_like("llama-rope-dynamic-generates", "Llama", 302, rope={"rope_type": "dynamic", "factor": 4.0}, positions=8, head_dim=6, layers=1, batch=(1, 5), generates=12,
               respell={"rope_parameters": None, "rope_theta": 1000.0, "rope_scaling": {"type": "dynamic", "factor": 4.0}},
               notes=["grows past eight positions while it generates: older keys keep their angles"]),
    llama_like("llama-rope-yarn", "Llama", 303, rope=YARN, head_dim=14, positions=64, batch=(1, 13)),
    llama_like("llama-rope-yarn-old", "Llama", 304, rope={**OLD_YARN, "rope_type": "yarn", "rope_theta": 700.0}, head_dim=14, positions=72, layers=1, kv=1,
               respell={"rope_parameters": None, "rope_theta": 700.0, "rope_scaling": OLD_YARN}),
    llama_like("qwen2-yarn", "Qwen2", 305, rope={**YARN, "attention_factor": 0.9}, hidden=40, layers=1, positions=64),
    llama_like("phi3-longrope", "Phi3", 306, Shape(project=dense_sites.fused_phi3, gate_up="mlp.gate_up_proj"), rope=LONG, hidden=40, positions=32,
               original_max_position_embeddings=8, batch=(1, 13), notes=["thirteen tokens, eight original: the long factors"]),
    llama_like("phi3-longrope-short", "Phi3", 307, Shape(project=dense_sites.fused_phi3, gate_up="mlp.gate_up_proj"), rope={**LONG4, "partial_rotary_factor": 0.8},
               hidden=40, layers=1, positions=32, original_max_position_embeddings=8,
               respell={"rope_parameters": None, "rope_theta": 500.0, "partial_rotary_factor": 0.8,
                        "rope_scaling": {"type": "longrope", "short_factor": LONG4["short_factor"], "long_factor": LONG4["long_factor"]}},
               notes=["8 of 10 channels turn; the keys of older files"]),
    llama_like("llama-rope-longrope-generates", "Llama", 308, rope={**LONG, "original_max_position_embeddings": 8, "factor": 4.0}, head_dim=10, positions=32, layers=1,
               batch=(1, 5), generates=10),
    llama_like("olmo2", "Olmo2", 310, Shape(**OLMO2)),
    llama_like("olmo2-full", "Olmo2", 311, Shape(**OLMO2), heads=3, kv=3, hidden=18, layers=1, attention_bias=True, tie_word_embeddings=True),
    llama_like("olmo3", "Olmo3", 312, Shape(**OLMO2), heads=3, kv=1, hidden=30, layers=4, inner=14, sliding_window=3, rope=False, positions=64, rope_parameters=OLMO3_ROPE),
    llama_like("olmo3-old", "Olmo3", 313, Shape(**OLMO2), heads=3, kv=3, hidden=18, layers=2, sliding_window=3, rope=False, positions=64,
               layer_types=["full_attention", "sliding_attention"],
               rope_parameters={"sliding_attention": {"rope_type": "default", "rope_theta": 500000.0},
                                "full_attention": {"rope_type": "yarn", "rope_theta": 500000.0, "factor": 4.0, "original_max_position_embeddings": 16}},
               respell={"rope_parameters": None, "rope_theta": 500000,
                        "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}}),
    llama_like("olmo-clip", "Olmo", 314, Shape(kind="layer"), layers=1, clip_qkv=0.9),
    llama_like("cohere", "Cohere", 320, Shape(**{**COHERE, "q_norm": None, "k_norm": None}), heads=3, kv=3, hidden=18, logit_scale=0.3),
    llama_like("cohere-qk-norm", "Cohere", 321, Shape(**COHERE), layers=1, use_qk_norm=True, attention_bias=True, logit_scale=0.0625, layer_norm_eps=1e-3),
    llama_like("cohere2", "Cohere2", 322, Shape(**{**COHERE, "q_norm": None, "k_norm": None}), layers=4, hidden=24, inner=10, sliding_window=3, logit_scale=0.25),
    llama_like("granite", "Granite", 323, Shape(**GRANITE), tie_word_embeddings=True, **MULTIPLIERS),
    llama_like("granite-bias", "Granite", 324, Shape(**GRANITE), layers=1, tie_word_embeddings=False, attention_bias=True, mlp_bias=True, **MULTIPLIERS),
    llama_like("smollm3", "SmolLM3", 325, hidden=24, layers=4, inner=10),
    llama_like("smollm3-window", "SmolLM3", 326, hidden=24, layers=2, no_rope_layers=[0, 1], use_sliding_window=True, sliding_window=3, tie_word_embeddings=False),
    llama_like("ernie4_5", "Ernie4_5", 340, head_dim=6),
    llama_like("ernie4_5-bias", "Ernie4_5", 341, layers=1, head_dim=10, kv=4, use_bias=True, tie_word_embeddings=False),
    Spec("mpt", "Mpt", Shape(**MPT), dict(vocab_size=VOCAB, d_model=30, n_heads=5, n_layers=2, max_seq_len=24, attn_config=dict(alibi_bias_max=4, clip_qkv=1.1)), 327,
         notes=["five heads: every second slope first; alibi_bias_max is given to transformers' own rule, which forgets to read it"]),
    Spec("mpt-scaled", "Mpt", Shape(**MPT), dict(vocab_size=VOCAB, d_model=24, n_heads=4, n_layers=1, max_seq_len=24, tie_word_embeddings=True,
                                                 attn_config=dict(softmax_scale=0.2)), 328),
    llama_like("apertus", "Apertus", 329, Shape(ln1="attention_layernorm", ln2="feedforward_layernorm", q_norm="q_norm", k_norm="k_norm", gate=None), rope=False,
               positions=64, hidden=24),
    llama_like("stablelm-qk-norm", "StableLm", 330, Shape(**STABLELM), hidden=40, layers=1, qk_layernorm=True, rope={"partial_rotary_factor": 0.4}),
    llama_like("phi-qk-norm", "Phi", 331, Shape(**PHI), heads=3, kv=3, hidden=30, layers=1, qk_layernorm=True, rope={"partial_rotary_factor": 0.45}),
    Spec("falcon-rw", "Falcon", Shape(**FALCON), dict(vocab_size=VOCAB, hidden_size=30, num_hidden_layers=2, num_attention_heads=5, ffn_hidden_size=22,
                                                     max_position_embeddings=24, alibi=True, parallel_attn=False, multi_query=False, bias=True), 332, attention="sdpa",
         notes=["biases of key positions rounded to bfloat16; transformers' eager attention adds them twice, its default once"]),
    llama_like("ministral", "Ministral", 334, layers=2, head_dim=6, sliding_window=3, layer_types=["full_attention", "sliding_attention"]),
    Spec("gemma3-multimodal", "Gemma3", Shape(**GEMMA3), dict(
        text_config=dict(vocab_size=VOCAB, hidden_size=20, intermediate_size=22, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=6,
                         max_position_embeddings=24, sliding_window=3, query_pre_attn_scalar=9, layer_types=["sliding_attention", "full_attention"],
                         bos_token_id=1, eos_token_id=2, pad_token_id=0),
        vision_config=VISION, mm_tokens_per_image=1, boi_token_index=5, eoi_token_index=6, image_token_index=7), 335,
        rename={"language_model.model.": "model.language_model.", "vision_tower.": "model.vision_tower.", "multi_modal_projector.": "model.multi_modal_projector."},
        notes=["the names that some newer files have"]),
    Spec("mistral3", "Mistral3", PLAIN, dict(
        text_config=dict(model_type="mistral", vocab_size=VOCAB, hidden_size=20, intermediate_size=22, num_hidden_layers=1, num_attention_heads=4, num_key_value_heads=2,
                         head_dim=6, max_position_embeddings=24, sliding_window=None),
        vision_config=dict(model_type="pixtral", hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=1, image_size=4, patch_size=2, head_dim=8),
        image_token_index=7, tie_word_embeddings=False), 336),
]


def randomise(model, seed, gemma):
    """Draws every parameter, as hf_models.randomise does."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in sorted(model.named_parameters()):
        draw, leaf = torch.randn(parameter.shape, generator=generator), name.rsplit(".", 1)[-1]
        if "norm" in name or "ln_" in name:
            value = 0.2 * draw if leaf == "bias" else (0 if gemma else 1) + 0.3 * draw
        elif leaf == "bias" or parameter.dim() < 2:
            value = 0.3 * draw
        elif any(part in name for part in ("wte", "embed_tokens", "word_embeddings")):
            value = 0.5 * draw
        else:
            gain = 1.4 if any(part in name for part in ("q_proj", "k_proj", "qkv", "query_key_value", "c_attn")) else 1.0
            value = (2.5 if "lm_head" in name else gain) / math.sqrt(parameter.shape[1]) * draw
        parameter.data.copy_(value)
    if hasattr(model, "tie_weights"):
        model.tie_weights()


def classes(spec):
    config = getattr(transformers, f"{spec.model}Config")
    kind = getattr(transformers, f"{spec.model}ForCausalLM" if "text_config" not in spec.config else f"{spec.model}ForConditionalGeneration")
    return config, kind


def save(spec, root):
    folder = root / spec.name
    shutil.rmtree(folder, ignore_errors=True)
    config, kind = classes(spec)
    model = kind(config(**spec.config, attn_implementation=spec.attention)).float().eval()
    randomise(model, spec.seed, "Gemma" in spec.model)
    model.save_pretrained(folder, safe_serialization=True)
    if spec.respell:
        path = folder / "config.json"
        document = json.loads(path.read_text())
        document.update(spec.respell)
        document = {key: value for key, value in document.items() if value is not None or key not in spec.respell}
        path.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")
    return folder


def rename(spec, folder):
    """Other names, once the model has been read back under its own."""
    path = folder / "model.safetensors"
    tensors = load_file(path)

    def renamed(name):
        start = next((start for start in spec.rename if name.startswith(start)), "")
        return spec.rename.get(start, "") + name[len(start):]

    save_file({renamed(name): tensor for name, tensor in tensors.items()}, path, metadata={"format": "pt"})


def generated(golden, spec, hf, tokens):
    """Greedy generation with Hugging Face's cache: what each choice was made from."""
    hf.generation_config = GenerationConfig(max_new_tokens=spec.generates, do_sample=False, use_cache=True, pad_token_id=0, output_logits=True,
                                            return_dict_in_generate=True)
    with torch.no_grad():
        result = hf.generate(tokens, attention_mask=torch.ones_like(tokens))
    logits = torch.stack(result.logits, dim=1)
    golden.add("generate.single", {"step_logits": logits}, tokens=tokens.tolist(), attention_mask=torch.ones_like(tokens).tolist(),
               max_new_tokens=spec.generates, pad_token_id=0, sequences=result.sequences.tolist())


def use_bias_max(hf):
    """transformers 5.23 leaves `alibi_bias_max` at 8 whatever the config says; the models that say 16 were trained with 16."""
    most, build = hf.config.attn_config.alibi_bias_max, hf.transformer.build_mpt_alibi_tensor
    hf.transformer.build_mpt_alibi_tensor = lambda heads, length, device=None: build(heads, length, alibi_bias_max=most, device=device)


def tokens_for(spec):
    # The special tokens of multimodal models are below ten.
    return torch.randint(10, VOCAB, spec.batch, generator=torch.Generator().manual_seed(1000 + spec.seed))


def make(spec, root, versions):
    folder = save(spec, root)
    hf = classes(spec)[1].from_pretrained(folder, attn_implementation=spec.attention, dtype=torch.float32).eval()
    if spec.model == "Mpt":
        use_bias_max(hf)
    tokens = tokens_for(spec)
    logits, values = dense_sites.record(hf, spec.shape, tokens)
    with torch.no_grad():
        error = check(hf(tokens).logits, logits, spec.name)
    golden = Golden(folder, {"model": spec.name, "made_with": versions, "notes": spec.notes})
    golden.add("base", {"logits": logits, **values}, tokens=tokens.tolist(), fired=list(values), hf_relative_error=error)
    if spec.generates:
        generated(golden, spec, hf, tokens)
    golden.write()
    if spec.rename:
        rename(spec, folder)
    return logits, values


QWEN = dict(vocab_size=VOCAB, hidden_size=30, num_hidden_layers=2, num_attention_heads=3, intermediate_size=44, layer_norm_epsilon=1e-6, kv_channels=10,
            rotary_pct=1.0, rotary_emb_base=1000, max_position_embeddings=32, no_bias=True, scale_attn_weights=True, tie_word_embeddings=False, initializer_range=0.02)
QWENS = {"qwen": (340, dict(seq_length=24, use_dynamic_ntk=False, use_logn_attn=False), (1, 7)),
         "qwen-long": (341, dict(seq_length=6, use_dynamic_ntk=True, use_logn_attn=True), (1, 13))}


def make_qwen(name, root, versions):
    from transformer_lens import HookedTransformer, HookedTransformerConfig
    from transformer_lens.pretrained.weight_conversions.qwen import convert_qwen_weights

    from .qwen1 import QWenLMHeadModel
    seed, own, batch = QWENS[name]
    fields = {**QWEN, **own}
    config = SimpleNamespace(**fields)
    model = QWenLMHeadModel(config).eval()
    randomise(model, seed, gemma=False)
    folder = root / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    save_file({key: value.clone() for key, value in model.state_dict().items()}, folder / "model.safetensors", metadata={"format": "pt"})
    document = {**fields, "architectures": ["QWenLMHeadModel"], "model_type": "qwen", "auto_map": {"AutoModelForCausalLM": "modeling_qwen.QWenLMHeadModel"}, "bf16": False}
    (folder / "config.json").write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")
    cfg = HookedTransformerConfig(
        d_model=30, d_head=10, n_heads=3, n_layers=2, d_mlp=22, d_vocab=VOCAB, n_ctx=32, train_seq_length=config.seq_length, use_logn_attn=config.use_logn_attn,
        use_dynamic_ntk_rope=config.use_dynamic_ntk, eps=1e-6, act_fn="silu", normalization_type="RMS", positional_embedding_type="rotary", rotary_dim=10,
        rotary_base=config.rotary_emb_base, final_rms=True, gated_mlp=True, original_architecture="QWenLMHeadModel", init_weights=False, device="cpu")
    tl = HookedTransformer(cfg)
    # TransformerLens' converter reads attributes.
    attributes = SimpleNamespace(transformer=SimpleNamespace(**dict(model.transformer.items())), lm_head=model.lm_head)
    with torch.no_grad():
        state = {key: value.detach().clone() for key, value in convert_qwen_weights(attributes, cfg).items()}
    tl.load_and_process_state_dict(state, fold_ln=False, center_writing_weights=False, center_unembed=False, fold_value_biases=False)
    tokens = torch.randint(3, VOCAB, batch, generator=torch.Generator().manual_seed(1000 + seed))
    logits, recorder = run(tl.eval(), tokens, strict=True)
    with torch.no_grad():
        reference = model(tokens)
    error = check(logits, reference, name)
    golden = Golden(folder, {"model": name, "made_with": versions, "notes": ["logits also of qwen1.py, a module of the golden maker's own"]})
    golden.add("base", {"logits": logits, "hf_logits": reference, **recorder.values}, tokens=tokens.tolist(), fired=recorder.fired, hf_relative_error=error)
    golden.write()
    return logits, recorder.values, error


def make_santacoder(root, versions):
    """GPTBigCode's model under the names and in the layout of SantaCoder's own code, which keeps matrices [in, out]."""
    from . import hf_models
    from .tl_models import to_tl
    name = "santacoder"
    spec = hf_models.plain("gpt_bigcode", name, 345, n_embd=30, n_layer=2, n_head=3, n_inner=22, n_positions=24, resid_pdrop=0.0, embd_pdrop=0.0, attn_pdrop=0.0,
                           activation_function="gelu_fast")
    folder = hf_models.save(spec, root)
    hf = hf_models.load(spec, folder)
    tokens = torch.randint(3, VOCAB, (1, 7), generator=torch.Generator().manual_seed(1345))
    logits, recorder = run(to_tl(hf), tokens, strict=True)
    with torch.no_grad():
        reference = hf(tokens).logits
    error = check(logits, reference, name)
    golden = Golden(folder, {"model": name, "made_with": versions, "notes": ["numbers of transformers' GPTBigCode; names of GPT2LMHeadCustomModel"]})
    golden.add("base", {"logits": logits, "hf_logits": reference, **recorder.values}, tokens=tokens.tolist(), fired=recorder.fired, hf_relative_error=error)
    golden.write()
    tensors = {}
    for key, value in load_file(folder / "model.safetensors").items():
        if ".c_attn." in key:
            for part, piece in (("q_attn", value[:30]), ("kv_attn", value[30:])):
                tensors[key.replace("c_attn", part)] = piece.T.contiguous() if piece.dim() == 2 else piece.clone()
        else:
            tensors[key] = value.T.contiguous() if ".c_" in key and value.dim() == 2 else value
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    path = folder / "config.json"
    document = json.loads(path.read_text())
    for key in ("multi_query", "attention_softmax_in_fp32", "scale_attention_softmax_in_fp32", "num_key_value_heads"):
        document.pop(key, None)
    document.update(architectures=["GPT2LMHeadCustomModel"], model_type="gpt2", attention_head_type="multiquery", reorder_and_upcast_attn=False,
                    scale_attn_by_inverse_layer_idx=False)
    path.write_text(json.dumps(document, indent=2, sort_keys=True) + "\n")
    return logits, recorder.values, error


def make_all(root, versions, chosen, describe):
    """Lines about the folders made."""
    for spec in SPECS:
        if not chosen or spec.name in chosen:
            logits, values = make(spec, root, versions)
            yield describe(spec.name, logits, values, 0.0)
    for name in QWENS:
        if not chosen or name in chosen:
            yield describe(name, *make_qwen(name, root, versions))
    if not chosen or "santacoder" in chosen:
        yield describe("santacoder", *make_santacoder(root, versions))
