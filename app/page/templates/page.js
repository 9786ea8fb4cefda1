"use strict";
// What is wider than its place says so at its edges; a heatmap opens at its newest end.
for (const edge of document.querySelectorAll(".edge")) {
  const scroll = edge.querySelector(".scroll");
  const cue = scroll.matches(".newest") ? edge.closest(".coverage").querySelector(".cue") : null;

  const mark = () => {
    const more = scroll.scrollWidth - scroll.clientWidth;
    edge.classList.toggle("more-before", scroll.scrollLeft > 1);
    edge.classList.toggle("more-after", scroll.scrollLeft < more - 1);
    if (cue) cue.hidden = scroll.scrollLeft <= 1;
    const names = scroll.querySelector(".heat tbody th");
    if (names) edge.style.setProperty("--names", `${names.offsetWidth}px`);
  };

  if (scroll.matches(".newest")) scroll.scrollLeft = scroll.scrollWidth;
  scroll.addEventListener("scroll", mark, { passive: true });
  new ResizeObserver(mark).observe(scroll);
  mark();
}

// The heatmap as a grid: arrow keys go from cell to cell, and what a cell says is shown below it.
for (const table of document.querySelectorAll("table.heat")) {
  const rows = Array.from(table.tBodies[0].rows, (row) => Array.from(row.querySelectorAll("td.c")));
  const heads = table.querySelectorAll("thead th[title]");
  const detail = table.closest(".cells").querySelector(".detail");
  let row = 0;
  let column = 0;

  const say = (cell) => {
    const at = Array.from(cell.parentNode.querySelectorAll("td.c")).indexOf(cell);
    detail.textContent =
      `${cell.parentNode.cells[0].firstChild.textContent}, ${heads[at].title}: ${cell.querySelector("i").textContent}`;
  };
  const choose = (nextRow, nextColumn) => {
    rows[row][column].tabIndex = -1;
    row = Math.max(0, Math.min(rows.length - 1, nextRow));
    column = Math.max(0, Math.min(heads.length - 1, nextColumn));
    rows[row][column].tabIndex = 0;
  };

  table.setAttribute("role", "grid");
  table.setAttribute("aria-readonly", "true");
  detail.hidden = false;
  choose(0, heads.length - 1);
  table.addEventListener("mouseover", (event) => {
    const cell = event.target.closest("td.c");
    if (cell) say(cell);
  });
  table.addEventListener("mousedown", (event) => {
    const cell = event.target.closest("td.c");
    if (!cell) return;
    const at = rows.findIndex((cells) => cells.includes(cell));
    choose(at, rows[at].indexOf(cell));
    cell.focus();
  });
  table.addEventListener("focusin", (event) => {
    const cell = event.target.closest("td.c");
    if (cell) say(cell);
  });
  table.addEventListener("keydown", (event) => {
    const moves = {
      ArrowLeft: [row, column - 1],
      ArrowRight: [row, column + 1],
      ArrowUp: [row - 1, column],
      ArrowDown: [row + 1, column],
      Home: [event.ctrlKey ? 0 : row, 0],
      End: [event.ctrlKey ? rows.length - 1 : row, heads.length - 1],
    };
    if (!(event.key in moves) || !event.target.closest("td.c")) return;
    event.preventDefault();
    choose(...moves[event.key]);
    rows[row][column].focus();
    rows[row][column].scrollIntoView({ block: "nearest", inline: "nearest" });
  });
}
