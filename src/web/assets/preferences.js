// The menu: language and appearance, kept in cookies that the server reads, and signing out.

const YEAR = 60 * 60 * 24 * 365;

for (const select of document.querySelectorAll("[data-preference]")) {
  select.addEventListener("change", () => {
    const name = select.dataset.preference;
    document.cookie = `${name}=${select.value}; path=/; max-age=${YEAR}; SameSite=Lax`;
    if (name === "intramuros_theme") {
      document.documentElement.dataset.theme = select.value;
    } else {
      // Whoever holds an unsent question keeps it.
      document.dispatchEvent(new Event("intramuros:leaving"));
      location.reload();
    }
  });
}

for (const menu of document.querySelectorAll("details.menu")) {
  document.addEventListener("pointerdown", (event) => {
    if (!menu.contains(event.target)) menu.open = false;
  });
  menu.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && menu.open) {
      event.stopPropagation();
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });
}

for (const button of document.querySelectorAll("[data-sign-out]")) {
  button.addEventListener("click", async () => {
    button.disabled = true;
    const headers = { "X-CSRF-Token": document.querySelector('meta[name="csrf-token"]').content };
    // Whoever has no session any more is signed out as well; without the server nobody is.
    const answer = await fetch("/api/v1/session", { method: "DELETE", headers }).catch(() => null);
    if (answer) location.assign("/sign-in");
    else button.disabled = false;
  });
}
