// What keys, wheel and pointer do.

/** Keys on the timeline. */
function onKey(view, e) {
  if (e.ctrlKey || e.metaKey || e.altKey) return;
  const step = (view.to - view.from) / 8;
  const does = {
    ArrowLeft: () => view.pan(-step),
    ArrowRight: () => view.pan(step),
    ArrowUp: () => view.lanes.scroll.scrollBy(0, -3 * ROW),
    ArrowDown: () => view.lanes.scroll.scrollBy(0, 3 * ROW),
    '+': () => view.zoom(0.5),
    '=': () => view.zoom(0.5),
    '-': () => view.zoom(2),
    0: () => view.all(),
    Home: () => view.pan(-view.from),
    End: () => view.pan(view.pool.wall - view.to),
    n: () => view.next(1),
    p: () => view.next(-1),
    Enter: () => view.picked >= 0 && view.zoomTo(view.picked),
    '/': () => view.tools.search.focus(),
    c: () => view.tools.chain.click(),
    Escape: () => view.forget(),
  }[e.key];
  if (does) {
    e.preventDefault();
    does();
  }
}

function onWheel(view, e) {
  const x = e.clientX - view.lanes.canvas.getBoundingClientRect().left;
  if (e.ctrlKey || e.metaKey) {
    view.zoom(1.0015 ** e.deltaY, view.time(Math.max(x, view.left)));
  } else if (e.shiftKey || Math.abs(e.deltaX) > Math.abs(e.deltaY)) {
    view.pan(((e.deltaX || e.deltaY) / 800) * (view.to - view.from));
  } else {
    return;
  }
  e.preventDefault();
}

/** Dragging over the timeline selects a time; a click selects a job. */
function pointAt(view) {
  const { canvas, box } = view.lanes;
  const mark = document.createElement('div');
  mark.className = 'mark';
  mark.hidden = true;
  box.append(mark);
  const place = (e) => {
    const box = canvas.getBoundingClientRect();
    return [e.clientX - box.left, e.clientY - box.top];
  };
  let from = null;
  canvas.addEventListener('pointerdown', (e) => {
    if (e.button !== 0 || e.pointerType === 'touch') return;
    from = place(e);
    canvas.setPointerCapture(e.pointerId);
  });
  canvas.addEventListener('pointermove', (e) => {
    const [x, y] = place(e);
    view.charts.forEach((chart) => chart.plot.setCursor({ left: x - view.left, top: 10 }));
    if (from === null || Math.abs(x - from[0]) < 4) {
      view.hover(view.lanes.partAt(x, y), e);
      return;
    }
    view.hover(-1, e);
    const left = Math.max(view.left, Math.min(x, from[0]));
    mark.hidden = false;
    Object.assign(mark.style, { left: `${left}px`, width: `${Math.max(x, from[0]) - left}px` });
  });
  canvas.addEventListener('pointerup', (e) => {
    const [x, y] = place(e);
    if (from !== null && Math.abs(x - from[0]) >= 4) {
      const times = [x, from[0]].map((at) => view.time(Math.max(at, view.left))).sort((a, b) => a - b);
      view.show(...times);
    } else {
      const part = view.lanes.partAt(x, y);
      view.pick(part < 0 ? -1 : view.pool.parts.job[part]);
    }
    from = null;
    mark.hidden = true;
  });
  canvas.addEventListener('pointerleave', (e) => view.hover(-1, e));
  canvas.addEventListener('dblclick', () => view.all());
}

/** The strip: a click or drag moves the time that is seen there. */
function slide(view) {
  const { strip } = view.lanes;
  const move = (e) => {
    const box = strip.getBoundingClientRect();
    const share = (e.clientX - box.left - view.left) / (box.width - view.left - RIGHT);
    view.pan(share * view.pool.wall - (view.from + view.to) / 2);
  };
  strip.addEventListener('pointerdown', (e) => {
    strip.setPointerCapture(e.pointerId);
    move(e);
  });
  strip.addEventListener('pointermove', (e) => e.buttons & 1 && move(e));
}
