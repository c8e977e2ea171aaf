"""The page in headless Chromium: what a model wrote does nothing, filters filter, keys move, 2,000 entries scroll."""

import base64
import time

import pytest

from valuefree.report import Completions, Plot, Report, Section, Verdict, write_report
from valuefree.report.drawing import panels


def opened(browser, file, fragment=""):
    browser.get("about:blank")  # the same address with another fragment would not load anew
    browser.get(file.as_uri() + fragment)
    assert browser.get_log("browser") == []
    return browser


def run(browser, script, *arguments):
    return browser.execute_script(script, *arguments)


def wait(browser, script, expected, seconds=5.0):
    """Until the script says `expected`."""
    end = time.monotonic() + seconds
    while (found := run(browser, f"return {script}")) != expected:
        assert time.monotonic() < end, f"{script}: {found!r}, expected {expected!r}"
        time.sleep(0.02)


def choose(browser, field, value):
    """Set a field as a hand would."""
    run(
        browser,
        """const [field, value] = arguments, element = document.querySelector(field);
        if (element.type === "checkbox") element.checked = value; else element.value = value;
        for (const kind of ["input", "change"]) element.dispatchEvent(new Event(kind, { bubbles: true }));""",
        field,
        value,
    )


def press(browser, keys):
    browser.switch_to.active_element.send_keys(keys)


COUNT = 'document.getElementById("count").textContent'
FOCUS = "document.activeElement.id"


# ------------------------------------------------------------------------------------------------------- hostile texts


def test_hostile_text_is_shown_and_does_nothing(browser, hostile_report, hostile, tmp_path):
    opened(browser, write_report(hostile_report, tmp_path))
    wait(browser, 'document.querySelectorAll(".answer .text").length', 2)
    shown = run(browser, 'return [...document.querySelectorAll("article .text")].map((node) => node.textContent)')
    assert shown == [hostile] * 4  # prompt, two answers, reference
    assert run(browser, "return typeof window.pwned") == "undefined"
    assert run(browser, 'return document.querySelectorAll("article img, article script, main script").length') == 0
    assert run(browser, "return document.scripts.length") == 2
    for search in ("<img", "script>"):
        choose(browser, "#search", search)
        wait(browser, 'document.querySelector("article mark")?.textContent', search)
    choose(browser, "#diff", True)
    assert run(browser, "return typeof window.pwned") == "undefined"
    assert browser.get_log("browser") == []


def test_the_policy_stops_what_escaping_would_let_through(browser, hostile_report, tmp_path):
    """Markup put in by force: its handler does not run, its script does not load, its image is not fetched."""
    opened(browser, write_report(hostile_report, tmp_path))
    refused = run(
        browser,
        """const done = arguments;
        window.refused = [];
        document.addEventListener("securitypolicyviolation", (event) => window.refused.push(event.effectiveDirective));
        document.body.insertAdjacentHTML("beforeend", "<img src='https://example.org/' onerror='window.pwned = 3'>");
        const script = document.createElement("script");
        script.textContent = "window.pwned = 4";
        document.body.append(script);""",
    )
    assert refused is None
    wait(browser, "[...new Set(window.refused)].sort()", ["img-src", "script-src-attr", "script-src-elem"])
    assert run(browser, "return typeof window.pwned") == "undefined"
    browser.get_log("browser")


def test_nothing_is_fetched(browser, big_report):
    opened(browser, big_report)
    names = run(browser, 'return performance.getEntriesByType("resource").map((entry) => entry.name)')
    assert [name for name in names if not name.startswith("data:")] == []


# ------------------------------------------------------------------------------------------------------------- filters


