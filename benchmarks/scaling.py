"""Memory, hours and communication of training at scale, by arithmetic; nothing here was measured on a GPU.

``python -m benchmarks.scaling`` prints the tables of docs/scaling.md; ``--write docs/scaling.md`` puts them between its
markers. The assumptions are flags. Uses the standard library only.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, NamedTuple

GB = 1e9
WORLD = (1, 8, 64)

# ------------------------------------------------------------------------------------------------------------ models

Sees = Literal["nothing", "prompt", "each prompt", "response", "both"]


class Part(NamedTuple):
    """Parameters, and which tokens are multiplied by them. "each prompt": once per response, even where shared."""

    name: str
    parameters: int
    sees: Sees


@dataclass(frozen=True)
class T5:
    """A gated T5 with an input embedding and an output head of its own; defaults: Flan-T5 XL."""

    name: str = "Flan-T5 XL"
    d: int = 2048
    d_kv: int = 64
    d_ff: int = 5120
    layers: int = 24  # of the encoder, and again of the decoder
    heads: int = 32
    vocabulary: int = 32128
    buckets: int = 32  # of relative positions

    @property
    def inner(self) -> int:
        """Width of queries, keys and values."""
        return self.heads * self.d_kv

    def parts(self) -> list[Part]:
        """All parameters."""
        projection, ffn = self.d * self.inner, 3 * self.d * self.d_ff
        rest = self.buckets * self.heads + self.d  # relative positions, last norm
        return [
            Part("embedding", self.vocabulary * self.d, "nothing"),
            Part("encoder", self.layers * (4 * projection + ffn + 2 * self.d) + rest, "prompt"),
            Part("decoder", self.layers * (6 * projection + ffn + 3 * self.d) + rest, "response"),
            Part("decoder, keys and values of the prompt", self.layers * 2 * projection, "each prompt"),
            Part("head", self.vocabulary * self.d, "response"),
        ]

    def block(self) -> int:
        """Parameters of the largest block, the unit that is gathered."""
        return 8 * self.d * self.inner + 3 * self.d * self.d_ff + 3 * self.d

    def lora(self, rank: int) -> int:
        """Parameters of an adapter on every linear layer but the head."""
        attention, ffn = 4 * (self.d + self.inner), 3 * (self.d + self.d_ff)
        return rank * self.layers * ((attention + ffn) + (2 * attention + ffn))

    def saved(self, width: int) -> tuple[int, int]:
        """Bytes kept for backward per token and layer, of encoder and decoder, in sequences of `width` tokens."""
        shared = 14 * self.d_ff + 4 * self.heads * width
        encoder = shared + 26 * self.d + 14 * self.inner + 8
        return encoder, shared + 40 * self.d + 22 * self.inner + 4 * self.heads + 12


@dataclass(frozen=True)
class Decoder:
    """A Llama-shaped decoder with an untied head; defaults: Llama 3 8B."""

    name: str = "Llama 3 8B"
    d: int = 4096
    d_ff: int = 14336
    layers: int = 32
    heads: int = 32
    kv_heads: int = 8
    vocabulary: int = 128256

    @property
    def d_kv(self) -> int:
        """Width of all keys."""
        return self.d // self.heads * self.kv_heads

    def parts(self) -> list[Part]:
        """All parameters."""
        return [
            Part("embedding", self.vocabulary * self.d, "nothing"),
            Part("decoder", self.layers * self.block() + self.d, "both"),
            Part("head", self.vocabulary * self.d, "response"),
        ]

    def block(self) -> int:
        """Parameters of a block, the unit that is gathered."""
        return 2 * self.d**2 + 2 * self.d * self.d_kv + 3 * self.d * self.d_ff + 2 * self.d

    def lora(self, rank: int) -> int:
        """Parameters of an adapter on every linear layer but the head."""
        attention = 2 * (self.d + self.d) + 2 * (self.d + self.d_kv)
        return rank * self.layers * (attention + 3 * (self.d + self.d_ff))

    def saved(self, width: int) -> tuple[int, int]:
        """Bytes kept for backward per token and layer (the same twice: there is one stack)."""
        each = 8 * self.d_ff + 32 * self.d + 8 * self.d_kv + 4 * self.heads + 2 * width + 8
        return each, each


Model = T5 | Decoder
MODELS: tuple[Model, ...] = (T5(), Decoder())


def parameters(model: Model) -> int:
    """Number of all parameters."""
    return sum(part.parameters for part in model.parts())


# ------------------------------------------------------------------------------------------------------- assumptions


@dataclass(frozen=True)
class Assumptions:
    """The assumptions of the tables; every field is a flag."""

    rows: int = 240_000
    prompt_tokens: int = 110
    response_tokens: int = 230
    responses_per_prompt: int = 4
    micro_batch: int = 16  # responses per GPU
    mfu: float = 0.4  # share of the peak that a training run reaches
    bandwidth_share: float = 0.8  # share of a link's bandwidth that a collective reaches
    lora_rank: int = 16
    chunk_tokens: int = 512  # of PolicyTrainingArguments, as the next
    max_logit_bytes: int = 2**30
    reserve_gb: float = 5.0  # CUDA context, fragmentation, workspaces

    def seen(self, responses: int) -> dict[Sees, int]:
        """Tokens that each kind of parameter is multiplied by, for `responses` responses; prompts are shared."""
        each, answer = responses * self.prompt_tokens, responses * self.response_tokens
        prompt = each // self.responses_per_prompt
        return {"nothing": 0, "prompt": prompt, "each prompt": each, "response": answer, "both": prompt + answer}


class GPU(NamedTuple):
    """Dense bf16 peak in FLOP/s; bandwidths in bytes/s and direction, per GPU; memory in bytes."""

    name: str
    peak: float
    nvlink: float
    network: float
    memory: float = 80 * GB


GPUS = (GPU("H100 SXM", 989e12, 450e9, 50e9), GPU("A100 SXM", 312e12, 300e9, 25e9))

# ------------------------------------------------------------------------------------------------------------ memory


class Bytes(NamedTuple):
    """Bytes per parameter: `whole` on every GPU, `split` over all of them."""

    whole: float
    split: float


STRATEGIES = ("DDP", "ZeRO-2", "FSDP2")
BUCKETS = 4  # DDP copies float32 gradients into the buckets that it sends
FULL = {"DDP": Bytes(18, 0), "ZeRO-2": Bytes(2, 14), "FSDP2": Bytes(0, 16)}
FROZEN = {"DDP": Bytes(2, 0), "ZeRO-2": Bytes(2, 0), "FSDP2": Bytes(0, 2)}


def states(model: Model, strategy: str, lora_rank: int, gpus: int) -> float:
    """Bytes per GPU of weights, gradients and optimiser states; lora_rank 0 trains all weights."""
    trained = model.lora(lora_rank) if lora_rank else parameters(model)
    each = FULL[strategy]
    buckets = BUCKETS if strategy == "DDP" and gpus > 1 else 0
    total = trained * (each.whole + buckets + each.split / gpus)
    if lora_rank:
        total += parameters(model) * (FROZEN[strategy].whole + FROZEN[strategy].split / gpus)
    if strategy == "FSDP2" and gpus > 1:
        total += 2 * (2 * model.block() + model.parts()[-1].parameters)  # bfloat16: a block, the next one, the head
    return total


def activations(model: Model, given: Assumptions, *, checkpointing: bool) -> float:
    """Bytes of a micro-batch that are kept for the backward pass."""
    tokens = given.seen(given.micro_batch)
    width = given.prompt_tokens + given.response_tokens
    if isinstance(model, T5):
        stacks = [(tokens["prompt"], given.prompt_tokens, 0), (tokens["response"], given.response_tokens, 1)]
    else:
        stacks = [(tokens["both"], width, 0)]
    sizes = [(count, model.saved(wide)[which]) for count, wide, which in stacks]
    if not checkpointing:
        return sum(model.layers * count * size for count, size in sizes)
    kept = sum(model.layers * count * 4 * model.d for count, _ in sizes)  # the float32 input of each layer
    return kept + max(count * size for count, size in sizes)  # and one layer computed again


def logit_bytes(model: Model, tokens: int) -> int:
    """Float32 logits."""
    return tokens * model.vocabulary * 4


def total_memory(model: Model, strategy: str, lora_rank: int, gpus: int, given: Assumptions) -> float:
    """Bytes per GPU with checkpointing and chunked logits; a chunk's logits, log-softmax and gradient at a time."""
    held = states(model, strategy, lora_rank, gpus) + activations(model, given, checkpointing=True)
    return held + 3 * logit_bytes(model, given.chunk_tokens) + given.reserve_gb * GB


