// What the pages do in the browser: numbers and charts that follow the stream, keys, copying, the zone.
"use strict";
(() => {
  const one = (selector, within = document) => within.querySelector(selector);
  const all = (selector, within = document) => Array.from(within.querySelectorAll(selector));

  // Numbers
  const UNITS = ["", "k", "M", "G", "T", "P"];
  function scaled(value, unit) {
    let size = Math.abs(value), step = 0;
    while (size >= 1000 && step < UNITS.length - 1) { size /= 1000; step += 1; }
    const digits = step === 0 ? (size < 10 ? 1 : 0) : size < 10 ? 2 : size < 100 ? 1 : 0;
    return (value < 0 ? "-" : "") + size.toFixed(digits) + " " + UNITS[step] + unit;
  }
  function duration(seconds) {
    if (seconds < 10) return seconds.toFixed(1) + " s";
    if (seconds < 120) return Math.round(seconds) + " s";
    if (seconds < 7200) return Math.round(seconds / 60) + " min";
    if (seconds < 172800) return Math.round(seconds / 3600) + " h";
    return Math.round(seconds / 86400) + " d";
  }
  const WRITTEN = {
    count: (value) => Math.round(value).toLocaleString("en"),
    rate: (value) => (value < 100 ? value.toFixed(1) : Math.round(value).toLocaleString("en")),
    bits: (value) => scaled(value * 8, "bit/s"),
    duration,
  };
  const figure = (figures, path) => path.split(".").reduce((found, key) => (found == null ? found : found[key]), figures);
  let newest = null;
  function put(figures) {
    newest = figures.newest_seconds;
    for (const place of all("[data-figure]")) {
      const value = figure(figures, place.dataset.figure);
      const words = value == null ? "–" : WRITTEN[place.dataset.as || "count"](value);
      if (place.textContent !== words) place.textContent = words;
      const tile = place.closest(".tile");
      // A tile is coloured by its own figure, or by another one: many alerts may be information only.
      const above = (limit, by) => limit !== undefined && (by ? figure(figures, by) || 0 : value || 0) > Number(limit);
      const bad = above(place.dataset.bad, place.dataset.badBy);
      if (tile && place.dataset.bad !== undefined) tile.classList.toggle("bad", bad);
      if (tile && place.dataset.warn !== undefined) tile.classList.toggle("warn", !bad && above(place.dataset.warn, place.dataset.warnBy));
    }
    const trouble = ((figures.routers || {}).silent || 0) + (figures.critical_alerts || 0) + (figures.warning_alerts || 0);
    const plain = document.title.replace(/^\(\d+\) /, "");
    const title = (trouble ? "(" + trouble + ") " : "") + plain;
    if (document.title !== title) document.title = title;
  }

  // What was heard last is older each second, also while no figures say so.
  document.addEventListener("radmeter:aging", (event) => {
    for (const place of all("[data-ages]")) if (newest != null) place.textContent = duration(newest + event.detail.seconds);
  });

  // Charts
  const KEPT_SECONDS = 900, LEAST_SECONDS = 180;
  const charts = [];
  const zone = () => document.body.dataset.zone;
  function inZone(seconds) {
    const at = new Date(seconds * 1000);
    // A zone that this browser does not know must not cost the chart.
    try { return uPlot.tzDate(at, zone()); } catch (error) { return at; }
  }
  function clock(seconds, given = { timeZoneName: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" }) {
    if (seconds == null) return "–";
    const at = new Date(seconds * 1000);
    try { return at.toLocaleTimeString("en-GB", { timeZone: zone(), ...given }); } catch (error) { return at.toISOString().slice(11, 19) + " UTC"; }
  }
  const minute = (seconds) => clock(seconds, { hour: "2-digit", minute: "2-digit" });
  function colour(name) { return getComputedStyle(document.documentElement).getPropertyValue(name).trim(); }
  class Chart {
    constructor(place) {
      this.place = place;
      this.series = JSON.parse(place.dataset.series);
      this.as = WRITTEN[place.dataset.as];
      this.data = [[], ...this.series.map(() => [])];
      this.watch = new ResizeObserver(() => this.size());
      this.draw();
      this.watch.observe(place);
    }
    draw() {
      if (this.plot) { this.watch.unobserve(this.legend); this.plot.destroy(); }
      const font = this.font = getComputedStyle(document.documentElement).fontSize;
      const small = (parseFloat(font) * 0.8) + "px " + getComputedStyle(document.body).fontFamily;
      const axis = { stroke: colour("--quiet"), font: small, grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
      const rem = parseFloat(font);
      this.plot = new uPlot({
        ...this.room(), tzDate: inZone, padding: [rem * 0.6, rem * 1.4, 0, 0],
        cursor: { points: { size: 7 }, drag: { x: false, y: false } },
        // From the first reading on, but never less than some minutes.
        scales: { x: { range: (_, low, high) => { const end = high || Date.now() / 1000; return [Math.min(low || end, end - LEAST_SECONDS), end]; } }, y: { range: (_, low, high) => [Math.min(0, low || 0), Math.max(1, (high || 0) * 1.1)] } },
        axes: [
          { ...axis, size: rem * 2.2, space: rem * 4, incrs: [60, 120, 300], values: (_, ticks) => ticks.map(minute) },
          { ...axis, size: rem * 5.6, values: (_, ticks) => ticks.map((value) => this.as(value)) },
        ],
        series: [
          { label: "at", value: (_, value) => clock(value == null ? this.data[0][this.data[0].length - 1] : value) },
          ...this.series.map((each) => ({
            label: each.label, stroke: colour(each.colour), width: Math.max(1.6, rem / 9), points: { show: false },
            // Without a pointer, the legend says what is now.
            dash: each.dash, spanGaps: false, value: (_, value) => this.said(value == null ? this.last(each) : value),
          })),
        ],
      }, this.data, this.place);
      // In a narrow place it has as many lines as its values need.
      this.legend = one(".u-legend", this.place);
      this.watch.observe(this.legend);
    }
    said(value) { return value == null ? "–" : this.as(value); }
    last(each) {
      const column = this.data[this.series.indexOf(each) + 1];
      return column[column.length - 1];
    }
    room() {
      const least = parseFloat(getComputedStyle(document.documentElement).fontSize) * 2.2;
      const legend = Math.max(least, this.legend && this.legend.isConnected ? this.legend.offsetHeight : 0);
      return { width: this.place.clientWidth || 300, height: Math.max(90, this.place.clientHeight - legend) };
    }
    size() {
      const font = getComputedStyle(document.documentElement).fontSize;
      if (font !== this.font) this.draw(); else this.plot.setSize(this.room());
    }
    add(figures, draw = true) {
      const at = figures.at;
      const times = this.data[0];
      // What has a time of later is from before the server's clock was set back.
      while (times.length && at <= times[times.length - 1]) this.data.forEach((column) => column.pop());
      // A pause is a gap, not a line.
      if (times.length && at - times[times.length - 1] > 15) {
        times.push(times[times.length - 1] + 1);
        this.series.forEach((_, index) => this.data[index + 1].push(null));
      }
      times.push(at);
      this.series.forEach((each, index) => this.data[index + 1].push(figures[each.of] == null ? null : figures[each.of]));
      while (times.length && times[0] < at - KEPT_SECONDS) this.data.forEach((column) => column.shift());
      if (draw) this.show();
    }
    show() {
      this.plot.setData(this.data);
      const last = this.data[0][this.data[0].length - 1];
      const words = one("[data-chart-words]", this.place.parentElement);
      if (words && last) {
        words.textContent = this.series.map((each, index) => {
          const values = this.data[index + 1].filter((value) => value != null);
          return values.length ? each.label + ": now " + this.as(values[values.length - 1]) + ", most " + this.as(Math.max(...values)) : "";
        }).join("; ");
      }
    }
  }
  async function history() {
    if (!charts.length) return;
    try {
      const answer = await fetch("/noc/history", { headers: { accept: "application/json" } });
      if (!answer.ok) return;
      const { items } = await answer.json();
      for (const chart of charts) {
        for (const figures of items) chart.add(figures, false);
        chart.show();
      }
      if (items.length) put(items[items.length - 1]);
    } catch (error) { /* the stream goes on without what was before */ }
  }
  function redraw() { charts.forEach((chart) => chart.draw()); }

  // The stream
  function refresh(name) { document.body.dispatchEvent(new CustomEvent("refresh-" + name, { bubbles: true })); }
  // Sessions come and go each second. Who reads a list of them wants to read it.
  const SESSIONS_MS = 5000;
  let sessions, sessionsAt = 0;
  document.addEventListener("radmeter:figures", (event) => {
    put(event.detail);
    if (event.detail.open_sessions !== sessions && Date.now() - sessionsAt > SESSIONS_MS) {
      if (sessions !== undefined) { refresh("sessions"); sessionsAt = Date.now(); }
      sessions = event.detail.open_sessions;
    }
    charts.forEach((chart) => chart.add(event.detail));
  });
  function refreshAll() { ["alerts", "routers", "router", "sessions", "pipeline", "others"].forEach(refresh); }
  document.addEventListener("radmeter:alerts", () => refresh("alerts"));
  document.addEventListener("radmeter:routers", (event) => {
    if (event.detail.changed) refresh("routers");
    const own = document.body.dataset.router;
    if (own && (event.detail.items || []).some((each) => String(each.router_id) === own)) refresh("router");
  });
  document.addEventListener("radmeter:resync", () => { history(); refreshAll(); });
  // A page that nobody sees is read again when somebody does.
  document.addEventListener("visibilitychange", () => { if (!document.hidden) refreshAll(); });

  // Keys: "/" goes to the search, "g" and a letter to a page, "?" to the help.
  function help() { const keys = one("#keys"); if (keys && !keys.open) keys.showModal(); }
  document.addEventListener("click", (event) => { if (event.target.closest("[data-keys]")) help(); });
  let leader = 0;
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) || event.target.isContentEditable;
    if (typing) { if (event.key === "Escape") event.target.blur(); return; }
    if (event.key === "/") { const box = one("#search"); if (box) { event.preventDefault(); box.focus(); box.select(); } return; }
    if (event.key === "?") { event.preventDefault(); help(); return; }
    if (event.key === "g") { leader = Date.now(); return; }
    if (Date.now() - leader < 1500) {
      const link = one('nav [data-key="' + CSS.escape(event.key) + '"]');
      leader = 0;
      if (link) link.click();
    }
  });

  // Commands are copied by a button; without TLS a browser has no clipboard, so the text is selected.
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-copy]");
    if (!button) return;
    const text = one("pre", button.parentElement);
    try {
      await navigator.clipboard.writeText(text.textContent);
      button.textContent = "Copied";
    } catch (error) {
      getSelection().selectAllChildren(text);
      button.textContent = "Selected";
    }
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  // What cannot be undone is asked once more.
  document.addEventListener("submit", (event) => {
    const question = event.target.dataset && event.target.dataset.ask;
    if (question && !confirm(question)) event.preventDefault();
  });
  // A menu ends like one.
  document.addEventListener("keydown", (event) => {
    const menu = event.key === "Escape" && event.target.closest && event.target.closest("details.menu[open]");
    if (menu) { menu.open = false; one("summary", menu).focus(); }
  });
  document.addEventListener("click", (event) => {
    for (const menu of all("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  });
  // A part that is loaded again takes no choice away that somebody makes in it.
  document.addEventListener("htmx:beforeRequest", (event) => {
    const active = document.activeElement;
    if (event.target !== active && /^(SELECT|INPUT)$/.test(active.tagName) && event.target.contains(active)) event.preventDefault();
  });
  document.addEventListener("htmx:beforeRequest", (event) => {
    if (document.hidden && event.target.matches("[hx-trigger*=every]")) event.preventDefault();
  });
  // What somebody has opened in it stays so.
  const kept = new Map();
  document.addEventListener("htmx:beforeSwap", (event) => {
    for (const it of all("details[id]", event.target)) kept.set(it.id, it.open);
  });
  document.addEventListener("htmx:afterSettle", () => {
    for (const [id, value] of kept) {
      const it = document.getElementById(id);
      if (it) it.open = value;
    }
    kept.clear();
  });
  // What could not be read again says so, until it is.
  const old = (event) => event.target.classList.add("old");
  for (const name of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) document.addEventListener(name, old);
  document.addEventListener("htmx:afterOnLoad", (event) => { if (event.detail.successful !== false && event.detail.xhr.status < 400) event.target.classList.remove("old"); });
  // A login that has ended, or an error: htmx shows the page, not a piece of it.
  document.addEventListener("htmx:beforeSwap", (event) => {
    if (event.detail.xhr.status === 401) { event.detail.shouldSwap = false; location.reload(); }
  });

  document.addEventListener("DOMContentLoaded", () => {
    const here = one("#zone option[data-device]");
    if (here) {
      let name = "";
      try { name = Intl.DateTimeFormat().resolvedOptions().timeZone || ""; } catch (error) { name = ""; }
      if (name) { here.value = name; here.textContent = "This device: " + name; } else here.remove();
    }
    for (const place of all("[data-series]")) charts.push(new Chart(place));
    history();
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  });
})();