@pytest.mark.parametrize(
    ("fields", "count"),
    [
        ({}, 2000),
        ({"#search": "number 17."}, 1),
        ({"#search": "  NUMBER  17.  "}, 1),
        ({"#search": "says number 19"}, 111),  # 19, 190 to 199, 1900 to 1999
        ({"#search": "no such words"}, 0),
        ({"#prompt": "question 5 about topic 5"}, 1),  # its line break is a space in a field of one line
        ({"#prompt": "topic 3"}, 286),
        ({"#prompt": "topic 3", "#search": "says number 3."}, 1),
        ({"[data-judge='0']": "first"}, 1000),
        ({"[data-judge='1']": "first"}, 400),  # judge y names the systems in the other order: its `second`
        ({"[data-judge='1']": "second"}, 400),
        ({"[data-judge='0']": "first", "[data-judge='1']": "second"}, 200),  # even, and divisible by 5
        ({"[data-judge='1']": "unjudged"}, 400),
        ({"[data-judge='1']": "disagree", "#search": "number 3."}, 1),
        ({"#left": "2", "#right": "1"}, 2000),  # whoever answered: the new system did always
        ({"#left": "2", "#right": "2"}, 200),
        ({"#left": "1", "#right": "0", "[data-judge='0']": "second"}, 1000),
    ],
)
def test_filters_keep_what_they_say(browser, big_report, fields, count):
    opened(browser, big_report)
    for field, value in fields.items():
        choose(browser, field, value)
    wait(browser, COUNT, f"{count:,} of 2,000")
    assert run(browser, 'return document.querySelectorAll("article").length') == count


def test_reset_brings_all_back(browser, big_report):
    opened(browser, big_report)
    choose(browser, "#left", "2")
    choose(browser, "#search", "number 20.")
    wait(browser, COUNT, "1 of 2,000")
    run(browser, 'document.getElementById("reset").click()')
    wait(browser, COUNT, "2,000 of 2,000")
    assert run(browser, 'return document.getElementById("left").value') == "0"


def test_the_larger_gain_in_reward_comes_first(browser, big_report):
    opened(browser, big_report)
    choose(browser, "#order", "right")
    wait(browser, 'document.querySelector("article").id', "completion-2000")
    choose(browser, "#order", "left")
    wait(browser, 'document.querySelector("article").id', "completion-1")


def test_an_entry_shows_rewards_verdicts_and_who_won(browser, big_report):
    opened(browser, big_report, "#completion-1")
    card = 'document.getElementById("completion-1")'
    wait(browser, f'{card}.querySelectorAll(".answer").length', 2)
    heads = run(browser, f'return [...{card}.querySelectorAll("h3")].map((node) => node.textContent)')
    assert heads == ["oldreward 0.000preferred by x", "newreward 0.000preferred by y"]
    said = run(browser, f'return [...{card}.querySelectorAll("li")].map((node) => node.textContent)')
    assert said == ["x, old against new: old wins", "y, new against old: new wins"]


def test_an_unanswered_prompt_is_not_an_empty_answer(browser, tmp_path):
    entries = [Completions("p", {"a": "", "b": "x"}), Completions("q", {"b": "y"})]
    opened(browser, write_report(Report("t", [], [], entries, {}), tmp_path))
    wait(
        browser,
        '[...document.querySelectorAll(".missing")].map((node) => node.textContent)',
        ["an empty answer", "no answer kept"],
    )


def test_a_long_text_is_cut_until_asked_for(browser, tmp_path):
    entries = [Completions("p", {"a": "word " * 2000})]
    opened(browser, write_report(Report("t", [], [], entries, {}), tmp_path))
    shown = 'document.querySelector(".answer .text").textContent.length'
    wait(browser, shown, 4001)
    run(browser, 'document.querySelector(".answer button").click()')
    wait(browser, shown, 10_000)


# ---------------------------------------------------------------------------------------------------------------- diff


@pytest.mark.parametrize(
    ("one", "two", "removed", "added"),
    [
        ("the sea is wide", "the sea was very wide", ["is"], ["was very"]),
        ("same words", "same words", [], []),
        ("a b c", "b c d", ["a "], [" d"]),
        ("all", "else", ["all"], ["else"]),
        ("it ends.", "it ends!", ["."], ["!"]),
        ("été <b>", "été <i>", ["b"], ["i"]),
    ],
)
def test_differing_words_are_marked_and_no_letter_is_lost(browser, tmp_path, one, two, removed, added):
    opened(browser, write_report(Report("t", [], [], [Completions("p", {"a": one, "b": two})], {}), tmp_path))
    choose(browser, "#diff", True)
    texts = "return [...document.querySelectorAll(arguments[0])].map((node) => node.textContent)"
    assert run(browser, texts, ".answer .text") == [one, two]
    assert run(browser, texts, "del") == removed
    assert run(browser, texts, "ins") == added


# ------------------------------------------------------------------------------------------------ keyboard and address


