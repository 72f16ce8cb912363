// Fetches this page again and shows its <main>: the server alone knows how to say things in the reader's language.
const EVERY_MS = 5000;
const warning = document.getElementById("stale");
const spoken = document.getElementById("spoken");

async function refresh() {
  try {
    const answer = await fetch(location.href, { cache: "no-store", signal: AbortSignal.timeout(EVERY_MS) });
    if (!answer.ok) throw new Error(String(answer.status));
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.querySelector("main").replaceWith(page.querySelector("main"));
    document.title = page.title;
    warning.hidden = true;
  } catch {
    warning.hidden = false;
  }
  const overall = warning.hidden ? document.getElementById("overall").textContent : warning.textContent;
  // Screen readers hear of a change, not of every refresh.
  if (spoken.textContent !== overall) spoken.textContent = overall;
  setTimeout(refresh, EVERY_MS);
}

setTimeout(refresh, EVERY_MS);
