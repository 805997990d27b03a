// Follows one event stream with a client of npm, as its own page shows it, and tells what it hears: one JSON object a line.
//
//     node read.mjs eventsource|fetch-event-source URL
import { EventSource } from "eventsource";

const [client, url] = process.argv.slice(2);
const tell = (what) => console.log(JSON.stringify(what));
const names = ["state", "progress", "metric", "log", "output", "checkpoint", "artifact", "done", "gap"];

if (client === "eventsource") {
  const source = new EventSource(url);
  for (const name of names) source.addEventListener(name, (event) => tell({ id: event.lastEventId, event: name }));
  source.addEventListener("error", (event) => {
    tell({ error: event.message ?? "the line ended", code: event.code });
    if (source.readyState === EventSource.CLOSED) tell({ over: "told" });
  });
} else {
  // It is made for pages.
  globalThis.window = globalThis;
  globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };
  const { fetchEventSource } = await import("@microsoft/fetch-event-source");
  fetchEventSource(url, {
    onmessage: (event) => event.event && tell({ id: event.id, event: event.event }),
    onerror: (error) => { tell({ error: String(error) }); },
  }).then(() => tell({ over: "silent" }), (error) => tell({ over: "told", error: String(error) }));
}
