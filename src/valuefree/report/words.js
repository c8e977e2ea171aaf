// What differs between two texts, word by word.
"use strict";
const CELLS = 4e6; // of the table that compares two texts; above it their middles count as wholly different
const words = (text) => text.match(/[\p{L}\p{N}\p{M}_]+|\s+|[^\p{L}\p{N}\p{M}_\s]/gu) || [];

// Runs of [both | left | right, text]: what both texts have, the left one alone, the right one alone; by the longest common
// subsequence of words, spaces and signs. Joined, the runs of both and left are the left text.
function compared(one, two) {
  const a = words(one), b = words(two), runs = [];
  let start = 0, endA = a.length, endB = b.length;
  while (start < endA && start < endB && a[start] === b[start]) start++;
  while (endA > start && endB > start && a[endA - 1] === b[endB - 1]) { endA--; endB--; }
  const push = (kind, text) => {
    if (!text) return;
    const last = runs[runs.length - 1];
    if (last && last[0] === kind) last[1] += text;
    else runs.push([kind, text]);
  };
  push("both", a.slice(0, start).join(""));
  const n = endA - start, m = endB - start;
  if (n * m > CELLS) {
    push("left", a.slice(start, endA).join(""));
    push("right", b.slice(start, endB).join(""));
  } else {
    const width = m + 1, longest = new Uint32Array((n + 1) * width);
    for (let i = n - 1; i >= 0; i--) {
      for (let j = m - 1; j >= 0; j--) {
        longest[i * width + j] = a[start + i] === b[start + j]
          ? longest[(i + 1) * width + j + 1] + 1
          : Math.max(longest[(i + 1) * width + j], longest[i * width + j + 1]);
      }
    }
    let i = 0, j = 0;
    while (i < n || j < m) {
      if (i < n && j < m && a[start + i] === b[start + j]) { push("both", a[start + i]); i++; j++; }
      else if (j === m || (i < n && longest[(i + 1) * width + j] >= longest[i * width + j + 1])) push("left", a[start + i++]);
      else push("right", b[start + j++]);
    }
  }
  push("both", a.slice(endA).join(""));
  return runs;
}
