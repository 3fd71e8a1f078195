// The price of YES over time: each trade, or candles (close as a line, the range between low and high behind it, the
// volume at the bottom). The server's own drawing stays where this cannot run.
import { element } from "./dom.js";
import { sol, when } from "./numbers.js";

const STEPS_S = { "1m": 60, "5m": 300, "1h": 3600, "1d": 86400 };
const WORDS = { trades: "each trade", "1m": "1 min", "5m": "5 min", "1h": "1 hour", "1d": "1 day" };
const MOST_CANDLES = 600;
const MOST_POINTS = 3000;
const LEAST_WIDTH_S = 20;

// Which steps make sense for a market that was traded for so many seconds, and which one is shown first.
function choices(span_s) {
  const fitting = Object.keys(STEPS_S).filter((name) => span_s / STEPS_S[name] >= 3);
  const first = fitting.find((name) => span_s / STEPS_S[name] <= 300) ?? fitting.at(-1);
  return { names: ["trades", ...fitting.slice(0, 4)], first: span_s < 1800 || !first ? "trades" : first };
}

export function drawChart(root, id) {
  const box = root.querySelector("[data-chart]");
  const note = root.querySelector("[data-chart-note]");
  const from_s = Date.parse(box.dataset.from ?? "") / 1000;
  let to_s = Date.parse(box.dataset.to ?? "") / 1000;
  let interval = "trades";
  let columns = null; // times, close, low, high, volume
  let plot = null;

  async function show(name) {
    interval = name;
    for (const button of root.querySelectorAll("[data-interval]")) {
      button.setAttribute("aria-pressed", String(button.dataset.interval === name));
    }
    columns = name === "trades" ? await readTrades(id) : await readCandles(id, name, from_s, to_s);
    paint();
  }

  function paint() {
    if (!columns || !columns[0].length) return;
    plot?.destroy();
    plot = new uPlot(options(box, interval, tell), columns, (made, ready) => {
      box.replaceChildren(made.root);
      ready();
    });
    box.setAttribute("role", "img");
    tell(plot);
  }

  function tell(plotted) {
    const at = plotted.cursor?.idx ?? columns[0].length - 1;
    const volume = interval === "trades" ? "" : ` · ${sol(columns[4][at] * 1e9)} SOL traded`;
    note.textContent = `${when(columns[0][at] * 1000)} · ${columns[1][at].toFixed(1)}% YES${volume}`;
    box.setAttribute("aria-label", `Price of YES over time, ${columns[1].at(-1).toFixed(1)} percent at the end`);
  }

  function push(trade) {
    const at_s = Date.parse(trade.created_at) / 1000;
    to_s = Math.max(to_s || at_s, at_s);
    if (!columns) {
      if (!Number.isNaN(at_s)) show("trades");
      return;
    }
    const price = Number(trade.price_after) * 100;
    if (interval === "trades") add(columns, Math.max(at_s, columns[0].at(-1) ?? 0), price);
    else extend(columns, STEPS_S[interval], at_s, price, trade.cost / 1e9);
    plot?.setData(columns);
    if (plot) tell(plot);
  }

  if (window.uPlot && box.dataset.to) {
    const { names, first } = choices(to_s - from_s);
    offer(root, names, show);
    show(first);
  }
  new ResizeObserver(() => plot?.setSize(size(box))).observe(box);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);
  return { push };
}

function offer(root, names, show) {
  const group = root.querySelector("[data-intervals]");
  group.hidden = names.length < 2;
  for (const name of names) {
    const button = element("button", { type: "button", class: "plain", "data-interval": name }, WORDS[name]);
    button.addEventListener("click", () => show(name));
    group.append(button);
  }
}

async function readTrades(id) {
  const { price_history } = await read(`/api/markets/${id}/price-history?limit=1000`);
  const columns = [[], [], [], [], []];
  for (const point of price_history) add(columns, Date.parse(point.timestamp) / 1000, point.yes);
  return columns;
}

async function readCandles(id, name, from_s, to_s) {
  const step = STEPS_S[name];
  const end = (Math.floor(to_s / step) + 1) * step;
  const start = Math.max(Math.floor(from_s / step) * step, end - step * MOST_CANDLES);
  const span = `start=${new Date(start * 1000).toISOString()}&end=${new Date(end * 1000).toISOString()}`;
  const { candles } = await read(`/api/markets/${id}/candles?interval=${name}&${span}`);
  const columns = [[], [], [], [], []];
  for (const candle of candles) {
    columns[0].push(Date.parse(candle.timestamp) / 1000);
    columns[1].push(Number(candle.close_price_yes) * 100);
    columns[2].push(Number(candle.low_price_yes) * 100);
    columns[3].push(Number(candle.high_price_yes) * 100);
    columns[4].push(candle.volume / 1e9);
  }
  return columns;
}

async function read(path) {
  const answer = await fetch(path);
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

function add(columns, at_s, price, low = price, high = price, volume = 0) {
  [at_s, price, low, high, volume].forEach((value, column) => columns[column].push(value));
  if (columns[0].length > MOST_POINTS) for (const column of columns) column.shift();
}

// A trade into its candle; where nothing was traded in between, the last price stands.
function extend(columns, step, at_s, price, volume) {
  const [times, closes, lows, highs, volumes] = columns;
  const begin = Math.floor(at_s / step) * step;
  while (times.at(-1) + step < begin) add(columns, times.at(-1) + step, closes.at(-1));
  if (times.at(-1) < begin) add(columns, begin, price);
  const last = times.length - 1;
  closes[last] = price;
  lows[last] = Math.min(lows[last], price);
  highs[last] = Math.max(highs[last], price);
  volumes[last] += volume;
}

const size = (box) => ({ width: Math.max(box.clientWidth, 200), height: Math.max(box.clientHeight, 180) });

const part = (parts) => {
  const format = new Intl.DateTimeFormat("en-GB", { ...parts, timeZone: "UTC" });
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

function options(box, interval, tell) {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  const axis = { stroke: colour("--quiet"), font: "12px system-ui, sans-serif", grid: { stroke: colour("--line"), width: 1 } };
  const ticks = { show: false };
  const hidden = { points: { show: false } };
  const line = { label: "YES", stroke: colour("--accent"), width: 2, points: { show: false } };
  if (interval === "trades") line.paths = uPlot.paths.stepped({ align: 1 });
  const edge = { ...hidden, show: interval !== "trades", stroke: "transparent", width: 0 };
  return {
    ...size(box),
    tzDate: (at_s) => uPlot.tzDate(new Date(at_s * 1000), "Etc/UTC"),
    legend: { show: false },
    cursor: { y: false, drag: { x: true, y: false } },
    scales: { x: { time: true, range: shownTimes }, y: { range: (_, low, high) => room(low, high) }, v: { range: (_, low, high) => [0, (high || 1) * 5] } },
    axes: [
      { ...axis, ticks, space: 80, values: (_, splits, axis_, space, step_s) => times(splits, step_s) },
      { ...axis, ticks, size: 46, values: (_, splits) => splits.map((value) => `${value}%`) },
    ],
    series: [
      {},
      line,
      edge,
      edge,
      { ...hidden, scale: "v", show: interval !== "trades", fill: colour("--volume"), width: 0, paths: uPlot.paths.bars({ size: [0.7, 40] }) },
    ],
    bands: [{ series: [3, 2], fill: colour("--range") }],
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
