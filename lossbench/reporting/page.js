"use strict";
// The table of samples: sorted by a click on a heading, undefined values last; narrowed by a word.
const table = document.getElementById("samples");
const body = table.tBodies[0];
const headings = [...table.tHead.rows[0].cells];
const undefinedLast = (a, b, sign) => (a === b ? 0 : a === null ? 1 : b === null ? -1 : sign * (a < b ? -1 : 1));

const value = (row, place) => {
  const cell = row.cells[place];
  if (!("v" in cell.dataset)) return cell.textContent;
  return cell.dataset.v === "" ? null : Number(cell.dataset.v);
};

headings.forEach((heading, place) => {
  heading.querySelector("button").addEventListener("click", () => {
    const before = heading.getAttribute("aria-sort");
    const ascending = before ? before === "descending" : heading.dataset.better !== "lower";
    headings.forEach((each) => each.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    const rows = [...body.rows].map((row) => [value(row, place), row]);
    rows.sort(([a], [b]) => undefinedLast(a, b, ascending ? 1 : -1));
    body.append(...rows.map(([, row]) => row));
  });
});

document.getElementById("search").addEventListener("input", ({ target }) => {
  const word = target.value.toLowerCase();
  for (const row of body.rows) row.hidden = !row.cells[0].textContent.toLowerCase().includes(word);
});
