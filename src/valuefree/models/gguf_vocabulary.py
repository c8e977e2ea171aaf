"""The vocabulary of a tokenizer as a GGUF file holds it: tokens, types, merges or scores, and the pre-tokenizer's name.

Formats: byte-level BPE (llama.cpp's model ``gpt2``) and SentencePiece BPE with byte fallback (``llama``).
"""

import json
import re
import tempfile
from pathlib import Path
from typing import Any

from gguf import GGUFWriter, SpecialVocab, TokenType
from transformers import PreTrainedTokenizerBase

from valuefree.batches.turns import end_of_turn, eos_id, token_ids
from valuefree.errors import ConfigError

_CONTRACTIONS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
# llama.cpp's names of the patterns by which a pre-tokenizer splits a text, before the bytes.
SPLITS = {_CONTRACTIONS + r"\p{N}{1,3}" + _REST: "llama-bpe", _CONTRACTIONS + r"\p{N}" + _REST: "qwen2"}
BYTE = re.compile(r"<0x[0-9A-F]{2}>")


def add_vocabulary(writer: GGUFWriter, tokenizer: PreTrainedTokenizerBase, rows: int) -> None:
    """Write the vocabulary, special tokens and chat template of `tokenizer`.

    Args:
        rows: of the embedding; rows without a token get a name of their own.

    Raises:
        ConfigError: a kind of tokenizer, or of pre-tokenizer, that has no name in GGUF.
    """
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        file = Path(folder) / "tokenizer.json"
        content = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
        model = content.get("model", {})
        if model.get("type") != "BPE":
            raise _unknown(f"its model is {model.get('type')!r}, expected 'BPE' in tokenizer.json")
        sentencepiece = bool(model.get("byte_fallback"))
        if not sentencepiece:
            writer.add_tokenizer_pre(_pre_tokenizer(content))
        special = SpecialVocab(folder, load_merges=not sentencepiece, n_vocab=rows)
    tokens, types = _tokens(content, rows)
    writer.add_tokenizer_model("llama" if sentencepiece else "gpt2")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    if sentencepiece:
        writer.add_token_scores(_scores(model["merges"], tokens, types))
        writer.add_add_space_prefix(token_ids(tokenizer, ["a"], add_special_tokens=False) != [[tokens.index("a")]])
    special.add_special_token = {
        "bos": token_ids(tokenizer, ["a"])[0][0] == tokenizer.bos_token_id,
        "eos": token_ids(tokenizer, ["a"])[0][-1] == tokenizer.eos_token_id,
    }
    special.special_token_ids["eos"] = eos_id(tokenizer)
    special.add_to_gguf(writer, quiet=True)
    if end_of_turn(tokenizer) != eos_id(tokenizer):
        writer.add_eot_token_id(end_of_turn(tokenizer))


def _unknown(cause: str) -> ConfigError:
    return ConfigError(
        f"this tokenizer has no equivalent that can be written to a GGUF file: {cause}. Serve the folder of `valuefree "
        "merge` instead, by vLLM or transformers serve, or convert it by llama.cpp's convert_hf_to_gguf.py."
    )


def _pre_tokenizer(content: dict[str, Any]) -> str:
    """llama.cpp's name of the rule that splits a text before the merges.

    Raises:
        ConfigError: a rule without a name here: with another rule the file would give a text other tokens.
    """
    stated = content.get("pre_tokenizer") or {}
    steps = stated.get("pretokenizers", [stated])
    kinds = [step.get("type") for step in steps]
    if content.get("normalizer") in (None, {"type": "NFC"}) and kinds and kinds[-1] == "ByteLevel":
        byte_level, first = steps[-1], steps[0]
        if byte_level.get("add_prefix_space"):
            raise _unknown("it writes a space before each text (add_prefix_space)")
        if kinds == ["ByteLevel"] and byte_level.get("use_regex", True):
            return "gpt-2"
        if kinds == ["Digits", "ByteLevel"] and first["individual_digits"] and byte_level.get("use_regex", True):
            return "smollm"
        pattern = first.get("pattern", {}).get("Regex")
        if kinds == ["Split", "ByteLevel"] and first["behavior"] == "Isolated" and pattern in SPLITS:
            return SPLITS[pattern]
    raise _unknown(f"its pre-tokenizer has no name in llama.cpp that is known here ({json.dumps(stated)[:300]})")


def _tokens(content: dict[str, Any], rows: int) -> tuple[list[str], list[TokenType]]:
    """Token and type of each row of the embedding."""
    tokens, types = [f"[PAD{row}]" for row in range(rows)], [TokenType.UNUSED] * rows
    named = [(number, text, TokenType.BYTE if BYTE.fullmatch(text) else TokenType.NORMAL)
             for text, number in content["model"]["vocab"].items()]  # fmt: skip
    for token in content.get("added_tokens", []):
        kind = TokenType.CONTROL if token["special"] else TokenType.USER_DEFINED
        named.append((token["id"], token["content"], kind))
    for number, text, kind in named:
        if number >= rows:
            raise _unknown(f"token {number} ({text!r}) has no row in the embedding of {rows}")
        unknown = text == content["model"].get("unk_token") and content["model"].get("byte_fallback")
        tokens[number], types[number] = text, TokenType.UNKNOWN if unknown else kind
    return tokens, types


def _scores(merges: list[Any], tokens: list[str], types: list[TokenType]) -> list[float]:
    """SentencePiece joins the pair whose result scores highest: the earliest merge that makes a token scores it."""
    ranks: dict[str, int] = {}
    for rank, merge in enumerate(merges):
        left, right = merge if isinstance(merge, list) else merge.split(" ")
        ranks.setdefault(left + right, rank)
    last = len(merges)
    return [
        -float(ranks.get(token, last + number)) if kind is TokenType.NORMAL else 0.0
        for number, (token, kind) in enumerate(zip(tokens, types, strict=True))
    ]
