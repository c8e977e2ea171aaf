"""Memory, hours and communication of training at scale, computed from formulas; nothing was measured on a GPU.

``python -m benchmarks.scaling`` prints the tables of docs/scaling.md; ``--write docs/scaling.md`` writes them between
its markers. The assumptions are flags. Uses the standard library only.
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
    """Parameters, and the tokens that are multiplied by them. "each prompt": once per response, even if shared."""

    name: str
    parameters: int
    sees: Sees


@dataclass(frozen=True)
class T5:
    """A gated T5 whose embedding and head are not tied; defaults: Flan-T5 XL."""

    name: str = "Flan-T5 XL"
    d: int = 2048
    d_kv: int = 64
    d_ff: int = 5120
    layers: int = 24  # in the encoder, and as many in the decoder
    heads: int = 32
    vocabulary: int = 32128
    buckets: int = 32  # for relative positions

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
        """Parameters of the largest block, the unit that FSDP gathers."""
        return 8 * self.d * self.inner + 3 * self.d * self.d_ff + 3 * self.d

    def lora(self, rank: int) -> int:
        """Parameters of an adapter on every linear layer but the head."""
        attention, ffn = 4 * (self.d + self.inner), 3 * (self.d + self.d_ff)
        return rank * self.layers * ((attention + ffn) + (2 * attention + ffn))

    def saved(self, width: int) -> tuple[int, int]:
        """Bytes stored for the backward pass per token and layer, of encoder and decoder, with `width` tokens a row."""
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
        """Parameters of a block, the unit that FSDP gathers."""
        return 2 * self.d**2 + 2 * self.d * self.d_kv + 3 * self.d * self.d_ff + 2 * self.d

    def lora(self, rank: int) -> int:
        """Parameters of an adapter on every linear layer but the head."""
        attention = 2 * (self.d + self.d) + 2 * (self.d + self.d_kv)
        return rank * self.layers * (attention + 3 * (self.d + self.d_ff))

    def saved(self, width: int) -> tuple[int, int]:
        """Bytes stored for the backward pass per token and layer, twice the same number, as there is one stack."""
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
    """Assumptions of the tables; every field is a flag."""

    rows: int = 240_000
    prompt_tokens: int = 110
    response_tokens: int = 230
    responses_per_prompt: int = 4
    micro_batch: int = 16  # responses per GPU
    mfu: float = 0.4  # share of the peak FLOP/s that a training run reaches
    bandwidth_share: float = 0.8  # share of a link's bandwidth that a collective reaches
    lora_rank: int = 16
    chunk_tokens: int = 512  # this and the next: defaults of PolicyTrainingArguments
    max_logit_bytes: int = 2**30
    reserve_gb: float = 5.0  # CUDA context, fragmentation, workspaces

    def seen(self, responses: int) -> dict[Sees, int]:
        """Tokens that each kind of parameter is multiplied by for `responses` responses with shared prompts."""
        each, answer = responses * self.prompt_tokens, responses * self.response_tokens
        prompt = each // self.responses_per_prompt
        return {"nothing": 0, "prompt": prompt, "each prompt": each, "response": answer, "both": prompt + answer}


class GPU(NamedTuple):
    """Dense bf16 peak in FLOP/s; bandwidths per GPU and direction in bytes/s; memory in bytes."""

    name: str
    peak: float
    nvlink: float
    network: float
    memory: float = 80 * GB


GPUS = (GPU("H100 SXM", 989e12, 450e9, 50e9), GPU("A100 SXM", 312e12, 300e9, 25e9))

# ------------------------------------------------------------------------------------------------------------ memory


class Bytes(NamedTuple):
    """Bytes per parameter: `whole` on every GPU, `split` among all GPUs."""

    whole: float
    split: float


STRATEGIES = ("DDP", "ZeRO-2", "FSDP2")
BUCKETS = 4  # bytes per parameter: DDP copies float32 gradients into buckets before it sends them
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
        total += 2 * (2 * model.block() + model.parts()[-1].parameters)  # bfloat16: two blocks and the head
    return total


def activations(model: Model, assumptions: Assumptions, *, checkpointing: bool) -> float:
    """Bytes of a micro-batch that are stored for the backward pass."""
    tokens = assumptions.seen(assumptions.micro_batch)
    width = assumptions.prompt_tokens + assumptions.response_tokens
    if isinstance(model, T5):
        stacks = [
            (tokens["prompt"], assumptions.prompt_tokens, 0),
            (tokens["response"], assumptions.response_tokens, 1),
        ]
    else:
        stacks = [(tokens["both"], width, 0)]
    sizes = [(count, model.saved(wide)[which]) for count, wide, which in stacks]
    if not checkpointing:
        return sum(model.layers * count * size for count, size in sizes)
    kept = sum(model.layers * count * 4 * model.d for count, _ in sizes)  # the float32 input of each layer
    return kept + max(count * size for count, size in sizes)  # plus one recomputed layer


def logit_bytes(model: Model, tokens: int) -> int:
    """Bytes of float32 logits."""
    return tokens * model.vocabulary * 4


def total_memory(model: Model, strategy: str, lora_rank: int, gpus: int, assumptions: Assumptions) -> float:
    """Bytes per GPU with checkpointing; one chunk's logits, log-softmax and gradient exist at a time."""
    held = states(model, strategy, lora_rank, gpus) + activations(model, assumptions, checkpointing=True)
    return held + 3 * logit_bytes(model, assumptions.chunk_tokens) + assumptions.reserve_gb * GB


