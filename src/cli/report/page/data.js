// The data of the page: columns of typed arrays, with times in µs from the beginning.

/** What is in the element `data`: base64 of zlib of JSON. */
async function unpack(text) {
  const bytes = Uint8Array.fromBase64?.(text) ?? Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('deflate'));
  return JSON.parse(await new Response(stream).text());
}

/** A column of differences as what they add up to. */
function added(column) {
  let sum = 0;
  return Float64Array.from(column, (by) => (sum += by));
}

function sum(a, b) {
  return a.map((value, i) => value + b[i]);
}

/** A pool as the script uses it. */
function poolOf(raw) {
  const jobs = raw.jobs;
  jobs.asked = added(jobs.asked);
  jobs.waits = Float64Array.from(jobs.waits);
  jobs.runs = Float64Array.from(jobs.runs);
  jobs.start = sum(jobs.asked, jobs.waits);
  jobs.end = sum(jobs.start, jobs.runs);
  const parts = raw.parts;
  parts.start = added(parts.start);
  parts.end = sum(parts.start, Float64Array.from(parts.runs));
  const isClient = new Uint8Array(jobs.pid.length);
  for (const [, job] of raw.clients) {
    if (job >= 0) isClient[job] = 1;
  }
  return { ...raw, jobs, parts, isClient, states: ['implicit', 'token', 'borrowed', 'overdraft', 'wait', 'lent'] };
}

/** What a client is called. */
function clientName(pool, client) {
  const [pid, job] = pool.clients[client];
  return job < 0 ? `pid ${pid}` : `${pool.jobs.name[job]} (pid ${pid})`;
}

/** The first index of a sorted array with a value above `x`. */
function above(array, x) {
  let low = 0;
  let high = array.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (array[middle] > x) high = middle;
    else low = middle + 1;
  }
  return low;
}

/**
 * How much there is at each time of what begins and ends: of some indices, so much each. With its integral up to each
 * time means are cheap.
 */
function levelOf(indices, start, end, much) {
  const begin = Uint32Array.from(indices).sort((a, b) => start[a] - start[b]);
  const finish = Uint32Array.from(indices).sort((a, b) => end[a] - end[b]);
  const size = 2 * begin.length + 1;
  const [times, levels, integral] = [new Float64Array(size), new Float64Array(size), new Float64Array(size)];
  let [b, f, n] = [0, 0, 0];
  while (f < finish.length) {
    const isBegin = b < begin.length && start[begin[b]] < end[finish[f]];
    const at = isBegin ? start[begin[b]] : end[finish[f]];
    const level = levels[n] + (isBegin ? much(begin[b++]) : -much(finish[f++]));
    if (at > times[n]) {
      integral[n + 1] = integral[n] + levels[n] * (at - times[n]);
      n += 1;
      times[n] = at;
    }
    levels[n] = level;
  }
  return { times: times.subarray(0, n + 1), levels: levels.subarray(0, n + 1), integral };
}

/** The mean level in each of `bins` equal parts of a time. */
function means(level, from, to, bins) {
  const { times, levels, integral } = level;
  const wide = (to - from) / bins;
  const until = (at) => {
    const i = above(times, at) - 1;
    return i < 0 ? 0 : integral[i] + levels[i] * (at - times[i]);
  };
  let before = until(from);
  return Float64Array.from({ length: bins }, (_, bin) => {
    const now = until(from + (bin + 1) * wide);
    const mean = (now - before) / wide;
    before = now;
    // What is lost by adding up would be seen as a curve that trembles.
    return Math.max(0, Math.round(mean * 1e6) / 1e6);
  });
}
