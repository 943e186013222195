// What scrolls sideways can be reached, and scrolled, by the keyboard.
addEventListener("DOMContentLoaded", () => {
  for (const box of document.querySelectorAll("pre, .table-wrapper")) {
    if (box.scrollWidth <= box.clientWidth) continue;
    box.tabIndex = 0;
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", box.querySelector("caption")?.textContent ?? (box.tagName === "PRE" ? "Text" : "Table"));
  }
  // Furo's two landmarks of one kind have no names, and its search page has no heading.
  document.querySelector(".sidebar-drawer")?.setAttribute("aria-label", "All pages");
  document.querySelector(".toc-drawer")?.setAttribute("aria-label", "On this page");
  const results = document.getElementById("search-results");
  if (results) results.before(Object.assign(document.createElement("h1"), { textContent: "Search" }));
});
