// Keeps what the page has loaded, so that it opens and writes without a network. The network is asked
// first: a visitor who has one never sees an old page.
const KEPT = "pagelm-demo";

addEventListener("install", () => skipWaiting());
addEventListener("activate", (event) => event.waitUntil(clients.claim()));

// The page loaded before this worker was there: it sends the addresses of what it had fetched.
addEventListener("message", (event) => event.waitUntil(keep(event.data)));

async function keep(addresses) {
  const cache = await caches.open(KEPT);
  const missing = [];
  for (const address of addresses) if (!(await cache.match(address))) missing.push(address);
  await Promise.allSettled(missing.map((address) => cache.add(address)));
}

addEventListener("fetch", (event) => {
  const { request } = event;
  if (request.method === "GET" && new URL(request.url).origin === location.origin) event.respondWith(answer(event));
});

async function answer(event) {
  try {
    const response = await fetch(event.request);
    // The page reads one copy while the other is written down; a full disk is no reason to fail.
    if (response.status === 200) event.waitUntil(write(event.request, response.clone()));
    return response;
  } catch (error) {
    const kept = await caches.match(event.request);
    if (kept) return kept;
    throw error;
  }
}

async function write(request, copy) {
  try {
    await (await caches.open(KEPT)).put(request, copy);
  } catch {
    await copy.body?.cancel().catch(() => {});
  }
}
