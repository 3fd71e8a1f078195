// The live feed of one channel, from the position at which the page was rendered: no message is missed, and after a lost
// connection it continues after the last message.
const FIRST_PAUSE_MS = 400;
const LONGEST_PAUSE_MS = 20000;

export function follow({ message, link, gap }) {
  const meta = document.querySelector('meta[name="zmart-socket"]');
  const { channel, epoch, offset } = meta.dataset;
  let position = { epoch, offset: Number(offset) };
  let pause = FIRST_PAUSE_MS;
  let socket = null;

  function receive(data) {
    if (data.type === "error") {
      socket.close();
      return;
    }
    if (data.channel !== channel) return; // a welcome has another position
    if (data.type === "gap") gap();
    if (data.type === "subscribed") {
      pause = FIRST_PAUSE_MS;
      link(true);
    } else {
      message(data);
    }
    position = { epoch: data.epoch, offset: data.offset };
  }

  function connect() {
    socket = new WebSocket(meta.content);
    socket.onopen = () => socket.send(JSON.stringify({ action: "subscribe", channel, ...position }));
    socket.onmessage = (event) => receive(JSON.parse(event.data));
    socket.onclose = () => {
      link(false);
      setTimeout(connect, pause * (0.5 + Math.random()));
      pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
    };
  }
  connect();
}
