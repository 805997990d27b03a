// Follows one event stream with a client of npm, as its own page shows it, and tells what it hears: one JSON object a line.
//
//     node read.mjs eventsource|fetch-event-source URL
import { EventSource } from "eventsource";

const [client, url] = process.argv.slice(2);
const report = (what) => console.log(JSON.stringify(what));
const names = ["state", "progress", "metric", "log", "output", "checkpoint", "artifact", "done", "gap"];

if (client === "eventsource") {
  const source = new EventSource(url);
  for (const name of names) source.addEventListener(name, (event) => report({ id: event.lastEventId, event: name }));
  source.addEventListener("error", (event) => {
    report({ error: event.message ?? "the line ended", code: event.code });
    if (source.readyState === EventSource.CLOSED) report({ over: "reported" });
  });
} else {
  // It is made for pages.
  globalThis.window = globalThis;
  globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };
  const { fetchEventSource } = await import("@microsoft/fetch-event-source");
  fetchEventSource(url, {
    onmessage: (event) => event.event && report({ id: event.id, event: event.event }),
    onerror: (error) => { report({ error: String(error) }); },
  }).then(() => report({ over: "silent" }), (error) => report({ over: "reported", error: String(error) }));
}
