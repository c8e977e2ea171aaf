"""The grid of the study: which cells there are, what they are called, what each method and scale is, what it costs."""

import re
from dataclasses import replace

import pytest

from conftest import make_t5
from studies.__main__ import run as run_command
from studies.harness.cells import Row, read_row
from studies.options import StudyPaperConfig
from studies.paper.cells import Cell, cells_of, gain_of, kls_of
from studies.paper.cost import cell_hours, estimate
from studies.paper.methods import METHODS, label, methods_of
from studies.paper.run import Plan
from studies.paper.scales import SCALES, scales_of
from studies.paper.training import training_arguments
from studies.paper.world import Setup, decoding_of
from valuefree.errors import ConfigError
from valuefree.objectives import DRO, KTO, RPO
from valuefree.training.trainer import PolicyTrainer

TINY, TAUS = SCALES["tiny"], (0.1, 1.0, 5.0)


# -------------------------------------------------------------------------------------------------------------- cells


def test_the_grid_is_counted_by_hand():
    """KTO, DRO, RPO, RPO-noNorm, RPO() by τ: 15; once: SFT, RPO() auto, self-tuned, RPO sums, DRO-V, two SFT: 7.

    With 2 seeds 44; of the control the 12 at τ = 1 less SFT and SFT-all, which read no rewards: 10, with 2 seeds 20.
    """
    methods = list(METHODS.values())
    plain = cells_of([TINY], methods, TAUS, 2, control=False)
    assert len(plain) == 44
    grid = cells_of([TINY], methods, TAUS, 2, control=True)
    assert grid[:44] == plain
    control = grid[44:]
    assert len(control) == 20
    assert all(cell.shuffled and cell.tau in (None, 1.0) for cell in control)
    reads = set(METHODS) - {"SFT", "SFT-all"}
    assert {cell.method for cell in control} == reads


def test_every_scale_has_the_same_grid():
    scales = [SCALES[name] for name in ("tiny", "smol")]
    grid = cells_of(scales, methods_of("RPO;KTO"), [1.0], 3, control=True)
    by_scale = [[replace(cell, scale="") for cell in grid if cell.scale == scale.name] for scale in scales]
    assert by_scale[0] == by_scale[1]
    assert len(by_scale[0]) == 3 * (3 + 2)


def test_names_of_files_are_unique_and_safe():
    taus = (0.1, 0.1 + 1e-9, 1.0, 5.0, 1e-5)  # temperatures that differ in late digits too
    grid = cells_of(list(SCALES.values()), list(METHODS.values()), taus, 3, control=True)
    names = [cell.name for cell in grid]
    assert len({name.lower() for name in names}) == len(grid)  # on a file system without case as well
    assert all(re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9.+-]*", name) for name in names)
    assert Cell("tiny", "RPO() auto", None, 0).name == "tiny-RPO-default-auto-seed0"
    assert Cell("tiny", "RPO() self-tuned", None, 0).name == "tiny-RPO-default-self-tuned-seed0"
    assert Cell("tiny", "RPO()", 0.1, 2, shuffled=True).name == "tiny-RPO-default-tau0.1-seed2-shuffled"
    assert Cell("tiny", "RPO", 1.0, 0).name == "tiny-RPO-tau1-seed0"


def test_the_gain_and_the_kl_of_a_row(tmp_path):
    kl = {"value": 1.5, "interval": None, "n": 1}
    measured = {"reward": {"value": 0.25, "interval": [0.125, 0.5], "n": 8}, "kl": kl, "length": 12.5}
    row = Row(Cell("tiny", "RPO", 0.1, 1, shuffled=True), [measured], None, 3.0, 2.0, "abc")
    row.write(tmp_path)
    assert read_row(row.cell, tmp_path) == row
    assert gain_of(row) == 0.25
    reference = Row(row.cell, [{"reward": None, "kl": None}], None, 3.0, 2.0, "abc")
    assert gain_of(reference) is None
    assert kls_of([row, reference]) == [1.5]


# ------------------------------------------------------------------------------------------------------------- scales


