// One stream for all of the browser's tabs: browsers allow six connections to an origin over HTTP/1.1, and each stream
// holds one. The tab that has the lock reads it and tells the others. Without locks (no TLS, not localhost) each tab
// reads its own.
"use strict";
(() => {
  const URL_OF_STREAM = "/api/v1/stream";
  const NAME = "radmeter-stream";
  const EVENTS = ["figures", "routers", "alerts", "resync", "end"];
  // Longer than two readings of the server that are as slow as they may be.
  const SILENCE_MS = 25000;
  // Not Date.now(): while a clock that was set back catches up, silence would be no time at all.
  const now = () => performance.now();

  const tell = (type, data) => document.dispatchEvent(new CustomEvent("radmeter:" + type, { detail: data }));

  let heardAt = now();
  let state = "", ended = false;
  function show(next, words) {
    const place = document.querySelector(".live");
    if (!place || (state === next && place.textContent === words)) return;
    state = next;
    place.dataset.state = next;
    place.textContent = words;
    document.body.classList.toggle("not-live", state === "off");
  }
  function heard(type, data) {
    if (type === "closed") {
      show("off", "not live: connecting again");
      return;
    }
    if (type === "end") {
      ended = true;
      show("off", "not live: log in again");
      return;
    }
    // A server that answers is not live yet: the database may be away.
    if (type === "figures") {
      heardAt = now();
      ended = false;
      show("on", "live");
    }
    tell(type, data);
  }

  function read(pass) {
    const source = new EventSource(URL_OF_STREAM);
    for (const type of EVENTS) {
      source.addEventListener(type, (event) => {
        let data = {};
        try { data = JSON.parse(event.data); } catch (error) { return; }
        pass(type, data);
        if (type === "end") source.close();
      });
    }
    source.addEventListener("error", () => {
      pass("closed", {});
      // A browser gives up after an answer that is no stream, such as 401 or 503. A wall has nobody who reloads it.
      if (source.readyState === EventSource.CLOSED) setTimeout(() => read(pass), 5000);
    });
  }

  function start() {
    if (!document.body.dataset.live) return;
    show("", "connecting");
    setInterval(() => {
      if (!ended && now() - heardAt > SILENCE_MS) {
        show("off", "not live for " + Math.round((now() - heardAt) / 1000) + " s");
      }
      if (state === "off") tell("aging", { seconds: (now() - heardAt) / 1000 });
    }, 1000);
    if (!navigator.locks || !window.BroadcastChannel) {
      read(heard);
      return;
    }
    const channel = new BroadcastChannel(NAME);
    channel.addEventListener("message", (message) => heard(message.data.type, message.data.data));
    navigator.locks.request(NAME, () => new Promise(() => {
      read((type, data) => { heard(type, data); channel.postMessage({ type, data }); });
    }));
  }

  document.addEventListener("DOMContentLoaded", start);
})();
