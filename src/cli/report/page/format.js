// Numbers and texts for a reader, as the tables have them.

function duration(us) {
  if (us < 1) return '0 s';
  if (us < 1000) return `${Math.round(us)} µs`;
  if (us < 99950) return `${(us / 1e3).toFixed(1)} ms`;
  if (us < 999500) return `${Math.round(us / 1e3)} ms`;
  if (us < 9995e3) return `${(us / 1e6).toFixed(2)} s`;
  if (us < 9995e4) return `${(us / 1e6).toFixed(1)} s`;
  const seconds = Math.floor(us / 1e6);
  if (seconds < 3600) return `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes >= 6000) return `${count(Math.floor(minutes / 60))} h`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

function memory(kb) {
  if (!kb) return '';
  if (kb < 10000) return `${Math.round(kb)} kB`;
  if (kb < 10240000) return `${Math.round(kb / 1024)} MB`;
  return `${(kb / 1048576).toFixed(1)} GB`;
}

function count(n) {
  return n.toLocaleString('en');
}

/** Round times between two, about `most` of them. */
function ticks(from, to, most) {
  const steps = [1, 2, 5, 10, 20, 50, 100, 200, 500].flatMap((n) => [n, n * 1e3]);
  steps.push(...[1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 18000, 36000, 86400].map((n) => n * 1e6));
  steps.sort((a, b) => a - b);
  const step = steps.find((s) => (to - from) / s <= most) ?? 864e8;
  const all = [];
  for (let at = Math.ceil(from / step) * step; at <= to; at += step) all.push(at);
  return { step, all };
}

/** A time of the build, as exact as the step between two needs it. */
function clock(us, step) {
  const digits = step >= 1e6 ? 0 : step >= 1e5 ? 1 : step >= 1e4 ? 2 : step >= 1e3 ? 3 : 6;
  const seconds = us / 1e6;
  if (seconds < 60 || digits > 3) return `${seconds.toFixed(digits)} s`;
  const minutes = Math.floor(seconds / 60);
  const rest = (seconds % 60).toFixed(digits).padStart(digits ? digits + 3 : 2, '0');
  if (minutes < 60) return `${minutes}:${rest}`;
  return `${Math.floor(minutes / 60)}:${String(minutes % 60).padStart(2, '0')}:${rest}`;
}

/** The widths of letters in the one font of the timeline. */
const widths = new Map();

function widthOf(to, letter) {
  return widths.get(letter) ?? widths.set(letter, to.measureText(letter).width).get(letter);
}

/** A text that is cut where it has no room, which is in pixels. */
function cut(to, text, room) {
  const dots = widthOf(to, '…');
  let [wide, kept] = [0, 0];
  for (let n = 0; n < text.length; n++) {
    wide += widthOf(to, text[n]);
    if (wide > room) return kept ? `${text.slice(0, kept)}…` : '';
    if (wide + dots <= room) kept = n + 1;
  }
  return text;
}