@pytest.mark.parametrize(
    ("name", "batch", "accumulation", "limit", "parameters"),
    [("small", 16, 2, 512, 77e6), ("large", 4, 8, 512, 783e6), ("xl", 2, 16, 256, 2.85e9)],
)
def test_the_published_scales_have_the_settings_of_the_scripts(name, batch, accumulation, limit, parameters, tmp_path):
    """Batches of 32 by accumulation; section IV-C: AdamW at 1e-4, linear, 150 warm-up steps; one epoch, no clipping."""
    scale = SCALES[name]
    assert (scale.batch, scale.accumulation, scale.prompt_limit, scale.response_limit) == (
        batch,
        accumulation,
        limit,
        limit,
    )
    assert (scale.parameters, scale.model) == (parameters, f"google/flan-t5-{name}")
    assert (scale.feedback, scale.test_prompts, scale.train_prompts) == ("ultrafeedback", 1000, None)
    args = training_arguments(Setup(tmp_path, "data"), scale, seed=3, rows=64_000)
    assert args.per_device_train_batch_size * args.gradient_accumulation_steps == 32
    assert (args.learning_rate, args.warmup_steps, args.num_train_epochs) == (1e-4, 150, 1.0)
    assert (args.weight_decay, args.max_grad_norm, args.seed) == (0.01, 0.0, 3)
    assert args.lr_scheduler_type == "linear"
    assert "adamw" in args.optim
    assert not args.bf16
    assert (args.adam_beta1, args.adam_beta2, args.adam_epsilon) == (0.9, 0.999, 1e-8)
    assert (args.max_prompt_length, args.max_response_length) == (limit, limit)
    assert scale.max_new_tokens == 768


def test_scales_by_name():
    assert [scale.name for scale in scales_of("small, tiny,small")] == ["small", "tiny"]
    with pytest.raises(ConfigError, match="unknown scale 'smal'; did you mean 'small'"):
        scales_of("smal")
    with pytest.raises(ConfigError, match="unknown scale"):
        scales_of(" , ")
    with pytest.raises(ConfigError, match="tiny brings its own feedback"):
        scales_of("tiny", data="rows.jsonl")
    assert scales_of("small", data="rows.jsonl")[0].feedback == "ultrafeedback"


# ------------------------------------------------------------------------------------------------------------ methods


@pytest.mark.parametrize("tau", TAUS)
def test_the_published_methods_are_the_presets_of_the_published_code(tau):
    made = {name: METHODS[name].make for name in ("KTO", "DRO", "RPO", "RPO-noNorm")}
    assert made["DRO"](tau) == DRO.preset("paper-code", tau=tau)
    assert made["RPO"](tau) == RPO.preset("paper-code", tau=tau)
    kto = made["KTO"](tau)
    assert kto.beta == tau
    assert replace(kto, beta=KTO.preset("paper-code").beta) == KTO.preset("paper-code")
    bare = made["RPO-noNorm"](tau)
    assert bare.estimator == "zero"
    assert replace(bare, estimator=RPO.preset("paper-code", tau=tau).estimator) == RPO.preset("paper-code", tau=tau)


def test_v_of_rpo_without_normalisation_is_zero(tokenizer, rows, tmp_path):
    """The column that its loss subtracts: zeros, where RPO's is not."""
    values = {}
    for name in ("RPO", "RPO-noNorm"):
        args = training_arguments(Setup(tmp_path, "data"), TINY, seed=0, rows=len(rows))
        objective = METHODS[name].make(1.0)
        trainer = PolicyTrainer(make_t5(tokenizer), objective, args, rows, processing_class=tokenizer)
        values[name] = list(trainer.train_dataset.values)
    assert set(values["RPO-noNorm"]) == {0.0}
    assert all(values["RPO"])


def test_only_the_reference_is_not_trained():
    assert [name for name, method in METHODS.items() if method.make is None] == ["SFT"]
    published = [name for name, method in METHODS.items() if method.published]
    assert published == ["SFT", "KTO", "DRO", "RPO", "RPO-noNorm"]
    for method in METHODS.values():
        if method.make is not None and not method.taus:  # one run: the temperature that is passed is MAIN_TAU
            assert method.make(1.0) is not None


def test_methods_by_name():
    assert [method.name for method in methods_of("RPO; KTO;RPO")] == ["SFT", "RPO", "KTO"]
    assert [method.name for method in methods_of("all")] == list(METHODS)
    with pytest.raises(ConfigError, match="unknown method 'RPO-noNrm'; did you mean 'RPO-noNorm'"):
        methods_of("RPO-noNrm")
    with pytest.raises(ConfigError, match="unknown method"):
        methods_of(";")
    assert (label("RPO", 1.0), label("RPO", 0.1), label("SFT", None)) == ("RPO", "RPO, τ = 0.1", "SFT")


def test_answers_are_decoded_alike_or_as_the_authors_do(tmp_path):
    sampled = (0.7, 50, 0.95, 1.2, 3)

    def settings(how, method):
        found = decoding_of(Setup(tmp_path, "data", decoding=how), SCALES["small"], method, 7)
        assert (found.max_new_tokens, found.seed, found.max_prompt_length) == (768, 7, 512)
        return found.temperature, found.top_k, found.top_p, found.repetition_penalty, found.no_repeat_ngram_size

    assert {settings("same", method) for method in METHODS} == {sampled}
    authors = {method: settings("authors", method) for method in METHODS}
    temperature, _, _, penalty, ngram = authors.pop("KTO")
    assert (temperature, penalty, ngram) == (0.0, 1.0, 0)
    assert set(authors.values()) == {sampled}


