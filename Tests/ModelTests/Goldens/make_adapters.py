"""Makes adapters/: LoRA adapters of golden folders, saved by PEFT, and what Hugging Face gives with each merged.

    python make_adapters.py           # the versions of requirements.txt, and peft (requirements-files.txt)

`adapters/NAME/golden.safetensors` holds `tokens` and `logits`; `adapters/NAME/base.txt` the folder the adapter is for. Those
without a golden must be refused.
"""

import json
import shutil
from pathlib import Path

import torch
import transformers
from peft import LoraConfig, get_peft_model
from safetensors.torch import save_file

ROOT = Path(__file__).resolve().parent
OUT = ROOT / "adapters"
TOKENS = torch.tensor([[1, 5, 9, 2, 90, 33, 7], [4, 4, 8, 60, 11, 12, 0]])

CASES = {
    "gpt2": ("gpt2-untied", dict(r=3, lora_alpha=5, target_modules=["c_attn", "c_proj", "c_fc"], bias="all"), {}),
    "gpt2-embedding": ("gpt2-untied", dict(r=2, lora_alpha=3, target_modules=["wte", "c_attn"]), {}),
    "llama": ("llama-multiquery", dict(r=3, lora_alpha=6, target_modules=r".*\.(q_proj|k_proj|o_proj|down_proj)", use_rslora=True, rank_pattern={"down_proj": 5},
                                       alpha_pattern={r"layers\.1\.self_attn\..*_proj": 2, "o_proj": 9}, modules_to_save=["lm_head"]), {}),
    "llama-bin": ("llama-multiquery", dict(r=2, lora_alpha=4, target_modules="all-linear"), {"safe_serialization": False}),
    "half": ("llama-multiquery", dict(r=2, lora_alpha=4, target_modules=["v_proj", "gate_proj"]), {"half": True}),
    "refused-dora": ("llama-multiquery", dict(r=2, lora_alpha=4, target_modules=["q_proj"], use_dora=True), {}),
    "refused-pissa": ("llama-multiquery", dict(r=2, lora_alpha=4, target_modules=["q_proj"]), {"edit": {"init_lora_weights": "pissa"}}),
    "refused-tied": ("qwen2-tied", dict(r=2, lora_alpha=4, target_modules=["embed_tokens"]), {}),
    "refused-rank": ("llama-multiquery", dict(r=2, lora_alpha=4, target_modules=["q_proj"]), {"edit": {"r": 3}}),
    "refused-kind": ("llama-multiquery", dict(r=2, lora_alpha=4, target_modules=["q_proj"]), {"edit": {"peft_type": "IA3"}}),
    "refused-key": ("llama-multiquery", dict(r=2, lora_alpha=4, target_modules=["q_proj"]), {"edit": {"use_something": True}}),
}


def make(name, base, settings, options):
    torch.manual_seed(3)
    folder = OUT / name
    folder.mkdir(parents=True)
    (folder / "base.txt").write_text(base + "\n")
    model = get_peft_model(transformers.AutoModelForCausalLM.from_pretrained(ROOT / base), LoraConfig(init_lora_weights=False, task_type="CAUSAL_LM", **settings)).eval()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if "lora_" in key or "modules_to_save" in key or ("bias" in key and settings.get("bias")):
                parameter.copy_(torch.randn(parameter.shape) * 0.3 if "modules_to_save" not in key and "bias" not in key else parameter + torch.randn(parameter.shape) * 0.1)
                if options.get("half"):
                    parameter.copy_(parameter.bfloat16().float())
        if options.get("half"):
            for key, parameter in model.named_parameters():
                if "lora_" in key:
                    parameter.data = parameter.data.bfloat16()
        model.save_pretrained(folder, **{key: value for key, value in options.items() if key == "safe_serialization"})
        if not (folder / "adapter_model.safetensors").exists() and not (folder / "adapter_model.bin").exists():
            raise SystemExit(f"{name}: nothing was saved")
        if options.get("safe_serialization") is False and not (folder / "adapter_model.bin").exists():
            from safetensors.torch import load_file
            torch.save(load_file(folder / "adapter_model.safetensors"), folder / "adapter_model.bin")
            (folder / "adapter_model.safetensors").unlink()
        config = json.loads((folder / "adapter_config.json").read_text())
        config["base_model_name_or_path"] = base
        (folder / "adapter_config.json").write_text(json.dumps({**config, **options.get("edit", {})}, indent=1, sort_keys=True))
        (folder / "README.md").unlink(missing_ok=True)
        if name.startswith("refused"):
            return 0
        if options.get("half"):
            model = model.float()
        unmerged = model(TOKENS).logits
        merged = model.merge_and_unload()(TOKENS).logits
        plain = transformers.AutoModelForCausalLM.from_pretrained(ROOT / base)(TOKENS).logits
        save_file({"tokens": TOKENS, "logits": merged}, folder / "golden.safetensors")
        return f"merged less unmerged {(merged - unmerged).abs().max():.1e}, less the base {(merged - plain).abs().max():.2f}"


def main():
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    shutil.rmtree(OUT, ignore_errors=True)
    for name, case in CASES.items():
        print(f"{name:20} {make(name, *case)}", flush=True)


if __name__ == "__main__":
    main()