def test_the_keyboard_is_enough(browser, big_report):
    opened(browser, big_report)
    press(browser, "/")
    assert run(browser, f"return {FOCUS}") == "search"
    press(browser, "number 1")
    wait(browser, COUNT, "1,111 of 2,000")  # j, k, d and / are letters while writing
    press(browser, "\ue00c")  # Escape
    press(browser, "j")
    assert run(browser, f"return {FOCUS}") == "completion-2"
    press(browser, "j")
    assert run(browser, f"return {FOCUS}") == "completion-11"
    press(browser, "\ue015")  # arrow down, within the list
    assert run(browser, f"return {FOCUS}") == "completion-12"
    press(browser, "k")
    assert run(browser, f"return {FOCUS}") == "completion-11"
    assert run(browser, "return location.hash") == "#completion-11"
    press(browser, "d")
    wait(browser, 'document.querySelectorAll("#completion-11 ins").length > 0', True)


def test_tab_reaches_the_search_and_every_field_has_a_name(browser, big_report):
    opened(browser, big_report)
    press(browser, "\ue004")
    assert run(browser, "return document.activeElement.className") == "skip"
    names = run(browser, 'return [...document.querySelectorAll("input, select")].map((node) => node.labels.length)')
    assert names == [1] * len(names)
    assert run(browser, 'return [...document.querySelectorAll("img")].every((node) => node.alt)')
    outline = run(
        browser,
        'document.getElementById("search").focus(); return getComputedStyle(document.activeElement).outlineStyle',
    )
    assert outline == "solid"


@pytest.mark.parametrize("width", [1280, 390])
def test_an_address_opens_at_its_entry(browser, big_report, width):
    metrics = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 600}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    opened(browser, big_report, "#completion-1500")
    wait(browser, FOCUS, "completion-1500")
    place = 'Math.round(document.getElementById("completion-1500").getBoundingClientRect().top)'
    wait(browser, f"{place} >= 0 && {place} < 100", True)
    text = run(browser, 'return document.querySelector("#completion-1500 .text").textContent')
    assert text.startswith("question 1499")


def test_an_address_beats_the_filters(browser, big_report):
    opened(browser, big_report)
    choose(browser, "#search", "number 17.")
    wait(browser, COUNT, "1 of 2,000")
    run(browser, 'location.hash = "#completion-40"')
    wait(browser, FOCUS, "completion-40")
    wait(browser, COUNT, "2,000 of 2,000")


def test_all_samples_of_a_prompt_by_one_click(browser, tmp_path):
    entries = [Completions(prompt, {"a": "x"}) for prompt in ("one\n\nprompt", "other", "one\n\nprompt")]
    opened(browser, write_report(Report("t", [], [], entries, {}), tmp_path))
    wait(browser, 'document.querySelectorAll("article header button").length', 2)
    run(browser, 'document.querySelector("article header button").click()')
    wait(browser, COUNT, "2 of 3")


# ---------------------------------------------------------------------------------------------------- screens and speed


