// The timeline: a canvas that shows the rows that are scrolled to, and a strip of the whole build above it.

const ROW = 17;
const AXIS = 24;
const STRIP = 34;
/** What is right of every picture. */
const RIGHT = 12;
/** The colours of programs: white is read on the first ones, black on the second. */
const PALETTE = ['#2f6299', '#8a5a00', '#2a7347', '#9c3d6e', '#6f50a0', '#a33f2a', '#1f6f78', '#5d6b1f', '#5a5f99', '#7a4f3a'];
const DARK_PALETTE = ['#79b0ea', '#dcb24c', '#6cc492', '#ea92bd', '#b99ce6', '#f29b80', '#6cc3cc', '#b5c46a', '#a3a8ea', '#c9a48f'];

class Lanes {
  constructor(view, root) {
    this.view = view;
    this.box = root.querySelector('.lanes');
    this.scroll = root.querySelector('.scroll');
    this.canvas = this.scroll.querySelector('canvas');
    this.room = root.querySelector('.room');
    this.strip = root.querySelector('.overview');
    this.line = root.querySelector('.line');
    this.scroll.addEventListener('scroll', () => view.draw());
    this.setRows(view.group);
  }

  setRows(group) {
    this.all = rowsOf(this.view.pool, group);
    this.rows = this.all;
    this.scroll.scrollTop = 0;
  }

  /** Shows all slots, and those of the other rows that have something in the visible time. */
  choose() {
    const { view } = this;
    const { start } = view.pool.parts;
    const isSeen = (row) => {
      const n = above(row.ends, view.from);
      return n < row.items.length && start[row.items[n]] < view.to;
    };
    this.rows = this.all.filter((row) => row.group.stays || isSeen(row));
    this.room.style.height = `${this.rows.length * ROW}px`;
  }

  /** A drawing board as large as its element. */
  board(canvas, width, height) {
    const scale = window.devicePixelRatio || 1;
    if (canvas.width !== Math.round(width * scale) || canvas.height !== Math.round(height * scale)) {
      canvas.width = Math.round(width * scale);
      canvas.height = Math.round(height * scale);
      canvas.style.width = `${width}px`;
      canvas.style.height = `${height}px`;
    }
    const to = canvas.getContext('2d');
    to.setTransform(scale, 0, 0, scale, 0, 0);
    to.clearRect(0, 0, width, height);
    return to;
  }

  draw() {
    const { view } = this;
    this.choose();
    const height = Math.min(this.rows.length * ROW, view.most) + AXIS;
    this.scroll.style.height = `${height}px`;
    // The scroll bar lies over what is right of the rows.
    const width = this.scroll.offsetWidth;
    const to = this.board(this.canvas, width, height);
    to.font = '11px system-ui, sans-serif';
    to.textBaseline = 'middle';
    const first = Math.floor(this.scroll.scrollTop / ROW);
    const shift = AXIS - (this.scroll.scrollTop - first * ROW);
    const shown = Math.ceil((height - shift) / ROW);
    to.save();
    to.beginPath();
    to.rect(0, AXIS, width, height - AXIS);
    to.clip();
    this.drawGrid(to, height, width);
    for (let r = first; r < Math.min(first + shown, this.rows.length); r++) {
      const heads = r === 0 || this.rows[r - 1].group !== this.rows[r].group;
      this.drawRow(to, this.rows[r], heads, [shift + (r - first) * ROW, width]);
    }
    to.restore();
    this.drawAxis(to, width);
    this.drawStrip(width);
  }

  drawGrid(to, height, width) {
    to.fillStyle = this.view.ink('line');
    to.globalAlpha = 0.6;
    for (const at of this.view.ticks().all) to.fillRect(Math.round(this.view.x(at)), AXIS, 1, height);
    to.globalAlpha = 1;
  }

  drawAxis(to, width) {
    const { view } = this;
    const { step, all } = view.ticks();
    to.fillStyle = view.ink('soft');
    to.textAlign = 'center';
    for (const at of all) {
      const x = view.x(at);
      if (x < width - 12) to.fillText(clock(at, step), x, AXIS / 2);
      to.fillRect(Math.round(x), AXIS - 4, 1, 4);
    }
    to.textAlign = 'left';
  }

  drawRow(to, row, heads, [y, width]) {
    const { view } = this;
    if (heads) {
      to.fillStyle = view.ink('line');
      to.fillRect(0, y - 0.5, width, 1);
      to.fillStyle = view.ink('soft');
      to.fillText(cut(to, row.group.label, view.left - 8), 2, y + ROW / 2);
    }
    to.save();
    to.beginPath();
    to.rect(view.left, y, width - view.left - RIGHT, ROW);
    to.clip();
    this.drawParts(to, row, y);
    this.drawLent(to, row, y);
    to.restore();
  }

  /** Parts that are narrower than a pixel share it: as much of it is filled as they cover. */
  drawParts(to, row, y) {
    const { view } = this;
    const { start, end, job } = view.pool.parts;
    const [top, high] = [y + 1.5, ROW - 3];
    let pixel = { at: -1 };
    const flush = () => {
      if (pixel.at < 0) return;
      to.fillStyle = pixel.ink;
      to.globalAlpha = (0.3 + 0.7 * Math.min(1, pixel.cover)) * (pixel.hit ? 1 : view.dim);
      to.fillRect(pixel.at, top, 1, high);
      to.globalAlpha = 1;
      pixel = { at: -1 };
    };
    for (let n = above(row.ends, view.from); n < row.items.length; n++) {
      const i = row.items[n];
      if (start[i] >= view.to) break;
      const x = view.x(start[i]);
      const wide = view.x(end[i]) - x;
      const hit = view.isHit(job[i]);
      if (wide >= 1.5) {
        flush();
        this.drawPart(to, i, hit, [x, top, wide, high]);
        continue;
      }
      const at = Math.floor(x);
      if (at !== pixel.at) {
        flush();
        pixel = { at, cover: 0, hit: false, widest: -1 };
      }
      pixel.cover += Math.max(wide, 0.05);
      if ((hit && !pixel.hit) || (hit === pixel.hit && wide > pixel.widest)) {
        Object.assign(pixel, { hit, widest: wide, ink: view.paintOf(i) });
      }
    }
    flush();
  }

