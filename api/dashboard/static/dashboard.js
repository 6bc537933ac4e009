// Additions to NiceGUI: theme switching, and charts that are updated incrementally.
window.flant5 = {
  toggleTheme() {
    const isDark = !document.body.classList.contains("body--dark");
    Quasar.Dark.set(isDark);
    document.cookie = `flant5_theme=${isDark ? "dark" : "light"}; path=${window.path_prefix || "/"}; max-age=31536000; samesite=strict`;
  },

  series: {},

  // changes: [[id of the series, number of points to keep, points to append], ...]
  grow(id, changes) {
    const chart = getElement(id)?.chart;
    if (!chart) {
      // The chart is created shortly after its page.
      if (document.getElementById(`c${id}`)) setTimeout(() => this.grow(id, changes), 50);
      return;
    }
    const known = (this.series[id] ??= {});
    for (const [name, kept, points] of changes) {
      known[name] = (known[name] ?? []).slice(0, kept).concat(points);
    }
    chart.setOption({ series: changes.map(([name]) => ({ id: name, data: known[name] })) });
  },

  scrollDown(selector) {
    const log = document.querySelector(selector);
    if (log) log.scrollTop = log.scrollHeight;
  },
};