# -------------------------------------------------------------------------------------------------- compute and links


def forward_flops(model: Model, assumptions: Assumptions, responses: int) -> float:
    """2 · parameters · tokens multiplied by them; the products of attention itself are not counted."""
    tokens = assumptions.seen(responses)
    return sum(2.0 * part.parameters * tokens[part.sees] for part in model.parts())


def attention_flops(model: Model, assumptions: Assumptions, responses: int) -> float:
    """Forward products of queries and keys, and of weights and values: 2 · width each, per token pair and layer."""
    tokens = assumptions.seen(responses)
    prompt, answer = assumptions.prompt_tokens, assumptions.response_tokens
    if isinstance(model, T5):
        pairs = tokens["prompt"] * prompt + tokens["response"] * (answer + prompt)
        return 4.0 * model.layers * model.inner * pairs
    return 4.0 * model.layers * model.d * tokens["both"] * (prompt + answer)


def hours(flops: float, gpu: GPU, gpus: int, assumptions: Assumptions) -> float:
    """FLOPs / (GPUs · peak · MFU)."""
    return flops / (gpus * gpu.peak * assumptions.mfu) / 3600


# Bytes per parameter through each GPU's link, with (N − 1)/N taken as 1, and the number of passes of 2·N·tokens that
# can overlap with the communication.
TRAFFIC = {
    "DDP, per step": (2 * 4, 2),  # all-reduce of float32 gradients, which sends twice, during the backward pass
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
    """A duration in hours, minutes or seconds, in the largest unit that gives at least 1."""
    for unit, scale in (("h", 1), ("min", 60)):
        if in_hours * scale >= 1:
            return f"{number(in_hours * scale)} {unit}"
    return f"{number(in_hours * 3600)} s"


def modes(assumptions: Assumptions) -> tuple[tuple[str, int], ...]:
    """Label of the trained weights, and rank of the adapter (0: all weights)."""
    return (("all weights", 0), (f"LoRA r {assumptions.lora_rank}", assumptions.lora_rank))


def parameter_table(assumptions: Assumptions) -> str:
    """Exact parameter counts."""
    names = ("embedding", "encoder", "decoder", "head")
    rows = []
    for model in MODELS:
        counts = [sum(p.parameters for p in model.parts() if p.name.split(",")[0] == name) for name in names]
        counts += [parameters(model), model.lora(assumptions.lora_rank)]
        rows.append([model.name, *(f"{count:,}" for count in counts)])
    return table(["model", *names, "all", f"LoRA r {assumptions.lora_rank}"], rows)


def memory_table(assumptions: Assumptions) -> str:
    """GB per GPU: training states, and the total."""
    rows = []
    for model in MODELS:
        for mode, rank in modes(assumptions):
            for strategy in STRATEGIES:
                worlds = [n for n in WORLD if n > 1 or strategy == "DDP"]
                held = [f"{states(model, strategy, rank, n) / GB:.1f}" for n in worlds]
                totals = [total_memory(model, strategy, rank, n, assumptions) / GB for n in worlds]
                marked = [f"{total:.1f}" + (" ✗" if total * GB > GPUS[0].memory else "") for total in totals]
                held, marked = (["–"] * (len(WORLD) - len(worlds)) + cells for cells in (held, marked))
                rows.append([f"{model.name}, {mode}, {strategy}", *held, *marked])
    return table(["GB per GPU", *(f"states, {n}" for n in WORLD), *(f"total, {n}" for n in WORLD)], rows)


def activation_table(assumptions: Assumptions) -> str:
    """Activations: GB per micro-batch, and kB per token."""
    rows = []
    for model in MODELS:
        width = assumptions.prompt_tokens + assumptions.response_tokens
        prompt, answer = model.saved(assumptions.prompt_tokens), model.saved(assumptions.response_tokens)
        each = (prompt[0], answer[1]) if isinstance(model, T5) else (model.saved(width)[0],)
        per_token = " / ".join(number(size * model.layers / 1e3) for size in each)
        kept = number(4 * model.d * model.layers / 1e3)
        amounts = [activations(model, assumptions, checkpointing=flag) / GB for flag in (False, True)]
        rows.append([model.name, per_token, kept, *(f"{amount:.1f}" for amount in amounts)])
    batch = f"GB, {assumptions.micro_batch} responses"
    return table(["model", "kB per token", "kB per token, checkpointed", batch, f"{batch}, checkpointed"], rows)


def logit_table(assumptions: Assumptions) -> str:
    """GB of float32 logits."""
    rows = []
    for model in MODELS:
        answer = assumptions.micro_batch * assumptions.response_tokens
        whole = answer + assumptions.micro_batch * assumptions.prompt_tokens
        sizes = [f"{logit_bytes(model, n) / GB:.2f}" for n in (whole, answer, assumptions.chunk_tokens)]
        rows.append([model.name, *sizes, f"{assumptions.max_logit_bytes // logit_bytes(model, 1):,}"])
    heads = ["GB of logits", "every token", "response tokens", f"a chunk of {assumptions.chunk_tokens}", "tokens kept"]
    return table(heads, rows)


def sharing_table(assumptions: Assumptions) -> str:
    """Prompt tokens and FLOPs saved by running each prompt once for all its responses."""
    rows = []
    for n in (1, 2, 4, 8):
        shared = Assumptions(
            **{f.name: getattr(assumptions, f.name) for f in fields(assumptions)} | {"responses_per_prompt": n}
        )
        alone = Assumptions(
            **{f.name: getattr(assumptions, f.name) for f in fields(assumptions)} | {"responses_per_prompt": 1}
        )
        saved = [1 - forward_flops(m, shared, 8 * n) / forward_flops(m, alone, 8 * n) for m in MODELS]
        rows.append([str(n), f"{(n - 1) / n:.0%}", *(f"{share:.0%}" for share in saved)])
    return table(["responses per prompt", "prompt tokens saved", *(f"FLOPs saved, {m.name}" for m in MODELS)], rows)


def hours_table(assumptions: Assumptions) -> str:
    """Hours of one epoch, and of reference scoring."""
    rows = []
    for model in MODELS:
        forward = forward_flops(model, assumptions, assumptions.rows)
        jobs = [("scoring the reference, once", 1.0)]
        jobs += [(f"{m}{c}", p) for m, rank in modes(assumptions) for c, p in _passes(rank)]
        for job, passes in jobs:
            cells = [duration(hours(passes * forward, gpu, n, assumptions)) for gpu in GPUS for n in WORLD]
            rows.append([f"{model.name}, {job}", f"{passes * forward / 1e18:.1f}", *cells])
    heads = [f"{n} × {gpu.name.split()[0]}" for gpu in GPUS for n in WORLD]
    return table(["one epoch", "EFLOP", *heads], rows)


def _passes(rank: int) -> list[tuple[str, float]]:
    """Cost of a training step in forward passes: the backward pass costs two, or one without weight gradients."""
    step = 2.0 if rank else 3.0
    return [("", step), (", checkpointing", step + 1)]


def speed_table(assumptions: Assumptions) -> str:
    """Rows per second and GPU, and tokens of prompts and responses, counted as in the data set."""
    rows = []
    width = assumptions.prompt_tokens + assumptions.response_tokens
    for model in MODELS:
        each = forward_flops(model, assumptions, assumptions.responses_per_prompt) / assumptions.responses_per_prompt
        for mode, rank in modes(assumptions):
            cost = _passes(rank)[1][1] * each
            speeds = [gpu.peak * assumptions.mfu / cost for gpu in GPUS]
            cells = [number(speed * scale) for scale in (1, width) for speed in speeds]
            rows.append([f"{model.name}, {mode}, checkpointing", *cells])
    names = [gpu.name.split()[0] for gpu in GPUS]
    return table(["per GPU and second", *(f"rows, {n}" for n in names), *(f"tokens, {n}" for n in names)], rows)


def method_table(assumptions: Assumptions) -> str:
    """Passes of 2·N·tokens per row and epoch, for policy, reference and value network of one size."""
    share = assumptions.prompt_tokens / (
        assumptions.prompt_tokens + assumptions.response_tokens
    )  # the value network reads prompts only
    methods: dict[str, tuple[float, float, str]] = {  # passes per epoch, passes before, networks held while training
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
    return table(["in units of N · tokens", "an epoch", "before", "1 epoch", "3 epochs", "networks in memory"], rows)


def traffic_table(assumptions: Assumptions) -> str:
    """GB through each GPU's link, seconds for them, and seconds of compute per micro-batch."""
    rows = []
    for model in MODELS:
        for kind, (size, _) in TRAFFIC.items():
            amount = size * parameters(model)
            cells = [f"{amount / GB:.1f}"]
            for gpu in GPUS:
                cells += [f"{amount / (link * assumptions.bandwidth_share):.2f}" for link in (gpu.nvlink, gpu.network)]
            rows.append([f"{model.name}, {kind}", *cells])
        work = [
            3 * forward_flops(model, assumptions, assumptions.micro_batch) / (g.peak * assumptions.mfu) for g in GPUS
        ]
        cells = ["", *(cell for w in work for cell in (f"{w:.2f}", f"{w:.2f}"))]
        rows.append([f"{model.name}, computing a micro-batch", *cells])
    links = [f"s, {g.name.split()[0]}, {link}" for g in GPUS for link in ("NVLink", "network")]
    return table(["all weights trained", "GB", *links], rows)


def hiding_table(assumptions: Assumptions) -> str:
    """Tokens above which compute takes longer than communication: bytes · peak · MFU / (2 · passes · bandwidth)."""
    rows = []
    for kind, (size, passes) in TRAFFIC.items():
        links = [(gpu.peak * assumptions.mfu, link * assumptions.bandwidth_share) for gpu in GPUS for link in gpu[2:4]]
        rows.append([kind, *(number(size * speed / (2 * passes * link)) for speed, link in links)])
    names = [f"{g.name.split()[0]}, {link}" for g in GPUS for link in ("NVLink", "network")]
    return table(["tokens per GPU", *names], rows)


def facts(assumptions: Assumptions) -> str:
    """Single numbers that the text of docs/scaling.md uses."""
    lines = []
    for model in MODELS:
        share = attention_flops(model, assumptions, 1200) / forward_flops(model, assumptions, 1200)
        lines.append(f"- {model.name}: the products of attention, left out, would add {share:.1%} to the FLOPs.")
    for model in MODELS:
        wide, narrow = (f"{size * parameters(model) / GB:.0f} GB" for size in (6, 2))
        lines.append(f"- {model.name}, while it is scored: {wide} in float32 with casts, {narrow} in bfloat16.")
    for n in WORLD:
        batch = n * assumptions.micro_batch
        lines.append(
            f"- {n} GPU{'s' if n > 1 else ''}: {batch} responses in a step, {assumptions.rows // batch:,} steps."
        )
    return "\n".join(lines)


def assumption_table(assumptions: Assumptions) -> str:
    """The assumptions as flags."""
    flags = [[f"`--{f.name.replace('_', '-')}`", f"{getattr(assumptions, f.name):,}"] for f in fields(assumptions)]
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


def filled(text: str, assumptions: Assumptions) -> str:
    """`text` with every table between its markers ``<!-- scaling:NAME:begin -->`` and ``…:end -->``."""
    for name, make in TABLES.items():
        begin, end = f"<!-- scaling:{name}:begin -->", f"<!-- scaling:{name}:end -->"
        pattern = re.compile(f"{begin}.*?{end}", flags=re.DOTALL)
        if len(pattern.findall(text)) != 1:
            raise ValueError(f"expected the markers {begin} and {end} once.")
        before, after = pattern.split(text)
        text = f"{before}{begin}\n{make(assumptions)}\n{end}{after}"
    return text


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the tables, or write them into a file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scaling", description=__doc__)
    parser.add_argument("--write", type=Path, metavar="FILE", help="fill the tables of this file instead of printing")
    for item in fields(Assumptions):
        parser.add_argument(f"--{item.name.replace('_', '-')}", type=type(item.default), default=item.default)
    values = vars(parser.parse_args(arguments))
    file = values.pop("write")
    assumptions = Assumptions(**values)
    if file is None:
        sys.stdout.write("\n\n".join(f"{name}\n\n{make(assumptions)}" for name, make in TABLES.items()) + "\n")
    else:
        file.write_text(filled(file.read_text(encoding="utf-8"), assumptions), encoding="utf-8")


if __name__ == "__main__":
    main()
