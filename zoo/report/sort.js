for (const table of document.querySelectorAll("table")) {
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
      const order = (row) => row.cells[column].dataset.order;
      const body = table.tBodies[0];
      const rows = [...body.rows];
      rows.sort((a, b) => {
        if (!text(a) || !text(b)) return !text(a) - !text(b);  // empty cells stay last
        const compared = order(a) === undefined
          ? text(a).localeCompare(text(b), undefined, { numeric: true })
          : order(a) - order(b);
        return direction * compared;
      });
      body.append(...rows);
    });
  });
}
