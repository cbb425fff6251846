"use strict";

// Where storage is forbidden, as some browsers do for files, the choice of colours lasts as long as the page.
const chosen = {
  get theme() { try { return localStorage.getItem("theme"); } catch { return null; } },
  set theme(name) { try { localStorage.setItem("theme", name); } catch { /* lasts as long as the page */ } },
};

// Before the page is first drawn, so that it does not flash.
if (["light", "dark"].includes(chosen.theme)) document.documentElement.dataset.theme = chosen.theme;

addEventListener("DOMContentLoaded", () => {
  themes(document.querySelector(".theme"));
  contents(document.querySelector(".contents"));
  folds();
  document.querySelectorAll("thead button").forEach((button) => button.addEventListener("click", () => sort(button)));
  hints(document.querySelector(".tip"));
});

function themes(button) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;
  const other = () => ((root.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark" ? "light" : "dark");
  const name = () => { button.textContent = other() === "dark" ? "Dark colours" : "Light colours"; };
  button.addEventListener("click", () => {
    chosen.theme = root.dataset.theme = other();
    name();
  });
  system.addEventListener("change", name);
  name();
  button.hidden = false;
}

// A link into what is folded opens it; paper shows everything.
function folds() {
  const named = (hash) => { try { return decodeURIComponent(hash.slice(1)); } catch { return ""; } };
  const open = (hash) => {
    const target = document.getElementById(named(hash));
    const own = target?.querySelector(":scope > details.fold");
    for (let each = own ?? target; each; each = each.parentElement) {
      if (each.matches("details.fold")) each.open = true;
    }
    return target;
  };
  document.addEventListener("click", (event) => {
    const link = event.target.closest('a[href^="#"]');
    if (link) open(link.hash);
  });
  addEventListener("hashchange", () => open(location.hash)?.scrollIntoView());
  open(location.hash)?.scrollIntoView();
  addEventListener("beforeprint", () => {
    document.querySelectorAll("details.fold").forEach((details) => { details.open = true; });
  });
}

// A sidebar where there is room, else folded; the part being read is marked.
function contents(details) {
  const isWide = matchMedia("(min-width: 64rem)");
  const fold = () => { details.open = isWide.matches; };
  isWide.addEventListener("change", fold);
  fold();
  const links = new Map([...details.querySelectorAll("a")].map((link) => [link.getAttribute("href").slice(1), link]));
  details.addEventListener("click", (event) => { if (event.target.closest("a")) fold(); });
  const sections = [...document.querySelectorAll("main section")];
  const mark = () => {
    const read = sections.findLast((section) => section.checkVisibility() && section.getBoundingClientRect().top < 80);
    const link = links.get(read?.id);
    if (link?.ariaCurrent) return;
    details.querySelector("[aria-current]")?.removeAttribute("aria-current");
    link?.setAttribute("aria-current", "true");
    if (isWide.matches) link?.scrollIntoView({ block: "nearest" });
  };
  document.addEventListener("scroll", mark, { passive: true });
  mark();
}

// Stable; numbers where every value is one; cells without a value come last both ways.
function sort(button) {
  const heading = button.parentElement;
  const order = heading.ariaSort === "ascending" ? "descending" : "ascending";
  heading.parentElement.querySelectorAll("[aria-sort]").forEach((cell) => cell.removeAttribute("aria-sort"));
  heading.ariaSort = order;
  const body = heading.closest("table").tBodies[0];
  const rows = [...body.rows].map((row) => [row.cells[heading.cellIndex].dataset.sort, row]);
  const isNumeric = rows.every(([key]) => key === undefined || !Number.isNaN(Number(key)));
  const text = new Intl.Collator("en", { numeric: true });
  const compare = isNumeric ? (a, b) => (Number(a) === Number(b) ? 0 : Number(a) - Number(b)) : text.compare;
  const sign = order === "ascending" ? 1 : -1;
  rows.sort(([a], [b]) => {
    if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);
    return sign * compare(a, b);
  });
  body.append(...rows.map(([, row]) => row));
}

// Browsers show a title to a mouse alone; this shows it to a finger and to the keyboard too.
function hints(tip) {
  const hide = () => { tip.hidden = true; };
  document.addEventListener("focusin", (event) => {
    const titled = event.target.closest("td [title], th [title]");
    if (!titled) return hide();
    tip.textContent = titled.title;
    tip.hidden = false;
    const at = titled.getBoundingClientRect();
    const above = at.bottom + tip.offsetHeight + 8 > innerHeight;
    tip.style.top = `${above ? at.top - tip.offsetHeight - 4 : at.bottom + 4}px`;
    tip.style.left = `${Math.max(8, Math.min(at.left, document.documentElement.clientWidth - tip.offsetWidth - 8))}px`;
  });
  document.addEventListener("focusout", hide);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hide(); });
  document.addEventListener("scroll", hide, { capture: true, passive: true });
}
