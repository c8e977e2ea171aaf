"""Groups of options that verbs of the command line share, as frozen dataclasses; no torch.

A field's metadata holds its help text, the default that None stands for and its group in ``--help``. Values come from
the defaults, then a YAML recipe, then flags (`valuefree.cli.parse`).
"""

from collections.abc import Callable, Collection, Iterable
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, ClassVar, Literal

from valuefree.cli.options.bounds import bounds_of
from valuefree.errors import ConfigError
from valuefree.runs.outputs import OutputKind, check_output

# Groups of `--help`, in their order there.
GROUPS = ("common", "data", "model", "objective", "training", "sampling", "evaluation", "judge", "server", "output")


def option(
    default: Any,
    text: str,
    *,
    otherwise: Any = None,
    group: str | None = None,
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    advice: str | None = None,
    output: OutputKind | None = None,
    guarded: Callable[[Any], bool] | None = None,
) -> Any:
    """A field with a default.

    Args:
        text: help, without the default, which ``--help`` adds. otherwise: what None stands for, a value or a text.
        group: of `GROUPS`; default: that of the class.
        minimum, above, maximum: bounds of a number (see `bounds_of`), which the command line, recipes and their schema
            check.
        advice: ends the error of a value that is none of the choices.
        output: the option names a file or a folder that the command writes, which is checked before the work.
        guarded: whether a value loads code or sends a key, so that a recipe sets it only with ``--allow-code``.
    """
    bounds = bounds_of(minimum, above, maximum)
    metadata = {"help": text, "otherwise": otherwise, "group": group, "bounds": bounds, "output": output}
    more = {"advice": advice, "guarded": guarded}
    return field(default=default, metadata=metadata | {name: value for name, value in more.items() if value})


def names_kernel(value: str | None) -> bool:
    """Whether an attention implementation is code of the hub, as ``owner/kernel``."""
    return value is not None and "/" in value


def names_function(value: str | None) -> bool:
    """Whether a value is of the form ``module:function``; the module is imported, and the function called."""
    return value is not None and ":" in value


def flags(names: Iterable[str]) -> str:
    """Options as they are written on the command line, for messages."""
    return ", ".join(map(flag, names))


def key_of(name: str) -> str:
    """The key of an option in recipes: its name, without the underscore that tells ``from_`` from a word of Python."""
    return name.rstrip("_")


def flag(name: str) -> str:
    """An option as it is written on the command line."""
    return f"--{key_of(name).replace('_', '-')}"


def required(text: str, *, group: str | None = None, output: OutputKind | None = None) -> Any:
    """A field that must be given; the first one is positional on the command line. output: see `option`."""
    return field(metadata={"help": text, "group": group, "output": output})


def positional(text: str, *, group: str | None = None) -> Any:
    """An option that may be left out, and is given without a flag."""
    return field(default=None, metadata={"help": text, "positional": True, "group": group})


@dataclass(frozen=True, kw_only=True)
class Options:
    """Root of all option sets.

    group: in ``--help``, of the fields that this very class declares. shown_first: options in the first group, common.
    recipe_of: another verb whose recipes are also taken; its keys that this one does not have are left out.
    instead_of_overwrite: another way than to replace a file that is there, for the end of a message.
    """

    about: ClassVar[str] = ""
    group: ClassVar[str] = ""
    shown_first: ClassVar[tuple[str, ...]] = ()
    recipe_of: ClassVar[str | None] = None
    instead_of_overwrite: ClassVar[str] = ""

    def to_dict(self) -> dict[str, Any]:
        """All values, for the manifest."""
        return {key_of(name): value for name, value in asdict(self).items()}

    def changed(self) -> list[str]:
        """Options that differ from their defaults."""
        return [item.name for item in fields(self) if getattr(self, item.name) != item.default]

    def given(self) -> dict[str, Any]:
        """The values that differ from their defaults, by key, for the manifest and for ``--dry-run``."""
        values = self.to_dict()
        return {key: values[key] for key in map(key_of, self.changed())}

    def outputs(self) -> dict[str, tuple[str, OutputKind]]:
        """What the command writes: names of options, with their paths and kinds; nothing in a dry run."""
        if getattr(self, "dry_run", False):
            return {}
        written = [
            item for item in fields(self) if item.metadata.get("output") and getattr(self, item.name) is not None
        ]
        return {flag(item.name): (getattr(self, item.name), item.metadata["output"]) for item in written}

    def check_outputs(self) -> None:
        """Raise ConfigError for an output that cannot be written, or a file that is there and may not be replaced."""
        may_replace = getattr(self, "overwrite", True) or getattr(self, "resume", False)
        for name, (path, kind) in self.outputs().items():
            check_output(path, kind, name=name)
            if kind == "file" and Path(path).exists() and not may_replace:
                raise ConfigError(
                    f"{path} exists. Name another file by {name}, or pass --overwrite to replace it"
                    f"{self.instead_of_overwrite}."
                )

    def guarded(self) -> list[str]:
        """Options whose values here load code or send a key; see `option`."""
        read = {item.name: item.metadata.get("guarded") for item in fields(self)}
        return [name for name, loads in read.items() if loads is not None and loads(getattr(self, name))]

    def check_unread(self, names: Collection[str], reason: str) -> None:
        """Raise ConfigError if one of these options was given; `reason` says why nothing reads them here."""
        unread = [name for name in self.changed() if name in names]
        if unread:
            raise ConfigError(f"nothing reads {flags(unread)}: {reason}. Leave it out.")


