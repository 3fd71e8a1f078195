// The price over time, YES and NO, in a range of time: candles (close as a line, the range between low and high of YES
// behind it, the volume at the bottom), or each trade of a young market. The server's own drawing stays where this cannot run.
import { element } from "./dom.js";
import { sol } from "./numbers.js";
import { when } from "./times.js";
import { chainNow } from "./wallet/api.js";

const RANGES_S = { "1h": 3600, "6h": 21600, "1d": 86400, "1w": 604800, "1m": 2592000, all: Infinity };
const WORDS = { "1h": "1 hour", "6h": "6 hours", "1d": "1 day", "1w": "1 week", "1m": "1 month", all: "All" };
const STEPS = [["1m", 60], ["5m", 300], ["1h", 3600], ["1d", 86400]];
const MOST_CANDLES = 800;
const MOST_POINTS = 3000;
const YOUNG_S = 1800;
const MOST_TRADES = 200;
const LEAST_WIDTH_S = 20;
const REREAD_MS = 500;
const LONGEST_PAUSE_MS = 60000;
const [TIME, YES, NO, LOW, HIGH, VOLUME] = [0, 1, 2, 3, 4, 5];

const stepOf = (length_s) => STEPS.find(([, step]) => length_s / step <= MOST_CANDLES) ?? STEPS.at(-1);

export function drawChart(root, id) {
  const box = root.querySelector("[data-chart]");
  const note = root.querySelector("[data-chart-note]");
  let from_s = Date.parse(box.dataset.from ?? "") / 1000;
  const traded_s = Date.parse(box.dataset.to ?? "") / 1000;
  // a market that is traded has its price until now
  let to_s = root.dataset.phase === "ACTIVE" && !Number.isNaN(traded_s) ? Math.max(traded_s, chainNow() / 1000) : traded_s;
  let columns = null;
  let step_s = 0; // of a candle; 0: each trade
  let included = () => false; // whether the columns have a trade that the feed brings: it begins before they are read
  let lastShow = 0;
  let shownRange = "all";
  let arrived = 0; // how many trades the feed has brought
  let timer = 0;
  let plot = null;
  const sides = { YES: true, NO: false };

  async function show(range, pauseMs = REREAD_MS) {
    for (const button of root.querySelectorAll("[data-range]")) {
      button.setAttribute("aria-pressed", String(button.dataset.range === range));
    }
    shownRange = range;
    const request = ++lastShow;
    const before = arrived;
    const made = await readRange(range).catch(() => null);
    if (request !== lastShow) return;
    if (!made || arrived !== before) reread(pauseMs); // what came meanwhile may be missing in what was read
    if (!made) return;
    ({ columns, included, step_s } = made);
    paint();
  }

  async function readRange(range) {
    const length_s = Math.min(RANGES_S[range], to_s - from_s);
    const [name, step] = stepOf(length_s);
    const isYoung = to_s - from_s < YOUNG_S;
    const tape = await readTape(id);
    const columns = isYoung ? columnsOf(tape, from_s) : await readCandles(id, name, to_s - length_s, to_s, step);
    return { columns, included: inclusion(tape), step_s: isYoung ? 0 : step };
  }

  // Soon, once for all that happens in a moment; later each time that it cannot be read as a whole.
  function reread(pauseMs = REREAD_MS) {
    clearTimeout(timer);
    if (!begun) return;
    const nextMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS);
    timer = setTimeout(() => show(shownRange, nextMs), pauseMs * (0.5 + Math.random()));
  }

  function paint() {
    if (!columns?.[TIME].length) return clear();
    plot?.destroy();
    plot = new uPlot(options(box, step_s, sides, tell), columns, (made, ready) => {
      box.replaceChildren(made.root);
      ready();
    });
    box.setAttribute("role", "img");
    tell(plot);
  }

  // The only trades have left the chain.
  function clear() {
    if (!plot) return;
    plot.destroy();
    plot = null;
    note.textContent = "";
    for (const name of ["role", "aria-label"]) box.removeAttribute(name);
    box.replaceChildren(element("p", { class: "empty" }, "Not traded yet: the first trade starts the chart."));
  }

  function tell(plotted) {
    const at = plotted.cursor?.idx ?? columns[TIME].length - 1;
    const volume = columns[VOLUME][at];
    const traded = volume ? ` · ${sol(volume * 1e9)} SOL traded` : "";
    const price = `${columns[YES][at].toFixed(1)}% YES · ${columns[NO][at].toFixed(1)}% NO`;
    note.textContent = `${when(columns[TIME][at] * 1000)} · ${price}${traded}`;
    box.setAttribute("aria-label", `Price over time, ${columns[YES].at(-1).toFixed(1)} percent YES at the end`);
  }

  function push(trade) {
    arrived++;
    const at_s = Date.parse(trade.created_at) / 1000;
    to_s = Math.max(to_s || at_s, at_s);
    from_s ||= at_s; // the first trade of a market that was not open when the page was rendered
    if (!columns?.[TIME].length) return begun ? reread() : begin();
    if (included(trade)) return;
    const price = Number(trade.price_after) * 100;
    const traded = Number(trade.cost) / 1e9;
    if (step_s) extend(columns, step_s, at_s, price, traded);
    else add(columns, Math.max(at_s, columns[TIME].at(-1) ?? 0), price, price, price, traded);
    plot?.setData(columns);
    if (plot) tell(plot);
  }

  let begun = false;
  function begin() {
    if (begun || !window.uPlot) return;
    begun = true;
    const fitting = Object.keys(RANGES_S).filter((name) => RANGES_S[name] < to_s - from_s);
    offer(root, to_s - from_s < YOUNG_S ? [] : [...fitting, "all"], show);
    offerSides(root, sides, paint);
    show("all");
  }

  if (box.dataset.to) begin();
  new ResizeObserver(() => plot?.setSize(size(box))).observe(box);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
  return { push, reread };
}

