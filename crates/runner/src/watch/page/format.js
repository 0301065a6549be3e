// Numbers and times as people read them, and the few lines that make and keep elements. What a
// record holds only ever becomes text.

const whole = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

export const number = (n) => whole.format(Math.round(n));
export const compact = (n) => short.format(n);
export const rate = (n) => `${n > 0 && n < 10 ? n.toFixed(1) : number(n)}/s`;

export function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  for (; n >= 1024 && unit < units.length - 1; unit += 1) n /= 1024;
  return `${n < 10 && unit > 0 ? n.toFixed(1) : Math.round(n)} ${units[unit]}`;
}

export function duration(ms) {
  if (ms < 1) return `${+ms.toFixed(3)} ms`;
  if (ms < 10) return `${+ms.toFixed(1)} ms`;
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = Math.floor(ms / 1000);
  if (seconds < 60) return `${+(ms / 1000).toFixed(1)} s`;
  const [days, hours, minutes] = [86400, 3600, 60].map((unit) => Math.floor(seconds / unit));
  if (days > 0) return `${days} d ${hours % 24} h`;
  if (hours > 0) return `${hours} h ${minutes % 60} min`;
  return `${minutes} min ${seconds % 60} s`;
}

export const time = (ms) => new Date(ms).toLocaleTimeString([], { hour12: false });
export const clock = (ms) => new Date(ms).toISOString().slice(0, 16).replace("T", " ") + "Z";

export const by = (id) => document.getElementById(id);

/** An element of `name` with a class and children, which are elements or texts. */
export function make(name, kind, ...children) {
  const element = document.createElement(name);
  if (kind) element.className = kind;
  element.append(...children);
  return element;
}

/** Write `value` only where it is another: what is selected or read aloud stays so. */
export function text(element, value) {
  if (element.textContent !== value) element.textContent = value;
}

export function kind(element, value) {
  if (element.className !== value) element.className = value;
}

/** Let `parent` have one child for each of `items`, in their order, and keep those that it has. */
export function keep(parent, items, key, create, update) {
  const have = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  let before = null;
  for (const item of items) {
    const name = key(item);
    let child = have.get(name);
    if (child) have.delete(name);
    else {
      child = create(item);
      child.dataset.key = name;
    }
    const place = before ? before.nextElementSibling : parent.firstElementChild;
    if (place !== child) parent.insertBefore(child, place);
    update?.(child, item);
    before = child;
  }
  for (const child of have.values()) child.remove();
}
