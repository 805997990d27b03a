#!/usr/bin/env bash
# @microsoft/fetch-event-source takes 204, by which a server tells a reader to stop, for an error and asks again each second, without end; and takes the clean end of a stream for the end of everything, where the standard asks again.
# Seen 2026-11-29 with @microsoft/fetch-event-source 2.0.1 on node 20: at 204 its promise never settles and the server is asked for ever, since an answer without
# the content type of a stream throws in its own `onopen`; a stream that ended (a proxy's limit, a restart) resolves it and is never asked for again.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null
npm install --silent --no-fund --no-audit @microsoft/fetch-event-source@2.0.1
cat >probe.mjs <<'JS'
import { createServer } from "node:http";
import { fetchEventSource } from "@microsoft/fetch-event-source";
import { createRequire } from "node:module";

globalThis.window = globalThis;
globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };
const asked = { "/ends": 0, "/none": 0 };
const server = createServer((request, response) => {
  asked[request.url] += 1;
  if (request.url === "/none") return response.writeHead(204).end();
  response.writeHead(200, { "Content-Type": "text/event-stream" });
  response.end("retry: 50\nid: 1\ndata: x\n\n");
}).listen(0, "127.0.0.1", async () => {
  const base = `http://127.0.0.1:${server.address().port}`;
  let settled = false;
  await fetchEventSource(`${base}/ends`, {});
  fetchEventSource(`${base}/none`, { onerror: () => 50 }).finally(() => { settled = true; });
  setTimeout(() => {
    const { version } = createRequire(import.meta.url)("@microsoft/fetch-event-source/package.json");
    console.log(`fetch-event-source ${version}: asked once for what ended: ${asked["/ends"] === 1}; asked for 204: ${asked["/none"]} times, settled: ${settled}`);
    process.exit(asked["/ends"] === 1 && asked["/none"] >= 5 && !settled ? 0 : 1);
  }, 1500);
});
JS
node probe.mjs