function offer(root, names, show) {
  const group = root.querySelector("[data-ranges]");
  group.hidden = names.length < 2;
  for (const name of names) {
    const button = element("button", { type: "button", class: "plain", "data-range": name }, WORDS[name]);
    button.addEventListener("click", () => show(name));
    group.append(button);
  }
}

// Which of the two lines are drawn; one at least.
function offerSides(root, sides, paint) {
  const group = root.querySelector("[data-sides]");
  group.hidden = false;
  for (const side of Object.keys(sides)) {
    const button = element("button", { type: "button", class: "plain", "aria-pressed": String(sides[side]) }, side);
    button.addEventListener("click", () => {
      const others = Object.keys(sides).filter((name) => name !== side && sides[name]);
      sides[side] = !sides[side] || others.length === 0;
      button.setAttribute("aria-pressed", String(sides[side]));
      paint();
    });
    group.append(button);
  }
}

const empty = () => [[], [], [], [], [], []];

// The newest trades, the oldest first.
async function readTape(id) {
  return (await read(`/api/markets/${id}/trades?limit=${MOST_TRADES}`)).trades;
}

// What is older than a full tape was traded before it was read, too.
function inclusion(tape) {
  const ids = new Set(tape.map((trade) => trade.id));
  const oldest_ms = tape.length < MOST_TRADES ? 0 : Date.parse(tape[0].timestamp);
  return (trade) => ids.has(trade.id) || Date.parse(trade.created_at) < oldest_ms;
}

function columnsOf(trades, from_s) {
  const columns = empty();
  if (trades.length < MOST_TRADES) add(columns, from_s, 50);
  for (const trade of trades) {
    const price = Number(trade.price_after) * 100;
    add(columns, Math.max(Date.parse(trade.timestamp) / 1000, columns[TIME].at(-1) ?? 0), price, price, price, trade.cost / 1e9);
  }
  return columns;
}

async function readCandles(id, name, from_s, to_s, step) {
  const end = (Math.floor(to_s / step) + 1) * step;
  const start = Math.max(Math.floor(from_s / step) * step, end - step * MOST_CANDLES);
  const span = `start=${new Date(start * 1000).toISOString()}&end=${new Date(end * 1000).toISOString()}`;
  const { candles } = await read(`/api/markets/${id}/candles?interval=${name}&${span}`);
  const columns = empty();
  const percent = (price) => Number(price) * 100;
  for (const { timestamp, close_price_yes, low_price_yes, high_price_yes, volume } of candles) {
    add(columns, Date.parse(timestamp) / 1000, percent(close_price_yes), percent(low_price_yes), percent(high_price_yes), volume / 1e9);
  }
  return columns;
}

