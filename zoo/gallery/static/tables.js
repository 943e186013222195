// Tables of what was measured can be sorted by each column, and filtered by a text.
const UNITS = { k: 1e3, M: 1e6, G: 1e9, T: 1e12 };

function order(text) {
  const found = /^<?([+-]?\d[\d.]*)([kMGT]?)/.exec(text);
  return found && Number(found[1]) * (UNITS[found[2]] ?? 1);
}

function sortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const direction = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
      const text = (row) => row.cells[column].textContent.trim();
      const body = table.tBodies[0];
      body.append(...[...body.rows].sort((a, b) => {
        if (!text(a) || !text(b)) return !text(a) - !text(b);  // empty cells stay last
        const [one, other] = [order(text(a)), order(text(b))];
        const numbers = one !== null && other !== null;
        return direction * (numbers ? one - other : text(a).localeCompare(text(b)));
      }));
    });
  });
}

function filtered(table) {
  const label = document.createElement("label");
  label.className = "zoo-filter";
  const input = document.createElement("input");
  input.type = "search";
  label.append("Only rows with ", input);
  (table.closest(".table-wrapper") ?? table).before(label);
  input.addEventListener("input", () => {
    const wanted = input.value.trim().toLowerCase();
    for (const row of table.tBodies[0].rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
  });
}

addEventListener("DOMContentLoaded", () => {
  for (const table of document.querySelectorAll("table.zoo-sortable")) {
    sortable(table);
    if (table.tBodies[0].rows.length > 5) filtered(table);
  }
});