# -------------------------------------------------------------------------------------------------- compute and links


def forward_flops(model: Model, given: Assumptions, responses: int) -> float:
    """2 · parameters · tokens that meet them; the products of attention itself are left out."""
    tokens = given.seen(responses)
    return sum(2.0 * part.parameters * tokens[part.sees] for part in model.parts())


def attention_flops(model: Model, given: Assumptions, responses: int) -> float:
    """Forward products of queries and keys, and of weights and values: 2 · width each, per pair of tokens and layer."""
    tokens = given.seen(responses)
    prompt, answer = given.prompt_tokens, given.response_tokens
    if isinstance(model, T5):
        pairs = tokens["prompt"] * prompt + tokens["response"] * (answer + prompt)
        return 4.0 * model.layers * model.inner * pairs
    return 4.0 * model.layers * model.d * tokens["both"] * (prompt + answer)


def hours(flops: float, gpu: GPU, gpus: int, given: Assumptions) -> float:
    """FLOPs / (GPUs · peak · MFU)."""
    return flops / (gpus * gpu.peak * given.mfu) / 3600


# Bytes per parameter through each GPU's link, (N − 1)/N taken as 1; and the passes of 2·N·tokens they can hide behind.
TRAFFIC = {
    "DDP, per step": (2 * 4, 2),  # all-reduce of float32 gradients: twice; during the backward pass
    "ZeRO-2, per step": (2 + 2, 2),  # reduce-scatter of bfloat16 gradients, all-gather of the new weights
    "FSDP2, per micro-batch": (3 * 2, 3),  # all-gather of bfloat16 weights twice, reduce-scatter of gradients
}


