"""BERTScore by bert-score, with corrections for transformers 5. No torch until a scorer is made."""

import logging
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from valuefree.errors import ConfigError
from valuefree.evaluation.metrics.base import LoadedSettings, Measure, Metric, Texts, of_mean
from valuefree.evaluation.metrics.extra import library, longest_input, name_of
from valuefree.models.pickles import check_weights

logger = logging.getLogger(__name__)

DEFAULT_MODEL = "roberta-large"
BATCH_SIZE = 64
SPACED = ("roberta", "gpt2")  # models whose vocabulary marks the first word of a text, too, by a space


def load(names: Sequence[str], settings: LoadedSettings) -> Measure:
    """See `registry.MetricEntry`."""
    score = BertScore(settings.bertscore_model, settings.bertscore_layer, rescaled=settings.bertscore_rescaled)

    def measure(texts: Texts) -> dict[str, Metric]:
        pairs = zip(texts.predictions, texts.references, strict=True)
        empty = sum(not all(map(str.strip, pair)) for pair in pairs)
        note = f"{empty} pairs with an empty text count as 0" if empty else None
        scores = score(texts.predictions, texts.references)
        shared = {"unscored": texts.unscored, "signature": score.signature, "note": note}
        return {"bertscore": of_mean("bertscore", scores, texts.prompts, **shared)}

    return measure


class _Spaced:
    """A tokenizer that puts a space before each text.

    bert-score requests this by ``add_prefix_space=True``, which transformers 5 silently ignores. Without the space the
    first word of a text is another token than the same word elsewhere.
    """

    def __init__(self, tokenizer: Any):
        self._tokenizer = tokenizer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tokenizer, name)

    def encode(self, text: str, **options: Any) -> list[int]:
        """Token ids of a text that bert-score has stripped."""
        return self._tokenizer.encode(" " + text, **options)


def _check_files(model: str) -> None:
    """Raise OSError or ValueError unless bert-score finds safetensors weights, and a model without code of its own."""
    library("transformers").AutoConfig.from_pretrained(model, trust_remote_code=False)
    cached_file = library("transformers.utils").cached_file
    try:
        cached_file(model, "model.safetensors")
    except OSError:
        cached_file(model, "model.safetensors.index.json")


class BertScore:
    """F1 of greedily matched token states of one layer (Zhang et al. 2020, arXiv 1904.09675), without idf.

    Args:
        model: hub name or folder of an encoder. layer: whose states are matched; default: bert-score's choice for the
            name. rescaled: by bert-score's baseline for English and the name. batch_size: texts at a time.

    Raises:
        ConfigError: the model cannot be loaded, or has no such layer or no baseline.
    """

    def __init__(
        self,
        model: str | None = None,
        layer: int | None = None,
        *,
        rescaled: bool = False,
        batch_size: int = BATCH_SIZE,
    ):
        model = model or DEFAULT_MODEL
        package = library("bert_score")
        known = package.utils.model2layers
        if layer is None and model not in known:
            raise ConfigError(
                f"bert-score has no default layer for {model!r}; pass bertscore_layer, for example the last but one."
            )
        baseline = Path(package.__file__).parent / "rescale_baseline" / "en" / f"{model}.tsv"
        if rescaled and not baseline.exists():
            raise ConfigError(
                f"bert-score has no baseline for {model!r}: leave bertscore_rescaled out, or use a model with a "
                f"baseline, such as {DEFAULT_MODEL}."
            )
        device = str(import_module("valuefree.models.modules").accelerator_device())
        layers = known[model] if layer is None else layer
        check_weights(model, "AutoModel")
        try:
            _check_files(model)
            scorer = package.BERTScorer(
                model_type=model, num_layers=layers, lang="en", rescale_with_baseline=rescaled, device=device
            )
        except (AssertionError, OSError, ValueError) as error:
            raise ConfigError(
                f"could not load layer {layers} of the BERTScore encoder {model!r}: {error}. Without a network pass "
                "bertscore_model, the folder of an encoder, and bertscore_layer."
            ) from error
        config = scorer._model.config
        scorer._tokenizer.model_max_length = longest_input(config, scorer._tokenizer.model_max_length)
        scorer._tokenizer.split_special_tokens = True  # such as a [SEP] that is spelled in a text
        spaced = config.model_type in SPACED
        if spaced:
            scorer._tokenizer = _Spaced(scorer._tokenizer)
        self._scorer, self._batch_size = scorer, batch_size
        self.signature = f"{scorer.hash.replace(model, name_of(model), 1)}{'|space' if spaced else ''}"

    def __call__(self, predictions: Sequence[str], references: Sequence[str]) -> list[float]:
        """F1 of each response, shape (R,); 0 where the response or the reference is empty."""
        scores = [0.0] * len(predictions)
        full = [i for i, pair in enumerate(zip(predictions, references, strict=True)) if all(map(str.strip, pair))]
        if full:
            texts = ([column[i] for i in full] for column in (predictions, references))
            f1 = self._scorer.score(*texts, batch_size=self._batch_size)[2].tolist()
            for i, score in zip(full, f1, strict=True):
                scores[i] = score
        return scores
