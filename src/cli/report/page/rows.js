// Which part of which job is in which row of the timeline.

/** A row: the group of rows in which it is, the parts in it by time, and where they lend their slots. */
function row(group) {
  return { group, items: [], lent: [] };
}

/** The lanes that are slots: they are seen while they are free, too. */
const SLOT = 0;
const LENT = 5;
const WAIT = 4;
/** Jobs inside jobs that have rows of their own. */
const DEPTH = 4;

/** The rows of a pool by `slot`, `client` or `program`. */
function rowsOf(pool, group) {
  const rows = group === 'slot' ? slotRows(pool) : groupRows(pool, group);
  for (const row of rows) {
    row.ends = Float64Array.from(row.items, (i) => pool.parts.end[i]);
    // A part that begins in one before, by rounding, must not hide what follows.
    for (let i = 1; i < row.ends.length; i++) row.ends[i] = Math.max(row.ends[i], row.ends[i - 1]);
  }
  return rows;
}

/** A row for each lane; what runs inside another job of its lane is below that. */
function slotRows(pool) {
  const { lane, kind, start, end, state } = pool.parts;
  const names = ['slot', 'no slot', 'wait'];
  const lanes = new Map();
  for (let i = 0; i < start.length; i++) {
    const key = kind[i] * 65536 + lane[i];
    if (!lanes.has(key)) {
      const label = lane[i] === 4095 ? `more ${names[kind[i]]}s` : `${names[kind[i]]} ${lane[i]}`;
      lanes.set(key, { key, ends: [0], rows: [row({ label, stays: kind[i] === SLOT })] });
    }
    const { ends, rows } = lanes.get(key);
    const isFree = ends.findIndex((until) => until <= start[i]);
    if (state[i] === LENT) {
      // Of the job inside all others there.
      rows[isFree < 0 ? ends.length - 1 : Math.max(0, isFree - 1)].lent.push(i);
      continue;
    }
    let depth = isFree < 0 ? ends.length : isFree;
    if (depth === DEPTH) depth -= 1;
    if (depth === rows.length) rows.push(row(rows[0].group));
    rows[depth].items.push(i);
    ends[depth] = end[i];
  }
  return [...lanes.values()].sort((a, b) => a.key - b.key).flatMap((at) => at.rows);
}

/** For each client or program as many rows as it had jobs at once. */
function groupRows(pool, group) {
  const { jobs, parts } = pool;
  const order = Array.from(jobs.start.keys()).filter((j) => jobs.ran[j]);
  order.sort((a, b) => jobs.start[a] - jobs.start[b]);
  const groups = new Map();
  const rowOf = new Array(jobs.start.length);
  for (const j of order) {
    const key = jobs[group][j];
    if (!groups.has(key)) {
      const label = group === 'client' ? clientName(pool, key) : pool.programs[key];
      groups.set(key, { label, rows: [], ends: [] });
    }
    const { label, rows, ends } = groups.get(key);
    let at = ends.findIndex((end) => end <= jobs.start[j]);
    if (at < 0) {
      at = rows.length;
      rows.push(row(at ? rows[0].group : { label }));
    }
    ends[at] = jobs.end[j];
    rowOf[j] = rows[at];
  }
  for (let i = 0; i < parts.start.length; i++) {
    const row = rowOf[parts.job[i]];
    if (!row || parts.state[i] === WAIT) continue;
    (parts.state[i] === LENT ? row.lent : row.items).push(i);
  }
  // The programs are in order of their time already; clients come as they began.
  const keys = [...groups.keys()];
  if (group === 'program') keys.sort((a, b) => a - b);
  return keys.flatMap((key) => groups.get(key).rows);
}