# --------------------------------------------------------------------------------------------------------------- cost


def test_the_estimate_grows_as_it_must():
    small, large, xl = (SCALES[name] for name in ("small", "large", "xl"))

    def hours(method, scale=small, **changes):
        return cell_hours(Cell(scale.name, method, None, 0), replace(scale, **changes))

    assert hours("SFT") < hours("SFT-best") < hours("SFT-all") < hours("RPO") < hours("DRO-V")
    assert hours("RPO") == hours("KTO") == hours("DRO")
    assert hours("RPO") < hours("RPO() self-tuned") < 2.2 * hours("RPO")
    assert hours("RPO", small) < hours("RPO", large) < hours("RPO", xl)
    assert hours("RPO", epochs=2.0) > hours("RPO")
    assert hours("RPO", prompt_limit=80) < hours("RPO")
    assert hours("SFT", test_prompts=2000) == pytest.approx(2 * hours("SFT"))
    assert hours("SFT", max_new_tokens=384) == pytest.approx(hours("SFT") / 2)


def test_the_sentences_add_the_cells_up():
    cells = cells_of([SCALES["large"]], methods_of("RPO"), [1.0], 2, control=False)
    total = sum(cell_hours(cell, SCALES["large"]) for cell in cells)
    (said,) = estimate(cells, [SCALES["large"]], 0, 1)
    assert said.startswith(f"Flan-T5 Large: 4 runs, about {total:,.0f} GPU hours")
    tiny = cells_of([TINY], methods_of("RPO"), [1.0], 10, control=False)
    assert (
        estimate(tiny, [TINY], 0, 2)[0] == "tiny T5: 20 runs, about 60 s with 2 workers, without its reference."
    )  # 20 × 6 s / 2
    assert "at most 1,200 calls" in estimate([], [], 1200, 1)[0]


def test_a_dry_run_prints_hours_and_calls_and_writes_nothing(tmp_path, capsys):
    out = tmp_path / "out"
    arguments = ["--scale", "small,xl", "--methods", "RPO;KTO", "--seeds", "2", "--judge", "mistral-7b-instruct-v0.3"]
    run_command(["paper", "--dry-run", "--out", str(out), "--workers", "1", *arguments])
    said = capsys.readouterr().out
    # per scale: SFT 2, RPO and KTO at three temperatures 12, of the control 4
    assert "36 runs, 0 of them done; 1 workers" in said
    assert re.search(r"Flan-T5 Small: 18 runs, about \d+ GPU hours on A100s", said)
    assert re.search(r"Flan-T5 XL: 18 runs, about [\d,]+ GPU hours on A100s", said)
    # RPO against SFT (three temperatures) and KTO, one seed, two scales, both orders, 50 prompts
    assert "at most 800 calls" in said
    assert not out.exists()


def test_options_that_cannot_be_meant():
    for options, said in (
        ({"seeds": 0}, "seeds is 0"),
        ({"judge_prompts": -1}, "judge_prompts is -1"),
        ({"metrics": "bleu,reward"}, "measured anyway"),
    ):
        with pytest.raises(ConfigError, match=said):
            StudyPaperConfig(**options)
    for taus in ("1,x", "0.1,5", "1,-1", "1,0", "1,nan", "1,inf"):
        with pytest.raises(ConfigError, match="taus is"):
            StudyPaperConfig(taus=taus).tau_list()
    assert StudyPaperConfig(taus="5,1,0.1,1.0").tau_list() == [0.1, 1.0, 5.0]


def test_the_help_names_every_method_and_metric(capsys):
    with pytest.raises(SystemExit):
        run_command(["paper", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    part = said[said.index("--methods TEXT by semicolon") :].split("--taus TEXT")[0]
    assert all(name in part for name in METHODS)
    metrics = said[said.index("--metrics TEXT of the answers") :].split("--bertscore-model")[0]
    assert "bleu, sacrebleu, rouge1" in metrics
    assert "reward," not in metrics
    assert "(default: smollm2@serve)" in said


def test_options_of_ultrafeedback_are_refused_where_no_scale_reads_it(tmp_path):
    with pytest.raises(ConfigError, match="score10: read by the scales small, large and xl alone"):
        Plan.of(StudyPaperConfig(scale="tiny", score10="keep", out=str(tmp_path)))
    assert Plan.of(StudyPaperConfig(scale="tiny,small", score10="keep", out=str(tmp_path))).setup.score10 == "keep"
