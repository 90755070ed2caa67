// What is seen of a pool: which time, which jobs; and all that shows it.

class View {
  constructor(pool, root, key) {
    Object.assign(this, { pool, root, key, from: 0, to: pool.wall, group: 'slot', paint: 'state', picked: -1, hits: null });
    this.chain = new Set(pool.path);
    this.busy = busyLevel(pool);
    this.slots = Math.max(pool.slots, this.busy.levels.reduce((a, b) => Math.max(a, b), 1));
    root.replaceChildren(document.getElementById('timeline').content.cloneNode(true));
    this.tools = root.querySelector('form').elements;
    this.tip = root.querySelector('.tip');
    this.learn();
    this.lanes = new Lanes(this, root);
    this.charts = chartsOf(this, root);
    this.jobs = new Jobs(this, root);
    this.listen();
    this.changed();
  }

  /** Sizes and colours, which follow the window and the scheme. */
  learn() {
    const style = getComputedStyle(this.root);
    const inks = new Map();
    this.ink = (name) => inks.get(name) ?? inks.set(name, style.getPropertyValue(`--${name}`).trim()).get(name);
    this.isDark = style.getPropertyValue('--scheme').trim() === 'dark';
    this.width = this.root.clientWidth;
    const narrow = this.width < 600;
    this.left = this.group === 'slot' ? (narrow ? 72 : 92) : narrow ? 92 : 170;
    // Half a row more, where there are more to scroll to.
    this.most = (Math.max(10, Math.min(30, Math.floor((window.innerHeight * 0.6) / ROW))) + 0.5) * ROW;
    this.explain();
    this.dim = this.isDark ? 0.22 : 0.16;
  }

  /** What the colours mean: of slots it is on the page already. */
  explain() {
    const [slots] = this.root.parentElement.getElementsByClassName('key');
    slots.hidden = this.paint !== 'state';
    const programs = this.pool.programs.slice(0, PALETTE.length).map((name, n) => [name, this.palette(n)]);
    if (this.pool.programs.length > PALETTE.length) programs.push(['others', this.ink('other')]);
    const lines = programs.map(([name, ink]) => {
      const line = document.createElement('li');
      const spot = document.createElement('i');
      spot.style.background = ink;
      line.append(spot, name);
      return line;
    });
    this.root.querySelector('.programs').replaceChildren(...(slots.hidden ? lines : []));
  }

  palette(program) {
    return (this.isDark ? DARK_PALETTE : PALETTE)[program] ?? this.ink('other');
  }

  listen() {
    const { tools, lanes } = this;
    const form = this.root.querySelector('form');
    form.addEventListener('submit', (e) => e.preventDefault());
    tools.search.addEventListener('input', () => this.search());
    tools.search.addEventListener('keydown', (e) => {
      if (e.key === 'Enter') {
        this.next(1, true);
        lanes.box.focus();
      }
    });
    tools.chain.addEventListener('change', () => this.search());
    tools.group.addEventListener('change', () => {
      this.group = tools.group.value;
      this.learn();
      lanes.setRows(this.group);
      this.changed();
    });
    tools.paint.addEventListener('change', () => {
      this.paint = tools.paint.value;
      this.learn();
      this.draw();
    });
    tools.in.addEventListener('click', () => this.zoom(0.5));
    tools.out.addEventListener('click', () => this.zoom(2));
    tools.all.addEventListener('click', () => this.all());
    lanes.box.addEventListener('keydown', (e) => onKey(this, e));
    lanes.box.addEventListener('wheel', (e) => onWheel(this, e), { passive: false });
    pointAt(this);
    slide(this);
    const relearn = () => {
      this.learn();
      this.changed();
    };
    new ResizeObserver(() => this.root.clientWidth !== this.width && relearn()).observe(this.root);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', relearn);
    this.root.parentElement.querySelector('.lists').addEventListener('click', (e) => this.choose(e));
  }

  // Times and places.

  /** Round times of what is seen, for the axes. */
  ticks() {
    const wide = this.width - this.left - RIGHT;
    return ticks(this.from, this.to, Math.max(2, wide / (this.width < 600 ? 72 : 90)));
  }

  x(at) {
    return this.left + ((at - this.from) / (this.to - this.from)) * (this.width - this.left - RIGHT);
  }

  time(x) {
    return this.from + ((x - this.left) / (this.width - this.left - RIGHT)) * (this.to - this.from);
  }

  show(from, to) {
    const { wall } = this.pool;
    const wide = Math.min(wall, Math.max(to - from, Math.min(wall, 50)));
    this.from = Math.max(0, Math.min(from + (to - from - wide) / 2, wall - wide));
    this.to = this.from + wide;
    this.changed();
  }

  pan(by) {
    const wide = this.to - this.from;
    const from = Math.max(0, Math.min(this.from + by, this.pool.wall - wide));
    this.show(from, from + wide);
  }

  zoom(by, around = (this.from + this.to) / 2) {
    this.show(around - (around - this.from) * by, around + (this.to - around) * by);
  }

  all() {
    this.show(0, this.pool.wall);
  }

  zoomTo(job) {
    const { asked, end } = this.pool.jobs;
    const more = (end[job] - asked[job]) / 2 + 10;
    this.show(asked[job] - more, end[job] + more);
  }

  // Jobs.

  isHit(job) {
    return this.hits === null || this.hits[job] === 1;
  }