async function read(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

function add(columns, at_s, yes, low = yes, high = yes, volume = 0) {
  [at_s, yes, 100 - yes, low, high, volume].forEach((value, column) => columns[column].push(value));
  if (columns[TIME].length > MOST_POINTS) for (const column of columns) column.shift();
}

// A trade into its candle; where nothing was traded in between, the last price stands.
function extend(columns, step, at_s, price, volume) {
  const begin = Math.floor(at_s / step) * step;
  const end = () => columns[TIME].at(-1);
  while (end() + step < begin) add(columns, end() + step, columns[YES].at(-1));
  if (end() < begin) add(columns, begin, price);
  const last = columns[TIME].length - 1;
  columns[YES][last] = price;
  columns[NO][last] = 100 - price;
  columns[LOW][last] = Math.min(columns[LOW][last], price);
  columns[HIGH][last] = Math.max(columns[HIGH][last], price);
  columns[VOLUME][last] += volume;
}

const size = (box) => ({ width: Math.max(box.clientWidth, 200), height: Math.max(box.clientHeight, 180) });

const part = (parts) => {
  const format = new Intl.DateTimeFormat("en-GB", parts);
  return (at_s) => format.format(new Date(at_s * 1000)).replace("Sept", "Sep");
};
const SECOND = part({ hour: "2-digit", minute: "2-digit", second: "2-digit" });
const MINUTE = part({ hour: "2-digit", minute: "2-digit" });
const DAY = part({ day: "numeric", month: "short" });

// Hours and minutes, the day below where it is another one than before.
function times(splits, step_s) {
  let day = "";
  return splits.map((at_s) => {
    const today = DAY(at_s);
    const isNew = today !== day;
    day = today;
    if (step_s >= 86400) return today;
    const hour = step_s < 60 ? SECOND(at_s) : MINUTE(at_s);
    return isNew ? `${hour}\n${today}` : hour;
  });
}

function options(box, step_s, sides, tell) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const axis = { stroke: colour("--quiet"), font: "12px system-ui, sans-serif", grid: { stroke: colour("--line"), width: 1 } };
  const ticks = { show: false };
  const hidden = { points: { show: false } };
  const line = (label, stroke) => ({
    label,
    stroke,
    width: 2,
    show: sides[label],
    points: { show: false },
    ...(step_s ? {} : { paths: uPlot.paths.stepped({ align: 1 }) }),
  });
  const edge = { ...hidden, show: step_s > 0 && sides.YES, stroke: "transparent", width: 0 };
  const bars = { size: [0.7, 40] };
  return {
    ...size(box),
    legend: { show: false },
    cursor: { y: false, drag: { x: true, y: false } },
    scales: { x: { time: true, range: shownTimes }, y: { range: (_, low, high) => room(low, high) }, v: { range: (_, low, high) => [0, (high || 1) * 5] } },
    axes: [
      { ...axis, ticks, space: 80, values: (_, splits, axis_, space, shown_s) => times(splits, shown_s) },
      { ...axis, ticks, size: 46, values: (_, splits) => splits.map((value) => `${value}%`) },
    ],
    series: [
      {},
      line("YES", colour("--yes")),
      line("NO", colour("--no")),
      edge,
      edge,
      { ...hidden, scale: "v", fill: colour("--volume"), width: 0, paths: uPlot.paths.bars(bars) },
    ],
    bands: [{ series: [HIGH, LOW], fill: colour("--range") }],
    hooks: { setCursor: [tell] },
  };
}

// What was zoomed into; a market whose trades lie within a moment gets a width all the same.
function shownTimes(plot, first, last) {
  const [begin, end] = [plot.data[0][0], plot.data[0].at(-1)];
  return end - begin < LEAST_WIDTH_S ? [begin, begin + LEAST_WIDTH_S] : [first, last];
}

// At least ten points of height, never beyond what a chance can be.
function room(low, high) {
  const middle = (low + high) / 2;
  const half = Math.max((high - low) * 0.6, 5);
  return [Math.max(0, middle - half), Math.min(100, middle + half)];
}
