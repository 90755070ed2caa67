// The curves below the timeline, by uPlot: slots in use, and the memory of what runs.

/** Slots that are busy at each time: what runs inside another job has that job's slot. */
function busyLevel(pool) {
  const { kind, state, lane, start, end } = pool.parts;
  const [outer, until] = [[], []];
  // Where two meet by rounding, the second begins later.
  const from = Float64Array.from(start);
  for (let i = 0; i < start.length; i++) {
    if (kind[i] !== 0 || state[i] === LENT) continue;
    from[i] = Math.max(start[i], until[lane[i]] ?? 0);
    if (end[i] > from[i]) {
      outer.push(i);
      until[lane[i]] = end[i];
    }
  }
  return levelOf(outer, from, end, () => 1);
}

function lentLevel(pool) {
  const { state, start, end } = pool.parts;
  const lent = Array.from(state.keys()).filter((i) => state[i] === LENT);
  return lent.length ? levelOf(lent, start, end, () => 1) : null;
}

/** The most memory of each running job. Of one that is a client its jobs tell. */
function memoryLevel(pool) {
  const { jobs, isClient } = pool;
  const known = Array.from(jobs.pid.keys()).filter((j) => jobs.memory[j] && jobs.ran[j] && !isClient[j]);
  return known.length ? levelOf(known, jobs.start, jobs.end, (j) => jobs.memory[j]) : null;
}

class Chart {
  /** `series`: for each a level, a colour, a name, and whether the place below it is filled. */
  constructor(view, box, title, series, { most, text, incrs, mark = text }) {
    Object.assign(this, { view, box, series, text });
    this.title = title;
    const line = ({ name, ink, fill }) => ({
      label: name,
      stroke: () => view.ink(ink),
      fill: fill ? () => view.ink(`${ink}-fill`) : undefined,
      width: 1.5,
      points: { show: false },
    });
    const axis = { stroke: () => view.ink('soft'), font: '11px system-ui, sans-serif', labelFont: '11px system-ui, sans-serif' };
    const grid = { stroke: () => view.ink('line'), width: 1 };
    const options = {
      width: 300,
      height: 130,
      padding: [8, RIGHT, 0, 0],
      scales: { x: { time: false, range: () => [view.from, view.to] }, y: { range: () => [0, most] } },
      // The other curve follows the pointer; what is dragged over is told once.
      cursor: { sync: { key: view.key, filters: { pub: (type) => type === 'mousemove' || type === 'mouseleave' } }, drag: { x: true, y: false, setScale: false }, y: false },
      legend: { show: false },
      series: [{}, ...series.map(line)],
      axes: [
        {
          ...axis,
          grid,
          size: 24,
          ticks: { ...grid, size: 4 },
          splits: () => view.ticks().all,
          values: (_, all) => all.map((at) => clock(at, view.ticks().step)),
        },
        { ...axis, grid, size: () => view.left, ticks: { ...grid, size: 4 }, space: 18, incrs, values: (_, all) => all.map(mark) },
      ],
      hooks: { setSelect: [(u) => this.select(u)], setCursor: [(u) => this.tell(u)] },
    };
    this.plot = new uPlot(options, this.data(), box);
    this.plot.over.addEventListener('dblclick', () => view.all());
  }

  data() {
    const { view } = this;
    const bins = Math.max(50, Math.floor(view.width - view.left - RIGHT));
    const wide = (view.to - view.from) / bins;
    const times = Float64Array.from({ length: bins }, (_, n) => view.from + (n + 0.5) * wide);
    return [times, ...this.series.map(({ level }) => means(level, view.from, view.to, bins))];
  }

  /** The values below the pointer, above the curve. */
  tell(u) {
    const { view, series } = this;
    const { idx, left } = u.cursor;
    const isThere = left >= 0 && u.data[0][idx] !== undefined;
    const values = isThere ? series.map(({ name }, n) => `${this.text(u.data[n + 1][idx])} ${name}`) : [];
    const step = (view.to - view.from) / 100;
    this.box.previousElementSibling.textContent = isThere ? `${this.title} · at ${clock(u.data[0][idx], step)}: ${values.join(', ')}` : this.title;
    view.lanes.pointTo(isThere ? left + view.left : -1);
  }

  select(u) {
    const { left, width } = u.select;
    if (width < 4) return;
    const { view } = this;
    const time = (x) => view.from + (x / u.over.clientWidth) * (view.to - view.from);
    u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
    view.show(time(left), time(left + width));
  }

  draw() {
    const { view, plot } = this;
    if (plot.width !== view.width) plot.setSize({ width: view.width, height: 130 });
    plot.setData(this.data());
    // It is as wide as the timeline above it, whose names have more room or less.
    if (plot.over.offsetLeft !== view.left) plot.redraw(false, true);
  }
}

/** A round number of kB, as the axis has them. */
function roundMemory(kb) {
  if (!kb) return '0';
  return kb < 1048576 ? `${kb / 1024} MB` : `${kb / 1048576} GB`;
}

/** The curves of a view; one that would show nothing is left out. */
function chartsOf(view, root) {
  const { pool } = view;
  const charts = [];
  const lent = lentLevel(pool);
  const series = [{ level: view.busy, ink: 'token', name: 'busy', fill: true }];
  if (lent) series.push({ level: lent, ink: 'borrowed', name: 'lent', fill: false });
  const slots = (n) => n.toFixed(1).replace('.0', '');
  const title = pool.slots ? `Slots in use, of ${pool.slots}` : 'Slots in use';
  charts.push(new Chart(view, root.querySelector('.busy'), title, series, { most: view.slots * 1.05, text: slots, incrs: [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10000] }));
  const used = memoryLevel(pool);
  const box = root.querySelector('.memory');
  if (used) {
    const most = used.levels.reduce((a, b) => Math.max(a, b), 0);
    const what = 'Memory: the most that each running job ever had, together';
    const incrs = [1, 2, 5, 10, 20, 50, 100, 200, 500].map((mb) => mb * 1024);
    incrs.push(...incrs.map((mb) => mb * 1024));
    const options = { most: most * 1.05, text: (kb) => memory(kb) || '0', mark: roundMemory, incrs };
    charts.push(new Chart(view, box, what, [{ level: used, ink: 'implicit', name: '', fill: true }], options));
  } else {
    box.parentElement.remove();
  }
  return charts;
}