  /** Finds the jobs of which name, program or pid have all words that are searched for. */
  search() {
    const { jobs, programs } = this.pool;
    const words = this.tools.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const chain = this.tools.chain.checked;
    const has = (job, word) =>
      jobs.name[job].toLowerCase().includes(word) || programs[jobs.program[job]].toLowerCase().includes(word) || String(jobs.pid[job]) === word;
    this.hits = null;
    if (words.length || chain) {
      this.hits = Uint8Array.from(jobs.pid, (_, job) => +((!chain || this.chain.has(job)) && words.every((word) => has(job, word))));
    }
    this.changed();
  }

  /** Those that are found, ran, and are at least in part in the time that is seen. */
  inView() {
    const { start, end, ran, pid } = this.pool.jobs;
    const found = [];
    for (let job = 0; job < pid.length; job++) {
      if (ran[job] && this.isHit(job) && start[job] <= this.to && end[job] >= this.from) found.push(job);
    }
    return found;
  }

  /** The next of those that are found, by when they were asked for. */
  next(by, first = false) {
    const { ran, pid } = this.pool.jobs;
    const isIt = (job) => ran[job] && this.isHit(job);
    let job = first || this.picked < 0 ? (by > 0 ? 0 : pid.length - 1) : this.picked + by;
    while (job >= 0 && job < pid.length && !isIt(job)) job += by;
    if (job >= 0 && job < pid.length) this.pick(job);
  }

  pick(job) {
    this.picked = job;
    const { start, end } = this.pool.jobs;
    this.root.querySelector('.picked').textContent = job < 0 ? 'No job is selected.' : this.describe(job);
    if (job < 0) {
      this.draw();
      return;
    }
    if (end[job] < this.from || start[job] > this.to) {
      const wide = Math.max(this.to - this.from, 2 * (end[job] - start[job]));
      this.show(start[job] - wide / 4, start[job] + (wide * 3) / 4);
    } else {
      this.draw();
    }
    const part = this.pool.parts.job.findIndex((j, i) => j === job && this.pool.parts.state[i] !== WAIT);
    if (part >= 0) this.lanes.reveal(part);
  }

  choose(e) {
    const line = e.target.closest('tr[data-job]');
    if (!line) return;
    const job = Number(line.dataset.job);
    this.zoomTo(job);
    this.pick(job);
    this.lanes.box.scrollIntoView({ block: 'nearest' });
  }

  forget() {
    this.tools.search.value = '';
    this.tools.chain.checked = false;
    this.pick(-1);
    this.search();
  }

  describe(job) {
    const { jobs, reasons } = this.pool;
    const facts = [jobs.name[job], `pid ${jobs.pid[job]} of ${clientName(this.pool, jobs.client[job])}`];
    facts.push(`from ${clock(jobs.start[job], 1e3)} for ${duration(jobs.runs[job])}`);
    facts.push(jobs.waits[job] ? `waited ${duration(jobs.waits[job])}` : 'did not wait');
    if (jobs.lent[job]) facts.push(`slept and lent its slot for ${duration(jobs.lent[job])}`);
    if (jobs.memory[job]) facts.push(`${memory(jobs.memory[job])} at most`);
    if (jobs.reason[job]) facts.push(`without a slot: ${reasons[jobs.reason[job]]}`);
    if (this.chain.has(job)) facts.push('on the critical path');
    return facts.join(' · ');
  }

  hover(part, e) {
    const { tip } = this;
    tip.hidden = part < 0;
    if (part < 0) return;
    const { parts } = this.pool;
    tip.textContent = `${this.describe(parts.job[part])} · ${this.pool.states[parts.state[part]]}`;
    const box = this.root.getBoundingClientRect();
    tip.style.left = `${Math.min(e.clientX - box.left + 14, Math.max(0, this.width - 330))}px`;
    tip.style.top = `${e.clientY - box.top + 16}px`;
  }

  paintOf(part) {
    const { parts, states, jobs } = this.pool;
    if (this.paint === 'state' || parts.state[part] === WAIT) return this.ink(states[parts.state[part]]);
    return this.palette(jobs.program[parts.job[part]]);
  }

  // Drawing, once a frame.

  draw() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.lanes.draw();
    });
  }

  changed() {
    this.draw();
    cancelAnimationFrame(this.late);
    this.late = requestAnimationFrame(() => {
      this.charts.forEach((chart) => chart.draw());
      clearTimeout(this.later);
      this.later = setTimeout(() => this.tell(), 80);
    });
  }

  /** What is seen, in words and numbers. */
  tell() {
    const found = this.inView();
    const { runs, waits, ran } = this.pool.jobs;
    const add = (column) => found.reduce((all, job) => all + column[job], 0);
    const total = ran.reduce((all, is) => all + is, 0);
    const text = `${count(found.length)} of ${count(total)} jobs, ${duration(add(runs))} of running and ${duration(add(waits))} of waiting`;
    const range = `${clock(this.from, 1e4)} to ${clock(this.to, 1e4)}`;
    const line = this.root.querySelector('.found');
    line.textContent = `${range}: ${text}`;
    Object.assign(line.dataset, { jobs: found.length, from: this.from, to: this.to });
    this.lanes.box.setAttribute('aria-label', `Timeline, ${range}, ${text}. The table of jobs in view has the same.`);
    this.jobs.draw();
  }
}

async function start() {
  const pools = await unpack(document.getElementById('data').textContent);
  window.views = [...document.querySelectorAll('.timeline')].map((root, i) => new View(poolOf(pools[i]), root, `pool${i}`));
  document.documentElement.dataset.ready = Math.round(performance.now());
}
start();
