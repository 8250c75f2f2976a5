"use strict";
// Runs before anything is painted, so that a chosen theme does not flash in the other one first.
(() => {
  const kept = localStorage.getItem("theme");
  if (kept === "light" || kept === "dark") document.documentElement.dataset.theme = kept;
})();
