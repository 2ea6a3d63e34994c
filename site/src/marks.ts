// The steps that are pointed at: their lines in every file, their rows, their boxes.
// Marks change with each move of the pointer, so they are classes of elements that stay.
import type { Row } from "./messages";

const ON = "marked";
let rows: Row[] = [];
let pinned = false;
let current = "";

/** The ledger whose rows the marks are about. */
export function about(ledger: Row[]): void {
  rows = ledger;
  unmark();
}

export function keysOf(element: Element | null): string[] {
  const keys = element?.getAttribute("data-keys");
  return keys ? keys.split("|") : [];
}

/** The element with keys or a path that an event is about. */
export function pointed(event: Event): Element | null {
  return event.target instanceof Element
    ? event.target.closest("[data-keys], [data-path]")
    : null;
}

/** Marks everything that is about the same steps as an element. */
export function mark(element: Element | null): void {
  if (pinned) return;
  const own = pathsOf(element);
  if (own.length) return markPaths(own);
  const keys = keysOf(element);
  show(keys, (row) => row.keys.some((key) => keys.includes(key)));
}

/** Whether a row is at one of the paths of a box, or below it. */
function within(row: string, paths: string[]): boolean {
  return paths.some((path) => row === path || row.startsWith(`${path}.`));
}

function pathsOf(element: Element | null): string[] {
  return (element?.getAttribute("data-path") ?? "").split(" ").filter(Boolean);
}

/** Marks the rows at or below some paths, and the lines of what they are nearest to. */
function markPaths(paths: string[]): void {
  const below = rows.filter((row) => within(row.path, paths));
  const one = below.length === 1;
  const keys = new Set<string>();
  for (const row of below) {
    const nearest = one ? row.keys[0] : row.keys.at(-1);
    if (nearest) keys.add(nearest);
  }
  show([...keys], (row) => below.includes(row));
}

function show(keys: string[], belongs: (row: Row) => boolean): void {
  const word = keys.join("|");
  if (word === current && word === "") return;
  current = word;
  const paths = new Set(rows.filter(belongs).map((row) => row.path));
  const wanted = new Set(keys);
  for (const element of document.querySelectorAll("[data-keys]")) {
    const own = element.getAttribute("data-row");
    const on = own ? paths.has(own) : keysOf(element).some((key) => wanted.has(key));
    element.classList.toggle(ON, on);
  }
  for (const element of document.querySelectorAll("[data-path]")) {
    const own = pathsOf(element);
    element.classList.toggle(ON, own.length > 0 && [...paths].some((row) => within(row, own)));
  }
}

export function unmark(): void {
  pinned = false;
  show([], () => false);
}

/** Keeps the marks of an element until something else is chosen; scrolls to them elsewhere. */
export function pin(element: Element | null): void {
  pinned = false;
  mark(element);
  pinned = element !== null && current !== "";
  if (!pinned) return;
  const from = element?.closest("[data-region]");
  for (const region of document.querySelectorAll("[data-region]")) {
    if (region !== from) {
      region.querySelector(`.${ON}`)?.scrollIntoView({ block: "nearest", inline: "nearest" });
    }
  }
}

/** Moves along the elements with keys of a region, as the arrow keys do. */
export function move(region: Element, by: number): void {
  const all = [...region.querySelectorAll("[data-keys]")];
  const at = all.findIndex((element) => element.classList.contains("current"));
  const next = all[Math.max(0, Math.min(all.length - 1, at < 0 ? 0 : at + by))];
  all[at]?.classList.remove("current");
  next?.classList.add("current");
  next?.scrollIntoView({ block: "nearest", inline: "nearest" });
  pin(next ?? null);
}

/** The handlers of a region whose elements have keys or paths. */
export const marking = {
  onPointerOver: (event: Event): void => mark(pointed(event)),
  onPointerLeave: (): void => mark(null),
  onClick: (event: Event): void => pin(pointed(event)),
  onKeyDown: (event: KeyboardEvent): void => {
    if (event.key === "Escape") unmark();
    else if (event.key === "ArrowDown" || event.key === "ArrowUp") {
      event.preventDefault();
      move(event.currentTarget as Element, event.key === "ArrowDown" ? 1 : -1);
    }
  },
};
