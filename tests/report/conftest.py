"""Reports with hostile texts, folders as runs leave them, and one Chromium for all tests that need a browser."""

import json
import shutil

import pytest
from matplotlib.figure import Figure

from valuefree.report import Completions, Plot, Report, Section, Table, Verdict, write_report

HOSTILE = "</script><script>window.pwned=1</script><img src=x onerror='pwned=2'>& \u2028 \u2029 \u202e | `*_x_*`\x00"
CHROMIUM = ("chromium", "chromium-browser", "google-chrome")


@pytest.fixture(scope="session")
def hostile():
    return HOSTILE


def figure_of(values):
    figure = Figure(figsize=(4, 2))
    figure.add_subplot().plot(values)
    return figure


@pytest.fixture
def hostile_report():
    """Every text that can be given is hostile."""
    section = Section(
        "one",
        HOSTILE,
        [HOSTILE],
        [HOSTILE],
        [Table(HOSTILE, [HOSTILE, "b"], [[HOSTILE, HOSTILE]], HOSTILE)],
        [Plot("line", HOSTILE, figure_of([1, 2]))],
    )
    entry = Completions(
        HOSTILE, {HOSTILE: HOSTILE, "b": HOSTILE}, {HOSTILE: 1.0}, [Verdict(HOSTILE, HOSTILE, "b", "first")], HOSTILE
    )
    return Report(HOSTILE, [HOSTILE], [section], [entry], {HOSTILE: HOSTILE})


def many(count):
    """Entries whose verdicts can be told by their number: judge x goes by parity, y round in fives."""
    outcomes = ("first", "second", "neutral", "disagree", "unjudged")
    return [
        Completions(
            f"question {number}\nabout topic {number % 7}",
            {
                "old": f"the sea is wide and blue, says number {number}. "
                + "And so it goes on, as it must. " * (number % 9),
                "new": f"the sea was very wide, says number {number}. " + "And so it ends. " * (number % 11),
                **({"third": "something else"} if number % 10 == 0 else {}),
            },
            {"old": 0.0, "new": number / 10},
            [
                Verdict("x", "old", "new", "first" if number % 2 == 0 else "second"),
                Verdict("y", "new", "old", outcomes[number % 5]),
            ],
        )
        for number in range(count)
    ]


@pytest.fixture(scope="session")
def big_report(tmp_path_factory):
    """The HTML file of a report with 2,000 completions."""
    sections = [Section("overview", "Overview", ["A paragraph."], plots=[Plot("line", "A line.", figure_of([1, 2]))])]
    sections += [Section("wide", "Wide", tables=[Table("", [f"column {n}" for n in range(14)], [["0.123"] * 14] * 3)])]
    report = Report("Many", ["It works."], sections, many(2000), {"seed": 0})
    return write_report(report, tmp_path_factory.mktemp("big"))


# ----------------------------------------------------------------------------------------------------- folders of runs


def estimate(value, low, high, n=2):
    return {"value": value, "interval": [low, high], "n": n}


def evaluation(policy, reference, prompts=("p", "q")):
    gains = [one - two for one, two in zip(policy, reference, strict=True)]
    counts = {
        "wins": sum(g > 0 for g in gains),
        "ties": sum(g == 0 for g in gains),
        "losses": sum(g < 0 for g in gains),
    }
    mean = sum(gains) / len(gains)
    return {
        "prompts": len(policy),
        "seen": {"prompts": len(prompts), "trained": 0, "validation": 0},
        "samples_per_prompt": 1,
        "policy": estimate(sum(policy) / len(policy), 0.0, 1.0),
        "reference": estimate(sum(reference) / len(reference), 0.0, 1.0),
        "gain": estimate(mean, mean - 0.1, mean + 0.1),
        "outcomes": {**counts, "p_value": 1.0},
        "kl": estimate(0.3, 0.1, 0.5),
        "policy_length": 5.0,
        "reference_length": 7.0,
        "held_out": list(prompts),
        "policy_rewards": list(policy),
        "reference_rewards": list(reference),
    }


QUANTILES = {"0": 0.0, "0.5": 1.0, "1": 2.0}
PARTITION = {
    "prompts": 3,
    "rows": 9,
    "estimator": "informed",
    "tau": 0.5,
    "target_quantiles": QUANTILES,
    "level_share": 0.25,
    "level_share_unweighted": 0.5,
    "spread_within": 0.8,
    "tau_floor": float("inf"),
    "median_effective_size": 2.5,
    "median_log_coverage": -80.0,
    "duplicates": 0,
    "singletons": 1,
    "all_equal": 0,
    "per_prompt": {"sizes": QUANTILES, "values": QUANTILES},
    "warnings": ["tau is low"],
    "sentences": ["9 responses to 3 prompts.", "tau is low"],
}


def write_lines(file, rows):
    file.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


@pytest.fixture
def trained(tmp_path):
    """Makes the folder of a run of `valuefree train`: two held-out prompts, the second said in messages."""

    def make(
        name="run",
        policy=(1.0, 0.5),
        reference=(0.0, 0.5),
        answers=("old p", "old q"),
        objective="RPO",
        kl=0.3,
        **config,
    ):
        folder = tmp_path / name
        folder.mkdir(parents=True)
        options = {"data": "rows.jsonl", "model": "m", "seed": 3, "reward_function": "m:f", **config}
        manifest = {"command": "train", "config": options, "objective": {"name": objective}, "commit": "abc"}
        (folder / "manifest.json").write_text(json.dumps(manifest))
        found = {**evaluation(policy, reference), "kl": kl and estimate(kl, kl - 0.2, kl + 0.2)}
        metrics = {"evaluation": found, "partition": PARTITION, "notes": ["nothing was cut"]}
        (folder / "metrics.json").write_text(json.dumps(metrics))
        write_lines(
            folder / "metrics.jsonl",
            [{"step": 1, "loss": 2.0, "logratio": 0.0, "eval_rougeL": 0.1}, {"step": 2, "loss": float("nan")}],
        )
        prompts = ["p", [{"role": "user", "content": "q"}]]
        rows = zip(prompts, answers, policy, reference, strict=True)
        write_lines(
            folder / "completions.jsonl",
            [
                {
                    "prompt": prompt,
                    "responses": {"policy": f"{name} says\u2028so", "reference": answer},
                    "rewards": {"policy": one, "reference": two},
                }
                for prompt, answer, one, two in rows
            ],
        )
        return folder

    return make


# ------------------------------------------------------------------------------------------------------------ Chromium


@pytest.fixture(scope="session")
def chromium():
    """A driver of headless Chromium; the test is skipped where Chromium, its driver or selenium is missing."""
    webdriver = pytest.importorskip("selenium.webdriver")
    from selenium.webdriver.chrome.service import Service  # noqa: PLC0415

    binary, driver = next(filter(None, map(shutil.which, CHROMIUM)), None), shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("chromium and chromedriver are not in PATH")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.add_argument("--window-size=1280,900")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(driver))
    started.set_script_timeout(30)
    yield started
    started.quit()


@pytest.fixture
def browser(chromium):
    """The driver with a blank page, and the screen of a desktop in light colours; the console must stay empty."""
    chromium.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    chromium.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    chromium.get("about:blank")
    chromium.get_log("browser")
    yield chromium
    assert chromium.get_log("browser") == []