# ------------------------------------------------------------------------------------------------------------ tables


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table; the first column is text, the others are numbers."""
    line = "|---" + "|---:" * (len(header) - 1) + "|"
    return "\n".join([f"| {' | '.join(header)} |", line, *(f"| {' | '.join(row)} |" for row in rows)])


def number(value: float) -> str:
    """Three significant digits, thousands separated."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def duration(in_hours: float) -> str:
    """In the largest unit (h, min, s) that gives at least 1."""
    for unit, scale in (("h", 1), ("min", 60)):
        if in_hours * scale >= 1:
            return f"{number(in_hours * scale)} {unit}"
    return f"{number(in_hours * 3600)} s"


def modes(given: Assumptions) -> tuple[tuple[str, int], ...]:
    """Names of what is trained, each with the rank of its adapter (0: none)."""
    return (("all weights", 0), (f"LoRA r {given.lora_rank}", given.lora_rank))


def parameter_table(given: Assumptions) -> str:
    """Exact counts."""
    names = ("embedding", "encoder", "decoder", "head")
    rows = []
    for model in MODELS:
        counts = [sum(p.parameters for p in model.parts() if p.name.split(",")[0] == name) for name in names]
        counts += [parameters(model), model.lora(given.lora_rank)]
        rows.append([model.name, *(f"{count:,}" for count in counts)])
    return table(["model", *names, "all", f"LoRA r {given.lora_rank}"], rows)


def memory_table(given: Assumptions) -> str:
    """GB per GPU, states and total."""
    rows = []
    for model in MODELS:
        for mode, rank in modes(given):
            for strategy in STRATEGIES:
                worlds = [n for n in WORLD if n > 1 or strategy == "DDP"]
                held = [f"{states(model, strategy, rank, n) / GB:.1f}" for n in worlds]
                totals = [total_memory(model, strategy, rank, n, given) / GB for n in worlds]
                marked = [f"{total:.1f}" + (" ✗" if total * GB > GPUS[0].memory else "") for total in totals]
                held, marked = (["–"] * (len(WORLD) - len(worlds)) + cells for cells in (held, marked))
                rows.append([f"{model.name}, {mode}, {strategy}", *held, *marked])
    return table(["GB per GPU", *(f"states, {n}" for n in WORLD), *(f"total, {n}" for n in WORLD)], rows)


def activation_table(given: Assumptions) -> str:
    """GB of a micro-batch, and kB per token."""
    rows = []
    for model in MODELS:
        width = given.prompt_tokens + given.response_tokens
        prompt, answer = model.saved(given.prompt_tokens), model.saved(given.response_tokens)
        each = (prompt[0], answer[1]) if isinstance(model, T5) else (model.saved(width)[0],)
        per_token = " / ".join(number(size * model.layers / 1e3) for size in each)
        kept = number(4 * model.d * model.layers / 1e3)
        amounts = [activations(model, given, checkpointing=flag) / GB for flag in (False, True)]
        rows.append([model.name, per_token, kept, *(f"{amount:.1f}" for amount in amounts)])
    batch = f"GB, {given.micro_batch} responses"
    return table(["model", "kB per token", "kB per token, checkpointed", batch, f"{batch}, checkpointed"], rows)