@dataclass(frozen=True, kw_only=True)
class ResultOptions(Options):
    """How a verb prints its result."""

    group: ClassVar[str] = "output"
    quiet: bool = option(False, "print errors and the closing summary only")
    json: bool = option(False, "print the result as one JSON object on stdout, and everything else on stderr")


@dataclass(frozen=True, kw_only=True)
class ExportOptions(Options):
    """How the export of a feedback tool is read."""

    group: ClassVar[str] = "data"
    from_: Literal[
        "auto",
        "open-webui",
        "langfuse",
        "langsmith",
        "otel",
        "phoenix",
        "argilla",
        "label-studio",
        "trl",
        "openai",
        "csv",
    ] = option("auto", "tool that made an export; csv: any table; auto: rows of this package, or recognised by fields")
    score_name: str | None = option(
        None, "which score of an export is the reward", otherwise="the only one; several are an error that lists them"
    )
    categories: tuple[str, ...] = option((), "rewards of labels, as good=1 bad=-1")


@dataclass(frozen=True, kw_only=True)
class DataOptions(ExportOptions):
    """Where the rows are."""

    group: ClassVar[str] = "data"
    data: str = required("JSONL, CSV or Parquet file, folder, or hub name: prompt, response and reward, or an export")
    prompt: str = option("prompt", "column of the prompt: text, or a list of messages")
    response: str = option("response", "column of the response")
    reward: str = option("reward", "column of the reward")
    split: str | None = option(None, "split of a hub data set", otherwise="the only split of the set")
    on_bad: Literal["raise", "drop"] = option("raise", "bad rows: raise an error that lists them, or drop and count")
    thumbs: bool = option(
        False,
        "take true/false, up/down and other thumbs, also 1 and 0 alone, as rewards +1/-1; read stars, as '4 stars'",
    )
    ignore_case: bool = option(False, "treat prompts that differ only in upper and lower case as one prompt")
    train_on: Literal["last", "all"] = option(
        "last", "of responses that are lists of messages: train the last message, or all of the assistant's"
    )
    json_prompts: Literal["parse", "text"] = option(
        "parse", "prompts that are JSON text of chat messages: parse them, or keep them as text"
    )


@dataclass(frozen=True, kw_only=True)
class ModelOptions(Options):
    """Which model."""

    group: ClassVar[str] = "model"
    model: str = option("google/flan-t5-small", "hub name, folder (also of an adapter), or .gguf file")
    dtype: Literal["float32", "bfloat16", "float16"] = option("float32", "type of the weights")
    attn_implementation: str | None = option(
        None,
        "eager, sdpa, flash_attention_2, or OWNER/KERNEL of the hub",
        otherwise="the choice of transformers",
        guarded=names_kernel,
    )
    quantize: Literal["4bit", "8bit"] | None = option(
        None, "load the weights in 4 or 8 bits (bitsandbytes, on a GPU), to train or run an adapter on", otherwise="no"
    )
    trust_remote_code: bool = option(False, "run model code from the hub", guarded=bool)


@dataclass(frozen=True, kw_only=True)
class LengthOptions(Options):
    """How long sequences may be."""

    group: ClassVar[str] = "data"
    max_length: int = option(1024, "tokens of prompt and response together (encoder-decoder: of each)", minimum=1)
    max_prompt_length: int | None = option(None, "tokens of the prompt", otherwise="no separate limit", minimum=1)
    max_response_length: int | None = option(None, "tokens of the response", otherwise="no separate limit", minimum=1)


@dataclass(frozen=True, kw_only=True)
class ScoreOptions(Options):
    """How the reference is scored."""

    group: ClassVar[str] = "model"
    cache_dir: str | None = option(
        None,
        "folder of reference scores",
        otherwise="valuefree/scores in the user's cache folder",
        output="folder",
    )
    score_batch_tokens: int = option(8192, "padded tokens per batch while scoring", minimum=1)
    bf16: bool = option(False, "compute under bfloat16 autocast, in scoring and training alike")


TOP_K = 50


@dataclass(frozen=True, kw_only=True)
class DecodingOptions(Options):
    """How responses are sampled."""

    group: ClassVar[str] = "sampling"
    max_new_tokens: int = option(256, "most tokens per response", minimum=1)
    temperature: float = option(0.7, "sampling temperature; 0 is greedy", minimum=0)
    top_k: int = option(TOP_K, "most likely tokens to sample from; 0 for all", minimum=0)
    top_p: float = option(0.95, "probability mass to sample from; 1 for all", above=0, maximum=1)
    generation_batch_size: int = option(32, "responses sampled at a time", minimum=1)


@dataclass(frozen=True, kw_only=True)
class RewardOptions(Options):
    """How responses are rewarded."""

    group: ClassVar[str] = "evaluation"
    reward_function: str | None = option(
        None,
        "module:function of prompts and responses, or name or folder of a reward model",
        otherwise="none",
        guarded=names_function,
    )
    samples_per_prompt: int = option(1, "responses per prompt and model", minimum=1)
