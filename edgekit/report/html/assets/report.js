"use strict";
// Draws every figure of the page with uPlot: its values are in a JSON block inside it, see edgekit/report/html/view.py.
(() => {
  const HEIGHT = { first: 260, more: 150, row: 44 };
  const DASHES = [[], [7, 4], [2, 3], [10, 3, 2, 3], [4, 4]];
  const WHOLE_STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000]; // no half of a round
  const CLOCK_STEPS = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400];
  const FONT = '12px system-ui, -apple-system, "Segoe UI", Roboto, "DejaVu Sans", sans-serif';
  const drawn = [];

  const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const make = (tag, settings = {}, parent = null) => {
    const element = Object.assign(document.createElement(tag), settings);
    if (parent) parent.append(element);
    return element;
  };
  const number = (value) => {
    if (value == null || Number.isNaN(value)) return "–";
    if (value === 0) return "0";
    return value.toLocaleString("en-US", { maximumSignificantDigits: 4, useGrouping: false });
  };
  const clock = (value) => {
    if (value == null) return "–";
    const seconds = Math.round(value);
    return `${seconds < 0 ? "-" : ""}${Math.trunc(Math.abs(seconds) / 60)}:${String(Math.abs(seconds) % 60).padStart(2, "0")}`;
  };
  const short = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

  // Canvas coordinates of a point, also where x goes down.
  const place = (u, x, y) => {
    const along = u.valToPos(x, "x", true), across = u.valToPos(y, "y", true);
    return u.axes[0].side % 2 ? [across, along] : [along, across];
  };

  function shade(u, panel) {
    const { ctx } = u, { left, top, width, height } = u.bbox;
    ctx.save();
    ctx.beginPath();
    ctx.rect(left, top, width, height);
    ctx.clip();
    for (const span of panel.spans) {
      const key = panel.horizontal ? "y" : "x";
      const from = u.valToPos(span.start, key, true), to = u.valToPos(span.end, key, true);
      const phase = span.kind === "phase"; // a bracket: what happened within it is shaded
      ctx.fillStyle = css({ bad: "--bad-span", phase: "--soft" }[span.kind] ?? `--${span.kind}`);
      ctx.fillRect(from, top, Math.max(to - from, 1), phase ? 3 * devicePixelRatio : height);
      if (phase) {
        ctx.font = FONT.replace("12px", `${12 * devicePixelRatio}px`);
        ctx.fillStyle = css("--soft");
        ctx.textBaseline = "top";
        const start = Math.max(from, left) + 4 * devicePixelRatio;
        if (start + ctx.measureText(span.label).width < to) ctx.fillText(span.label, start, top + 6 * devicePixelRatio);
      }
    }
    if (panel.horizontal && u.scales.y.min < 0 && u.scales.y.max > 0) {
      ctx.strokeStyle = css("--soft");
      ctx.beginPath();
      ctx.moveTo(u.valToPos(0, "y", true), top);
      ctx.lineTo(u.valToPos(0, "y", true), top + height);
      ctx.stroke();
    }
    ctx.restore();
  }

  // Series of one panel stand side by side, so that their intervals do not hide each other.
  const nudge = (panel, index) => (panel.x_names.length ? (index - (panel.series.length - 1) / 2) * 0.14 : 0);

  function intervals(u, panel) {
    const { ctx } = u;
    ctx.save();
    panel.series.forEach((series, index) => {
      if (!u.series[index + 1].show || series.kind !== "points") return;
      ctx.strokeStyle = ctx.fillStyle = css(`--c${series.colour % 5}`);
      ctx.lineWidth = 2 * devicePixelRatio;
      panel.x.forEach((x, at) => {
        if (series.values[at] == null || x < u.scales.x.min || x > u.scales.x.max) return;
        const where = x + nudge(panel, index);
        if (series.low.length && series.low[at] != null) {
          ctx.beginPath();
          ctx.moveTo(...place(u, where, series.low[at]));
          ctx.lineTo(...place(u, where, series.high[at]));
          ctx.stroke();
        }
        ctx.beginPath();
        const radius = (panel.x_names.length ? 4.5 : 3) * devicePixelRatio;
        ctx.arc(...place(u, where, series.values[at]), radius, 0, 2 * Math.PI);
        ctx.fill();
      });
    });
    ctx.restore();
  }

  function yRange(panel) {
    const all = panel.series.flatMap((series) => [series.values, series.low, series.high]).flat().filter((value) => value != null);
    if (panel.y_log) return { distr: 3 };
    let low = Math.min(...all), high = Math.max(...all);
    if (panel.y_from_zero) [low, high] = [Math.min(low, 0), Math.max(high, 0)];
    if (panel.horizontal) for (const span of panel.spans) [low, high] = [Math.min(low, span.start), Math.max(high, span.end)];
    const room = (high - low || Math.abs(high) || 1) * 0.08;
    return { range: [panel.y_from_zero && low === 0 ? 0 : low - room, high + room] };
  }

  // Panels of one figure show the same stretch.
  const whole = (panels) => {
    const all = panels.flatMap((panel) => [panel.x[0], panel.x[panel.x.length - 1]]);
    return [Math.min(...all), Math.max(...all)];
  };

  function xScale(figure, panel) {
    const { x } = panel, [first, last] = whole(figure.panels);
    if (panel.x_names.length) return { time: false, range: [-0.5, x.length - 0.5], ...(panel.horizontal && { ori: 1, dir: -1 }) };
    return { time: false, distr: panel.x_log ? 3 : 1, min: first, max: last, range: (u, low, high) => (low === high ? [low - 1, high + 1] : [low, high]) };
  }

  // Round numbers between two, however close: the library's own are powers of ten.
  const logSplits = (low, high) => {
    const decades = Math.log10(high / low), all = [];
    const digits = decades > 3 ? [1] : decades > 1.2 ? [1, 2, 5] : [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8];
    for (let power = Math.floor(Math.log10(low)); power <= Math.log10(high); power += 1)
      for (const digit of digits) all.push(Number((digit * 10 ** power).toPrecision(3)));
    const seen = all.filter((value) => value >= low && value <= high);
    return seen.filter((value, place) => place % Math.ceil(seen.length / 10) === 0);
  };

  function xAxis(panel, common, width, last) {
    const named = last ? { label: panel.x_label, labelSize: 18, size: 34 } : { size: 34 };
    if (panel.x_names.length) {
      const most = panel.horizontal ? Math.max(8, Math.floor(width / 22)) : 10;
      const longest = Math.max(...panel.x_names.map((name) => Math.min(name.length, most)));
      return {
        ...common, grid: { show: false }, splits: () => panel.x,
        values: (u, all) => all.map((value) => (panel.x_names[value] == null ? "" : short(panel.x_names[value], most))),
        ...(panel.horizontal ? { side: 3, size: longest * 8 + 16 } : { ...named, incrs: [1], space: 18 }),
      };
    }
    const words = panel.x_clock ? clock : number;
    return {
      ...common, ...named, values: (u, all) => all.map((value) => (value == null ? "" : words(value))),
      ...(panel.x_clock ? { incrs: CLOCK_STEPS } : panel.x.every(Number.isInteger) && { incrs: WHOLE_STEPS }),
      ...(panel.x_log && { splits: (u, axis, low, high) => logSplits(low, high), filter: (u, splits) => splits }),
    };
  }

  function settings(figure, panel, order, width, key) {
    const common = {
      stroke: () => css("--soft"), font: FONT, labelFont: FONT,
      grid: { stroke: () => css("--grid"), width: 1 }, ticks: { stroke: () => css("--grid"), width: 1 },
    };
    const zooms = !panel.x_names.length;
    const first = panel.x_names.length
      ? (u, value) => panel.x_names[Math.round(value)] ?? "–"
      : (u, value) => (panel.x_clock ? clock(value) : number(value));
    const yAxis = { ...common, values: (u, all) => all.map((value) => (value == null ? "" : number(value))) };
    return {
      width,
      height: panel.horizontal ? 60 + HEIGHT.row * panel.x.length : order ? HEIGHT.more : width < 480 ? 220 : HEIGHT.first,
      padding: [8, 22, 0, 0],
      cursor: {
        drag: { x: zooms, y: false, dist: 5 }, points: { size: 7 },
        ...(figure.panels.length > 1 && zooms && { sync: { key, scales: ["x", null] } }),
      },
      scales: { x: xScale(figure, panel), y: { ...yRange(panel), ...(panel.horizontal && { ori: 0 }) } },
      axes: [
        xAxis(panel, common, width, order === figure.panels.length - 1),
        panel.horizontal ? { ...yAxis, side: 2, size: 34, label: panel.y_label, labelSize: 18 } : { ...yAxis, size: 58 },
      ],
      legend: { live: true },
      series: [
        { label: panel.x_label, value: first },
        ...panel.series.map((series, index) => ({
          label: series.label,
          stroke: css(`--c${series.colour % 5}`),
          width: series.kind === "points" ? 0 : 1.75,
          dash: panel.series.length > 1 ? DASHES[index % DASHES.length] : [],
          fill: series.kind === "steps" && panel.y_from_zero ? `${css(`--c${series.colour % 5}`)}2e` : undefined,
          points: { show: false },
          spanGaps: panel.series.length > 1 && series.values.some((value) => value == null),
          ...(series.kind === "steps" && { paths: uPlot.paths.stepped({ align: 1 }) }),
          ...(series.kind === "points" && { paths: () => null }),
          value: (u, value, at, index_) => {
            if (index_ == null || value == null) return "–";
            const held = series.low.length && series.low[index_] != null;
            return number(value) + (held ? ` (${number(series.low[index_])} to ${number(series.high[index_])})` : "");
          },
        })),
      ],
      hooks: { drawClear: [(u) => shade(u, panel)], draw: [(u) => intervals(u, panel)] },
    };
  }

  function zoomTo(group, low, high) {
    for (const { u, panel } of group) if (!panel.x_names.length) u.setScale("x", { min: low, max: high });
  }

  // Toggles are buttons, also for the keyboard; the table of uPlot's legend is layout, not data.
  function openLegend(u) {
    const rows = u.root.querySelectorAll(".u-legend, .u-legend tbody, .u-legend tr, .u-legend td");
    for (const row of rows) row.setAttribute("role", "presentation");
    u.root.querySelectorAll(".u-series").forEach((row, index) => {
      const head = row.querySelector("th");
      if (index === 0) { head.setAttribute("role", "presentation"); return; }
      head.tabIndex = 0;
      head.setAttribute("role", "button");
      const show = () => head.setAttribute("aria-pressed", String(u.series[index].show));
      head.addEventListener("click", () => requestAnimationFrame(show));
      head.addEventListener("keydown", (event) => {
        if (event.key === "Enter" || event.key === " ") { event.preventDefault(); head.click(); }
      });
      show();
    });
  }

  function openKeys(u, panel, group, live) {
    u.over.tabIndex = 0;
    let at = -1;
    u.over.addEventListener("keydown", (event) => {
      const { min, max } = u.scales.x, middle = at < 0 ? (min + max) / 2 : panel.x[at];
      const step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -1, ArrowDown: 1, PageUp: -20, PageDown: 20 }[event.key];
      if (step) {
        at = Math.min(panel.x.length - 1, Math.max(0, at + step));
        const y = panel.series.map((series) => series.values[at]).find((value) => value != null) ?? u.scales.y.min;
        const along = u.valToPos(panel.x[at], "x"), across = u.valToPos(y, "y");
        u.setCursor(panel.horizontal ? { left: across, top: along } : { left: along, top: across });
        live.textContent = [...u.root.querySelectorAll(".u-series")]
          .map((row) => [".u-label", ".u-value"].map((part) => row.querySelector(part).textContent).join(": ")).join(", ");
      } else if (!panel.x_names.length && (event.key === "+" || event.key === "-")) {
        const half = ((max - min) / 2) * (event.key === "+" ? 0.5 : 2), [low, high] = whole(group.map((item) => item.panel));
        zoomTo(group, Math.max(low, middle - half), Math.min(high, middle + half));
      } else if (event.key === "0" || event.key === "Escape") zoomTo(group, ...whole(group.map(({ panel }) => panel)));
      else return;
      event.preventDefault();
    });
  }

  function addTools(figure, host, group) {
    const tools = make("div", { className: "tools" });
    const add = (label, act) => make("button", { type: "button", textContent: label }, tools).addEventListener("click", act);
    add("Show all", () => zoomTo(group, ...whole(group.map(({ panel }) => panel))));
    for (const zoom of figure.zooms) add(zoom.label, () => zoomTo(group, zoom.start, zoom.end));
    add("Zoom in", () => {
      const { min, max } = group[0].u.scales.x, quarter = (max - min) / 4;
      zoomTo(group, min + quarter, max - quarter);
    });
    host.prepend(tools);
  }

  function addSpans(figure, host) {
    const kinds = new Map(figure.panels.flatMap((panel) => panel.spans).filter((span) => span.kind !== "phase").map((span) => [span.kind, span.label]));
    if (!kinds.size) return;
    const list = make("ul", { className: "spans" }, host);
    for (const [kind, label] of kinds) make("li", { className: kind, textContent: label }, list);
  }

  function draw(host, figure, key) {
    const group = [], width = host.clientWidth;
    const live = make("p", { className: "sr" });
    live.setAttribute("aria-live", "polite");
    figure.panels.forEach((panel, order) => {
      const box = make("div", { className: "plot" }, host);
      if (!panel.horizontal) make("p", { className: "y", textContent: panel.y_label }, box);
      const u = new uPlot(settings(figure, panel, order, width, key), [panel.x, ...panel.series.map((series) => series.values)], box);
      u.over.setAttribute("role", "img");
      u.over.setAttribute("aria-label", `Plot: ${panel.y_label} over ${panel.x_label}. ${figure.summary} Arrow keys read values` + (panel.x_names.length ? "." : ", plus and minus zoom, 0 shows all."));
      group.push({ u, panel });
      openLegend(u);
      openKeys(u, panel, group, live);
    });
    if (figure.panels.some((panel) => !panel.x_names.length)) addTools(figure, host, group);
    addSpans(figure, host);
    host.append(live);
    return group;
  }

  function drawAll() {
    for (const { host, group } of drawn.splice(0)) {
      for (const { u } of group) u.destroy();
      host.replaceChildren(host.querySelector("script"));
    }
    document.querySelectorAll(".plots").forEach((host, index) => {
      const figure = JSON.parse(host.querySelector("script").textContent);
      drawn.push({ host, group: draw(host, figure, `figure-${index}`), width: host.clientWidth });
    });
  }

  drawAll();
  addEventListener("resize", () => {
    for (const item of drawn) {
      if (item.width === item.host.clientWidth) continue;
      item.width = item.host.clientWidth;
      for (const { u } of item.group) u.setSize({ width: item.width, height: u.height });
    }
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
  const paper = (on) => { document.documentElement.classList.toggle("print", on); drawAll(); };
  addEventListener("beforeprint", () => paper(true));
  addEventListener("afterprint", () => paper(false));
})();
