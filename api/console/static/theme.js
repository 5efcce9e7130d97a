// Before anything is drawn: the theme that was chosen in this browser. Nothing chosen: what the system says.
try {
  const chosen = localStorage.getItem("theme");
  if (chosen) document.documentElement.dataset.theme = chosen;
} catch { /* A browser that keeps nothing follows the system. */ }
