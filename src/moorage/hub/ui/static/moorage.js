"use strict";
// What pages need of scripts: theme, times in the reader's zone, live parts that rest in the
// background, confirmation by name, copying. Pages can be read, and forms sent, without it.

const MINUTE = 60, HOUR = 3600, DAY = 86400;

function age(seconds) {
  for (const [unit, size] of [["d", DAY], ["h", HOUR], ["m", MINUTE]])
    if (seconds >= 2 * size) return `${Math.floor(seconds / size)} ${unit}`;
  return `${Math.max(0, Math.floor(seconds))} s`;
}

function showTimes(root = document) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const moment = new Date(time.dateTime);
    const there = moment.toLocaleString(undefined, { dateStyle: "medium", timeStyle: "medium" });
    time.title = `${there} (${time.dateTime})`;
    const text = "ago" in time.dataset ? age((Date.now() - moment) / 1000) : there;
    if (time.textContent !== text) time.textContent = text;
  }
}

function nextTheme() {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)").matches;
  const now = root.dataset.theme ?? (dark ? "dark" : "light");
  root.dataset.theme = now === "dark" ? "light" : "dark";
  localStorage.setItem("theme", root.dataset.theme);
}

// A button that deletes is enabled once the name has been typed.
function watchNames(event) {
  const wanted = event.target.dataset?.mustEqual;
  if (wanted === undefined) return;
  event.target.form.querySelector("[data-danger]").disabled = event.target.value !== wanted;
}

async function copy(event) {
  const from = event.target.dataset?.copy;
  if (from === undefined) return;
  await navigator.clipboard.writeText(document.querySelector(from).textContent);
  const label = event.target.textContent;
  event.target.textContent = "Copied";
  setTimeout(() => { event.target.textContent = label; }, 1500);
}

const box = document.getElementById("away"), noAnswer = box.textContent;
function away(is, text = noAnswer) {
  if (box.textContent !== text) box.textContent = text;
  box.hidden = !is;
}

document.addEventListener("htmx:config:request", (event) => {
  // Nobody looks: nothing is asked.
  if (document.hidden) event.preventDefault();
});
document.addEventListener("htmx:before:response", (event) => {
  const status = event.detail.ctx.response.status;
  const gone = status === 404;
  away(status >= 500 || gone, gone ? "This is gone: it was deleted, or you may no longer see it." : undefined);
  // What was last seen stays on the page when a later look at it fails.
  if (status >= 400) event.preventDefault();
});
document.addEventListener("htmx:error", () => away(true));

// A form that is shown anew while it is filled in: an answer to an older state of it is dropped,
// and what its lists have chosen is what the newest one says, whatever became of their options.
let turn = 0;
document.addEventListener("change", () => { turn += 1; }, true);
document.addEventListener("htmx:config:request", (event) => { event.detail.ctx.turn = turn; });
document.addEventListener("htmx:before:swap", (event) => {
  const { ctx } = event.detail;
  if (ctx.sourceElement.matches("form") && ctx.turn !== turn) event.preventDefault();
});
document.addEventListener("htmx:after:swap", (event) => {
  showTimes();
  if (!event.detail.ctx.sourceElement.matches("form")) return;
  document.getElementById("problem")?.remove();
  for (const select of event.detail.ctx.sourceElement.querySelectorAll("select")) {
    const chosen = select.querySelector("option[selected]");
    if (chosen && select.value !== chosen.value) select.value = chosen.value;
  }
});
document.addEventListener("change", (event) => {
  const name = event.target.dataset?.all;
  if (name === undefined) return;
  for (const box of event.target.form.querySelectorAll(`[name="${name}"]`)) box.checked = event.target.checked;
});
document.addEventListener("input", watchNames);
document.addEventListener("click", copy);
document.addEventListener("submit", (event) => {
  const question = event.submitter?.dataset.ask;
  if (question !== undefined && !confirm(question)) event.preventDefault();
});
document.addEventListener("click", (event) => {
  for (const menu of document.querySelectorAll("details.menu[open]"))
    if (!menu.contains(event.target)) menu.open = false;
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape") return;
  for (const menu of document.querySelectorAll("details.menu[open]")) {
    menu.open = false;
    menu.querySelector("summary").focus();
  }
});

const theme = document.getElementById("theme");
theme.hidden = false;
theme.addEventListener("click", nextTheme);
showTimes();
setInterval(() => { if (!document.hidden) showTimes(); }, 1000);
document.getElementById("problem")?.focus();
for (const button of document.querySelectorAll("[data-must-equal]"))
  button.form.querySelector("[data-danger]").disabled = true;
