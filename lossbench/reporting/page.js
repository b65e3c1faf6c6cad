"use strict";
// The table of samples: a click on a heading sorts it, undefined values last; a text filters ids.
const table = document.getElementById("samples");
const body = table.tBodies[0];
const headings = [...table.tHead.rows[0].cells];
const undefinedLast = (a, b, sign) => (a === b ? 0 : a === null ? 1 : b === null ? -1 : sign * (a < b ? -1 : 1));

const value = (row, column) => {
  const cell = row.cells[column];
  if (!("v" in cell.dataset)) return cell.textContent;
  return cell.dataset.v === "" ? null : Number(cell.dataset.v);
};

headings.forEach((heading, column) => {
  heading.querySelector("button").addEventListener("click", () => {
    const before = heading.getAttribute("aria-sort");
    const ascending = before ? before === "descending" : heading.dataset.better !== "lower";
    headings.forEach((each) => each.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    const rows = [...body.rows].map((row) => [value(row, column), row]);
    rows.sort(([a], [b]) => undefinedLast(a, b, ascending ? 1 : -1));
    body.append(...rows.map(([, row]) => row));
  });
});

document.getElementById("search").addEventListener("input", ({ target }) => {
  const text = target.value.toLowerCase();
  for (const row of body.rows) row.hidden = !row.cells[0].textContent.toLowerCase().includes(text);
});
