// The live feed of one channel, from the place in it at which the page was made: nothing is missed, and after a lost
// connection it goes on behind the last message that came.
const FIRST_PAUSE_MS = 400;
const LONGEST_PAUSE_MS = 20000;

export function follow({ message, link, gap }) {
  const meta = document.querySelector('meta[name="zmart-socket"]');
  const { channel, epoch, offset } = meta.dataset;
  let place = { epoch, offset: Number(offset) };
  let pause = FIRST_PAUSE_MS;
  let socket = null;

  function heard(said) {
    if (said.type === "error") {
      socket.close();
      return;
    }
    if (said.channel !== channel) return; // a welcome stands elsewhere in the feed
    if (said.type === "gap") gap();
    if (said.type === "subscribed") {
      pause = FIRST_PAUSE_MS;
      link(true);
    } else {
      message(said);
    }
    place = { epoch: said.epoch, offset: said.offset };
  }

  function connect() {
    socket = new WebSocket(meta.content);
    socket.onopen = () => socket.send(JSON.stringify({ action: "subscribe", channel, ...place }));
    socket.onmessage = (event) => heard(JSON.parse(event.data));
    socket.onclose = () => {
      link(false);
      setTimeout(connect, pause * (0.5 + Math.random()));
      pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
    };
  }
  connect();
}