def logit_table(given: Assumptions) -> str:
    """GB of float32 logits."""
    rows = []
    for model in MODELS:
        answer = given.micro_batch * given.response_tokens
        whole = answer + given.micro_batch * given.prompt_tokens
        sizes = [f"{logit_bytes(model, n) / GB:.2f}" for n in (whole, answer, given.chunk_tokens)]
        rows.append([model.name, *sizes, f"{given.max_logit_bytes // logit_bytes(model, 1):,}"])
    heads = ["GB of logits", "every token", "response tokens", f"a chunk of {given.chunk_tokens}", "tokens kept"]
    return table(heads, rows)


def sharing_table(given: Assumptions) -> str:
    """Prompt tokens and FLOPs saved by running a prompt once for its responses."""
    rows = []
    for n in (1, 2, 4, 8):
        shared = Assumptions(**{f.name: getattr(given, f.name) for f in fields(given)} | {"responses_per_prompt": n})
        alone = Assumptions(**{f.name: getattr(given, f.name) for f in fields(given)} | {"responses_per_prompt": 1})
        saved = [1 - forward_flops(m, shared, 8 * n) / forward_flops(m, alone, 8 * n) for m in MODELS]
        rows.append([str(n), f"{(n - 1) / n:.0%}", *(f"{share:.0%}" for share in saved)])
    return table(["responses per prompt", "prompt tokens saved", *(f"FLOPs saved, {m.name}" for m in MODELS)], rows)


def hours_table(given: Assumptions) -> str:
    """Hours of one epoch, and of the scoring pass before it."""
    rows = []
    for model in MODELS:
        forward = forward_flops(model, given, given.rows)
        jobs = [("scoring the reference, once", 1.0)]
        jobs += [(f"{m}{c}", p) for m, rank in modes(given) for c, p in _passes(rank)]
        for job, passes in jobs:
            cells = [duration(hours(passes * forward, gpu, n, given)) for gpu in GPUS for n in WORLD]
            rows.append([f"{model.name}, {job}", f"{passes * forward / 1e18:.1f}", *cells])
    heads = [f"{n} × {gpu.name.split()[0]}" for gpu in GPUS for n in WORLD]
    return table(["one epoch", "EFLOP", *heads], rows)


def _passes(rank: int) -> list[tuple[str, float]]:
    """Cost of a training step in forward passes: backward counts as two, or as one without weight gradients."""
    step = 2.0 if rank else 3.0
    return [("", step), (", checkpointing", step + 1)]


def speed_table(given: Assumptions) -> str:
    """Rows and tokens per second and GPU; tokens of prompts and responses are counted as in the data set."""
    rows = []
    width = given.prompt_tokens + given.response_tokens
    for model in MODELS:
        each = forward_flops(model, given, given.responses_per_prompt) / given.responses_per_prompt
        for mode, rank in modes(given):
            cost = _passes(rank)[1][1] * each
            speeds = [gpu.peak * given.mfu / cost for gpu in GPUS]
            cells = [number(speed * scale) for scale in (1, width) for speed in speeds]
            rows.append([f"{model.name}, {mode}, checkpointing", *cells])
    names = [gpu.name.split()[0] for gpu in GPUS]
    return table(["per GPU and second", *(f"rows, {n}" for n in names), *(f"tokens, {n}" for n in names)], rows)


def method_table(given: Assumptions) -> str:
    """Passes of 2·N·tokens per row and epoch, for policy, reference and value network of one size."""
    share = given.prompt_tokens / (given.prompt_tokens + given.response_tokens)  # the value network reads prompts alone
    methods: dict[str, tuple[float, float, str]] = {  # passes in an epoch, passes before, networks held while training
        "SFT": (3, 0, "policy"),
        "RPO": (3, 1, "policy"),
        "KTO, reference scored before": (3 + 1, 2, "policy"),
        "KTO, reference in every step": (3 + 1 + 1 + 1, 0, "policy, reference"),
        "DRO-V, reference scored before": (3 + 3 * share, 1, "policy, value network (trained)"),
    }
    rows = []
    for name, (epoch, before, networks) in methods.items():
        costs = [number(2 * cost) for cost in (epoch, before, epoch + before, 3 * epoch + before)]
        rows.append([name, *costs, networks])
    heads = ["in units of N · tokens", "per epoch", "before", "total, 1 epoch", "total, 3 epochs", "networks in memory"]
    return table(heads, rows)


