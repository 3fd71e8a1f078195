// Times as the reader's clock shows them, with UTC on hover. The server writes UTC, which stays without scripts.
import { element } from "./dom.js";

const DAY = { day: "2-digit", month: "short", year: "numeric" };
const HOUR = { hour: "2-digit", minute: "2-digit" };

function formatter(timeZone) {
  const day = new Intl.DateTimeFormat("en-GB", { ...DAY, timeZone });
  const hour = new Intl.DateTimeFormat("en-GB", { ...HOUR, timeZone });
  return (moment) => {
    const at = new Date(moment);
    return `${day.format(at).replace("Sept", "Sep")}, ${hour.format(at)}`;
  };
}

const date = new Intl.DateTimeFormat("en-GB", DAY);

export const when = formatter(undefined);
const utc = formatter("UTC");

export const time = (moment) => element("time", { datetime: moment, title: `${utc(moment)} UTC` }, when(moment));

function localize() {
  for (const spot of document.querySelectorAll("time[datetime]:not([title])")) {
    spot.title = `${utc(spot.dateTime)} UTC`;
    spot.textContent = spot.dataset.form === "date" ? date.format(new Date(spot.dateTime)).replace("Sept", "Sep") : when(spot.dateTime);
  }
}

localize();
document.addEventListener("zmart:renewed", localize);
