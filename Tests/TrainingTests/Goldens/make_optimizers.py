"""Runs torch's optimizers and schedules and writes what the tests compare with: optimizers.json.

    python make_optimizers.py        (torch 2.13.0+cpu, transformers 5.23)

Gradients are a fixed function of the step and the element that both sides can compute to the bit in float32: no model runs.
"""
import json, math, pathlib
import torch

torch.set_num_threads(1)
STEPS, SHAPES = 50, [[3, 5], [7]]


def start(parameter, count):
    return [((i * 37 + parameter * 11) % 64 - 32) / 32 for i in range(count)]


def gradient(parameter, step, count):
    return [((i * 29 + step * 53 + parameter * 17 + i * step * 7) % 128 - 64) / 64 for i in range(count)]


CASES = {
    "adam": (torch.optim.Adam, dict(lr=0.01)),
    "adam_decay": (torch.optim.Adam, dict(lr=0.02, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1)),
    "adam_low_beta": (torch.optim.Adam, dict(lr=0.01, betas=(0.4, 0.9))),
    "adamw": (torch.optim.AdamW, dict(lr=1e-3, betas=(0.9, 0.98), weight_decay=1.0)),
    "adamw_groups": (torch.optim.AdamW, dict(lr=0.02, weight_decay=0.3)),
    "sgd": (torch.optim.SGD, dict(lr=0.05)),
    "sgd_decay": (torch.optim.SGD, dict(lr=0.05, weight_decay=0.1)),
    "sgd_momentum": (torch.optim.SGD, dict(lr=0.05, momentum=0.9, dampening=0.25, weight_decay=0.01)),
    "sgd_nesterov": (torch.optim.SGD, dict(lr=0.05, momentum=0.9, nesterov=True, weight_decay=0.01)),
    "adamw_clip_norm": (torch.optim.AdamW, dict(lr=0.02, weight_decay=0.1)),
    "sgd_clip_value": (torch.optim.SGD, dict(lr=0.05, momentum=0.5)),
    "adamw_accumulate": (torch.optim.AdamW, dict(lr=0.02)),
}


def run(name, make, options):
    parameters = [torch.nn.Parameter(torch.tensor(start(p, math.prod(s))).reshape(s)) for p, s in enumerate(SHAPES)]
    if name == "adamw_groups":  # the vector has no decay
        optimizer = make([{"params": parameters[:1]}, {"params": parameters[1:], "weight_decay": 0.0}], **options)
    else:
        optimizer = make(parameters, foreach=False, **options)
    parts = 3 if name == "adamw_accumulate" else 1
    for step in range(STEPS):
        optimizer.zero_grad()
        for p, parameter in enumerate(parameters):
            grads = [torch.tensor(gradient(p, step * parts + k, parameter.numel())).reshape(parameter.shape) for k in range(parts)]
            parameter.grad = sum(g / parts for g in grads)
        if name == "adamw_clip_norm":
            torch.nn.utils.clip_grad_norm_(parameters, 0.7)
        if name == "sgd_clip_value":
            torch.nn.utils.clip_grad_value_(parameters, 0.4)
        optimizer.step()
    return [p.detach().flatten().tolist() for p in parameters]


def schedules():
    """Learning rates of steps 0 … 39, of transformers' schedules and torch's StepLR."""
    from transformers import get_constant_schedule_with_warmup, get_cosine_schedule_with_warmup, get_linear_schedule_with_warmup

    def rates(make):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
        scheduler, result = make(optimizer), []
        for _ in range(40):
            result.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        return result

    return {
        "constant": rates(lambda o: get_constant_schedule_with_warmup(o, 7)),
        "linear": rates(lambda o: get_linear_schedule_with_warmup(o, 7, 30)),
        "cosine": rates(lambda o: get_cosine_schedule_with_warmup(o, 7, 30)),
        "step": rates(lambda o: torch.optim.lr_scheduler.StepLR(o, 9, 0.3)),
    }


if __name__ == "__main__":
    goldens = {"torch": torch.__version__, "optimizers": {n: run(n, *c) for n, c in CASES.items()}, "schedules": schedules()}
    pathlib.Path(__file__).with_name("optimizers.json").write_text(json.dumps(goldens))