def traffic_table(given: Assumptions) -> str:
    """GB through each GPU's link, seconds, and the tokens per micro-batch from which compute hides them."""
    rows = []
    for model in MODELS:
        for kind, (size, _) in TRAFFIC.items():
            amount = size * parameters(model)
            cells = [f"{amount / GB:.1f}"]
            for gpu in GPUS:
                cells += [f"{amount / (link * given.bandwidth_share):.2f}" for link in (gpu.nvlink, gpu.network)]
            rows.append([f"{model.name}, {kind}", *cells])
        work = [3 * forward_flops(model, given, given.micro_batch) / (g.peak * given.mfu) for g in GPUS]
        cells = ["", *(cell for w in work for cell in (f"{w:.2f}", f"{w:.2f}"))]
        rows.append([f"{model.name}, computing a micro-batch", *cells])
    links = [f"s, {g.name.split()[0]}, {link}" for g in GPUS for link in ("NVLink", "network")]
    return table(["all weights trained", "GB", *links], rows)


def hiding_table(given: Assumptions) -> str:
    """Tokens from which computation hides communication: bytes · peak · MFU / (2 · passes · bandwidth)."""
    rows = []
    for kind, (size, passes) in TRAFFIC.items():
        links = [(gpu.peak * given.mfu, link * given.bandwidth_share) for gpu in GPUS for link in gpu[2:4]]
        rows.append([kind, *(number(size * speed / (2 * passes * link)) for speed, link in links)])
    names = [f"{g.name.split()[0]}, {link}" for g in GPUS for link in ("NVLink", "network")]
    return table(["tokens per GPU", *names], rows)


def facts(given: Assumptions) -> str:
    """Single numbers that the text needs."""
    lines = []
    for model in MODELS:
        share = attention_flops(model, given, 1200) / forward_flops(model, given, 1200)
        lines.append(f"- {model.name}: the products of attention (left out) would add {share:.1%} to the FLOPs.")
    for model in MODELS:
        wide, narrow = (f"{size * parameters(model) / GB:.0f} GB" for size in (6, 2))
        lines.append(f"- {model.name}: scoring holds weights of {wide} in float32 with casts, of {narrow} in bfloat16.")
    for n in WORLD:
        batch = n * given.micro_batch
        steps = f"{batch} responses per step, {given.rows // batch:,} steps per epoch"
        lines.append(f"- {n} GPU{'s' if n > 1 else ''}: {steps}.")
    return "\n".join(lines)


def assumption_table(given: Assumptions) -> str:
    """The assumptions as flags."""
    flags = [[f"`--{f.name.replace('_', '-')}`", f"{getattr(given, f.name):,}"] for f in fields(given)]
    for gpu in GPUS:
        values = f"{gpu.peak / 1e12:.0f}; {gpu.nvlink / GB:.0f}, {gpu.network / GB:.0f}"
        flags.append([f"{gpu.name}: peak, TFLOP/s; NVLink and network, GB/s", values])
    return table(["assumption", "value"], flags)


TABLES = {
    "assumptions": assumption_table,
    "parameters": parameter_table,
    "memory": memory_table,
    "activations": activation_table,
    "logits": logit_table,
    "sharing": sharing_table,
    "methods": method_table,
    "hours": hours_table,
    "speed": speed_table,
    "facts": facts,
    "traffic": traffic_table,
    "hiding": hiding_table,
}


def filled(text: str, given: Assumptions) -> str:
    """`text` with every table between its markers ``<!-- scaling:NAME:begin -->`` and ``…:end -->``."""
    for name, make in TABLES.items():
        begin, end = f"<!-- scaling:{name}:begin -->", f"<!-- scaling:{name}:end -->"
        pattern = re.compile(f"{begin}.*?{end}", flags=re.DOTALL)
        if len(pattern.findall(text)) != 1:
            raise ValueError(f"expected the markers {begin} and {end} once.")
        before, after = pattern.split(text)
        text = f"{before}{begin}\n{make(given)}\n{end}{after}"
    return text


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables, or write them into a file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--write", type=Path, metavar="FILE", help="fill the tables of this file instead of printing")
    for item in fields(Assumptions):
        parser.add_argument(f"--{item.name.replace('_', '-')}", type=type(item.default), default=item.default)
    values = vars(parser.parse_args(arguments))
    file = values.pop("write")
    given = Assumptions(**values)
    if file is None:
        sys.stdout.write("\n\n".join(f"{name}\n\n{make(given)}" for name, make in TABLES.items()) + "\n")
    else:
        file.write_text(filled(file.read_text(encoding="utf-8"), given), encoding="utf-8")


if __name__ == "__main__":
    main()