  drawPart(to, i, hit, [x, top, wide, high]) {
    const { view } = this;
    const j = view.pool.parts.job[i];
    to.globalAlpha = hit ? 1 : view.dim;
    to.fillStyle = view.paintOf(i);
    const gap = wide > 4 ? 1 : 0.25;
    const waits = view.pool.parts.state[i] === WAIT;
    if (waits) {
      // Hollow: nothing runs.
      to.globalAlpha *= 0.25;
      to.fillRect(x, top, wide - gap, high);
      to.globalAlpha *= 4;
      to.strokeStyle = to.fillStyle;
      to.lineWidth = 1;
      if (wide > 3) to.strokeRect(x + 0.5, top + 0.5, wide - gap - 1, high - 1);
    } else {
      to.fillRect(x, top, wide - gap, high);
    }
    if (view.picked === j) {
      to.strokeStyle = view.ink('ink');
      to.lineWidth = 2;
      to.strokeRect(x + 1, top + 1, Math.max(1, wide - gap - 2), high - 2);
    }
    // A name that begins left of what is seen is shown where it is seen.
    const from = Math.max(x, view.left);
    const room = Math.min(x + wide, view.x(view.to)) - from - 8;
    if (hit && room >= 16) {
      to.fillStyle = view.ink(waits ? 'ink' : 'on');
      to.fillText(cut(to, view.pool.jobs.name[j], room), from + 4, top + high / 2 + 0.5);
    }
    to.globalAlpha = 1;
  }

  /** Where a job sleeps and its slot is lent its bar is striped. */
  drawLent(to, row, y) {
    const { view } = this;
    const { start, end } = view.pool.parts;
    to.strokeStyle = view.ink('bg');
    to.lineWidth = 2;
    to.globalAlpha = 0.75;
    for (const i of row.lent) {
      if (end[i] <= view.from || start[i] >= view.to) continue;
      const from = Math.max(view.x(start[i]), view.left);
      const until = Math.min(view.x(end[i]), view.x(view.to));
      to.save();
      to.beginPath();
      to.rect(from, y + 1.5, Math.max(1, until - from), ROW - 3);
      to.clip();
      to.beginPath();
      for (let x = from - ROW - (from % 6); x < until; x += 6) {
        to.moveTo(x, y + ROW);
        to.lineTo(x + ROW, y);
      }
      to.stroke();
      to.restore();
    }
    to.globalAlpha = 1;
  }

  /** The whole build: busy slots, and which time is seen below. */
  drawStrip(width) {
    const { view } = this;
    const to = this.board(this.strip, width, STRIP);
    const [left, wide, high] = [view.left, Math.max(1, Math.floor(width - view.left - RIGHT)), STRIP - 6];
    const mean = means(view.busy, 0, view.pool.wall, wide);
    to.fillStyle = view.ink('panel');
    to.fillRect(left, 0, wide, high);
    to.fillStyle = view.ink('token');
    mean.forEach((level, x) => {
      const h = (high * level) / view.slots;
      to.fillRect(left + x, high - h, 1, h);
    });
    to.fillStyle = view.ink('soft');
    to.font = '11px system-ui, sans-serif';
    to.textBaseline = 'middle';
    to.fillText(view.width < 600 ? 'build' : 'whole build', 2, high / 2);
    const x = (at) => left + (at / view.pool.wall) * wide;
    const [from, until] = [x(view.from), x(view.to)];
    to.fillStyle = view.ink('bg');
    to.globalAlpha = 0.7;
    to.fillRect(left, 0, from - left, high);
    to.fillRect(until, 0, left + wide - until, high);
    to.globalAlpha = 1;
    to.strokeStyle = view.ink('ink');
    to.lineWidth = 1.5;
    to.strokeRect(from + 0.75, 0.75, Math.max(3, until - from - 1.5), high - 1.5);
  }

  /** The part at a place of the canvas, or -1. */
  partAt(x, y) {
    const { view } = this;
    const row = this.rows[Math.floor((y - AXIS + this.scroll.scrollTop) / ROW)];
    if (!row || y < AXIS || x < view.left) return -1;
    const at = view.time(x);
    const near = (view.to - view.from) / 400;
    let n = above(row.ends, at);
    const { start } = view.pool.parts;
    if (n >= row.items.length || start[row.items[n]] > at + near) {
      if (n > 0 && at - row.ends[n - 1] < near) n -= 1;
      else return -1;
    }
    return row.items[n];
  }

  /** Marks the time that the pointer is at; a negative one: none. */
  pointTo(x) {
    this.line.hidden = x < this.view.left;
    this.line.style.left = `${x}px`;
  }

  /** Scrolls to a part. */
  reveal(part) {
    this.choose();
    const row = this.rows.findIndex(({ items }) => items.includes(part));
    if (row < 0) return;
    const top = row * ROW;
    const [from, high] = [this.scroll.scrollTop, this.scroll.clientHeight - AXIS - ROW];
    if (top < from || top > from + high) this.scroll.scrollTop = Math.max(0, top - high / 2);
  }
}
