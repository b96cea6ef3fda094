"use strict";
(() => {
  const report = JSON.parse(document.getElementById("report").textContent);
  const runs = report.series.flatMap(s => s.runs);
  const colours = ["--one", "--two", "--three", "--four", "--five"];
  const percentiles = [["p50", "p50_ms"], ["p90", "p90_ms"], ["p99", "p99_ms"], ["p99.9", "p999_ms"], ["max", "max_ms"]];
  const limit = report.goal && report.goal.limit_ms > 0 ? report.goal.limit_ms : null;
  const height = 260;
  let plots = [];

  const digits = v => String(Number(v.toPrecision(3)));
  const duration = v => v == null ? "" : v < 1 ? digits(v * 1000) + " µs" : v < 1000 ? digits(v) + " ms" : digits(v / 1000) + " s";
  const number = v => v == null ? "" : v.toLocaleString("en", { maximumFractionDigits: Math.abs(v) < 100 ? 1 : 0 });
  const clock = s => {
    const whole = Math.round(s), two = n => String(n).padStart(2, "0");
    return whole < 3600 ? Math.floor(whole / 60) + ":" + two(whole % 60)
      : Math.floor(whole / 3600) + ":" + two(Math.floor(whole / 60) % 60) + ":" + two(whole % 60);
  };
  const percentOf = q => String(Number((100 * q).toFixed(6))) + " %";
  const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const positive = v => v > 0 ? v : null;

  const line = (label, colour, values, more) => Object.assign(
    { label, stroke: css(colour), width: 2, value: (u, v) => v == null ? "–" : values(v), points: { size: 5 }, spanGaps: false }, more);
  const goal = () => line("goal", "--bad", duration, { dash: [3, 4], width: 1, points: { show: false } });

  const axis = more => Object.assign({
    stroke: css("--quiet"), font: "12px system-ui, sans-serif", labelFont: "12px system-ui, sans-serif",
    grid: { stroke: css("--line"), width: 1 }, ticks: { stroke: css("--line"), width: 1 },
  }, more);
  // Between powers of ten there are grid lines only where few powers are shown.
  const tens = (u, splits) => {
    const some = splits.filter(v => v > 0), decades = Math.log10(some[some.length - 1] / some[0]);
    return splits.map(v => decades < 1.5 || Number.isInteger(Number(Math.log10(v).toFixed(9))) ? v : null);
  };
  const wide = strings => 22 + 7 * Math.max(0, ...(strings || []).map(s => String(s).length));
  const left = (values, more) => axis(Object.assign({ values: (u, splits) => splits.map(values), size: (u, strings) => wide(strings) }, more));
  const latencyAxis = () => left(duration, {
    grid: { stroke: css("--line"), width: 1, filter: tens }, ticks: { stroke: css("--line"), width: 1, filter: tens },
  });

  // draw puts a plot into the figure, or hides the figure when there is nothing to plot.
  function draw(id, data, make) {
    const figure = document.getElementById(id), place = figure.lastElementChild;
    place.textContent = "";
    figure.hidden = !data || data[0].length === 0;
    if (figure.hidden) return;
    const plot = new uPlot(Object.assign(
      { width: place.clientWidth, height, padding: [10, 24, 0, 0], cursor: { drag: { x: true, y: false } },
        legend: { markers: { dash: (u, i) => u.series[i].dash ? "dotted" : "solid" } } }, make()), data, place);
    plots.push({ plot, place });
  }

  // merge joins lists of [x, values...] into the columns that uPlot takes.
  function merge(lists) {
    const xs = [...new Set(lists.flatMap(l => l.map(p => p[0])))].sort((a, b) => a - b);
    const columns = [xs];
    for (const list of lists) {
      const at = new Map(list.map(p => [p[0], p]));
      for (let i = 1; i < (list.length ? list[0].length : 0); i++) columns.push(xs.map(x => at.has(x) ? at.get(x)[i] : null));
    }
    return columns;
  }

  // Steps of equal rate are points above one another: the median of each figure is drawn.
  function byRate(series, pick) {
    const at = new Map();
    for (const s of series.runs.flatMap(r => r.steps)) {
      if (s.asked_per_s > 0) at.set(s.asked_per_s, [...(at.get(s.asked_per_s) || []), pick(s)]);
    }
    const middle = vs => { const v = vs.filter(x => x != null).sort((a, b) => a - b); return v.length ? v[v.length >> 1] : null; };
    return [...at].map(([rate, rows]) => [rate, ...rows[0].map((_, i) => middle(rows.map(r => r[i])))]);
  }

  function load() {
    const several = report.series.length > 1;
    const shown = several ? [percentiles[0], percentiles[2]] : percentiles.slice(0, 4);
    const lists = report.series.map(s => byRate(s, step => shown.map(([, key]) => positive(step.intended[key]))));
    const data = merge(lists);
    if (data[0].length < 2) { draw("load", null); draw("reach", null); return; }
    if (limit) data.push(data[0].map(() => limit));
    draw("load", data, () => ({
      scales: { x: { time: false }, y: { distr: 3, log: 10 } },
      axes: [axis({ values: (u, s) => s.map(number), label: "asked, requests/s", labelSize: 18 }), latencyAxis()],
      series: [{ label: "asked/s", value: (u, v) => number(v) },
        ...report.series.flatMap((s, i) => shown.map(([name], j) => line(
          several ? name + " " + s.name : name, colours[several ? j * 2 : j], duration, i ? { dash: [8, 5] } : {}))),
        ...(limit ? [goal()] : [])],
    }));
    const reach = merge(report.series.map(s => byRate(s, step => [step.achieved_per_s, ...(limit ? [step.goodput_per_s ?? null] : [])])));
    reach.push(reach[0]);
    draw("reach", reach, () => ({
      scales: { x: { time: false } },
      axes: [axis({ values: (u, s) => s.map(number), label: "asked, requests/s", labelSize: 18 }), left(number)],
      series: [{ label: "asked/s", value: (u, v) => number(v) },
        ...report.series.flatMap((s, i) => [
          line(several ? "achieved " + s.name : "achieved", "--one", number, i ? { dash: [8, 5] } : {}),
          ...(limit ? [line(several ? "goodput " + s.name : "goodput", "--two", number, i ? { dash: [8, 5] } : {})] : [])]),
        line("asked", "--five", number, { dash: [3, 4], width: 1, points: { show: false } })],
    }));
  }

  // Runs of a comparison are points in the order in which they began, so that drift shows too.
  function repeats() {
    const profiles = report.series.map(s => new Set(s.runs.map(r => r.asked.profile)));
    const order = runs.filter(r => profiles.every(p => p.has(r.asked.profile))).sort((a, b) => a.began < b.began ? -1 : a.began > b.began ? 1 : 0);
    const of = s => order.map((r, i) => [i + 1, s.runs.includes(r) ? positive(r.total.intended.p99_ms) : null]);
    if (report.series.length < 2 || order.length < 3) { draw("repeats", null); return; }
    draw("repeats", merge(report.series.map(of)), () => ({
      scales: { x: { time: false, range: (u, min, max) => [min - 0.5, max + 0.5] } },
      axes: [axis({ values: (u, s) => s.map(v => Number.isInteger(v) ? String(v) : ""), label: "run, in the order of time", labelSize: 18 }), left(duration)],
      series: [{ label: "run", value: (u, v) => v == null ? "–" : String(v) },
        ...report.series.map((s, i) => line(s.name, colours[i * 2 % 5], duration,
          { paths: () => null, points: { show: true, size: 9, fill: css(colours[i * 2 % 5]) } }))],
    }));
  }

  function course(run) {
    const xs = run.course.map(c => c.begin_s), few = xs.length < 60;
    const x = { time: false, range: (u, min, max) => [min, Math.max(max, min + 1)] };
    // Whole seconds: the clock shows no parts of them.
    const seconds = () => axis({ values: (u, s) => s.map(clock), incrs: [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400] });
    const points = { points: { show: few, size: 4 } };
    const cursor = { sync: { key: "course" }, drag: { x: true, y: false } };
    const data = [xs, ...percentiles.map(([, key]) => run.course.map(c => positive(c.intended[key])))];
    if (limit) data.push(xs.map(() => limit));
    draw("latency", data, () => ({
      cursor, scales: { x, y: { distr: 3, log: 10 } }, axes: [seconds(), latencyAxis()],
      series: [{ label: "time", value: (u, v) => v == null ? "–" : clock(v) },
        ...percentiles.map(([name], i) => line(name, colours[i], duration, Object.assign({ width: i < 4 ? 2 : 1 }, points))),
        ...(limit ? [goal()] : [])],
    }));
    const bad = c => (Object.entries(c.outcomes).reduce((n, [o, k]) => n + (o === "ok" ? 0 : k), 0)) / c.length_s;
    draw("rates", [xs, run.course.map(c => c.offered_per_s), run.course.map(c => c.achieved_per_s), run.course.map(bad), run.course.map(c => c.inflight)], () => ({
      cursor, scales: { x, y: { range: (u, min, max) => [0, Math.max(1, max * 1.05)] } }, axes: [seconds(), left(number)],
      series: [{ label: "time", value: (u, v) => v == null ? "–" : clock(v) },
        line("offered", "--five", number, Object.assign({ width: 3 }, points)), line("achieved", "--one", number, points),
        line("not OK", "--bad", number, points), line("in flight", "--four", number, Object.assign({ width: 1, dash: [3, 4] }, points))],
    }));
  }

  // The axis of percentiles is that of HDR histograms: each nine takes as much of it.
  function curve(run) {
    const lists = [["from the intended start", run.curve, {}], ["from the send", run.curve_sent, { dash: [8, 5] }]];
    for (const s of report.series) {
      const other = s.runs.length && !s.runs.includes(run) ? s.runs[Math.min(s.runs.length - 1, indexIn(run))] : null;
      if (other) lists.push([other.name, other.curve, {}]);
    }
    const some = lists.filter(([, points]) => points.length > 0);
    const answers = points => 1 / (1 - points[Math.max(0, points.length - 2)].quantile);
    const at = points => points.map(p => [Math.log10(p.quantile < 1 ? 1 / (1 - p.quantile) : 2 * answers(points)), positive(p.ms)]);
    const data = some.length ? merge(some.map(([, points]) => at(points))) : null;
    const nines = max => [Math.log10(2), ...Array.from({ length: Math.floor(max) }, (_, i) => i + 1)];
    const quantile = v => v == null ? "–" : percentOf(1 - Math.pow(10, -v));
    draw("curve", data, () => ({
      scales: { x: { time: false, range: (u, min, max) => [0, Math.max(max, 1)] }, y: { distr: 3, log: 10 } },
      axes: [axis({ splits: u => nines(u.scales.x.max), values: (u, s) => s.map(quantile), space: 40 }), latencyAxis()],
      series: [{ label: "percentile", value: (u, v) => quantile(v) },
        ...some.map(([name, , more], i) => line(name, ["--one", "--five", "--three", "--four"][i % 4], duration,
          Object.assign({ points: { show: false }, spanGaps: true }, more)))],
    }));
  }

  function indexIn(run) { return report.series.find(s => s.runs.includes(run)).runs.indexOf(run); }

  function bars(run) {
    const middle = b => Math.log10(b.from_ms * b.to_ms) / 2;
    const data = run.bars.length ? [run.bars.map(middle), run.bars.map(b => b.count)] : null;
    const splits = u => {
      const { min, max } = u.scales.x, steps = max - min < 2 ? [1, 2, 5] : [1], all = [];
      for (let e = Math.floor(min); e <= max; e++) for (const m of steps) {
        const v = e + Math.log10(m);
        if (v >= min && v <= max) all.push(v);
      }
      return all;
    };
    const power = v => v == null ? "–" : duration(Math.pow(10, v));
    draw("bars", data, () => ({
      scales: { x: { time: false, range: (u, min, max) => [min - 0.1, max + 0.1] }, y: { range: (u, min, max) => [0, max * 1.05] } },
      axes: [axis({ splits, values: (u, s) => s.map(power) }), left(number)],
      series: [{ label: "around", value: (u, v) => power(v) },
        line("answers", "--one", number, { width: 1, fill: css("--one"), points: { show: false }, paths: uPlot.paths.bars({ size: [0.9, 60] }) })],
    }));
  }

  const select = document.querySelector("#choice select");
  function all() {
    plots.forEach(p => p.plot.destroy());
    plots = [];
    load();
    repeats();
    const run = runs[select.value];
    if (run) [course, curve, bars].forEach(f => f(run));
  }
  const resize = () => plots.forEach(({ plot, place }) => { if (place.clientWidth !== plot.width) plot.setSize({ width: place.clientWidth, height }); });

  runs.forEach((r, i) => select.add(new Option(r.name + (r.asked.profile ? ": " + r.asked.profile : ""), i)));
  select.parentElement.hidden = runs.length < 2;
  select.addEventListener("change", all);
  all();
  new ResizeObserver(resize).observe(document.body);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", all);
  matchMedia("print").addEventListener("change", all);
})();
