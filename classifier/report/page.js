"use strict";
/* Tables sort by the column whose heading is pressed; again for the other direction. Rows marked "sub" stay with the one above. */
function value(row, column) {
  const text = row.cells[column].textContent.trim();
  const number = text.match(/^[-+]?\d[\d,]*(\.\d+)?(e[-+]?\d+)?(?=$|[\s(])/);
  return { text: text, number: number ? Number(number[0].replaceAll(",", "")) : NaN };
}
function compare(a, b, way) {
  const numbers = [a, b].map((one) => !Number.isNaN(one.number));
  if (numbers[0] !== numbers[1]) return numbers[0] ? -1 : 1;
  if (numbers[0]) return way * (a.number - b.number);
  if (!a.text !== !b.text) return a.text ? -1 : 1;
  return way * a.text.localeCompare(b.text, "en", { numeric: true });
}
function sort(table, column) {
  const heads = [...table.tHead.rows[0].cells];
  const way = heads[column].getAttribute("aria-sort") === "ascending" ? -1 : 1;
  heads.forEach((head) => head.removeAttribute("aria-sort"));
  heads[column].setAttribute("aria-sort", way === 1 ? "ascending" : "descending");
  const groups = [];
  for (const row of table.tBodies[0].rows) {
    if (row.classList.contains("sub") && groups.length) groups[groups.length - 1].push(row);
    else groups.push([row]);
  }
  groups.sort((a, b) => compare(value(a[0], column), value(b[0], column), way));
  table.tBodies[0].append(...groups.flat());
}
for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.addEventListener("click", () => sort(table, column));
    head.append(button);
  });
}
