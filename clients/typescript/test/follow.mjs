// Prints what a reader of the channel `activity` gets, a line a message: node follow.mjs <ws url>; ends at a comment "last".
import WebSocket from "ws";
import { LiveFeed } from "../dist/index.js";

const positions = { activity: { epoch: "another database's", offset: 3 } }; // so that it begins with a gap
const feed = new LiveFeed(process.argv[2], { WebSocket, positions });
feed.subscribe("activity", ({ type, offset, data }) => {
  const { outcome, content } = data;
  console.log(JSON.stringify({ type, offset, outcome, content }));
  if (content === "last") feed.close();
});
