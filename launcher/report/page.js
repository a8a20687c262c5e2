"use strict";
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const header = button.closest("th");
    const descends = header.getAttribute("aria-sort") === "ascending";
    for (const other of header.parentElement.children) other.removeAttribute("aria-sort");
    header.setAttribute("aria-sort", descends ? "descending" : "ascending");
    const body = header.closest("table").tBodies[0];
    const keyed = [...body.rows].map((row) => [row.cells[header.cellIndex].dataset.sort, row]);
    keyed.sort(([one], [other]) => {
      if (one === "" || other === "") return (one === "") - (other === ""); // missing ones stay last
      const order = isNaN(one) || isNaN(other) ? one.localeCompare(other) : one - other;
      return descends ? -order : order;
    });
    body.append(...keyed.map(([, row]) => row));
  });
}
for (const row of document.querySelectorAll("tr[data-run]")) {
  const light = (on) => {
    const curves = document.querySelectorAll(`.curve.run-${row.dataset.run}`);
    for (const curve of curves) curve.classList.toggle("lit", on);
  };
  row.addEventListener("mouseenter", () => light(true));
  row.addEventListener("mouseleave", () => light(false));
}
window.addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
