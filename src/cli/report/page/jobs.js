// The table of the jobs in view: what the timeline shows, for those who do not see it.

const COLUMNS = [
  { name: 'from', order: (pool, j) => pool.jobs.start[j], text: (pool, j) => clock(pool.jobs.start[j], 1e4) },
  { name: 'time', order: (pool, j) => -pool.jobs.runs[j], text: (pool, j) => duration(pool.jobs.runs[j]) },
  { name: 'waited', order: (pool, j) => -pool.jobs.waits[j], text: (pool, j) => duration(pool.jobs.waits[j]) },
  { name: 'lent', order: (pool, j) => -pool.jobs.lent[j], text: (pool, j) => (pool.jobs.lent[j] ? duration(pool.jobs.lent[j]) : '') },
  { name: 'memory', order: (pool, j) => -pool.jobs.memory[j], text: (pool, j) => memory(pool.jobs.memory[j]) },
  { name: 'pid', order: (pool, j) => pool.jobs.pid[j], text: (pool, j) => String(pool.jobs.pid[j]) },
  { name: 'job', order: (pool, j) => pool.jobs.name[j], text: (pool, j) => pool.jobs.name[j], isText: true },
];

class Jobs {
  constructor(view, root) {
    this.view = view;
    this.root = root.querySelector('.jobs');
    const { jobs } = view.pool;
    const isUsed = ({ name }) => !['lent', 'memory'].includes(name) || jobs[name].some((value) => value > 0);
    this.columns = COLUMNS.filter(isUsed);
    this.order = this.columns[1];
    this.most = 15;
    this.head();
    this.root.querySelector('[name=more]').addEventListener('click', () => {
      this.most *= 4;
      this.draw();
    });
    this.root.querySelector('tbody').addEventListener('click', (e) => view.choose(e));
  }

  head() {
    const line = document.createElement('tr');
    for (const column of this.columns) {
      const cell = document.createElement('th');
      cell.scope = 'col';
      if (!column.isText) cell.className = 'n';
      const button = document.createElement('button');
      button.type = 'button';
      button.textContent = column.name;
      button.addEventListener('click', () => {
        this.order = column;
        this.draw();
      });
      cell.append(button);
      line.append(cell);
      column.cell = cell;
    }
    this.root.querySelector('thead').replaceChildren(line);
  }

  draw() {
    const { pool } = this.view;
    const found = this.view.inView();
    const key = (j) => this.order.order(pool, j);
    found.sort((a, b) => (key(a) < key(b) ? -1 : key(a) > key(b) ? 1 : a - b));
    this.root.querySelector('h3').textContent = `Jobs in view (${count(found.length)})`;
    const lines = found.slice(0, this.most).map((j) => {
      const line = document.createElement('tr');
      line.dataset.job = j;
      for (const column of this.columns) {
        const cell = line.insertCell();
        cell.textContent = column.text(pool, j);
        if (!column.isText) cell.className = 'n';
      }
      return line;
    });
    this.root.querySelector('tbody').replaceChildren(...lines);
    this.root.querySelector('[name=more]').hidden = found.length <= this.most;
    for (const { cell, name } of this.columns) {
      if (name === this.order.name) cell.setAttribute('aria-sort', ['from', 'pid', 'job'].includes(name) ? 'ascending' : 'descending');
      else cell.removeAttribute('aria-sort');
    }
  }
}