@pytest.mark.parametrize("width", [390, 320])
def test_a_phone_needs_no_sideways_scrolling(browser, big_report, width):
    metrics = {"width": width, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    opened(browser, big_report, "#completion-3")
    wait(browser, 'document.querySelectorAll("#completion-3 .answer").length', 2)
    assert run(browser, "return document.documentElement.scrollWidth") <= width
    tops = run(
        browser,
        'return [...document.querySelectorAll("#completion-3 .answer")].map((n) => n.getBoundingClientRect().top)',
    )
    assert tops[1] > tops[0]  # one below the other


def test_a_phone_has_the_panels_of_a_figure_one_below_the_other(browser, tmp_path):
    figure, axes = panels(3)
    for panel in axes:
        panel.plot([1, 2], label="a line")
    before = [panel.get_position().bounds for panel in axes]
    plots = [Plot("three", "Three panels.", figure)]
    file = write_report(Report("t", [], [Section("one", "One", plots=plots)], [], {}), tmp_path)
    assert [panel.get_position().bounds for panel in axes] == before
    shape = "return [...document.images].map((n) => n.naturalHeight / n.naturalWidth)[0]"
    opened(browser, file)
    assert run(browser, shape) < 0.5
    metrics = {"width": 390, "height": 844, "deviceScaleFactor": 2, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    opened(browser, file)
    wait(browser, "document.images[0].complete", True)
    assert run(browser, shape) > 2
    assert run(browser, "return document.images[0].getBoundingClientRect().right") <= 390


def test_printing_has_every_answer_that_passes_the_filters(browser, big_report):
    opened(browser, big_report)
    choose(browser, "#search", "number 199")  # 199 and 1990 to 1999
    wait(browser, COUNT, "11 of 2,000")
    run(browser, 'document.getElementById("search").scrollIntoView()')
    pages = browser.execute_cdp_cmd("Page.printToPDF", {})["data"]
    assert base64.b64decode(pages).startswith(b"%PDF")
    assert run(browser, 'return document.querySelectorAll("article.empty").length') == 0
    assert run(browser, 'return document.querySelectorAll("article .answer").length') == 22


CONTRAST = """
const light = (colour) => {
  const parts = colour.match(/[\\d.]+/g).slice(0, 3).map((part) => part / 255);
  const [r, g, b] = parts.map((c) => (c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
};
const behind = (node) => {
  for (; node; node = node.parentElement) {
    const colour = getComputedStyle(node).backgroundColor;
    if (colour !== "rgba(0, 0, 0, 0)") return colour;
  }
};
const chosen = "h1, h2, p, th, td, label, button, .text, h3 span, li, del, ins, mark, figcaption, a, summary, input";
return [...document.querySelectorAll(chosen)].filter((node) => node.checkVisibility()).map((node) => {
  const [one, two] = [light(getComputedStyle(node).color), light(behind(node))].sort((a, b) => b - a);
  return [(one + 0.05) / (two + 0.05), node.tagName + "." + node.className];
}).sort((a, b) => a[0] - b[0])[0];
"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_readable_in_light_and_in_dark(browser, big_report, scheme):
    """WCAG's contrast of 4.5, everywhere; and dark is dark."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
    opened(browser, big_report)
    choose(browser, "#search", "wide")
    wait(browser, 'document.querySelectorAll("mark").length > 0', True)
    worst, where = run(browser, CONTRAST)
    assert worst >= 4.5, where
    choose(browser, "#diff", True)
    wait(browser, 'document.querySelectorAll("ins").length > 0', True)
    worst, where = run(browser, CONTRAST)
    assert worst >= 4.5, where
    page = run(browser, "return getComputedStyle(document.body).backgroundColor")
    assert page == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 24, 29)"}[scheme]


SCROLL = """
const done = arguments[arguments.length - 1], frames = [];
let last = performance.now(), number = 0, blank = 0;
document.getElementById("completions").scrollIntoView();
const distance = arguments[0];
const step = (now) => {
  frames.push(now - last);
  last = now;
  scrollBy(0, distance);
  const seen = document.elementFromPoint(700, 400)?.closest("article");
  blank += seen?.classList.contains("empty") ? 1 : 0;
  if (++number < 120) requestAnimationFrame(step);
  else done({ frames: frames.slice(1).sort((a, b) => a - b), blank });
};
requestAnimationFrame(step);
"""


@pytest.mark.parametrize("diff", [False, True], ids=["plain", "diff"])
def test_two_thousand_entries_scroll_without_delay(browser, big_report, diff):
    """Against frames in which nothing moves, so that the bounds hold on a busy machine, too."""
    opened(browser, big_report)
    choose(browser, "#diff", diff)
    rest, found = (browser.execute_async_script(SCROLL, distance) for distance in (0, 700))
    frames, still = found["frames"], rest["frames"][len(rest["frames"]) // 2]
    assert frames[len(frames) // 2] < 3 * still, "the median frame, ms"
    assert frames[int(len(frames) * 0.95)] < 12 * still, "the slow frames, ms"
    assert found["blank"] < len(frames) / 4, "frames with an unfilled entry in the middle"


def test_two_thousand_entries_are_filtered_at_once(browser, big_report):
    opened(browser, big_report)
    spent = run(
        browser,
        """const start = performance.now(), judge = document.querySelector("[data-judge='0']");
        judge.value = "first";
        judge.dispatchEvent(new Event("change", { bubbles: true }));
        document.body.offsetHeight;
        return performance.now() - start""",
    )
    assert spent < 500
    wait(browser, COUNT, "1,000 of 2,000")


def test_verdicts_without_answers_are_listed(browser, tmp_path):
    entries = [Completions("p", {}, {}, [Verdict("j", "a", "b", "second")])]
    opened(browser, write_report(Report("t", [], [], entries, {}), tmp_path))
    wait(browser, COUNT, "1 of 1")
    wait(browser, 'document.querySelector("li strong").textContent', "b wins")
