// The browser of completions. Every text of a model is put on the page as a text node, never as markup.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const { systems, judges, entries } = data;
  const at = (id) => document.getElementById(id);
  const [search, prompt, left, right, order, diff, count, list] = [
    "search", "prompt", "left", "right", "order", "diff", "count", "entries",
  ].map(at);
  const CLIPPED = 4000; // characters of a text shown before "show all"
  const shown = new Set(); // entries near the screen
  const open = new Set(); // entries whose long texts are shown whole
  let current = []; // numbers of the entries that pass the filters, in order
  let version = 0; // of what an entry looks like

  entries.forEach((entry) => {
    entry.answer = new Map(entry.answers);
    entry.reward = new Map(entry.rewards);
  });
  const sharing = new Map();
  entries.forEach((entry) => sharing.set(entry.prompt, (sharing.get(entry.prompt) || 0) + 1));

  // ------------------------------------------------------------------------------------------------------- elements

  function make(tag, className, ...children) {
    const element = document.createElement(tag);
    if (className) element.className = className;
    element.append(...children); // strings become text nodes
    return element;
  }

  function choose(select, options, chosen) {
    select.replaceChildren(...options.map(([value, text]) => {
      const option = make("option", "", text);
      option.value = value;
      return option;
    }));
    select.value = chosen;
  }

  // `text` with what was searched for marked.
  function marked(parent, text, query) {
    if (!query) return parent.append(text);
    const lower = text.toLowerCase();
    if (lower.length !== text.length) return parent.append(text); // a letter that grows when lowered would shift marks
    let from = 0;
    for (let found = lower.indexOf(query); found >= 0; found = lower.indexOf(query, from)) {
      parent.append(text.slice(from, found), make("mark", "", text.slice(found, found + query.length)));
      from = found + query.length;
    }
    parent.append(text.slice(from));
  }

  function differing(parent, runs, side) {
    for (const [kind, text] of runs) {
      if (kind === "both") parent.append(text);
      else if (kind === side) parent.append(make(side === "left" ? "del" : "ins", "", text));
    }
  }

  // -------------------------------------------------------------------------------------------------------- entries

  const pair = () => [Number(left.value), Number(right.value)];

  // The outcome of a verdict as seen with the left system first; null if it is of another pair.
  function seen(verdict) {
    const [, first, second, outcome] = verdict, [one, two] = pair();
    if (first === one && second === two) return outcome;
    if (first !== two || second !== one) return null;
    return { first: "second", second: "first" }[outcome] || outcome;
  }

  function said([judge, first, second, outcome]) {
    const names = { first: `${systems[first]} wins`, second: `${systems[second]} wins`, disagree: "the two orders disagree" };
    const line = make("li", "", `${judges[judge]}, ${systems[first]} against ${systems[second]}: `);
    line.append(make("strong", "", names[outcome] || outcome));
    return line;
  }

  function text(className, content, number, write) {
    const block = make("div", className);
    block.dir = "auto";
    if (content.length <= CLIPPED || open.has(number)) {
      write(block, content);
      return [block];
    }
    write(block, content.slice(0, CLIPPED) + "…");
    const more = make("button", "plain", `Show all ${content.length.toLocaleString("en")} characters`);
    more.type = "button";
    more.addEventListener("click", () => { open.add(number); fill(number, true); });
    return [block, more];
  }

  function answer(number, system, side, runs, query) {
    const entry = entries[number], heading = make("h3", "", systems[system]);
    if (entry.reward.has(system)) {
      const value = entry.reward.get(system);
      heading.append(make("span", "", `reward ${typeof value === "number" ? value.toFixed(3) : value}`));
    }
    const winner = side === "left" ? "first" : "second";
    const wins = entry.verdicts.filter((verdict) => seen(verdict) === winner).map((verdict) => judges[verdict[0]]);
    if (wins.length) heading.append(make("span", "", `preferred by ${wins.join(", ")}`));
    const box = make("div", wins.length ? "answer won" : "answer", heading);
    if (!entry.answer.has(system)) box.append(make("p", "missing", "no answer kept"));
    else if (!entry.answer.get(system).trim()) box.append(make("p", "missing", "an empty answer"));
    else if (runs) box.append(...text("text", "", number, (block) => differing(block, runs, side)));
    else box.append(...text("text", entry.answer.get(system), number, (block, part) => marked(block, part, query)));
    return box;
  }

  // Write what an entry says now; without `again` only if it is not up to date.
  function fill(number, again = false) {
    const entry = entries[number], card = entry.card;
    if (!again && card.version === version) return;
    card.version = version;
    const [one, two] = pair(), query = search.value.trim().toLowerCase();
    const link = make("a", "", `${number + 1}`);
    link.href = `#completion-${number + 1}`;
    link.setAttribute("aria-label", `Entry ${number + 1}, link to it`);
    const header = make("header", "", link);
    if (sharing.get(entry.prompt) > 1) {
      const more = make("button", "plain", `all ${sharing.get(entry.prompt)} with this prompt`);
      more.type = "button";
      more.addEventListener("click", () => { prompt.value = plain(entry.prompt); filter(); list.scrollIntoView(); });
      header.append(more);
    }
    const both = entry.answer.has(one) && entry.answer.has(two);
    const runs = diff.checked && both ? compared(entry.answer.get(one), entry.answer.get(two)) : null;
    const answers = make("div", "answers", answer(number, one, "left", runs, query));
    if (one !== two) answers.append(answer(number, two, "right", runs, query));
    const about = entry.verdicts.filter((verdict) => seen(verdict) !== null);
    card.replaceChildren(header, ...text("text prompt", entry.prompt, number, (b, part) => marked(b, part, query)), answers);
    if (about.length) card.append(make("ul", "verdicts", ...about.map(said)));
    if (entry.reference !== null) {
      const details = make("details", "", make("summary", "", "Reference text"));
      details.append(...text("text", entry.reference, number, (block, part) => marked(block, part, query)));
      card.append(details);
    }
    card.classList.remove("empty");
  }

  const near = new IntersectionObserver((changes) => {
    for (const change of changes) {
      const number = change.target.number;
      if (change.isIntersecting) { shown.add(number); fill(number); } else shown.delete(number);
    }
  }, { rootMargin: "1500px 0px" });

  // An empty box, filled when it comes near the screen.
  function cardOf(number) {
    const entry = entries[number];
    if (!entry.card) {
      entry.card = make("article", "empty");
      entry.card.id = `completion-${number + 1}`;
      entry.card.tabIndex = -1;
      entry.card.setAttribute("aria-label", `Entry ${number + 1}`);
      entry.card.number = number;
      entry.card.version = -1;
      near.observe(entry.card);
    }
    return entry.card;
  }

  // -------------------------------------------------------------------------------------------------------- filters

  // As texts are compared: a field of one line holds no line breaks.
  const plain = (text) => text.replace(/\s+/gu, " ").trim().toLowerCase();

  function passes(entry, query, asked, wanted) {
    const [one, two] = pair();
    if (!entry.answer.has(one) && !entry.answer.has(two) && !entry.verdicts.some((v) => seen(v) !== null)) return false;
    if (asked || query) entry.plain ??= [entry.prompt, ...entry.answer.values()].map(plain);
    if (asked && !entry.plain[0].includes(asked)) return false;
    if (query && !entry.plain.some((part) => part.includes(query))) return false;
    return wanted.every(([judge, outcome]) => entry.verdicts.some((v) => v[0] === judge && seen(v) === outcome));
  }

  function gap(entry) {
    const [one, two] = pair(), value = entry.reward.get(one) - entry.reward.get(two);
    return Number.isFinite(value) ? value : null;
  }

  function filter() {
    const query = plain(search.value), asked = plain(prompt.value);
    const wanted = [...at("outcomes").querySelectorAll("select")]
      .filter((select) => select.value)
      .map((select) => [Number(select.dataset.judge), select.value]);
    current = entries.map((_, number) => number).filter((number) => passes(entries[number], query, asked, wanted));
    if (order.value) {
      const sign = order.value === "left" ? -1 : 1;
      const key = (number) => gap(entries[number]);
      current.sort((a, b) => (key(a) === null) - (key(b) === null) || sign * (key(a) - key(b)) || a - b);
    }
    version++;
    list.replaceChildren(...current.map(cardOf));
    current.forEach((number, place) => {
      entries[number].card.setAttribute("aria-posinset", String(place + 1));
      entries[number].card.setAttribute("aria-setsize", String(current.length));
    });
    shown.forEach((number) => { if (entries[number].card.isConnected) fill(number); });
    count.textContent = `${current.length.toLocaleString("en")} of ${entries.length.toLocaleString("en")}`;
  }

  function nameChoices() {
    const [one, two] = pair().map((number) => systems[number]);
    const outcomes = [["", "any verdict"], ["first", `${one} wins`], ["second", `${two} wins`], ["neutral", "neutral"],
      ["disagree", "the two orders disagree"], ["unjudged", "unjudged"]];
    for (const select of at("outcomes").querySelectorAll("select")) choose(select, outcomes, select.value);
    choose(order, [["", "as given"], ["left", `${one} ahead in reward`], ["right", `${two} ahead in reward`]], order.value);
  }

  function begin() {
    const options = systems.map((name, number) => [String(number), name]);
    const judged = entries.flatMap((entry) => entry.verdicts)[0];
    const [one, two] = judged ? judged.slice(1, 3) : [0, Math.min(1, systems.length - 1)];
    choose(left, options, String(one));
    choose(right, options, String(two));
    if (!at("outcomes").querySelector("select")) {
      judges.forEach((name, judge) => {
        const select = make("select", "");
        select.dataset.judge = String(judge);
        at("outcomes").append(make("label", "", name, select));
      });
    }
    at("outcomes").querySelectorAll("select").forEach((select) => { select.value = ""; });
    order.closest("label").hidden = !entries.some((entry) => entry.reward.size > 1);
    diff.closest("label").hidden = systems.length < 2;
    choose(order, [["", ""]], "");
    nameChoices();
  }

  function restart() {
    for (const field of [search, prompt]) field.value = "";
    diff.checked = false;
    begin();
    filter();
  }

  // ------------------------------------------------------------------------------------------------------ addresses

  // Go to the entry that the address names, whatever the filters were.
  function follow() {
    const found = /^#completion-(\d+)$/.exec(location.hash), number = found ? Number(found[1]) - 1 : -1;
    if (!(number in entries)) return;
    if (!current.includes(number)) restart();
    go(number, false);
  }

  function go(number, address = true) {
    if (address) history.replaceState(null, "", `#completion-${number + 1}`);
    fill(number);
    const card = entries[number].card;
    card.focus({ preventScroll: true });
    card.scrollIntoView({ block: "start" });
    // What comes near the screen is filled then, and moves what lies below it.
    requestAnimationFrame(() => requestAnimationFrame(() => card.scrollIntoView({ block: "start" })));
  }

  // The entry that has the focus, or the first on the screen.
  function here() {
    const card = document.activeElement && document.activeElement.closest("article");
    if (card && card.isConnected) return current.indexOf(card.number);
    return -1;
  }

  function move(by) {
    if (!current.length) return;
    const place = here();
    const top = current.findIndex((number) => entries[number].card.getBoundingClientRect().bottom > 64);
    const next = place >= 0 ? place + by : top;
    go(current[Math.min(Math.max(next, 0), current.length - 1)]);
  }

  // --------------------------------------------------------------------------------------------------------- events

  let waiting = 0;
  const later = () => { clearTimeout(waiting); waiting = setTimeout(filter, 120); };
  search.addEventListener("input", later);
  prompt.addEventListener("input", later);
  for (const select of [left, right]) select.addEventListener("change", () => { nameChoices(); filter(); });
  order.addEventListener("change", filter);
  at("outcomes").addEventListener("change", filter);
  diff.addEventListener("change", () => { version++; shown.forEach((number) => fill(number)); });
  at("filters").addEventListener("submit", (event) => event.preventDefault());
  at("filters").addEventListener("reset", (event) => {
    event.preventDefault(); // the defaults of the page's own making are not those of the markup
    restart();
  });
  addEventListener("hashchange", follow);
  addEventListener("beforeprint", () => current.forEach((number) => fill(number))); // all that passes the filters
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const writing = event.target.closest("input:not([type=checkbox]), select, textarea");
    if (writing) {
      if (event.key === "Escape") writing.blur();
      return;
    }
    const arrows = here() >= 0 ? { ArrowDown: 1, ArrowUp: -1 } : {};
    const by = { j: 1, k: -1, ...arrows }[event.key];
    if (by) move(by);
    else if (event.key === "/") { search.focus(); search.select(); }
    else if (event.key === "d" && !diff.closest("label").hidden) diff.click();
    else return;
    event.preventDefault();
  });

  begin();
  filter();
  follow();
})();
