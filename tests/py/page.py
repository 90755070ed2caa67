"""Opens a page of `jsshim report` in Chromium, uses it, and prints as JSON what it shows.

page.py PAGE WORD CHROMIUM: searches for WORD, and zooms to the job that is selected then.
"""

import json
import sys

from playwright.sync_api import sync_playwright

PAGE, WORD, CHROMIUM = sys.argv[1:4]
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
           "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage"]

# The least contrast of any text with what is behind it, by WCAG 2.
CONTRAST = """() => {
  const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
  const behind = (at) => {
    for (; at; at = at.parentElement) {
      const colour = numbers(getComputedStyle(at).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const contrast = (a, b) => { const [x, y] = [light(a), light(b)].sort((p, q) => q - p); return (x + 0.05) / (y + 0.05); };
  const all = [...document.querySelectorAll('main *')].filter((e) => [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim()));
  // What the canvas writes into its bars.
  const style = getComputedStyle(document.documentElement);
  const spot = document.body.appendChild(document.createElement('i'));
  const ink = (name) => { spot.style.color = style.getPropertyValue('--' + name); return numbers(getComputedStyle(spot).color); };
  const bars = ['implicit', 'token', 'borrowed', 'overdraft', 'other'].map((name) => contrast(ink('on'), ink(name)));
  spot.remove();
  return Math.min(...bars, ...all.map((e) => contrast(numbers(getComputedStyle(e).color), behind(e))));
}"""

# The tables of which a job's name, in the last column, is not whole in sight.
OUT_OF_SIGHT = """() => [...document.querySelectorAll('.wide')].filter((box) => {
  if (box.querySelector('th:last-child').textContent !== 'job') return false;
  const { left, right } = box.getBoundingClientRect();
  return [...box.querySelectorAll('td:last-child')].some((cell) => {
    const place = cell.getBoundingClientRect();
    return place.left < left || place.right > right || cell.scrollWidth > cell.clientWidth;
  });
}).map((box) => box.getAttribute('aria-label') ?? box.firstChild.id)"""

# How far each curve begins from where the timeline does, in pixels.
SHIFTS = """() => views[0].charts.map(({ plot }) =>
  plot.over.getBoundingClientRect().left - views[0].lanes.canvas.getBoundingClientRect().left - views[0].left)"""

# What is nearly a whole number of slots and is not is drawn as a line that trembles.
TREMBLING = "() => [...views[0].charts[0].plot.data[1]].filter((n) => n % 1 && Math.abs(n - Math.round(n)) < 1e-6)"

# Rows that are no slots and have nothing in the time that is seen; and slots that have no row.
LEFT_OVER = """() => {
  const { lanes, pool, from, to } = views[0];
  const isSlot = (row) => /slot/.test(row.group.label) && !/no slot/.test(row.group.label);
  const isSeen = (row) => row.items.some((i) => pool.parts.start[i] < to && pool.parts.end[i] > from);
  const empty = lanes.rows.filter((row) => !isSlot(row) && !isSeen(row));
  const lost = lanes.all.filter((row) => isSlot(row) && !lanes.rows.includes(row));
  return [...empty, ...lost].map((row) => row.group.label);
}"""


def settled(page):
    """Waits until the words tell of the last change."""
    page.wait_for_timeout(300)
    return page.locator(".found").first.evaluate("e => ({...e.dataset, text: e.textContent})")


def look(browser, scheme, width):
    said = []
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.on("pageerror", lambda e: said.append(str(e)))
    page.on("console", lambda m: said.append(m.text))
    page.on("request", lambda r: said.append(r.url) if not r.url.startswith(("file:", "data:", "blob:")) else None)
    page.goto("file://" + PAGE)
    page.wait_for_selector("html[data-ready]", timeout=60_000)
    whole = settled(page)
    wide = page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    shown = {"whole": whole, "contrast": page.evaluate(CONTRAST), "too_wide": wide, "said": said,
             "out_of_sight": page.evaluate(OUT_OF_SIGHT),
             "ready_ms": page.evaluate("Number(document.documentElement.dataset.ready)")}
    return page, shown


def use(page):
    """By the keys alone: search, select, zoom."""
    shown = {}
    lanes = page.locator(".lanes").first
    lanes.focus()
    page.keyboard.press("+")
    shown["zoomed"] = settled(page)
    shown["trembling"] = page.evaluate(TREMBLING)
    page.keyboard.press("ArrowRight")
    shown["panned"] = settled(page)
    page.keyboard.press("0")
    page.keyboard.press("/")
    page.keyboard.type(WORD)
    shown["found"] = settled(page)
    page.keyboard.press("Enter")
    shown["picked"] = page.locator(".picked").first.text_content()
    page.keyboard.press("Enter")
    shown["close"] = settled(page)
    shown["left_over"] = page.evaluate(LEFT_OVER)
    shown["label"] = lanes.get_attribute("aria-label")
    page.keyboard.press("Escape")
    page.keyboard.press("0")
    shown["again"] = settled(page)
    shown["rows"] = page.locator(".jobs tbody tr").count()
    page.keyboard.press("c")
    shown["chain"] = settled(page)
    page.keyboard.press("c")
    for group in ("client", "program", "slot"):
        page.locator("[name=group]").first.select_option(group)
        page.wait_for_timeout(100)
        shown[group] = page.evaluate("views[0].lanes.all.length")
        shown.setdefault("shifts", []).extend(page.evaluate(SHIFTS))
    box = page.locator(".busy .u-over").first.bounding_box()
    page.mouse.move(box["x"] + box["width"] * 0.25, box["y"] + 40)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.75, box["y"] + 40, steps=4)
    page.mouse.up()
    shown["dragged"] = settled(page)
    shown["numbers"] = page.evaluate(
        "Object.fromEntries([...document.querySelectorAll('dd[id]')].map(e => [e.id, e.dataset.ns ?? e.textContent]))")
    shown["lists"] = page.evaluate("[...document.querySelectorAll('table[id]')].map(e => e.id)")
    shown["wall"] = page.evaluate("views[0].pool.wall")
    return shown


with sync_playwright() as playwright:
    browser = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
    page, result = look(browser, "light", 1280)
    result.update(use(page))
    for name, scheme, width in (("dark", "dark", 1280), ("narrow", "light", 390)):
        result[name] = look(browser, scheme, width)[1]
    browser.close()
print(json.dumps(result))
