// Keeps prices, states and the tape of a page up to date over the WebSocket. The page is complete without it.
"use strict";
const meta = document.querySelector('meta[name="zmart-socket"]');
const channel = meta.dataset.channel;
let place = {};
let pause = 500;

const sol = (lamports) => (lamports / 1e9).toLocaleString("en", { minimumFractionDigits: 3, maximumFractionDigits: 3 });
const short = (address) => `${address.slice(0, 4)}…${address.slice(-4)}`;

function put(root, name, text) {
  const spot = root.querySelector(`[data-${name}]`);
  if (!spot || spot.textContent === text) return;
  spot.textContent = text;
  spot.classList.remove("fresh");
  void spot.offsetWidth;
  spot.classList.add("fresh");
}

function market(message) {
  const now = message.data.market;
  const root = now && document.querySelector(`[data-market="${now.market_id}"]`);
  if (!root) return;
  const chance = (Number(now.current_price_yes) * 100).toFixed(1);
  put(root, "price", chance);
  put(root, "volume", sol(now.total_volume));
  const state = root.querySelector("[data-state]");
  if (state && state.textContent !== now.state.toLowerCase()) {
    state.textContent = now.state.toLowerCase();
    state.className = `state ${now.state.toLowerCase()}`;
  }
  const meter = root.querySelector("[data-meter]");
  if (meter) meter.value = chance;
}

function trade(message) {
  const tape = document.querySelector("[data-tape]");
  const data = message.data;
  if (!tape || data.action !== "created") return;
  const cells = [
    new Date(data.created_at).toLocaleString("en-GB", { dateStyle: "medium", timeStyle: "short" }),
    `${data.trade_type} ${data.outcome}`,
    (data.shares / 1e9).toFixed(2),
    sol(data.cost),
    `${(Number(data.price_after) * 100).toFixed(1)}%`,
    short(data.user_wallet),
  ];
  const row = document.createElement("tr");
  cells.forEach((text, at) => {
    const cell = row.insertCell();
    cell.textContent = text;
    if (at >= 2 && at <= 4) cell.className = "n";
    if (at === 1) cell.className = data.outcome.toLowerCase();
  });
  row.className = "fresh";
  tape.prepend(row);
  while (tape.rows.length > 60) tape.deleteRow(-1);
}

function connect() {
  const socket = new WebSocket(meta.content);
  socket.onopen = () => {
    pause = 500;
    socket.send(JSON.stringify({ action: "subscribe", channel, ...place }));
  };
  socket.onmessage = (event) => {
    const message = JSON.parse(event.data);
    if (message.type === "gap") location.reload();
    if (message.offset) place = { epoch: message.epoch, offset: message.offset };
    if (message.type === "market_state") market(message);
    if (message.type === "trade") trade(message);
  };
  socket.onclose = () => {
    setTimeout(connect, pause * (0.5 + Math.random()));
    pause = Math.min(pause * 2, 30000);
  };
}

connect();
