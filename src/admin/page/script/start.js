// Joins the parts, once the page is there.

/** Asks for everything, at first and whenever there is a new token. */
function begin() {
  startStatus();
  startFeed();
  loadFirst();
  openNamed();
}

document.addEventListener("DOMContentLoaded", () => {
  for (const [tag, role] of Object.entries(ROLES)) {
    for (const element of document.querySelectorAll(tag)) element.setAttribute("role", role);
  }
  showTheme();
  the("theme").addEventListener("click", () => {
    kept.set(forGood, "theme", THEMES[showTheme()]);
    showTheme();
  });
  startToken();
  startChart();
  startFeedControls();
  startRecords();
  startDecisions();
  begin();
});
